"""Imports: which libraries are loaded when, what is public, and that no modules import each other."""

from __future__ import annotations

import ast
import graphlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from programs import run

import actufunc

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAVY = (
    *("numba", "llvmlite", "cupy", "torch", "jax", "dask", "tensorflow", "keras"),
    *("scipy", "mpmath", "rich", "matplotlib", "ml_dtypes"),
)


def test_import_is_light() -> None:
    loaded = run("import sys, actufunc; print(*sorted({name.partition('.')[0] for name in sys.modules}))").split()
    assert not set(HEAVY) & set(loaded)


def test_submodules_are_light() -> None:
    code = "import sys, actufunc.accuracy, actufunc.cli, actufunc._catalogue, actufunc.layers; print(*sys.modules)"
    assert not {"numba", "torch", "jax", "cupy"} & set(run(code).split())


def test_dir_shows_what_is_meant_to_be_used() -> None:
    shown = run("import actufunc, actufunc.accuracy, actufunc.cli; print(*dir(actufunc))").split()
    assert shown == sorted([*actufunc.__all__, "__version__", "accuracy", "activations", "formula"])


@pytest.mark.parametrize("name", ["", ".accuracy", ".cli", ".formula", ".layers.torch"])
def test_public_packages_say_what_is_public(name: str) -> None:
    if name.endswith("torch"):
        pytest.importorskip("torch")
    module = importlib.import_module(f"actufunc{name}")
    assert all(hasattr(module, each) for each in module.__all__)
    assert len(set(module.__all__)) == len(module.__all__)


def imported(name: str, node: ast.AST, modules: dict[str, Path]) -> Iterator[str]:
    """Yield the modules of ours that one imports, in functions too, but not for type checkers."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.Import):
            yield from (each.name for each in child.names)
        elif isinstance(child, ast.ImportFrom):
            package = name if modules[name].name == "__init__.py" else name.rpartition(".")[0]
            base = importlib.util.resolve_name("." * child.level + (child.module or ""), package)
            yield from (full if (full := f"{base}.{each.name}") in modules else base for each in child.names)
        else:
            yield from imported(name, child, modules)


def test_imports_run_one_way() -> None:
    root = Path(actufunc.__file__).parent
    modules = {}
    for file in root.rglob("*.py"):
        parts = file.relative_to(root.parent).with_suffix("").parts
        modules[".".join(part for part in parts if part != "__init__")] = file
    graph = {
        name: {each for each in imported(name, ast.parse(file.read_text("utf-8")), modules) if each in modules}
        for name, file in modules.items()
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which tells the modules of a circle


def test_numba_is_imported_only_where_interrupts_wait() -> None:
    """Ctrl-C during its import would leave it half imported."""
    code = "import sys, actufunc.backends.numpy.call; print(*sys.modules)"
    assert not {"numba", "llvmlite"} & set(run(code).split())


def test_numpy_arrays_load_no_other_library() -> None:
    names = ("torch", "jax", "tensorflow", "keras")
    out = run(
        f"import sys, numpy, actufunc; actufunc.sigmoid(numpy.ones(3)); print(*(n in sys.modules for n in {names}))"
    )
    assert out.split() == ["False"] * len(names)


def test_other_arrays_load_no_numba() -> None:
    code = """
        import sys, actufunc, array_api_strict as xp
        x = xp.asarray([1.0, 2.0])
        for function in actufunc._catalogue.ACTIVATIONS.values():
            function(x, **actufunc._catalogue.examples(function))
        print("numba" in sys.modules, "llvmlite" in sys.modules)
    """
    assert run(code).split() == ["False", "False"]


def test_kernels_are_cached_on_disk(tmp_path: Any) -> None:
    code = """
        import numpy, actufunc
        assert actufunc.sigmoid(numpy.zeros(3, "float32"))[0] == 0.5
        assert abs(actufunc.softmax(numpy.zeros(4))[0] - 0.25) == 0
    """
    run(code, NUMBA_CACHE_DIR=str(tmp_path))
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.kernel")}
    assert len(kept) == 2
    run(code, NUMBA_CACHE_DIR=str(tmp_path))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.kernel")} == kept


def test_fork_after_use() -> None:
    code = """
        import os, sys, numpy, actufunc
        x = numpy.linspace(-5, 5, 1000)
        before = actufunc.sigmoid(x)
        child = os.fork()
        if child == 0:
            fine = (actufunc.sigmoid(x) == before).all() and actufunc.gelu(x).shape == x.shape
            os._exit(0 if fine else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    """
    if sys.platform != "win32":
        run(code)
