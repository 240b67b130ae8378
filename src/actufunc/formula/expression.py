"""Expressions: what a definition yields when it is called with symbols.

An expression is an immutable node of a directed acyclic graph. Equal expressions are the same object, so a
subexpression that a formula mentions twice is stored, and later computed, once. Constants are Python numbers and have
no dtype: a backend gives them the dtype of its arrays. A `~decimal.Decimal` gives a constant more digits than a float
holds; backends that compute the argument of an exponential in extra precision use them.
"""

from __future__ import annotations

import decimal
import hashlib
import math
import operator
import threading
from decimal import Decimal
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias
from weakref import WeakValueDictionary

from .registry import OPERATIONS, Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Number: TypeAlias = bool | int | float | Decimal
Operand: TypeAlias = "Expression | Number"

# Decimals are computed with so many digits whatever the caller's context says.
DIGITS = decimal.Context(prec=60, traps=[])

_lock = threading.Lock()
_nodes: WeakValueDictionary[tuple[object, ...], Expression] = WeakValueDictionary()


def _refuse(message: str) -> Callable[..., NoReturn]:
    def method(_self: Expression, *_: object, **__: object) -> NoReturn:
        raise TypeError(message)

    return method


def _operator(operation: str) -> tuple[Callable[[Expression, Operand], Expression], ...]:
    """Return the methods of an operator whose left operand is this, and of one whose right operand is."""
    return lambda self, other: apply(operation, self, other), lambda self, other: apply(operation, other, self)


_operands = operator.attrgetter("operands")


