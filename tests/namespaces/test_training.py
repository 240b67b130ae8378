"""Models that learn to read handwritten digits, written once for every array library.

Backpropagation is by hand, with the derivatives of the activations. Everything is float64, the data, the split and the
initial weights are fixed, so that all libraries have to arrive at the same weights.
"""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pytest
from array_libraries import Library, load

import actufunc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Numbers = np.ndarray[Any, Any]

WITH_GPU = ["numpy", "torch", "jax", pytest.param("cupy", marks=pytest.mark.needs_gpu)]
CLASSES = 10
SIDE = 8  # images are 8 x 8
TRAINING = 1408  # images, the other 389 are held out
BATCH = 128

# Libraries add up in different orders: results differ by rounding errors, which training lets grow. Measured after
# training: 3e-13 for the LSTM and 2e-14 for the others. An error beyond rounding anywhere would show.
TOLERANCE = 1e-9


class Model(Protocol):
    """What is trained: a loss of weights, and its gradient by hand."""

    def weights(self, generator: np.random.Generator) -> list[Numbers]:
        """Return initial weights."""

    def scores(self, weights: list[Any], x: Any) -> Any:
        """Return the logits of images of shape (n, 8, 8)."""

    def gradients(self, weights: list[Any], x: Any, by_scores: Callable[[Any], Any]) -> list[Any]:
        """Return the gradients by the weights of a loss whose gradient by the scores is `by_scores` of them."""


@dataclass(frozen=True)
class Logistic:
    """Multinomial logistic regression."""

    def weights(self, generator: np.random.Generator) -> list[Numbers]:
        return [_random(generator, SIDE * SIDE, CLASSES), np.zeros(CLASSES)]

    def scores(self, weights: list[Any], x: Any) -> Any:
        xp = actufunc.array_namespace(x)
        w, b = weights
        return xp.matmul(_flat(xp, x), w) + b

    def gradients(self, weights: list[Any], x: Any, by_scores: Callable[[Any], Any]) -> list[Any]:
        xp = actufunc.array_namespace(x)
        g = by_scores(self.scores(weights, x))
        return [xp.matmul(_flat(xp, x).T, g), xp.sum(g, axis=0)]


@dataclass(frozen=True)
class TwoLayers:
    """A hidden layer with an activation of that name."""

    activation: str
    width: int = 32

    def weights(self, generator: np.random.Generator) -> list[Numbers]:
        return [
            _random(generator, SIDE * SIDE, self.width),
            np.zeros(self.width),
            _random(generator, self.width, CLASSES),
            np.zeros(CLASSES),
        ]

    def scores(self, weights: list[Any], x: Any) -> Any:
        xp = actufunc.array_namespace(x)
        w1, b1, w2, b2 = weights
        hidden = getattr(xp, self.activation)(xp.matmul(_flat(xp, x), w1) + b1)
        return xp.matmul(hidden, w2) + b2

    def gradients(self, weights: list[Any], x: Any, by_scores: Callable[[Any], Any]) -> list[Any]:
        xp = actufunc.array_namespace(x)
        activation = getattr(xp, self.activation)
        w1, b1, w2, b2 = weights
        z = xp.matmul(_flat(xp, x), w1) + b1
        hidden = activation(z)
        g = by_scores(xp.matmul(hidden, w2) + b2)
        by_z = activation.vjp(z, xp.matmul(g, w2.T))
        return [
            xp.matmul(_flat(xp, x).T, by_z),
            xp.sum(by_z, axis=0),
            xp.matmul(hidden.T, g),
            xp.sum(g, axis=0),
        ]


