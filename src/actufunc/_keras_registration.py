"""Registration of our classes with Keras, which loads only registered classes from files of models.

An import hook registers them as soon as Keras is imported, so that `import actufunc` does not import Keras.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from importlib.abc import Loader, MetaPathFinder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_KERAS = "keras"
_FIRST_VERSION = 3


class _WhenImported(MetaPathFinder):
    """A finder that finds Keras by the finders after it, and lets its loader register our classes."""

    layers = ""
    """Module whose import registers them."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != _KERAS:
            return None
        # Finders before this one have been asked; two such finders that asked all others would recurse for ever.
        behind = [each for each in sys.meta_path[sys.meta_path.index(self) + 1 :] if hasattr(each, "find_spec")]
        spec = next((found for finder in behind if (found := finder.find_spec(name, path, target))), None)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Registering(spec.loader)
        return spec


class _Registering(Loader):
    """A loader that executes a module by another loader, then registers our classes.

    The other loader may be shared with other modules, and is put back in its place.
    """

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        if _FINDER in sys.meta_path:
            sys.meta_path.remove(_FINDER)
        try:
            _register(module)
        except Exception as error:  # noqa: BLE001 -- an error of ours must not fail the import of Keras
            warnings.warn(f"actufunc cannot register with Keras: {error}", ImportWarning, stacklevel=2)


_FINDER = _WhenImported()


def register(layers: str) -> None:
    """Import the module `layers`, whose classes register themselves, now if Keras is imported, else when it is."""
    _FINDER.layers = layers
    keras = sys.modules.get(_KERAS)
    if keras is not None:
        _register(keras)
    elif _FINDER not in sys.meta_path:  # it is there if this package is reloaded
        sys.meta_path.insert(0, _FINDER)


def _register(keras: Any) -> None:
    """Import the module of layers, unless Keras is too old."""
    if int(getattr(keras, "__version__", "0").partition(".")[0]) >= _FIRST_VERSION:
        importlib.import_module(_FINDER.layers)
