"""Libraries that can be timed, and their calls."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from thread_settings import threads

_DISTRIBUTIONS = ("actufunc", "numpy", "numba", "scipy", "torch", "jax", "onnxruntime", "numexpr")

Array = np.ndarray[Any, Any]
Function = Callable[..., Any]


class TimedCall(NamedTuple):
    """A call that is ready to be timed."""

    function: Function
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]

    def __call__(self) -> Any:
        """Make the call."""
        return self.function(*self.arguments, **self.keywords)


class Library(Protocol):
    """A library that can be timed."""

    @property
    def traced(self) -> bool:
        """True if it allocates by NumPy, which tracemalloc traces."""

    def has(self, function: str, output: str) -> bool:
        """Return True if it has a function with a new result (`output` is "fresh") or a given one ("out")."""

    def call(self, function: str, x: Array, out: Array | None) -> TimedCall | None:
        """Return a call on `x`; None if the library turns out to lack it for this dtype."""


@dataclass(frozen=True)
class ArrayLibrary:
    """A library whose functions are called on its arrays."""

    fresh: Mapping[str, Function]
    into: Mapping[str, Function]
    convert: Function = np.asarray  # shares the memory of a NumPy array, where the library can
    build: Function = lambda function: function  # compiles one function, if they are not compiled together
    traced: bool = True

    def has(self, function: str, output: str) -> bool:
        """Return True if the function is in the table."""
        return function in (self.fresh if output == "fresh" else self.into)

    def call(self, function: str, x: Array, out: Array | None) -> TimedCall:
        """Return a call on converted arrays."""
        if out is None:
            return TimedCall(self.build(self.fresh[function]), (self.convert(x),), {})
        return TimedCall(self.build(self.into[function]), (self.convert(x),), {"out": self.convert(out)})


def optional(name: str) -> Any:
    """Import a library; None if it is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


def versions() -> dict[str, str]:
    """Return the versions of the libraries that are installed."""
    found = {}
    for name in _DISTRIBUTIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


class OnnxRuntime:
    """ONNX Runtime: models of one node.

    Parameters
    ----------
    nodes : mapping
        Operator, and its attributes, by function. Among them these are no attributes: ``domain`` of the operator,
        ``slope``, its second input, and ``only``, the dtype for which its kernel is as accurate as the dtype.
    """

    traced = False

    def __init__(self, nodes: Mapping[str, tuple[str, dict[str, Any]]]) -> None:
        self._nodes = nodes
        self._onnx, self._runtime = importlib.import_module("onnx"), importlib.import_module("onnxruntime")

    def has(self, function: str, output: str) -> bool:  # noqa: ARG002
        """Return True if there is an operator."""
        return function in self._nodes

    def call(self, function: str, x: Array, out: Array | None) -> TimedCall | None:
        """Make a session; None if there is no kernel for the dtype."""
        if self._nodes[function][1].get("only", x.dtype) != x.dtype:
            return None
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads(), 1
        options.log_severity_level = 4
        try:
            session = self._runtime.InferenceSession(
                self._model(function, x), options, providers=["CPUExecutionProvider"]
            )
        except self._runtime.capi.onnxruntime_pybind11_state.NotImplemented:
            return None
        if out is None:
            return TimedCall(session.run, (None, {"x": x}), {})
        binding = session.io_binding()
        binding.bind_cpu_input("x", x)
        binding.bind_output("y", "cpu", 0, out.dtype, out.shape, out.ctypes.data)
        return TimedCall(session.run_with_iobinding, (binding,), {})

    def _model(self, function: str, x: Array) -> bytes:
        helper = self._onnx.helper
        operator, settings = self._nodes[function]
        attributes = {name: value for name, value in settings.items() if name != "only"}
        domain, slope = attributes.pop("domain", ""), attributes.pop("slope", None)
        kind = helper.np_dtype_to_tensor_dtype(x.dtype)
        given = [] if slope is None else [self._onnx.numpy_helper.from_array(np.array([slope], x.dtype), "slope")]
        node = helper.make_node(operator, ["x", *(tensor.name for tensor in given)], ["y"], domain=domain, **attributes)
        graph = helper.make_graph(
            [node],
            function,
            [helper.make_tensor_value_info("x", kind, x.shape)],
            [helper.make_tensor_value_info("y", kind, x.shape)],
            initializer=given,
        )
        versions = [helper.make_opsetid("", 24), helper.make_opsetid("com.microsoft", 1)]
        model: bytes = helper.make_model(graph, opset_imports=versions, ir_version=11).SerializeToString()
        return model
