#pragma once
#include "half.h"
class float16 : public half_type<float16_bits> { using half_type::half_type; };
