"""The functions of each peer, as its users write them.

A table has two columns: functions with a new result, ``function(x)``, and functions that write to a given array,
``function(x, out=out)``; a function that the library does not have is missing. Hyperparameters are fixed: `SLOPE` for
leaky_relu, `ALPHA` for prelu, 1 for elu. NumPy's functions are formulas in plain NumPy, unless there is a better way. A
library that is not installed has no table.
"""

from __future__ import annotations

import math
from functools import cache, partial
from typing import Any

import numba
import numpy as np
from libraries import Array, ArrayLibrary, Function, Library, OnnxRuntime, optional
from thread_settings import threads

from actufunc._catalogue import ACTIVATIONS, examples
from actufunc.cli.baselines import plain_numpy

SLOPE = 0.01
ALPHA = 0.25
_CUBIC = 0.044715  # of gelu's approximation by tanh
_SCALE = math.sqrt(2 / math.pi)


def _softmax(x: Array) -> Any:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _log_softmax(x: Array) -> Any:
    below = x - x.max(axis=-1, keepdims=True)
    return below - np.log(np.exp(below).sum(axis=-1, keepdims=True))


def _softmax_into(x: Array, out: Array) -> None:
    np.exp(np.subtract(x, x.max(axis=-1, keepdims=True), out), out)
    np.divide(out, out.sum(axis=-1, keepdims=True), out)


def _log_softmax_into(x: Array, out: Array) -> None:
    np.subtract(x, x.max(axis=-1, keepdims=True), out)
    np.subtract(out, np.log(np.exp(out).sum(axis=-1, keepdims=True)), out)


def _gelu_tanh_into(x: Array, out: Array) -> None:
    np.add(np.multiply(np.multiply(x, x, out), _CUBIC, out), 1, out)
    np.tanh(np.multiply(np.multiply(out, x, out), _SCALE, out), out)
    np.multiply(np.multiply(np.add(out, 1, out), x, out), 0.5, out)


def _numpy() -> ArrayLibrary:
    typed = {name: plain_numpy(function, **examples(function)) for name, function in ACTIVATIONS.items()}
    return ArrayLibrary(
        {
            **{name: function for name, function in typed.items() if function is not None},
            "elu": lambda x: np.where(x > 0, x, np.exp(x) - 1),
            "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(_SCALE * (x + _CUBIC * x**3))),
            "hard_silu": lambda x: x * np.clip(x + 3, 0, 6) / 6,
            "leaky_relu": lambda x: np.where(x > 0, x, SLOPE * x),
            "log_sigmoid": lambda x: -np.log1p(np.exp(-x)),
            "log_softmax": _log_softmax,
            "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
            "prelu": lambda x: np.where(x > 0, x, ALPHA * x),
            "relu": lambda x: np.maximum(x, 0),
            "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
            "silu": lambda x: x / (1 + np.exp(-x)),
            "softmax": _softmax,
            "softplus": lambda x: np.log1p(np.exp(x)),
            "softsign": lambda x: x / (1 + np.abs(x)),
            "tanh": np.tanh,
        },
        {
            "elu": lambda x, out: np.maximum(x, np.subtract(np.exp(np.minimum(x, 0, out=out), out), 1, out), out=out),
            "gelu_tanh": _gelu_tanh_into,
            "hard_silu": lambda x, out: np.divide(np.multiply(np.clip(np.add(x, 3, out), 0, 6, out), x, out), 6, out),
            "leaky_relu": lambda x, out: np.maximum(x, np.multiply(x, SLOPE, out), out=out),
            "log_sigmoid": lambda x, out: np.negative(np.log1p(np.exp(np.negative(x, out), out), out), out),
            "log_softmax": _log_softmax_into,
            "mish": lambda x, out: np.multiply(np.tanh(np.log1p(np.exp(x, out), out), out), x, out),
            "prelu": lambda x, out: np.maximum(x, np.multiply(x, ALPHA, out), out=out),
            "relu": lambda x, out: np.maximum(x, 0, out=out),
            "sigmoid": lambda x, out: np.divide(1, np.add(np.exp(np.negative(x, out), out), 1, out), out),
            "silu": lambda x, out: np.divide(x, np.add(np.exp(np.negative(x, out), out), 1, out), out),
            "softmax": _softmax_into,
            "softplus": lambda x, out: np.log1p(np.exp(x, out), out),
            "softsign": lambda x, out: np.divide(x, np.add(np.abs(x, out), 1, out), out),
            "tanh": np.tanh,
        },
    )