class Expression:
    """One node: an operation applied to operands, an argument, or a constant.

    Attributes
    ----------
    operation : str
        Name from :mod:`actufunc.formula.operations`, or ``"argument"`` or ``"constant"``.
    operands : tuple of Expression
        What the operation is applied to.
    value : str, number or None
        Name of an argument, value of a constant, else None.
    """

    __slots__ = ("__weakref__", "operands", "operation", "value")

    operation: str
    operands: tuple[Expression, ...]
    value: Any

    def __init__(self, operation: str, operands: tuple[Expression, ...], value: object) -> None:
        self.operation, self.operands, self.value = operation, operands, value

    @property
    def record(self) -> Operation:
        """Record of the operation."""
        return OPERATIONS[self.operation]

    def __reduce__(self) -> tuple[object, ...]:
        # Not node by node, for a long formula would be a deep recursion.
        return from_rows, (self.rows(),)

    def rows(self) -> list[tuple[str, tuple[int, ...], Any]]:
        """Return operation, operands and value of every node, the operands by their numbers."""
        places: dict[Expression, int] = {}
        rows = []
        for node in self.nodes():
            rows.append((node.operation, tuple(places[operand] for operand in node.operands), node.value))
            places[node] = len(rows) - 1
        return rows

    # Arithmetic and comparisons.

    __add__, __radd__ = _operator("add")
    __sub__, __rsub__ = _operator("subtract")
    __mul__, __rmul__ = _operator("multiply")
    __truediv__, __rtruediv__ = _operator("divide")
    __lt__, __gt__ = _operator("less")
    __le__, __ge__ = _operator("less_equal")
    __eq__ = _operator("equal")[0]  # type: ignore[assignment]
    __ne__ = _operator("not_equal")[0]  # type: ignore[assignment]
    __hash__ = object.__hash__

    def __neg__(self) -> Expression:
        return apply("negative", self)

    def __pos__(self) -> Expression:
        return self

    def __abs__(self) -> Expression:
        return apply("absolute", self)

    def __pow__(self, exponent: object) -> Expression:
        if type(exponent) is not int or exponent < 1:
            raise TypeError("a formula can raise to a positive whole power only; write exp(p * log(x)) for others")
        power = self
        for bit in bin(exponent)[3:]:
            power = power * power
            if bit == "1":
                power = power * self
        return power

    def __bool__(self) -> NoReturn:
        raise TypeError(
            "a formula cannot branch on its arguments (if, and, or, max, ...); write where(condition, a, b) instead"
        )

    __float__ = __int__ = __index__ = __round__ = __array__ = _refuse(
        "a formula cannot pass its arguments to math or numpy functions; use those of actufunc.formula instead"
    )
    __getitem__ = __setitem__ = __iter__ = __len__ = __contains__ = _refuse(
        "a formula is about one element and cannot index, change or loop over it; write where(condition, a, b)"
    )
    __and__ = __rand__ = __or__ = __ror__ = __xor__ = __invert__ = _refuse(
        "a formula cannot combine conditions; nest them instead: where(a, where(b, x, y), y) for x if a and b else y"
    )
    __mod__ = __rmod__ = __floordiv__ = __rfloordiv__ = __matmul__ = __rmatmul__ = __rpow__ = _refuse(
        "a formula has only the operators +, -, *, /, ** and comparisons; write the rest with actufunc.formula"
    )

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        # A NumPy scalar on the left, as in np.sqrt(2) * x, asks so for the product.
        known = OPERATIONS.get(ufunc.__name__)
        if method == "__call__" and not keywords and known and known.infix and not known.condition:
            return apply(known.name, *(i.item() if hasattr(i, "item") else i for i in inputs))
        return self.__array__()

    # Walks over the graph.

    def nodes(self, followed: Callable[[Expression], tuple[Expression, ...]] = _operands) -> Iterator[Expression]:
        """Yield every node once, operands before what is made of them; of each, the operands that are `followed`."""
        seen: set[Expression] = set()
        stack = [(self, False)]
        while stack:
            node, ready = stack.pop()
            if ready:
                yield node
            elif node not in seen:
                seen.add(node)
                stack.append((node, True))
                stack.extend((operand, False) for operand in reversed(followed(node)))

    def arguments(self) -> set[str]:
        """Names of the arguments on which this depends."""
        return {node.value for node in self.nodes() if node.operation == "argument"}

    def substitute(self, values: Mapping[str, Operand]) -> Expression:
        """Put constants or other expressions in the place of arguments."""
        if self.operation == "constant":
            return self

        def leaf(node: Expression) -> Expression:
            return constant(values[node.value]) if node.value in values else node

        return self.rewritten(lambda node, operands: node.of(*operands), leaf)

    def of(self, *operands: Operand) -> Expression:
        """Apply the same operation to other operands."""
        return apply(self.operation, *operands)

    def rewritten(
        self,
        combine: Callable[[Expression, tuple[Any, ...]], Expression],
        leaf: Callable[[Expression], Expression] = lambda node: node,
    ) -> Expression:
        """Make another expression from the leaves up; see `fold`."""
        result: Expression = self.fold(leaf, combine)
        return result

    def fold(self, leaf: Callable[[Expression], Any], combine: Callable[[Expression, tuple[Any, ...]], Any]) -> Any:
        """Compute a value from the leaves up, once per node, and return that of this node.

        `leaf` gives the value of an argument; a constant stays what it is. `combine` gives that of a node from the node
        and the values of its operands.
        """
        values: dict[Expression, Any] = {}
        for node in self.nodes():
            if node.operation == "argument":
                values[node] = leaf(node)
            elif node.operation == "constant":
                values[node] = node
            else:
                values[node] = combine(node, tuple(values[operand] for operand in node.operands))
        return values[self]

    def fingerprint(self) -> str:
        """Return a digest that is the same for equal expressions in every process."""

        def digest(*parts: str) -> str:
            return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()

        def leaf(node: Expression) -> str:
            return digest(node.operation, type(node.value).__name__, repr(node.value))

        def combine(node: Expression, operands: tuple[Any, ...]) -> str:
            return digest(node.operation, *(leaf(o) if isinstance(o, Expression) else o for o in operands))

        return leaf(self) if is_constant(self) else str(self.fold(leaf, combine))

    def __repr__(self) -> str:
        return to_text(self)


def make_node(operation: str, operands: tuple[Expression, ...] = (), value: object = None) -> Expression:
    """Return the one node with this operation, these operands and this value."""
    # The repr tells 0.0 from -0.0 and lets NaN equal itself; the type tells 1 from 1.0 and from True.
    key = (operation, *(id(operand) for operand in operands), type(value), repr(value))
    with _lock:
        node = _nodes.get(key)
        if node is None:
            node = _nodes[key] = Expression(operation, operands, value)
    return node


def from_rows(rows: list[tuple[str, tuple[int, ...], object]]) -> Expression:
    """Make the last of some nodes, which refer to others by number."""
    made: list[Expression] = []
    for operation, places, value in rows:
        made.append(make_node(operation, tuple(made[place] for place in places), value))
    return made[-1]


def argument(name: str) -> Expression:
    """Return the symbol of an argument."""
    return make_node("argument", value=name)


def constant(value: object) -> Expression:
    """Return the node of a Python number."""
    if isinstance(value, Expression):
        return value
    if isinstance(value, bool | Decimal):
        return make_node("constant", value=value)
    if isinstance(value, Integral):
        return make_node("constant", value=int(value))
    if isinstance(value, Real):
        return make_node("constant", value=float(value))
    raise TypeError(
        f"a formula is made of its arguments and Python numbers, not of {type(value).__name__}; "
        "hyperparameters that are arrays are arguments of the formula"
    )


