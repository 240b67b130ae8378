"""The object that a user holds: an activation, its calls and its derivatives."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

from ._calling.array_kinds import SCALARS
from ._calling.binding import bind, call_keywords, has_gate, pop_x, warn_of_rest
from ._calling.function import NOT_GIVEN, Positions
from ._calling.plans import Plan, UnplannedError, key_of, place_of_kernel, remember
from ._dispatch import plan
from ._protocols import config, description, pickling, source, ufunc_methods
from ._protocols.several_results import by_several, of_parts
from ._protocols.torch_compile import cached_property, constant_result, has_tensor, is_compiling
from .backends.numpy.fast_path import LARGE, TINY
from .formula.definition import Definition, gradient, override_derivative, vector_jacobian_product
from .formula.expression import Expression, constant

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable, Hashable, Mapping

_ndarray = np.ndarray

_Function = TypeVar("_Function", bound="Callable[..., Any]")


class Activation:
    """An activation function for every kind of array.

    Call it as a NumPy ufunc: ``f(x, *hyperparameters, out=None, where=True, dtype=None, casting="same_kind",
    order="K", subok=True)``. One over an axis takes ``axis=-1`` and of the others `out`, `where` and `dtype`, and
    ``keepdims=False`` if it reduces; a gated unit, which halves an axis, takes `axis`, `out` and `dtype`. It returns
    the kind of array that came in. `actufunc.activation` makes one.

    Attributes
    ----------
    definition : Definition
        What it computes.
    grad : Activation
        Derivative; ``grad(x, ..., wrt="alpha")`` is the one by a hyperparameter.
    vjp : Activation
        ``vjp(x, g)`` is the product of the cotangent `g` with the derivative, in one pass; with several names in
        ``wrt`` a tuple of such products (over an axis there is none but that by `x`). By a hyperparameter it is not
        summed over the axes along which that was broadcast.

    Notes
    -----
    Of a `numpy.ufunc`, which it is no instance of, an elementwise activation has:

    ========================================  =========================================================================
    ``out``, ``where``, ``dtype``             as there
    ``casting``, ``order``, ``subok``         as there
    ``signature``, ``sig``                    as there; all inputs and the output are of one dtype
    ``axes``, ``axis``, ``keepdims``          refused, as there by all that is elementwise
    ``nin``, ``nargs``                        hyperparameters, which may be arrays, are inputs
    ``types``, ``ntypes``                     by default hyperparameters, integers where they are kept; no bfloat16
    ``nout``, ``identity``, ``signature``     1, None, None
    ``resolve_dtypes``                        as there; trailing hyperparameters can be left away
    ``at``                                    as there, with casts and errors as of ``out=a``
    ``outer``                                 as there, with a vjp's `g`, a half's `gate` or the first hyperparameter
    ``reduce``, ``accumulate``, ``reduceat``  refused
    ========================================  =========================================================================
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_kernels",
        "_plans",
        "_room",
        "definition",
        "positions",
    )

    autograph_info__ = None
    """TensorFlow's AutoGraph, which rewrites the Python code that a tf.function calls, leaves alone what has this."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.positions = Positions.of(definition)
        # Whether both parts of a gated unit may be given, and how many arguments have a place, and are arrays.
        self._room = definition.gated, len(self.positions.names), len(definition.arrays) - 1
        # Kernels of small contiguous NumPy arrays and scalars, by their dtype or type, or by the key of a call with
        # other arguments; and what executes the plans of earlier calls by their keys, with the places or keywords of
        # its operands, or None where these are the first arguments.
        self._kernels: dict[Any, Callable[..., Any]] = {}
        self._plans: dict[Hashable, tuple[Callable[..., Any], int, tuple[int | str, ...] | None]] = {}
        self.__name__ = self.__qualname__ = definition.name
        self.origin: tuple[Activation, str | int] | None = None
        self.custom_vjp: Callable[..., Any] | None = None
        self._graph_node: Any = None

    # Calling.

    def __call__(self, x: Any = NOT_GIVEN, /, *args: Any, out: Any = NOT_GIVEN, **keywords: Any) -> Any:
        """Compute the activation."""
        # One element costs 0.25 us in the kernel, so that every attribute looked up here shows.
        key: Any = None
        if type(x) is _ndarray:
            dtype = x.dtype
            of_kernel: Any = dtype
            if args or keywords:
                gated, room, arrays = self._room
                if gated or len(args) >= room:
                    return self._name_arguments(x, args, keywords, out)
                try:
                    key = of_kernel = key_of(x, args, keywords, arrays)
                except UnplannedError:
                    return self._name_arguments(x, args, keywords, out)
            kernel = self._kernels.get(of_kernel)
            if kernel is not None:
                if out is NOT_GIVEN:
                    if (size := x.size) < TINY or (size < LARGE and x.flags.forc):
                        return kernel(x)
                elif (
                    type(out) is _ndarray
                    and out.dtype is dtype
                    and out.ndim == x.ndim  # NumPy lets ones at the beginning of the shape pass
                    and (
                        (size := out.size) < TINY or (size < LARGE and out.flags.c_contiguous and x.flags.c_contiguous)
                    )
                ):
                    try:
                        return kernel(x, out)
                    except (TypeError, ValueError):  # said better elsewhere
                        pass
        elif (  # torch.compile must not look into the dictionary, whose keys it could not compare
            isinstance(x, SCALARS)
            and out is NOT_GIVEN
            and not args
            and not keywords
            and (kernel := self._kernels.get(type(x))) is not None
        ):
            return kernel(x)
        return self._name_arguments(x, args, keywords, out, key)

    def _name_arguments(
        self, x: Any, args: tuple[Any, ...], keywords: dict[str, Any], out: Any, key: Any = None
    ) -> Any:
        """Name what stands by position, and compute."""
        if x is NOT_GIVEN:
            x = pop_x(self, keywords)
        gated, room, _ = self._room
        if gated and (args or keywords) and has_gate(self, args, keywords):
            return of_parts(self, x, args, keywords, out)
        if len(args) >= room:
            args, keywords, out = self.positions.split(self.__name__, args, keywords, out)
        leaves_rest = False
        if out is NOT_GIVEN:
            out, leaves_rest = None, "where" in keywords and keywords["where"] is not True
        elif type(out) is tuple and len(out) == 1:
            (out,) = out
        if type(x) is not _ndarray and is_compiling() and has_tensor(x, *args, *keywords.values()):
            self._make_graph_node()
            return self._graph_node(x, *args, **(keywords if out is None else {**keywords, "out": out}))
        result = self.run(x, args, keywords, out, key)
        if leaves_rest:
            warn_of_rest(self)
        return result

    def run(self, x: Any, args: tuple[Any, ...], keywords: dict[str, Any], out: Any, key: Any = None) -> Any:
        """Execute the plan of an earlier call like this one, or else plan and execute."""
        if key is None:
            try:
                key = key_of(x, args, keywords, self._room[2])
            except UnplannedError:
                return self._plan_and_run(x, *args, **(keywords if out is None else {**keywords, "out": out}))[0]
        full = key if out is None else (key, out.dtype if type(out) is _ndarray else type(out))
        plans, kernels = self._plans, self._kernels  # others take their place where a derivative is set meanwhile
        if (known := plans.get(full)) is not None:
            execute, count, places = known
            if places is None:
                operands = (x, *args[: count - 1]) if count > 1 else (x,)
            else:
                operands = tuple([keywords[i] if isinstance(i, str) else args[i - 1] if i else x for i in places])
            result = execute(operands, out, keywords.get("where", True) if keywords else True)
            if result is not NotImplemented:
                return result
        result, made = self._plan_and_run(x, *args, **(keywords if out is None else {**keywords, "out": out}))
        if made is not None and made.lasts:
            remember(plans, full, made.placed(self.positions.names[: len(args) + 1]))
            if made.kernel is not None and (place := place_of_kernel(x, args, keywords, key)) is not None:
                remember(kernels, place, made.kernel)
        return result

    def _plan_and_run(self, x: Any, /, *args: Any, **keywords: Any) -> tuple[Any, Plan | None]:
        """Bind the arguments, plan and execute; return the plan, too, if it is one call."""
        if isinstance(x, Expression):
            return self._inline(x, *args, **keywords), None
        if isinstance(wrt := keywords.get("wrt"), tuple | list):
            return by_several(self, tuple(wrt), x, *args, **keywords), None
        call = bind(self, x, *args, **keywords)
        made = plan(call)
        return made.run(call), made

    @constant_result
    def _make_graph_node(self) -> None:
        """Make what torch.compile calls instead."""
        from .backends.autodiff import graph_node  # noqa: PLC0415

        if self._graph_node is None:
            # To look for earlier plans would fix numbers that are symbols there.
            self._graph_node = graph_node(lambda *args, **keywords: self._plan_and_run(*args, **keywords)[0])

    def _inline(self, x: Expression, /, *args: Any, **keywords: Any) -> Expression:
        """Put the formula in the place of a call inside another formula."""
        call = bind(self, x, *args, **keywords)
        if call.keywords:
            raise TypeError(f"inside a formula {self.__name__} takes no {', '.join(call.keywords)}")
        replacement = {name: constant(value) for name, value in call.operands.items()}
        return self.definition.differentiable(**call.options).substitute(replacement)

    @functools.cached_property
    def call_keywords(self) -> dict[str, Any]:
        """Keywords of every call, with their defaults."""
        return call_keywords(self.definition)

    # Derivatives.

    @cached_property
    def grad(self) -> Activation:
        """Return the derivative by `x`, or by the hyperparameter that the keyword `wrt` names."""
        if self.definition.over_axis or self.definition.gated:
            raise AttributeError(f"the derivative of {self.__name__} is a matrix: use {self.__name__}.vjp(x, g)")
        return self._derived("grad", "Derivative", gradient(self.definition))

    @cached_property
    def vjp(self) -> Activation:
        """``vjp(x, g)``: the product of the cotangent `g` with the derivative at `x`."""
        return self._derived(
            "vjp", "Vector-Jacobian product", vector_jacobian_product(self.definition, self.custom_vjp)
        )

    def _derived(self, attribute: str, what: str, definition: Definition) -> Activation:
        derived = Activation(definition)
        derived.origin = (self, attribute)
        derived.__doc__ = f"{what} of `{self.__name__}`: ``{definition.name}{derived.__signature__}``."
        return derived

    @functools.cached_property
    def halves(self) -> tuple[Activation, ...]:
        """For a gated unit, the elementwise functions of both parts of `x` that make it up; else empty."""
        made = tuple(map(Activation, self.definition.parts))
        for number, part in enumerate(made):
            part.origin = (self, number)
        return made

    @overload
    def derivative(self, formula: _Function, /) -> _Function: ...

    @overload
    def derivative(self, formula: None = None, /, *, wrt: str) -> Callable[[_Function], _Function]: ...

    def derivative(self, formula: Callable[..., Any] | None = None, /, *, wrt: str = "x") -> Any:
        """State a derivative, where the automatic one would lose accuracy or overflow.

        It also holds where this activation is part of another formula, if that is defined afterwards.

        Parameters
        ----------
        formula : callable
            Takes what the definition takes and returns an expression.
        wrt : str, default "x"
            Name of the argument by which it is the derivative.

        Returns
        -------
        callable
            `formula`, so that this can be used as a decorator: ``@f.derivative`` or ``@f.derivative(wrt="alpha")``.
        """
        if formula is None:
            return functools.partial(self.derivative, wrt=wrt)
        kind = self.definition.kind
        if kind == "gated":
            raise TypeError(
                f"{self.__name__} splits an axis: state the derivatives of the functions that it is made of"
            )
        if kind != "elementwise":
            raise TypeError(f"{self.__name__} reduces over an axis: state its vjp with @{self.__name__}.cotangent")
        self._redefine(override_derivative(self.definition, wrt, formula), None)
        return formula

    def cotangent(self, formula: _Function) -> _Function:
        """State the vjp of a function over an axis.

        Parameters
        ----------
        formula : callable
            Takes what the definition takes and the cotangent as keyword `g`, and returns an expression.

        Returns
        -------
        callable
            `formula`, so that this can be used as a decorator.
        """
        if not self.definition.over_axis:
            raise TypeError(
                f"{self.__name__} is not over an axis: state its derivative with @{self.__name__}.derivative"
            )
        self._redefine(self.definition, formula)
        return formula

    def _redefine(self, definition: Definition, custom_vjp: Callable[..., Any] | None) -> None:
        """Take another definition, if it can be differentiated."""
        vjp = vector_jacobian_product(definition, custom_vjp)
        _ = vjp.computed(vjp.options)  # a mistake is told here, and changes nothing
        self.definition, self.custom_vjp = definition, custom_vjp
        self._plans, self._kernels = {}, {}
        for derived in (Activation.grad, Activation.vjp):
            derived.clear(self)

    # What a numpy.ufunc has beside its call.

    nout = 1
    identity = None
    at = ufunc_methods.at
    outer = ufunc_methods.outer
    reduce = ufunc_methods.reduce
    accumulate = ufunc_methods.accumulate
    reduceat = ufunc_methods.reduceat
    resolve_dtypes = ufunc_methods.resolve_dtypes

    @property
    def nin(self) -> int:
        """Number of arrays it can take: x and the numeric hyperparameters."""
        return len(self.definition.arguments)

    @property
    def nargs(self) -> int:
        """Number of inputs and outputs."""
        return self.nin + self.nout

    @property
    def signature(self) -> str | None:
        """Dimensions that each element is computed from, as of a generalised `numpy.ufunc`; None if elementwise."""
        return description.core_signature(self.definition)

    @property
    def types(self) -> list[str]:
        """Signatures by dtype character, as of a `numpy.ufunc`, with the default hyperparameters."""
        return description.types(self.definition)

    @property
    def ntypes(self) -> int:
        """Number of signatures."""
        return len(self.types)

    # Description.

    source = source.source

    @property
    def formula(self) -> str:
        """The formula that all backends compute, for the default options."""
        return description.formula_text(self.definition)

    @property
    def __signature__(self) -> inspect.Signature:
        return description.python_signature(self)

    def __repr__(self) -> str:
        return description.representation(self)

    # Copying, and what other libraries ask for.

    get_config = config.get_config

    @classmethod
    def from_config(cls, config_: Mapping[str, Any]) -> Activation:
        """Return the activation of what `get_config` returned."""
        made: Activation = config.from_config(cls, config_)
        return made

    @property
    def _numba_type_(self) -> Any:
        """What Numba asks for where a function that it compiles mentions this one."""
        from .backends.numpy.numba_extension import numba_type  # noqa: PLC0415

        return numba_type(self)

    __reduce__ = pickling.reduce

    def __copy__(self) -> Activation:
        return self

    def __deepcopy__(self, _memo: Any) -> Activation:
        return self
