#pragma once
#include "half.h"
typedef half_type<bfloat16_bits> __nv_bfloat16;
