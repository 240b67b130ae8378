"""Constants that several backends use."""

from decimal import Decimal

LOG_2 = Decimal("0.69314718055994530941723212145817656808")

# Terms of a sum that may be subnormal are multiplied by this power of two: then the second word of the smallest double,
# 2**-1074, is a normal number.
RAISING_POWER = 180

# The tail of `normal_cdf`: with R(a) = Phi(-a) * exp(a*a/2), P(a)/S(a) approximates 1/R(a) - sqrt(2*pi)*a. P(0) = 2 and
# S(0) = 1 make Phi(0) exactly 1/2. Printed by benchmarks/fit_normal.py, with the largest relative error of R:
#
#     float32               2**-29.8 on [0, 16], for arithmetic of float32
#     float32 in float64    2**-36.1 on [0, 16], for results of float32 that are computed in float64
#     float64               2**-57.0 on [0, 50]
NORMAL_P = {
    "float32": (
        2.0,
        1.2666324,
        0.41939276,
        0.075560935,
        0.0063383514,
    ),
    "float32 in float64": (
        2.0,
        1.5149434543480826,
        0.5997987629448223,
        0.14076085857708906,
        0.019388975738318055,
        0.0012666398331475852,
    ),
    "float64": (
        2.0,
        2.4929243636425724,
        1.5869133403067044,
        0.6555833496969581,
        0.19094462402324988,
        0.04036758986909407,
        0.006178664021008394,
        0.0006611361522087731,
        4.5132442369290797e-05,
        1.5160027001650514e-06,
    ),
}
NORMAL_S = {
    "float32": (
        1.0,
        1.0887458,
        0.56892306,
        0.17211783,
        0.03015564,
        0.0025284227,
    ),
    "float32 in float64": (
        1.0,
        1.2129013029971702,
        0.7156707511356091,
        0.2545855999532201,
        0.057175685452906744,
        0.007734758796278292,
        0.0005053210326869321,
    ),
    "float64": (
        1.0,
        1.7018917583339206,
        1.431928740554156,
        0.7713962631984286,
        0.29219202243857917,
        0.08099768582310499,
        0.016628220891845936,
        0.0025009407671673393,
        0.0002649647598301621,
        1.800523947401117e-05,
        6.047975743213855e-07,
    ),
}