def _scipy(special: Any) -> ArrayLibrary:
    half = math.sqrt(0.5)
    fresh = {
        "gelu": lambda x: 0.5 * x * (1 + special.erf(x * half)),
        "log_sigmoid": special.log_expit,
        "log_softmax": partial(special.log_softmax, axis=-1),
        "sigmoid": special.expit,
        "silu": lambda x: x * special.expit(x),
        "softmax": partial(special.softmax, axis=-1),
        "logit": special.logit,
        "logsumexp": partial(special.logsumexp, axis=-1),
    }
    into = {
        "gelu": lambda x, out: np.multiply(
            np.multiply(np.add(special.erf(np.multiply(x, half, out), out), 1, out), x, out), 0.5, out
        ),
        "log_sigmoid": special.log_expit,
        "sigmoid": special.expit,
        "silu": lambda x, out: np.multiply(x, special.expit(x, out), out),
    }
    if hasattr(special, "softplus"):
        fresh["softplus"] = into["softplus"] = special.softplus
    return ArrayLibrary(fresh, into)


def _torch(torch: Any) -> ArrayLibrary:
    """Return torch without its records for gradients; out= is given to the functions below its Python layer."""
    torch.set_num_threads(threads())
    torch.inference_mode().__enter__()
    named, below = torch.nn.functional, torch._C._nn  # noqa: SLF001 -- those in nn.functional have no out=
    slopes = {dtype: torch.tensor(ALPHA, dtype=dtype) for dtype in (torch.float32, torch.float64)}
    return ArrayLibrary(
        {
            "elu": named.elu,
            "gelu": named.gelu,
            "gelu_tanh": partial(named.gelu, approximate="tanh"),
            "hard_silu": named.hardswish,
            "leaky_relu": named.leaky_relu,
            "log_sigmoid": named.logsigmoid,
            "log_softmax": partial(torch.log_softmax, dim=-1),
            "mish": named.mish,
            "prelu": lambda x: torch.prelu(x, slopes[x.dtype]),
            "relu": torch.relu,
            "sigmoid": torch.sigmoid,
            "silu": named.silu,
            "softmax": partial(torch.softmax, dim=-1),
            "softplus": named.softplus,
            "softsign": named.softsign,
            "tanh": torch.tanh,
            "celu": named.celu,
            "glu": named.glu,
            "hard_shrink": named.hardshrink,
            "hard_sigmoid": named.hardsigmoid,
            "hard_tanh": named.hardtanh,
            "logit": torch.logit,
            "logsumexp": partial(torch.logsumexp, dim=-1),
            "relu6": named.relu6,
            "selu": named.selu,
            "soft_shrink": named.softshrink,
            "softmin": partial(named.softmin, dim=-1),
            "tanh_shrink": named.tanhshrink,
        },
        {
            "elu": below.elu,
            "gelu": below.gelu,
            "gelu_tanh": partial(below.gelu, approximate="tanh"),
            "hard_silu": below.hardswish,
            "leaky_relu": below.leaky_relu,
            "log_sigmoid": below.log_sigmoid,
            "log_softmax": partial(torch.log_softmax, dim=-1),
            "mish": below.mish,
            "relu": partial(torch.clamp_min, min=0),
            "sigmoid": torch.sigmoid,
            "silu": below.silu,
            "softmax": partial(torch.softmax, dim=-1),
            "softplus": below.softplus,
            "tanh": torch.tanh,
        },
        torch.from_numpy,
        traced=False,
    )


