"""Keras on its three backends: layers are built, fitted, saved, loaded and cloned, with learned hyperparameters."""

from __future__ import annotations

from pathlib import Path

import pytest
from programs import outcome

pytestmark = pytest.mark.needs_library("keras")

BACKENDS = ("tensorflow", "torch", "jax")


def run(backend: str, *code: str) -> None:
    """Run a program in a process of its own, for the backend is chosen when Keras is imported."""
    environment = {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"}
    status, _, err = outcome(*code, **environment)
    assert status == 0, err


LEARNING = """
    import sys
    import actufunc
    from actufunc import activation, prelu, sigmoid, silu, softmax, swiglu, tanh
    assert "keras" not in sys.modules
    import keras, numpy as np, pytest, warnings
    from actufunc.layers.keras import Activation
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", ".*doesn't accept a copy keyword", DeprecationWarning)  # of Keras's own variables
    folder = sys.argv[-1]
    x = np.random.default_rng(0).normal(size=(32, 6)).astype("float32")

    @activation
    def calibrated(x, temperature=1.0, shift=0.0):
        return sigmoid((x - shift) / temperature)

    inputs = keras.Input((6,))
    layers = [
        keras.layers.Dense(8, activation=actufunc.gelu),
        keras.layers.Activation(actufunc.mish),
        lambda x: silu(x, beta=2.0),
        swiglu,
        keras.layers.Dense(4, activation=Activation(silu, beta=1.5, learn="beta")),
        Activation(prelu, alpha=[0.1, 0.2, 0.3, 0.4], learn="alpha"),
        Activation(calibrated, learn=("temperature", "shift"), shift=0.5),
        Activation(softmax, axis=-1),
        keras.layers.Activation(tanh.grad),
        keras.layers.Dense(1),
    ]
    outputs = inputs
    for layer in layers:
        outputs = layer(outputs)
    model = keras.Model(inputs, outputs)
    model.compile("adam", "mse")
    before = {weight.path: weight.numpy() for weight in model.weights}
    names = [path.partition("/")[2] for path in before]
    assert sorted(names) == sorted(["beta", "alpha", "temperature", "shift"] + ["kernel", "bias"] * 3)
    model.fit(x, x[:, :1], epochs=2, verbose=0)
    unchanged = [w.path for w in model.weights if np.any(w.numpy() == before[w.path])]
    assert not unchanged, unchanged
    expected = model.predict(x, verbose=0)
    assert np.isfinite(expected).all()
    model.save(f"{folder}/model.keras")
    for again in (keras.models.load_model(f"{folder}/model.keras"), keras.models.clone_model(model)):
        again.set_weights(model.get_weights())
        np.testing.assert_array_equal(again.predict(x, verbose=0), expected)
    np.savez(f"{folder}/expected.npz", x=x, expected=expected)

    # The gradient by a hyperparameter is that of the function.
    layer = Activation(calibrated, learn="temperature", temperature=2.0)
    model = keras.Sequential([keras.Input((6,)), layer])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    model.fit(x, np.zeros_like(x), batch_size=32, verbose=0)
    slope = 2 * np.mean(calibrated(x, 2.0) * calibrated.grad(x, 2.0, wrt="temperature"))
    np.testing.assert_allclose(2.0 - layer.temperature.numpy(), slope, rtol=1e-4)

    # Half the precision.
    half = Activation(calibrated, learn="temperature", dtype="mixed_float16")
    assert keras.backend.standardize_dtype(half(x).dtype) == "float16"
    assert half.temperature.dtype == "float32"

    # What is refused.
    for message, call in {
        "takes a symbolic tensor of Keras for x alone, not for g": lambda: softmax.vjp(inputs, inputs),
        "takes a symbolic tensor of Keras for x alone, not for alpha": lambda: prelu(inputs, inputs),
        "sigmoid got Dense for x, which is no array": lambda: sigmoid(layers[0]),
        "silu has no hyperparameter 'alpha' to learn; it has beta": lambda: Activation(silu, learn="alpha"),
        "would no longer learn beta": lambda: silu(inputs, beta=keras.Variable(2.0)),
        "takes no dtype= with a symbolic tensor": lambda: silu(inputs, dtype="float64"),
        "takes beta as a number or a tensor, not str": lambda: Activation(silu, beta="x"),
        "a layer of silu has no 'out'": lambda: Activation(silu, out=None),
        "an activation of one array": lambda: Activation(silu.vjp),
    }.items():
        with pytest.raises(TypeError, match=message):
            call()
"""

EVERY_FUNCTION = """
    from cases import ELEMENTWISE, cases, representatives
    x = np.linspace(-2.5, 3, 24).reshape(4, 6).astype("float32")
    inputs = keras.Input((6,))
    chosen = cases()
    if keras.backend.backend() != "tensorflow":  # values on torch's and JAX's arrays have tests of their own
        chosen = representatives(chosen)
    outputs = {
        repr(case): keras.layers.Dense(6, activation=case.function, kernel_initializer="identity")(inputs)
        if case in ELEMENTWISE and not case.keywords
        else case(inputs)
        for case in chosen
    }
    model = keras.Model(inputs, outputs)
    again = keras.Model.from_config(model.get_config())
    for result in (model.predict(x, verbose=0), again.predict(x, verbose=0)):
        for case in chosen:
            with np.errstate(all="ignore"):
                expected = case(x)
            np.testing.assert_allclose(result[repr(case)], expected, rtol=2e-5, atol=2e-6, err_msg=repr(case))
            assert outputs[repr(case)].shape == (None, *expected.shape[1:])
"""


README = """
    import os, pathlib, re
    os.mkdir(f"{folder}/readme")
    os.chdir(f"{folder}/readme")
    text = pathlib.Path({path!r}).read_text()
    (code,) = re.findall(r"^```python\\n([^`]*actufunc.layers.keras.*?)^```$", text, re.MULTILINE | re.DOTALL)
    names = {"__name__": "__main__"}
    exec(code, names)
    assert names["model"].layers[-1].temperature.numpy() != 2
"""

LOADING = """
    import sys
    {imports}
    import numpy as np
    folder = sys.argv[-1]
    kept = np.load(f"{folder}/expected.npz")
    model = keras.models.load_model(f"{folder}/model.keras")
    np.testing.assert_array_equal(model.predict(kept["x"], verbose=0), kept["expected"])
    assert model.layers[1].activation is actufunc.gelu
    assert not [finder for finder in sys.meta_path if type(finder).__module__.startswith("actufunc")]
"""


IMPORTS = dict(
    zip(
        BACKENDS,
        (
            "import keras, actufunc",
            "import actufunc, keras",
            "from actufunc.layers.keras import Activation; import actufunc, keras",
        ),
        strict=True,
    )
)


@pytest.mark.parametrize("backend", BACKENDS)
def test_keras(backend: str, tmp_path: Path) -> None:
    folder = f"import sys; sys.argv.append({str(tmp_path)!r})\n"
    readme = Path(__file__).parents[2] / "README.md"
    run(backend, folder, LEARNING, EVERY_FUNCTION, README.replace("{path!r}", repr(str(readme))))
    run(backend, folder, LOADING.replace("{imports}", IMPORTS[backend]))
