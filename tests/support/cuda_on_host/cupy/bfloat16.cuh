#pragma once
#include "half.h"
class bfloat16 : public half_type<bfloat16_bits> { using half_type::half_type; };
