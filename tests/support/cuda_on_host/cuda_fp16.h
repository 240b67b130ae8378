#pragma once
#include "half.h"
typedef half_type<float16_bits> __half;
