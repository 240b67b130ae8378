"""The object that a user holds: an activation, its calls and its derivatives."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

from ._calling.array_kinds import SCALARS
from ._calling.binding import bind, call_keywords, has_gate, pop_x, warn_where_without_out
from ._calling.function import NOT_GIVEN, Positions
from ._calling.plans import Plan, UncacheableError, cache_plan, kernel_key, key_of
from ._dispatch import plan
from ._interface import config, description, pickling, source, ufunc_methods
from ._interface.multiple_outputs import call_on_parts, partial_derivatives
from ._interface.torch_compile import cached_activation, constant_result, has_tensor, is_compiling
from .backends.numpy.fast_path import LARGE, TINY
from .formula.definition import Definition, gradient, override_derivative, vector_jacobian_product
from .formula.expression import Expression, constant

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable, Hashable

_ndarray = np.ndarray

_Function = TypeVar("_Function", bound="Callable[..., Any]")


class Activation:
    """An activation function for every kind of array.

    Call it as a NumPy ufunc: ``f(x, *hyperparameters, out=None, where=True, dtype=None, casting="same_kind",
    order="K", subok=True)``. One over an axis takes ``axis=-1`` and of the others `out`, `where` and `dtype`, and
    ``keepdims=False`` if it reduces; a gated unit, which splits an axis in two halves, takes `axis`, `out` and
    `dtype`. The result is an array of the kind of `x`. `actufunc.activation` makes one.

    Attributes
    ----------
    definition : Definition
        Formula, arguments and options.
    grad : Activation
        Derivative by `x`; ``grad(x, ..., wrt="alpha")`` is the derivative by a hyperparameter.
    vjp : Activation
        Product of the cotangent `g` with the derivative, ``vjp(x, g)``, in one pass; with several names in ``wrt``, a
        tuple of such products (over an axis, by `x` only). A product by a hyperparameter is not summed over the axes
        along which the hyperparameter was broadcast.

    Notes
    -----
    An elementwise activation is not an instance of `numpy.ufunc`, but has of its interface:

    ========================================  =========================================================================
    ``out``, ``where``, ``dtype``             as in NumPy
    ``casting``, ``order``, ``subok``         as in NumPy
    ``signature``, ``sig``                    as in NumPy; all inputs and the output have one dtype
    ``axes``, ``axis``, ``keepdims``          refused, as by NumPy's elementwise ufuncs
    ``nin``, ``nargs``                        hyperparameters, which may be arrays, are inputs
    ``types``, ``ntypes``                     for default hyperparameters, with integers if these are kept; no bfloat16
    ``nout``, ``identity``, ``signature``     1, None, None
    ``resolve_dtypes``                        as in NumPy; trailing hyperparameters can be omitted
    ``at``                                    as in NumPy, with the casts and errors of ``out=a``
    ``outer``                                 second operand: `g` of a vjp, `gate`, or the first hyperparameter
    ``reduce``, ``accumulate``, ``reduceat``  refused
    ========================================  =========================================================================
    """

    __slots__ = ("__dict__", "__weakref__", "_arity", "_kernels", "_plans", "definition", "positions")

    autograph_info__ = None
    """Attribute by which TensorFlow's AutoGraph does not rewrite the Python code of a call inside a tf.function."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.positions = Positions.of(definition)
        # True for a gated unit, the number of positional arguments, the number of arrays after x.
        self._arity = definition.gated, len(self.positions.names), len(definition.arrays) - 1
        # Kernels for small contiguous NumPy arrays and scalars, by the dtype or type of x, or by the key of a call with
        # more arguments; `Plan.cache_entry` of earlier calls, by their keys.
        self._kernels: dict[Any, Callable[..., Any]] = {}
        self._plans: dict[Hashable, tuple[Callable[..., Any], int, tuple[int | str, ...] | None]] = {}
        self.__name__ = self.__qualname__ = definition.name
        self.origin: tuple[Activation, str | int] | None = None
        self.custom_vjp: Callable[..., Any] | None = None
        self._graph_node: Any = None

    # Calling.

    def __call__(self, x: Any = NOT_GIVEN, /, *args: Any, out: Any = NOT_GIVEN, **keywords: Any) -> Any:
        """Compute the activation."""
        # The kernel takes 0.25 us for one element, so that each attribute lookup here counts.
        key: Any = None
        if type(x) is _ndarray:
            dtype = x.dtype
            of_kernel: Any = dtype
            if args or keywords:
                gated, room, arrays = self._arity
                if gated or len(args) >= room:
                    return self._normalise_arguments(x, args, keywords, out)
                try:
                    key = of_kernel = key_of(x, args, keywords, arrays)
                except UncacheableError:
                    return self._normalise_arguments(x, args, keywords, out)
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
                    except (TypeError, ValueError):  # the plan raises a clearer error
                        pass
        elif (  # torch.compile must not look into the dictionary, whose keys it cannot compare
            isinstance(x, SCALARS)
            and out is NOT_GIVEN
            and not args
            and not keywords
            and (kernel := self._kernels.get(type(x))) is not None
        ):
            return kernel(x)
        return self._normalise_arguments(x, args, keywords, out, key)

    def _normalise_arguments(
        self, x: Any, args: tuple[Any, ...], keywords: dict[str, Any], out: Any, key: Any = None
    ) -> Any:
        """Normalise the arguments: parts of a gated unit, positional `out` or `axis`, `out` as a tuple; compute."""
        if x is NOT_GIVEN:
            x = pop_x(self, keywords)
        gated, room, _ = self._arity
        if gated and (args or keywords) and has_gate(self, args, keywords):
            return call_on_parts(self, x, args, keywords, out)
        if len(args) >= room:
            args, keywords, out = self.positions.split(self.__name__, args, keywords, out)
        lacks_out = False
        if out is NOT_GIVEN:
            out, lacks_out = None, "where" in keywords and keywords["where"] is not True
        elif type(out) is tuple and len(out) == 1:
            (out,) = out
        if type(x) is not _ndarray and is_compiling() and has_tensor(x, *args, *keywords.values()):
            self._make_graph_node()
            return self._graph_node(x, *args, **(keywords if out is None else {**keywords, "out": out}))
        result = self.run(x, args, keywords, out, key)
        if lacks_out:
            warn_where_without_out(self)
        return result

    def run(self, x: Any, args: tuple[Any, ...], keywords: dict[str, Any], out: Any, key: Any = None) -> Any:
        """Execute the plan of an earlier call like this one, or else plan and execute."""
        if key is None:
            try:
                key = key_of(x, args, keywords, self._arity[2])
            except UncacheableError:
                return self._plan_and_run(x, *args, **(keywords if out is None else {**keywords, "out": out}))[0]
        full = key if out is None else (key, out.dtype if type(out) is _ndarray else type(out))
        plans, kernels = self._plans, self._kernels  # replaced if another thread sets a derivative meanwhile
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
        if made is not None and made.is_cacheable:
            cache_plan(plans, full, made.cache_entry(self.positions.names[: len(args) + 1]))
            if made.kernel is not None and (place := kernel_key(x, args, keywords, key)) is not None:
                cache_plan(kernels, place, made.kernel)
        return result

    def _plan_and_run(self, x: Any, /, *args: Any, **keywords: Any) -> tuple[Any, Plan | None]:
        """Bind the arguments, plan and execute; return the result, and the plan if one was made."""
        if isinstance(x, Expression):
            return self._inline(x, *args, **keywords), None
        if isinstance(wrt := keywords.get("wrt"), tuple | list):
            return partial_derivatives(self, tuple(wrt), x, *args, **keywords), None
        call = bind(self, x, *args, **keywords)
        made = plan(call)
        return made.run(call), made

    @constant_result
    def _make_graph_node(self) -> None:
        """Make the function that torch.compile calls as a node of its graph."""
        from .backends.autodiff import graph_node  # noqa: PLC0415

        if self._graph_node is None:
            # No look-up of earlier plans, which would specialise numbers that are symbolic there.
            self._graph_node = graph_node(lambda *args, **keywords: self._plan_and_run(*args, **keywords)[0])

    def _inline(self, x: Expression, /, *args: Any, **keywords: Any) -> Expression:
        """Return the formula, to be inlined at a call inside another formula."""
        call = bind(self, x, *args, **keywords)
        if call.keywords:
            raise TypeError(f"inside a formula {self.__name__} takes no {', '.join(call.keywords)}")
        replacement = {name: constant(value) for name, value in call.operands.items()}
        return self.definition.differentiable(**call.options).substitute(replacement)

    @functools.cached_property
    def call_keywords(self) -> dict[str, Any]:
        """Keywords of a call that are no hyperparameters or options, with their defaults."""
        return call_keywords(self.definition)

    # Derivatives.

    @cached_activation
    def grad(self) -> Activation:
        """Return the derivative by `x`, or by the hyperparameter that the keyword `wrt` names."""
        if self.definition.over_axis or self.definition.gated:
            raise AttributeError(f"the derivative of {self.__name__} is a matrix: use {self.__name__}.vjp(x, g)")
        return self._derived("grad", "Derivative", gradient(self.definition))

    @cached_activation
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
        """Elementwise functions of both parts of `x` that make up a gated unit; empty for others."""
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

        It also holds inside other formulas that are defined afterwards.

        Parameters
        ----------
        formula : callable
            Function of the arguments of the definition that returns an expression.
        wrt : str, default "x"
            Name of the argument by which it is the derivative.

        Returns
        -------
        callable
            The same `formula`, for use as a decorator: ``@f.derivative`` or ``@f.derivative(wrt="alpha")``.
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
            Function of the arguments of the definition, and of the cotangent as keyword `g`, that returns an
            expression.

        Returns
        -------
        callable
            The same `formula`, for use as a decorator.
        """
        if not self.definition.over_axis:
            raise TypeError(
                f"{self.__name__} is not over an axis: state its derivative with @{self.__name__}.derivative"
            )
        self._redefine(self.definition, formula)
        return formula

    def _redefine(self, definition: Definition, custom_vjp: Callable[..., Any] | None) -> None:
        """Replace the definition and the custom vjp; derivatives and plans are made anew."""
        vjp = vector_jacobian_product(definition, custom_vjp)
        _ = vjp.computed(vjp.options)  # a mistake raises here, before anything has changed
        self.definition, self.custom_vjp = definition, custom_vjp
        self._plans, self._kernels = {}, {}
        for derived in (Activation.grad, Activation.vjp):
            derived.clear(self)

    # Attributes and methods of a numpy.ufunc.

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
        """Number of inputs: arrays and numeric hyperparameters."""
        return len(self.definition.arguments)

    @property
    def nargs(self) -> int:
        """Number of inputs and outputs."""
        return self.nin + self.nout

    @property
    def signature(self) -> str | None:
        """Core dimensions, as of a generalised `numpy.ufunc`; None if elementwise."""
        return description.core_signature(self.definition)

    @property
    def types(self) -> list[str]:
        """Signatures by dtype character, as of a `numpy.ufunc`, for the default hyperparameters.

        bfloat16, which is computed as well, has none that NumPy knows.
        """
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

    # Copying, and attributes for other libraries.

    get_config = config.get_config

    from_config = classmethod(config.from_config)

    @property
    def importable(self) -> bool:
        """True if this is what its module has under its name."""
        return pickling.is_importable(self)

    @property
    def _numba_type_(self) -> Any:
        """Numba's type of this activation, for functions that Numba compiles."""
        from .backends.numpy.numba_extension import numba_type  # noqa: PLC0415

        return numba_type(self)

    __reduce__ = pickling.reduce

    def __copy__(self) -> Activation:
        return self

    def __deepcopy__(self, _memo: Any) -> Activation:
        return self