@dataclass(frozen=True)
class LSTM:
    """Long short-term memory that reads an image row by row, and a layer on its last state."""

    width: int = 32

    def weights(self, generator: np.random.Generator) -> list[Numbers]:
        gates = [_random(generator, SIDE + self.width, self.width) for _ in range(4)]
        bias = np.zeros((4, 1, self.width))
        bias[1] = 1  # remember, at first
        return [np.stack(gates), bias, _random(generator, self.width, CLASSES), np.zeros(CLASSES)]

    def scores(self, weights: list[Any], x: Any) -> Any:
        xp = actufunc.array_namespace(x)
        state = self._read(weights, x)[-1].state
        return xp.matmul(state, weights[2]) + weights[3]

    def gradients(self, weights: list[Any], x: Any, by_scores: Callable[[Any], Any]) -> list[Any]:
        xp = actufunc.array_namespace(x)
        steps = self._read(weights, x)
        w, b, w_out, b_out = weights
        g = by_scores(xp.matmul(steps[-1].state, w_out) + b_out)
        by_w, by_b = xp.zeros_like(w), xp.zeros_like(b)
        by_state, by_cell = xp.matmul(g, w_out.T), 0.0
        for step in reversed(steps):
            let_in, keep, let_out = xp.unstack(step.gates)
            by_cell = by_cell + actufunc.tanh.vjp(step.cell, by_state * let_out)
            by_gates = xp.stack([by_cell * step.new, by_cell * step.before, by_state * step.squashed])
            by_gates = by_gates * xp.sigmoid.grad(step.z[:3, ...])
            by_new = actufunc.tanh.vjp(step.z[3:, ...], xp.expand_dims(by_cell * let_in, axis=0))
            by_z = xp.concat([by_gates, by_new])
            by_w = by_w + xp.matmul(step.inputs.T, by_z)
            by_b = by_b + xp.sum(by_z, axis=1, keepdims=True)
            by_state = xp.sum(xp.matmul(by_z, xp.matrix_transpose(w)), axis=0)[:, SIDE:]
            by_cell = by_cell * keep
        return [by_w, by_b, xp.matmul(steps[-1].state.T, g), xp.sum(g, axis=0)]

    def _read(self, weights: list[Any], x: Any) -> list[_Step]:
        xp = actufunc.array_namespace(x)
        w, b = weights[:2]
        state = cell = xp.zeros((x.shape[0], self.width), dtype=x.dtype)
        steps = []
        for row in xp.unstack(x, axis=1):
            inputs = xp.concat([row, state], axis=1)
            z = xp.matmul(inputs, w) + b
            gates, new = xp.sigmoid(z[:3, ...]), actufunc.tanh(z[3, ...])
            let_in, keep, let_out = xp.unstack(gates)
            before, cell = cell, keep * cell + let_in * new
            squashed = actufunc.tanh(cell)
            state = let_out * squashed
            steps.append(_Step(inputs, z, gates, new, before, cell, squashed, state))
        return steps


@dataclass(frozen=True)
class _Step:
    """What one step of the LSTM computed; gates are those to let in, to keep and to let out."""

    inputs: Any
    z: Any
    gates: Any
    new: Any
    before: Any
    cell: Any
    squashed: Any
    state: Any


MODELS = (Logistic(), TwoLayers("gelu"), TwoLayers("silu"), LSTM())


def loss(model: Model, weights: list[Any], x: Any, truth: Any) -> Any:
    """Return the mean cross-entropy; the truth is one-hot."""
    xp = actufunc.array_namespace(x)
    return -xp.sum(truth * xp.log_softmax(model.scores(weights, x))) / x.shape[0]


def gradients(model: Model, weights: list[Any], x: Any, truth: Any) -> list[Any]:
    """Return the gradients of the loss by the weights."""
    xp = actufunc.array_namespace(x)
    return model.gradients(weights, x, lambda scores: xp.log_softmax.vjp(scores, -truth / x.shape[0]))


def train(model: Model, weights: list[Any], x: Any, truth: Any, *, epochs: int, rate: float) -> list[Any]:
    """Return the weights after some epochs of Adam with a rate that falls to zero."""
    xp = actufunc.array_namespace(x)
    batches = [(x[i : i + BATCH, ...], truth[i : i + BATCH, ...]) for i in range(0, x.shape[0], BATCH)] * epochs
    first = second = [xp.zeros_like(w) for w in weights]
    for step, batch in enumerate(batches, 1):
        slopes = gradients(model, weights, *batch)
        first = [0.9 * m + 0.1 * g for m, g in zip(first, slopes, strict=True)]
        second = [0.99 * v + 0.01 * g * g for v, g in zip(second, slopes, strict=True)]
        size = rate * (1 - step / len(batches)) / (1 - 0.9**step)
        scale = 1 / (1 - 0.99**step)
        weights = [w - size * m / (xp.sqrt(scale * v) + 1e-6) for w, m, v in zip(weights, first, second, strict=True)]
    return weights


