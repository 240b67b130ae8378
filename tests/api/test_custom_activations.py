"""Activations that users define: where they are defined, pickling, derivatives, kernels on disk."""

from __future__ import annotations

import pickle
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from actufunc import activation, celu, formula, gelu, glu, mish, prelu, sigmoid, silu, softmax, softplus, tanh
from actufunc.accuracy import largest_error, reference, sample

if TYPE_CHECKING:
    from array_libraries import Library

X = np.linspace(-6, 6, 49)

DEFINITION = """
import numpy as np
from actufunc import activation, sigmoid
@activation
def calibrated(x, temperature=2.0, shift=0.0):
    "Sigmoid with a temperature."
    return sigmoid((x - shift) / temperature)

"""
USE = """
x = np.linspace(-3, 3, 7)
expected = 1 / (1 + np.exp(-(x - 1) / 2))
assert np.allclose(calibrated(x, shift=1), expected, rtol=1e-15), calibrated(x)
assert np.allclose(calibrated.grad(x, shift=1), expected * (1 - expected) / 2)
assert "logistic((x - shift)/temperature)" in calibrated.formula
assert calibrated.__doc__ == "Sigmoid with a temperature."
print("fine")
"""


def run(*arguments: str, text: str = "") -> str:
    """Run Python and return what it prints."""
    command = [sys.executable, "-W", "error", *arguments]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=120)  # noqa: S603
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_in_a_script_on_the_command_line_and_in_the_repl(tmp_path: Any) -> None:
    script = tmp_path / "script.py"
    script.write_text(DEFINITION + USE)
    assert "fine" in run(str(script))
    assert "fine" in run("-c", DEFINITION + USE)
    assert "fine" in run("-i", "-q", text=DEFINITION + USE)
    assert "fine" in run("-", text=DEFINITION + USE)


def test_in_a_module(tmp_path: Any) -> None:
    (tmp_path / "own.py").write_text(DEFINITION)
    code = f"""
        import sys, pickle
        sys.path.insert(0, {str(tmp_path)!r})
        import own
        from own import calibrated, np
        assert pickle.loads(pickle.dumps(calibrated)) is calibrated
        assert pickle.loads(pickle.dumps(calibrated.grad)) is calibrated.grad
    """
    assert "fine" in run("-c", textwrap.dedent(code) + USE)


def test_kernels_are_cached_on_disk_wherever_it_is_defined(tmp_path: Any) -> None:
    code = DEFINITION.replace("2.0", "2.0625") + textwrap.dedent("""
        import numba.core.caching as caching
        saved = []
        save = caching.FunctionCache.save_overload
        caching.FunctionCache.save_overload = lambda *a, **k: (saved.append(1), save(*a, **k))
        calibrated(np.zeros(3))
        print(len(saved))
    """)
    assert [run("-c", code).strip() for _ in range(2)][1] == "0"


def test_pickles_where_nobody_could_import_it(tmp_path: Any) -> None:
    """From __main__ and out of functions, into a process that has never seen the definition."""
    code = f"""
        import cloudpickle, pathlib, pickle
        for module in (pickle, cloudpickle):
            pickled = module.dumps([calibrated, calibrated.grad, calibrated.vjp])
            pathlib.Path({str(tmp_path)!r}, module.__name__).write_bytes(pickled)
    """
    run("-c", DEFINITION + textwrap.dedent(code))
    code = f"""
        import pathlib, pickle, numpy as np
        for module in ("pickle", "cloudpickle"):
            calibrated, grad, vjp = pickle.loads(pathlib.Path({str(tmp_path)!r}, module).read_bytes())
            assert grad(np.array([0.0])) == 0.125 == vjp(np.array([0.0]), np.array([1.0]))
    """
    assert "fine" in run("-c", textwrap.dedent(code) + textwrap.indent(USE, "    "))


def test_spawned_processes_compute_it(tmp_path: Any) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        DEFINITION
        + textwrap.dedent("""
        import multiprocessing
        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(pool.apply(calibrated, (np.array([0.0]),)))
        """)
    )
    assert run(str(script)).strip() == "[0.5]"


