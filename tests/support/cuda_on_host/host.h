// What CUDA has and C++ lacks, so that kernels compile for the host and run there, one block after the other.
#pragma once
#include <assert.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <type_traits>
#include <utility>

#define __host__
#define __device__
#define __global__
#define __shared__ static
#define __forceinline__ inline
#define __launch_bounds__(threads)

// CuPy has CUDA's functions of float take subnormal numbers for zero, and give zero for them.
namespace flushing {
static inline float flushed(float x) { return fabsf(x) < 1.17549435e-38f ? copysignf(0.0f, x) : x; }
static inline float expf(float x) { return flushed(::expf(flushed(x))); }
static inline float expm1f(float x) { return flushed(::expm1f(flushed(x))); }
static inline float logf(float x) { return flushed(::logf(flushed(x))); }
static inline double log(double x) { return -ldexp(1.0, -1069) < x && x < 0 ? -1.0 / 0.0 : ::log(x); }
static inline float log1pf(float x) { return flushed(::log1pf(flushed(x))); }
static inline float tanhf(float x) { return flushed(::tanhf(flushed(x))); }
}

static inline double __dmul_rn(double a, double b) { return a * b; }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }

struct dim3 { unsigned x, y, z; };
extern dim3 threadIdx, blockIdx, blockDim, gridDim;

// In host.cpp, which is compiled once.
namespace host {
extern size_t current;  // thread
extern double *shuffled;  // of each thread
extern void (*body)(void *);
extern void *arguments;
bool run_block();
void sync();

template <typename... A, size_t... I>
void call(void (*kernel)(A...), void **args, std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_cv_t<A> *>(args[I])...);
}
template <typename... A>
void call(void (*kernel)(A...), void **args) { call(kernel, args, std::index_sequence_for<A...>()); }
}  // namespace host

static inline void __syncthreads() { host::sync(); }
static inline int __syncthreads_or(int predicate) {
    host::shuffled[host::current] = predicate;
    host::sync();
    bool any = false;
    for (size_t t = 0; t < blockDim.x; t++) any |= host::shuffled[t] != 0;
    host::sync();
    return any;
}
template <typename T> T __shfl_xor_sync(unsigned mask, T value, int lane_mask) {
    assert(mask == 0xffffffff && lane_mask < 32);
    const size_t self = host::current;
    host::shuffled[self] = value;
    host::sync();
    const T other = host::shuffled[self ^ lane_mask];
    host::sync();
    return other;
}

// Run a kernel of which each thread stands alone, as a single thread that takes all the places of the grid.
#define RUN_ALONE(kernel) \
    extern "C" void run_alone(void **args) { host::call(kernel, args); }

// Run all blocks of a grid of one dimension; false if one would hang.
#define RUN_BLOCKS(kernel) \
    extern "C" bool run_blocks(unsigned grid, unsigned block, void **args) { \
        gridDim = {grid, 1, 1}; \
        blockDim = {block, 1, 1}; \
        host::body = [](void *args) { host::call(kernel, static_cast<void **>(args)); }; \
        host::arguments = args; \
        for (unsigned number = 0; number < grid; number++) { \
            blockIdx = {number, 0, 0}; \
            if (!host::run_block()) return false; \
        } \
        return true; \
    }