def _jax(jax: Any) -> ArrayLibrary:
    """No operation of JAX takes a given output."""
    jax.config.update("jax_enable_x64", True)  # noqa: FBT003
    nn = jax.nn
    functions: dict[str, Function] = {
        "elu": nn.elu,
        "gelu": partial(nn.gelu, approximate=False),
        "gelu_tanh": partial(nn.gelu, approximate=True),
        "hard_silu": nn.hard_swish,
        "leaky_relu": partial(nn.leaky_relu, negative_slope=SLOPE),
        "log_sigmoid": nn.log_sigmoid,
        "log_softmax": nn.log_softmax,
        "mish": nn.mish,
        "prelu": partial(nn.leaky_relu, negative_slope=ALPHA),
        "relu": nn.relu,
        "sigmoid": nn.sigmoid,
        "silu": nn.silu,
        "softmax": nn.softmax,
        "softplus": nn.softplus,
        "softsign": nn.soft_sign,
        "tanh": jax.numpy.tanh,
        "celu": nn.celu,
        "glu": nn.glu,
        "hard_sigmoid": nn.hard_sigmoid,
        "hard_tanh": nn.hard_tanh,
        "logsumexp": partial(nn.logsumexp, axis=-1),
        "relu6": nn.relu6,
        "selu": nn.selu,
        "sparse_plus": nn.sparse_plus,
        "sparse_sigmoid": nn.sparse_sigmoid,
        "squareplus": nn.squareplus,
    }

    def finished(function: Function) -> Function:
        compiled = jax.jit(function)
        return lambda x: compiled(x).block_until_ready()

    fresh = {name: finished(function) for name, function in functions.items()}
    return ArrayLibrary(fresh, {}, jax.numpy.asarray, traced=False)


def _numexpr(numexpr: Any) -> ArrayLibrary:
    """Decimals are given as variables of the dtype of x, for a literal would turn float32 into float64."""
    numexpr.set_num_threads(threads())
    formulas: dict[str, tuple[str, dict[str, float]]] = {
        "elu": ("where(x > 0, x, exp(x) - 1)", {}),
        "gelu_tanh": ("x / 2 * (1 + tanh(s * (x + c * x**3)))", {"s": _SCALE, "c": _CUBIC}),
        "hard_silu": ("x * where(x < -3, 0, where(x > 3, 6, x + 3)) / 6", {}),
        "leaky_relu": ("where(x > 0, x, a * x)", {"a": SLOPE}),
        "log_sigmoid": ("-log1p(exp(-x))", {}),
        "mish": ("x * tanh(log1p(exp(x)))", {}),
        "prelu": ("where(x > 0, x, a * x)", {"a": ALPHA}),
        "relu": ("where(x > 0, x, 0)", {}),
        "sigmoid": ("1 / (1 + exp(-x))", {}),
        "silu": ("x / (1 + exp(-x))", {}),
        "softplus": ("log1p(exp(x))", {}),
        "softsign": ("x / (1 + abs(x))", {}),
        "tanh": ("tanh(x)", {}),
    }

    kinds = numexpr.expressions.kind_to_type

    @cache
    def compiled(formula: str, names: tuple[str, ...], dtype: np.dtype[Any]) -> Any:
        kind = kinds["double" if dtype == np.float64 else "float"]
        return numexpr.NumExpr(formula, [(name, kind) for name in names])

    def evaluated(formula: str, decimals: dict[str, float]) -> Function:
        """Compile once, where numexpr.evaluate would look at the formula at every call."""
        names, typed = ("x", *decimals), {t: [np.dtype(t).type(v) for v in decimals.values()] for t in "fd"}

        def call(x: Array, out: Array | None = None) -> Any:
            given = x, *typed[x.dtype.char]
            return compiled(formula, names, x.dtype)(*given, out=out, order="K", casting="safe", ex_uses_vml=False)

        return call

    functions = {name: evaluated(*formula) for name, formula in formulas.items()}
    return ArrayLibrary(functions, functions)


