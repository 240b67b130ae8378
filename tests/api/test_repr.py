"""The repr of an activation is one line with its formula, at the prompt and in tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cases import Case, cases

from actufunc import activation, relu
from actufunc.formula import exp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actufunc import Activation

WIDTH = 80


def derived(function: Activation) -> Iterator[Activation]:
    """Yield a function and what is derived from it."""
    yield from (function, function.vjp, *function.halves)
    if function.definition.kind == "elementwise":
        yield from (function.grad, function.grad.vjp, function.grad.grad, function.grad.grad.grad)


def check(function: Activation) -> None:
    text = repr(function)
    assert text.isprintable()  # so that it is one line
    assert len(text) <= WIDTH
    whole = f"<activation {function.__name__}({', '.join(function.definition.arguments)}) = {function.formula}>"
    assert text == whole or (len(whole) > WIDTH and text.endswith("...>") and whole.startswith(text[:-4]))


@pytest.mark.parametrize("case", cases(), ids=repr)
def test_one_line(case: Case) -> None:
    for function in derived(case.function):
        check(function)


@activation
def a_function_whose_name_tells_all_that_it_does_to_its_argument_in_many_more_words(x: Any, slope: float = 1) -> Any:
    return slope * exp(x)


@activation
def dense(x: Any, a_first_hyperparameter: float = 1, a_second_hyperparameter: float = 2, a_third: float = 3) -> Any:
    return a_first_hyperparameter * x + a_second_hyperparameter * a_third


def test_names_of_any_length() -> None:
    for function in (
        a_function_whose_name_tells_all_that_it_does_to_its_argument_in_many_more_words,
        dense,
        activation(lambda x: relu(x) + 1),
    ):
        for each in derived(function):
            check(each)


def test_what_fits_is_whole() -> None:
    assert repr(relu) == "<activation relu(x) = maximum(x, 0)>"
