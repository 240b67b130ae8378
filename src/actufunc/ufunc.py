"""The object a user holds: calls, derivatives, pickling."""

from __future__ import annotations

import functools
import inspect
import itertools
import sys
import warnings
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

from .described import Described
from .dispatch import evaluate
from .dynamo import Derived, has_tensor, is_read, unread
from .formula.definition import Definition, define, gradient, read, vector_jacobian_product, with_derivative
from .formula.expression import Expression, constant
from .plans import LARGE, TINY, UnplannedError, key_of, remember
from .protocol import Call, may_overlap

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from .plans import Plan

_ndarray = np.ndarray

NOT_GIVEN: Any = type("NotGiven", (), {"__repr__": lambda _: "<not given>", "__slots__": ()})()
"""Stands for `x` or `out` in a call that names neither: ``out=None`` says that what `where` leaves out is meant."""

_Function = TypeVar("_Function", bound="Callable[..., Any]")


class Activation(Described):
    """An activation function for every kind of array.

    Call it as a NumPy ufunc: ``f(x, *hyperparameters, out=None, where=True, dtype=None, casting="same_kind",
    order="K", subok=True)``. One over an axis takes ``axis=-1`` and of the others `out`, `where` and `dtype`, and
    ``keepdims=False`` if it reduces; a gated unit, which halves an axis, takes `axis`, `out` and `dtype`. It returns
    the kind of array that came in.

    Made by `actufunc.activation`.

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
    nin, nout, nargs, types, signature, identity :
        As of a `numpy.ufunc`.
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_arrays",
        "_kernels",
        "_last",
        "_plans",
        "_positional",
        "definition",
    )

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        # What computes small contiguous NumPy arrays and scalars, where there are no other arguments, by their dtype or
        # type; and all that was settled about earlier calls.
        self._kernels: dict[Any, Callable[..., Any]] = {}
        self._plans: dict[Hashable, tuple[Plan, tuple[int | str, ...] | None]] = {}
        self._arrays = len(definition.arrays) - 1
        # What may be given by position, `x` first; then how many after `x`, and the keyword that may follow them.
        self._positional = (*definition.arguments, *(name for name in definition.options if name != "wrt"))
        of_axis = definition.over_axis or definition.gated
        follows = "axis" if of_axis else "out" if self._positional == definition.arrays else None
        self._last = len(self._positional) - 1, follows
        self.__name__ = self.__qualname__ = definition.name
        self._parent: tuple[Activation, str | int] | None = None
        self._cotangent: Callable[..., Any] | None = None
        self._graph_node: Any = None

    # Calling.

    def __call__(self, x: Any = NOT_GIVEN, /, *args: Any, out: Any = NOT_GIVEN, **keywords: Any) -> Any:
        """Compute the activation."""
        # One element costs 0.25 us in the kernel, so that every attribute looked up here shows.
        if not args and not keywords:
            if type(x) is _ndarray:
                dtype = x.dtype
                kernel = self._kernels.get(dtype)
                if kernel is not None:
                    if out is NOT_GIVEN:
                        if (size := x.size) < TINY or (size < LARGE and x.flags.forc):
                            return kernel(x)
                    elif (
                        type(out) is _ndarray
                        and out.dtype is dtype
                        and out.ndim == x.ndim  # NumPy lets ones at the beginning of the shape pass
                        and (
                            (size := out.size) < TINY
                            or (size < LARGE and out.flags.c_contiguous and x.flags.c_contiguous)
                        )
                    ):
                        try:
                            return kernel(x, out)
                        except (TypeError, ValueError):  # said better elsewhere
                            pass
            elif out is NOT_GIVEN and (kernel := self._kernels.get(type(x))) is not None:
                return kernel(x)
        return self._go(x, args, keywords, out)

    def _go(self, x: Any, args: tuple[Any, ...], keywords: dict[str, Any], out: Any) -> Any:
        """Execute the plan of an earlier call like this one, or bind the arguments and find a backend."""
        if x is NOT_GIVEN:
            x = self._named_x(keywords)
        room, follows = self._last
        if (len(args) > room or "gate" in keywords) and follows:
            if self.definition.gated and self._has_gate(args, keywords):
                return self._of_halves(x, args, keywords, out)
            args, keywords, out = self._by_position(args, keywords, out)
        if out is NOT_GIVEN:
            out = None
            if "where" in keywords and keywords["where"] is not True:
                self._warn_of_rest()
        elif type(out) is tuple and len(out) == 1:
            (out,) = out
        kind = type(x)
        if kind is not _ndarray and is_read() and has_tensor(x, *args, *keywords.values()):
            self._make_graph_node()
            return self._graph_node(x, *args, **(keywords if out is None else {**keywords, "out": out}))
        try:
            key = key_of(x, args, keywords, out, self._arrays)
        except UnplannedError:
            key = None
        else:
            if (known := self._plans.get(key)) is not None:
                plan, places = known
                if places is None:
                    operands = (x, *args[: len(plan.names) - 1])
                else:
                    operands = tuple([keywords[i] if isinstance(i, str) else args[i - 1] if i else x for i in places])
                result = plan.execute(operands, out, keywords.get("where", True))
                if result is not NotImplemented:
                    return result
        result, call = self._checked(x, *args, **(keywords if out is None else {**keywords, "out": out}))
        if key is not None and call is not None and call.plan is not None:
            plan = call.plan
            names = self._positional[: len(args) + 1]
            places = tuple(names.index(name) if name in names else name for name in plan.names)
            remember(self._plans, key, (plan, None if places == tuple(range(len(places))) else places))
            if plan.kernel is not None and not args and not keywords:
                self._kernels[x.dtype if kind is _ndarray else kind] = plan.kernel
        return result

    def _named_x(self, keywords: dict[str, Any]) -> Any:
        """Take `x` out of the keywords."""
        if "x" not in keywords:
            raise TypeError(f"{self.__name__} needs 'x', the array to compute")
        return keywords.pop("x")

    def _warn_of_rest(self) -> None:
        """Warn as NumPy's ufuncs do of what `where` leaves out of a fresh result, though here it is no garbage."""
        if self.definition.kind == "elementwise":
            warnings.warn(
                f"'where' used without 'out': {self.__name__} gives 0 where it is false; use out=None to say so",
                UserWarning,
                stacklevel=4,
            )

    def _by_position(
        self, args: tuple[Any, ...], keywords: dict[str, Any], out: Any
    ) -> tuple[tuple[Any, ...], dict[str, Any], Any]:
        """Name the argument that follows those which have a place."""
        room, follows = self._last
        if len(args) <= room:
            return args, keywords, out
        if len(args) > room + 1:
            raise TypeError(f"{self.__name__} takes at most {room + 2} positional arguments, not {len(args) + 1}")
        if (follows == "out" and out is not NOT_GIVEN) or follows in keywords:
            raise TypeError(f"{self.__name__} got {follows!r} by position and by keyword")
        if follows == "out":
            return args[:room], keywords, args[room]
        return args[:room], {**keywords, "axis": args[room]}, out

    def _has_gate(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> bool:
        """Tell whether a gated unit is given its halves apart, ``f(x, gate)`` instead of ``f(joined, axis)``."""
        if "gate" in keywords:
            return True
        is_plain = self._positional == self.definition.arrays
        return is_plain and not isinstance(args[self._arrays], int | np.integer | str | tuple | None)

    def _of_halves(self, x: Any, args: tuple[Any, ...], keywords: dict[str, Any], out: Any) -> Any:
        """Compute a gated unit of two halves, its vjp by each of them."""
        keywords = dict(keywords)
        if "gate" in keywords:
            args = (keywords.pop("gate"), *args)
        outputs = (NOT_GIVEN,) * len(self.halves) if out is NOT_GIVEN or out is None else out
        if len(self.halves) == 1:
            return self.halves[0](x, *args, out=out, **keywords)
        if not isinstance(outputs, tuple) or len(outputs) != len(self.halves):
            raise ValueError(f"{self.__name__} of two halves has two results: out must be a tuple of two arrays")
        self._check_outputs(outputs, (x, *args))
        return tuple([half(x, *args, out=each, **keywords) for half, each in zip(self.halves, outputs, strict=True)])

    def _checked(self, x: Any, *args: Any, **keywords: Any) -> tuple[Any, Call | None]:
        """Bind the arguments and find a backend; return what was bound, too, if it is one call."""
        if isinstance(x, Expression):
            return self._inline(x, *args, **keywords), None
        if isinstance(wrt := keywords.get("wrt"), tuple | list):
            return self._by_several(tuple(wrt), x, *args, **keywords), None
        call = self._bind(x, *args, **keywords)
        return evaluate(call), call

    def _in_graph(self, *args: Any, **keywords: Any) -> Any:
        """Do the same for torch.compile: to look for earlier calls would fix numbers that are symbols there."""
        return self._checked(*args, **keywords)[0]

    @unread
    def _make_graph_node(self) -> None:
        """Make what torch.compile calls instead."""
        from .backends.autodiff import graph_node  # noqa: PLC0415

        if self._graph_node is None:
            self._graph_node = graph_node(self._in_graph)

    def _bind(self, *args: Any, **keywords: Any) -> Call:
        definition = self.definition
        names, positional = (*definition.arguments, *definition.options), self._positional
        if len(args) > len(positional):
            raise TypeError(f"{self.__name__} takes at most {len(positional)} positional arguments, not {len(args)}")
        given = dict(zip(positional, args, strict=False))
        own = self._keywords
        protocol: dict[str, Any] = {}
        for name, value in keywords.items():
            if name in given:
                raise TypeError(f"{self.__name__} got {name!r} by position and by keyword")
            if name in own:
                protocol[name] = value
            elif name in names[1:]:
                given[name] = value
            else:
                known = ", ".join([*names[1:], *own])
                raise TypeError(f"{self.__name__} got an unexpected keyword {name!r}; it knows {known}")
        values = {**definition.hyperparameters, **definition.options, **given}
        missing = [name for name in definition.arguments if values.get(name, _EMPTY) is _EMPTY]
        if missing:
            raise TypeError(f"{self.__name__} needs {' and '.join(map(repr, missing))}")
        for name in definition.options:
            if type(values[name]) not in _OPTIONS:
                raise TypeError(f"{self.__name__} takes {name}= as a string or the like, not {values[name]!r}")
        operands = {name: values[name] for name in definition.arguments}
        return Call(self, operands, {name: values[name] for name in definition.options}, protocol)

    def _by_several(self, names: tuple[Any, ...], /, *args: Any, out: Any = None, **keywords: Any) -> tuple[Any, ...]:
        """Differentiate by several arguments."""
        outputs = (None,) * len(names) if out is None else out
        if not isinstance(outputs, tuple) or len(outputs) != len(names):
            raise ValueError(
                f"{self.__name__} has {len(names)} results for wrt={names}: out must be a tuple of as many arrays"
            )
        self._check_outputs(outputs, (*args, *keywords.values()))
        given = zip(names, outputs, strict=True)
        return tuple(self(*args, **(keywords | {"wrt": name, "out": each})) for name, each in given)

    def _check_outputs(self, outputs: tuple[Any, ...], inputs: tuple[Any, ...]) -> None:
        """Raise ValueError where one result would overwrite what another is made of, or another."""
        if any(may_overlap(value, output) for output in outputs for value in inputs):
            raise ValueError(f"{self.__name__} cannot write several results over its inputs; give it other outputs")
        if any(may_overlap(*pair) for pair in itertools.combinations(outputs, 2)):
            raise ValueError(f"{self.__name__} cannot write several results to the same memory; give it other outputs")

    def _inline(self, x: Expression, *args: Any, **keywords: Any) -> Expression:
        """Put the formula in the place of a call inside another formula."""
        call = self._bind(x, *args, **keywords)
        if call.keywords:
            raise TypeError(f"inside a formula {self.__name__} takes no {', '.join(call.keywords)}")
        replacement = {name: constant(value) for name, value in call.operands.items()}
        return self.definition.trace(**call.options).substitute(replacement)

    # Derivatives.

    @Derived
    def grad(self) -> Activation:
        """Return the derivative by `x`, or by the hyperparameter that the keyword `wrt` names."""
        if self.definition.over_axis or self.definition.gated:
            raise AttributeError(f"the derivative of {self.__name__} is a matrix: use {self.__name__}.vjp(x, g)")
        return self._derived("grad", gradient(self.definition))

    @Derived
    def vjp(self) -> Activation:
        """``vjp(x, g)``: the product of the cotangent `g` with the derivative at `x`."""
        return self._derived("vjp", vector_jacobian_product(self.definition, self._cotangent))

    def _derived(self, attribute: str, definition: Definition) -> Activation:
        derived = Activation(definition)
        derived._parent = (self, attribute)
        what = "Derivative" if attribute == "grad" else "Vector-Jacobian product"
        derived.__doc__ = f"{what} of `{self.__name__}`: ``{definition.name}{derived.__signature__}``."
        return derived

    @functools.cached_property
    def halves(self) -> tuple[Activation, ...]:
        """For a gated unit, the elementwise functions of both halves of `x` that make it up; else empty."""
        made = tuple(map(Activation, self.definition.halves))
        for number, half in enumerate(made):
            half._parent = (self, number)  # noqa: SLF001
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
        self._restate(with_derivative(self.definition, wrt, formula), None)
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
        self._restate(self.definition, formula)
        return formula

    def _restate(self, definition: Definition, cotangent: Callable[..., Any] | None) -> None:
        """Take another definition, if it can be differentiated."""
        vjp = vector_jacobian_product(definition, cotangent)
        _ = vjp.expression(vjp.options)  # a mistake is told here, and changes nothing
        self.definition, self._cotangent = definition, cotangent
        self._plans.clear()
        self._kernels.clear()
        for derived in (Activation.grad, Activation.vjp):
            derived.forget(self)

    @property
    def _numba_type_(self) -> Any:
        """What Numba asks for where a function that it compiles mentions this one."""
        from .backends.numpy.extension import numba_type  # noqa: PLC0415

        return numba_type(self)

    # Copying.

    def __reduce__(self) -> Any:
        if self._parent is not None:
            parent, which = self._parent
            return (getattr, (parent, which)) if isinstance(which, str) else (_half, (parent, which))
        definition = self.definition
        module = sys.modules.get(self.__module__)
        # What another process cannot import travels as a formula; with options it is more than one formula.
        if definition.options or (self.__module__ != "__main__" and getattr(module, self.__name__, None) is self):
            return self.__qualname__
        cotangent = None if self._cotangent is None else self.vjp.definition.trace()
        named = (definition.name, self.__module__, self.__qualname__, self.__doc__)
        return _from_formula, (named, definition.hyperparameters, definition.trace(), cotangent)

    def __copy__(self) -> Activation:
        return self

    def __deepcopy__(self, _memo: Any) -> Activation:
        return self


def _half(gated: Activation, number: int) -> Activation:
    return gated.halves[number]


def _from_formula(named: tuple[Any, ...], hyperparameters: Any, formula: Expression, cotangent: Any) -> Activation:
    """Make an activation of a formula that was pickled."""
    name, module, qualname, doc = named
    made = Activation(define(name, hyperparameters, {}, lambda: formula))
    made.__module__, made.__qualname__, made.__doc__ = module, qualname, doc
    if cotangent is not None:
        made.cotangent(lambda **_: cotangent)
    return made


_OPTIONS = frozenset({bool, int, str, type(None)})

_EMPTY = inspect.Parameter.empty


def activation(function: Callable[..., Any], /) -> Activation:
    """Make an activation of a formula.

    Parameters
    ----------
    function : callable
        Takes ``x`` and, with defaults, hyperparameters; returns the formula, written with Python's operators, the
        functions of `actufunc.formula` and other activations. It is called once, with symbols, not with arrays.

    Returns
    -------
    Activation
        With the docstring of the function.

    Raises
    ------
    TypeError
        If the function does what a formula cannot: branch on an argument, call a function of another library, return
        something else than one expression.

    Examples
    --------
    >>> import numpy as np
    >>> from actufunc import activation, sigmoid
    >>> @activation
    ... def scaled_sigmoid(x, temperature=2.0):
    ...     return sigmoid(x / temperature)
    >>> scaled_sigmoid(np.array([-2.0, 0.0, 2.0]))
    array([0.26894142, 0.5       , 0.73105858])
    >>> scaled_sigmoid.grad(np.array([0.0]), temperature=1)
    array([0.25])
    """
    made = Activation(read(function))
    made.__doc__ = function.__doc__
    made.__module__ = function.__module__
    made.__qualname__ = function.__qualname__
    return made