def is_constant(node: Expression, value: float | None = None) -> bool:
    """Return True if `node` is a constant; with `value`, if it is that one."""
    return node.operation == "constant" and (value is None or node.value == value)


def apply(operation: str, *operands: object) -> Expression:
    """Apply an operation, simplified where that changes no bit of any result."""
    nodes = tuple(constant(operand) for operand in operands)
    if operation == "with_derivatives":
        return make_node(operation, nodes)
    if OPERATIONS[operation].part and nodes[0].operation != "argument":
        raise TypeError("halves() takes the argument x itself; apply functions to the halves instead")
    numbers = nodes[1:] if operation == "where" else nodes
    if operation == "where" and not _is_truth(nodes[0]):
        raise TypeError("where() takes a condition first, such as x > 0")
    if any(map(_is_truth, numbers)):
        raise TypeError("a condition is no number in a formula; write where(condition, 1, 0)")
    simpler = _simplified(operation, nodes)
    return make_node(operation, nodes) if simpler is None else simpler


def _simplified(operation: str, nodes: tuple[Expression, ...]) -> Expression | None:
    """Return a simpler node with the same value for every input, NaN, infinity and signed zero included."""
    on_numbers = OPERATIONS[operation].operator
    if on_numbers is not None and operation != "divide" and all(is_constant(node) for node in nodes):
        with decimal.localcontext(DIGITS):
            return constant(on_numbers(*_alike([node.value for node in nodes])))
    match operation, nodes:
        case "multiply", (a, b) if is_constant(a, 1):
            return b
        case (("multiply" | "divide"), (a, b)) if is_constant(b, 1):
            return a
        case "multiply", (a, b) if is_constant(a, -1):
            return -b
        case (("multiply" | "divide"), (a, b)) if is_constant(b, -1):
            return -a
        case "subtract", (a, b) if is_constant(b, 0) and math.copysign(1, b.value) > 0:
            return a
        case "negative", (a,) if a.operation == "negative":
            return a.operands[0]
        case "negative", (a,) if a.operation == "multiply" and is_constant(a.operands[0]):
            return -a.operands[0] * a.operands[1]
        case "where", (condition, a, b) if a is b:
            return a
        case "where", (condition, a, b) if is_constant(condition):
            return a if condition.value else b
        case "rounded_once", (a,) if a.operation in {"argument", "constant", "rounded_once"}:
            return a
        case "damped", (a, b) if _damps_nothing(a, b):
            return a * b
    return None


def _damps_nothing(a: Expression, b: Expression) -> bool:
    """Return True if ``damped(a, b)`` is an ordinary product."""
    return is_constant(a, 1) or _is_ordinary(b) or (_is_ordinary(a) and not b.record.scaled_last)


def _alike(values: list[Any]) -> list[Any]:
    """Make Decimals of all values if there is one among them, as arithmetic on Decimals demands."""
    return [Decimal(value) for value in values] if any(isinstance(v, Decimal) for v in values) else values


def _is_truth(node: Expression) -> bool:
    return node.record.condition or isinstance(node.value, bool)


def _is_ordinary(node: Expression) -> bool:
    """Return True if a node is a constant, and neither zero nor infinite nor NaN."""
    return is_constant(node) and math.isfinite(node.value) and node.value != 0


_LONG = 400  # characters of an operand that are written out: shared subexpressions would make a text of any length


def to_text(expression: Expression) -> str:
    """Write an expression as one would type it."""

    def parenthesised(text: tuple[str, int], at_least: int) -> str:
        return text[0] if text[1] >= at_least else f"({text[0]})"

    def leaf(node: Expression) -> tuple[str, int]:
        return str(node.value), 100

    def combine(node: Expression, operands: tuple[Any, ...]) -> tuple[str, int]:
        texts = [(str(o.value), 100 if o.value >= 0 else 30) if isinstance(o, Expression) else o for o in operands]
        texts = [(text, strength) if len(text) < _LONG else ("...", 100) for text, strength in texts]
        operation = node.record
        if operation.infix:
            strength = operation.precedence
            left, right = parenthesised(texts[0], strength), parenthesised(texts[1], strength + 1)
            return f"{left}{operation.infix}{right}", strength
        if node.operation == "negative":
            return f"-{parenthesised(texts[0], 20)}", 15
        return f"{node.operation}({', '.join(text for text, _ in texts)})", 100

    if is_constant(expression):
        return str(expression.value)
    text: tuple[str, int] = expression.fold(leaf, combine)
    return text[0]
