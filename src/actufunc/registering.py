"""Keras reads from files of models only classes that are registered with it: ours are, as soon as it is imported."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_KERAS = "keras"
_FIRST_VERSION = 3


class _WhenImported(MetaPathFinder):
    """Finds Keras as it would be found without this, and has it register our classes after it has been executed."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != _KERAS:
            return None
        others = (finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec"))
        spec = next((found for finder in others if (found := finder.find_spec(name, path, target))), None)
        if spec is not None and spec.loader is not None and hasattr(spec.loader, "exec_module"):
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                sys.meta_path.remove(self)
                _register(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def register() -> None:
    """Register with Keras now, or when somebody imports it."""
    keras = sys.modules.get(_KERAS)
    if keras is None:
        sys.meta_path.insert(0, _WhenImported())
    else:
        _register(keras)


def _register(keras: Any) -> None:
    if int(getattr(keras, "__version__", "0").partition(".")[0]) < _FIRST_VERSION:
        return
    from .layers.keras import Activation as Layer  # noqa: PLC0415
    from .ufunc import Activation  # noqa: PLC0415

    keras.saving.register_keras_serializable("actufunc")(Activation)
    keras.saving.register_keras_serializable("actufunc.layers")(Layer)