def _asnumpy(library: Library, array: Any) -> Numbers:
    return array.detach().cpu().numpy() if library.name == "torch" else library.asnumpy(array)


def _random(generator: np.random.Generator, rows: int, columns: int) -> Numbers:
    return generator.normal(size=(rows, columns)) / np.sqrt(rows)


def _flat(xp: Any, x: Any) -> Any:
    return xp.reshape(x, (x.shape[0], SIDE * SIDE))


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Keep torch from handing out these small matrices to threads, which takes it longer than to compute."""
    if importlib.util.find_spec("torch") is None:
        yield
        return
    torch = importlib.import_module("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@functools.cache
def digits() -> tuple[Numbers, Numbers]:
    """Return the images, scaled to [0, 1], and their digits, in a fixed random order."""
    data = importlib.import_module("sklearn.datasets").load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    return data.images[order] / 16, data.target[order]


@functools.cache
def trained(model: Model, name: str) -> tuple[list[Numbers], Numbers]:
    """Train with a library; return the weights and the probabilities of the held-out images."""
    library = load(name)
    images, numbers = digits()
    x, truth = library.asarray(images), library.asarray(np.eye(CLASSES)[numbers])
    xp = actufunc.array_namespace(x)
    weights = [library.asarray(w) for w in model.weights(np.random.default_rng(1))]
    weights = train(model, weights, x[:TRAINING, ...], truth[:TRAINING, ...], epochs=10, rate=0.06)
    assert all(library.is_array(w) and w.dtype == xp.float64 for w in weights)
    probabilities = xp.softmax(model.scores(weights, x[TRAINING:, ...]))
    return [_asnumpy(library, w) for w in weights], _asnumpy(library, probabilities)


@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize("name", WITH_GPU)
def test_learns_to_read_digits(model: Model, name: str) -> None:
    _, probabilities = trained(model, name)
    np.testing.assert_allclose(np.sum(probabilities, axis=1), 1, rtol=1e-14)
    assert np.mean(np.argmax(probabilities, axis=1) == digits()[1][TRAINING:]) > 0.95


@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize("name", WITH_GPU[1:])
def test_same_weights_as_with_numpy(model: Model, name: str) -> None:
    weights, probabilities = trained(model, name)
    expected, expected_probabilities = trained(model, "numpy")
    for w, e in zip(weights, expected, strict=True):
        np.testing.assert_allclose(w, e, rtol=TOLERANCE, atol=TOLERANCE)
    np.testing.assert_allclose(probabilities, expected_probabilities, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize("name", ["torch", "jax"])
def test_gradient_by_hand_is_that_of_autograd(model: Model, name: str) -> None:
    library = load(name)
    images, numbers = digits()
    x, truth = library.asarray(images[:BATCH]), library.asarray(np.eye(CLASSES)[numbers[:BATCH]])
    weights = [library.asarray(w) for w in model.weights(np.random.default_rng(1))]
    by_hand = gradients(model, weights, x, truth)
    if name == "torch":
        leaves = [w.requires_grad_() for w in weights]
        automatic = library.module.autograd.grad(loss(model, leaves, x, truth), leaves)
    else:
        automatic = importlib.import_module("jax").grad(lambda w: loss(model, w, x, truth))(weights)
    for manual, other in zip(by_hand, automatic, strict=True):
        np.testing.assert_allclose(_asnumpy(library, manual), _asnumpy(library, other), rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_models_use_the_standard_only(model: Model) -> None:
    """One step with the library that offers nothing beyond the array API gives NumPy's gradients."""
    strict, numpy = load("array_api_strict"), load("numpy")
    images, numbers = digits()
    results = []
    for library in (strict, numpy):
        x, truth = library.asarray(images[:BATCH]), library.asarray(np.eye(CLASSES)[numbers[:BATCH]])
        weights = [library.asarray(w) for w in model.weights(np.random.default_rng(1))]
        results.append([_asnumpy(library, g) for g in gradients(model, weights, x, truth)])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-15)