def _numba() -> ArrayLibrary:
    def softmax(x: Array, y: Array) -> None:
        total, largest = 0.0, x.max()
        for i in range(len(x)):
            y[i] = math.exp(x[i] - largest)
            total += y[i]
        for i in range(len(x)):
            y[i] /= total

    def log_softmax(x: Array, y: Array) -> None:
        total, largest = 0.0, x.max()
        for value in x:
            total += math.exp(value - largest)
        for i in range(len(x)):
            y[i] = x[i] - largest - math.log(total)

    functions: dict[str, Function] = {
        "elu": lambda x: x if x > 0 else math.exp(x) - 1,
        "gelu": lambda x: 0.5 * x * (1 + math.erf(x / math.sqrt(2))),
        "gelu_tanh": lambda x: 0.5 * x * (1 + math.tanh(_SCALE * (x + _CUBIC * x**3))),
        "hard_silu": lambda x: x * min(max(x + 3, 0), 6) / 6,
        "leaky_relu": lambda x: x if x > 0 else SLOPE * x,
        "log_sigmoid": lambda x: -math.log1p(math.exp(-x)),
        "log_softmax": log_softmax,
        "mish": lambda x: x * math.tanh(math.log1p(math.exp(x))),
        "prelu": lambda x: x if x > 0 else ALPHA * x,
        "relu": lambda x: max(x, 0),
        "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
        "silu": lambda x: x / (1 + math.exp(-x)),
        "softmax": softmax,
        "softplus": lambda x: math.log1p(math.exp(x)),
        "softsign": lambda x: x / (1 + abs(x)),
        "tanh": lambda x: math.tanh(x),  # noqa: PLW0108 -- Numba compiles Python functions only
    }

    @cache
    def build(function: Function) -> Any:
        if function in (softmax, log_softmax):
            return numba.guvectorize(["void(f4[:], f4[:])", "void(f8[:], f8[:])"], "(n)->(n)")(function)
        return numba.vectorize(["f4(f4)", "f8(f8)"])(function)

    return ArrayLibrary(functions, functions, build=build)


def _onnxruntime() -> OnnxRuntime:
    return OnnxRuntime(
        {
            "elu": ("Elu", {}),
            "gelu": ("Gelu", {}),
            "gelu_tanh": ("Gelu", {"approximate": "tanh", "only": "float32"}),
            "hard_silu": ("HardSwish", {}),
            "leaky_relu": ("LeakyRelu", {"alpha": SLOPE}),
            "log_softmax": ("LogSoftmax", {}),
            "mish": ("Mish", {}),
            "prelu": ("PRelu", {"slope": ALPHA}),
            "relu": ("Relu", {}),
            "sigmoid": ("Sigmoid", {}),
            "silu": ("QuickGelu", {"alpha": 1.0, "domain": "com.microsoft"}),
            "softmax": ("Softmax", {}),
            "softplus": ("Softplus", {}),
            "softsign": ("Softsign", {}),
            "tanh": ("Tanh", {}),
        }
    )


def peers() -> dict[str, Library]:
    """Return the libraries that are installed."""
    found: dict[str, Library] = {"NumPy": _numpy(), "numba": _numba()}
    if scipy := optional("scipy.special"):
        found["SciPy"] = _scipy(scipy)
    if torch := optional("torch"):
        found["torch"] = _torch(torch)
    if jax := optional("jax"):
        found["JAX"] = _jax(jax)
    if optional("onnx") and optional("onnxruntime"):
        found["ONNX Runtime"] = _onnxruntime()
    if numexpr := optional("numexpr"):
        found["numexpr"] = _numexpr(numexpr)
    return found