def test_a_local_one_pickles_with_its_derivatives() -> None:
    @activation
    def step(x: Any, slope: float = 3) -> Any:
        """Step with a surrogate gradient."""
        return formula.where(x > 0, 1, 0)

    @step.derivative
    def _(x: Any, slope: Any) -> Any:
        return slope * sigmoid(x) * sigmoid(-x)

    same = pickle.loads(pickle.dumps(step))  # noqa: S301
    assert repr(same) == repr(step)
    assert same.__doc__ == "Step with a surrogate gradient."
    np.testing.assert_array_equal(same(X), X > 0)
    np.testing.assert_allclose(same.grad(X, slope=2), 2 * sigmoid.grad(X), rtol=1e-15)
    # Another function of the same formula keeps its own derivative.
    other = activation(lambda x: formula.where(x > 0, 1, 0))
    np.testing.assert_array_equal(other.grad(X), 0)


def test_custom_derivatives_hold_inside_other_formulas() -> None:
    """What they avoid would come back: 0/0, cancellation, lost tails."""

    @activation
    def twice(x: Any) -> Any:
        return 2 * mish(x) + gelu(-x)

    @activation
    def scaled(x: Any, alpha: float = 0.7) -> Any:
        return celu(3 * x, alpha)

    points = sample("float64", 400)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(twice.grad(X), 2 * mish.grad(X) - gelu.grad(-X), rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(scaled.grad(points), 3 * celu.grad(3 * points, 0.7), rtol=1e-13)
        by_alpha = celu.grad(3 * points, 0.7, wrt="alpha")
        np.testing.assert_allclose(scaled.grad(points, wrt="alpha"), by_alpha, rtol=1e-13, atol=1e-30)
    assert largest_error(activation(lambda x: silu(2 * x)).grad, np.linspace(-700, -2, 300)).ulp < 3


def test_a_derivative_may_call_the_function_itself() -> None:
    @activation
    def logistic(x: Any) -> Any:
        return sigmoid(x)

    @logistic.derivative
    def _(x: Any) -> Any:
        return logistic(x) * logistic(-x)

    np.testing.assert_allclose(logistic.grad(X), sigmoid.grad(X), rtol=1e-15)
    np.testing.assert_allclose(logistic.grad.grad(X), sigmoid.grad.grad(X), rtol=1e-13, atol=1e-16)


def test_custom_derivatives_by_hyperparameters() -> None:
    @activation
    def scale(x: Any, gain: float = 2) -> Any:
        return gain * x

    @scale.derivative(wrt="gain")
    def _(x: Any, gain: Any) -> Any:
        return x + 100

    np.testing.assert_array_equal(scale.grad(X, wrt="gain"), X + 100)
    np.testing.assert_array_equal(scale.grad(X), np.full(X.shape, 2.0))
    with pytest.raises(ValueError, match="no argument 'slope'"):
        scale.derivative(wrt="slope")(lambda x, gain: x)
    with pytest.raises(TypeError, match="where"):
        scale.derivative(lambda x, gain: 1 if x > 0 else 0)


def test_several_derivatives_at_once(xp: Library) -> None:
    x, g = xp.asarray(X), xp.asarray(np.ones_like(X))
    both = softplus.vjp(x, g, 2.0, wrt=("x", "beta"))
    assert isinstance(both, tuple)
    for name, got in zip(("x", "beta"), both, strict=True):
        assert xp.is_array(got)
        np.testing.assert_allclose(xp.asnumpy(got), softplus.grad(X, 2.0, wrt=name), rtol=1e-12, atol=1e-14)
    (slope,) = prelu.grad(x, 0.25, wrt=("alpha",))
    np.testing.assert_array_equal(xp.asnumpy(slope), np.minimum(X, 0))


def test_outputs_of_several_derivatives() -> None:
    outputs = np.empty_like(X), np.empty_like(X)
    got = softplus.vjp(X, X, wrt=("x", "beta"), out=outputs)
    assert got[0] is outputs[0]
    assert got[1] is outputs[1]
    np.testing.assert_array_equal(got[1], softplus.vjp(X, X, wrt="beta"))
    with pytest.raises(ValueError, match="out must be a tuple of as many"):
        softplus.vjp(X, X, wrt=("x", "beta"), out=outputs[0])
    with pytest.raises(ValueError, match="no argument 'gamma'"):
        softplus.vjp(X, X, wrt=("x", "gamma"))


def test_a_mistake_in_a_derivative_changes_nothing() -> None:
    own = activation(lambda x: 3 * sigmoid(x))
    with pytest.raises(TypeError, match="Python numbers"):
        own.derivative(lambda x: np.sin)
    np.testing.assert_allclose(own.grad(X), 3 * sigmoid.grad(X), rtol=1e-14)
    for function, statement, words in (
        (softmax, "derivative", "@softmax.cotangent"),
        (glu, "derivative", "splits an axis"),
        (sigmoid, "cotangent", "@sigmoid.derivative"),
    ):
        with pytest.raises(TypeError, match=words):
            getattr(function, statement)(lambda x, g: x)


@pytest.mark.needs_library("torch")
def test_a_later_custom_derivative_holds_on_tensors() -> None:
    import torch

    own = activation(lambda x: x * x)

    def slope() -> float:
        x = torch.tensor(3.0, requires_grad=True)
        own(x).backward()
        return float(x.grad)

    assert slope() == slope() == 6
    own.derivative(lambda x: 100 * x)
    assert slope() == slope() == 300


def test_options_cannot_change_the_kind() -> None:
    @activation
    def either(x: Any, total: bool = False) -> Any:
        return formula.axis_sum(x) if total else x

    np.testing.assert_array_equal(either(X), X)
    with pytest.raises(TypeError, match="of another kind with other options"):
        either(X, total=True)


def test_value_and_derivatives_belong_together() -> None:
    """A notebook redefines what a formula refers to: the activation stays what it was."""
    helper: Any = formula.tanh
    gain = 5.0
    own = activation(lambda x: gain * helper(x))
    before = own(X), own.definition.differentiable()
    helper, gain = formula.exp, 6.0
    np.testing.assert_allclose(own.grad(X), 5 * tanh.grad(X), rtol=1e-15)
    np.testing.assert_allclose(own(X.astype("float32")), (5 * tanh(X.astype("float32"))), rtol=2e-7)
    assert own.definition.differentiable() is before[1]


def test_what_is_no_formula() -> None:
    with pytest.raises(TypeError, match="a function that has a name, not None"):
        activation(None)
    with pytest.raises(TypeError, match="has one already"):
        activation(lambda x, self=1: x)
    with pytest.raises(TypeError, match="both halve an axis and reduce"):
        activation(lambda x: softmax(glu(x)))


def test_long_formulas() -> None:
    def powers(x: Any) -> Any:
        y = x
        for i in range(2000):
            y = y * x + i
        return y

    own = activation(powers)
    assert pickle.loads(pickle.dumps(own)).definition.differentiable() is own.definition.differentiable()  # noqa: S301

    def squares(x: Any) -> Any:
        total = formula.axis_sum(x)
        for _ in range(60):
            total = total * total + 1  # as a tree, two to the power of sixty
        return x / total

    assert activation(squares).definition.over_axis


def test_outputs_over_the_inputs_of_several_derivatives() -> None:
    x, other = X.copy(), np.empty_like(X)
    expected = softplus.vjp(X, X, wrt=["x", "beta"])
    softplus.vjp(x, X, wrt=["x", "beta"], out=(x, other))
    np.testing.assert_array_equal((x, other), expected)
    out = np.empty_like(x)
    with pytest.raises(ValueError, match="to the same memory"):
        softplus.vjp(x, X, wrt=["x", "beta"], out=(out, out[::-1]))


def test_derivatives_are_one_object_for_all_threads() -> None:
    for _ in range(30):
        own = activation(lambda x: x * sigmoid(x))
        start, found = threading.Barrier(4), []

        def look(own: Any = own, start: Any = start, found: Any = found) -> None:
            start.wait()
            found.append(own.grad)

        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(map(id, found))) == 1


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_softplus_by_beta_in_both_tails(beta: float) -> None:
    """It is minus an entropy, which the two terms of the quotient rule lose."""
    x = np.concatenate([np.linspace(-300, 300, 61), [0.0, -1e3, 1e3]]) / beta
    exact = reference(softplus.grad, x, beta=beta, wrt="beta").astype("float64")
    np.testing.assert_allclose(softplus.grad(x, beta, wrt="beta"), exact, rtol=3e-15, atol=1e-300)
    np.testing.assert_array_equal(softplus.grad(np.array([np.inf, -np.inf]), beta, wrt="beta"), 0)
