// The two half types, rounded to nearest even.
#pragma once
#include <stdint.h>
#include <string.h>

static inline uint32_t bits_of(float value) { uint32_t bits; memcpy(&bits, &value, 4); return bits; }
static inline float float_of(uint32_t bits) { float value; memcpy(&value, &bits, 4); return value; }

struct float16_bits {
    static uint16_t from(float value) {
        const uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
        if (magnitude > 0x7f800000) return sign | 0x7e00;
        if (magnitude >= 0x477ff000) return sign | 0x7c00;
        if (magnitude < 0x38800000)  // subnormal: an addition rounds to multiples of 2**-24
            return sign | (bits_of(float_of(magnitude) + 0.5f) - 0x3f000000);
        return sign | (((magnitude + 0xfff + (magnitude >> 13 & 1)) >> 13) - 0x1c000);
    }
    static float to(uint16_t bits) {
        const uint32_t sign = (uint32_t)(bits & 0x8000) << 16, magnitude = bits & 0x7fff;
        if (magnitude >= 0x7c00) return float_of(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
        const float value = (float)magnitude * 5.9604644775390625e-08f;
        return float_of(sign | (magnitude < 0x400 ? bits_of(value) : (magnitude << 13) + 0x38000000));
    }
};

struct bfloat16_bits {
    static uint16_t from(float value) {
        const uint32_t bits = bits_of(value);
        if ((bits & 0x7fffffff) > 0x7f800000) return bits >> 16 | 0x40;
        return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    }
    static float to(uint16_t bits) { return float_of((uint32_t)bits << 16); }
};

// A float that rounds to the same half as a double: where it is not the same number, its last bit is set.
static inline float odd_float_of(double value) {
    const float nearest = (float)value;
    uint32_t bits = bits_of(nearest);
    if (nearest != nearest || (double)nearest == value || (bits & 0x7fffffff) == 0x7f800000) return nearest;
    const bool beyond = nearest > 0 || (nearest == 0 && value > 0) ? (double)nearest > value : (double)nearest < value;
    return float_of((beyond ? bits - 1 : bits) | 1);
}

// With the constructors of CuPy's types, so that what is ambiguous there is so here.
template <typename Format> class half_type {
    uint16_t bits;

public:
    half_type() {}
    half_type(float value) : bits(Format::from(value)) {}
    explicit half_type(bool value) : bits(Format::from((float)value)) {}
    explicit half_type(double value) : bits(Format::from(odd_float_of(value))) {}
    explicit half_type(int value) : bits(Format::from(odd_float_of(value))) {}
    explicit half_type(unsigned value) : bits(Format::from(odd_float_of(value))) {}
    explicit half_type(long long value) : bits(Format::from((float)value)) {}
    explicit half_type(unsigned long long value) : bits(Format::from((float)value)) {}
    operator float() const { return Format::to(bits); }
};
