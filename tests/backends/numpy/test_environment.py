"""The digest of what kernels depend on (versions, settings, sources) tells stale kernels from valid ones."""

from __future__ import annotations

import ast
import shutil
import zipfile
from importlib.util import find_spec, resolve_name
from pathlib import Path
from types import SimpleNamespace

from programs import run

import actufunc
from actufunc.backends.numpy.jit import environment

PACKAGE = Path(actufunc.__file__).parent

TOUCH = """
    import pathlib
    from actufunc.backends.numpy.jit import environment
    def digest():
        environment.digest.cache_clear()
        return environment.digest()
    before = digest()
    for name in environment.sources():
        path = pathlib.Path(__import__("sys").modules[name].__file__ if name in __import__("sys").modules
                            else __import__("importlib.util").util.find_spec(name).origin)
        content = path.read_bytes()
        path.write_bytes(content + b"# touched\\n")
        assert digest() != before, name
        path.write_bytes(content)
        assert digest() == before
        print(name)
"""


def imported(name: str) -> set[str]:
    """Return the modules of the package that a module imports when it runs, found by parsing it."""
    spec = find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    package = name if spec.submodule_search_locations else name.rpartition(".")[0]
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    for_types = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    left_out = {node for branch in for_types for node in ast.walk(branch)}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node not in left_out:
            base = resolve_name("." * node.level + (node.module or ""), package)
            candidates = [base, *(f"{base}.{alias.name}" for alias in node.names)]
            folder = PACKAGE.parent.joinpath(*base.split("."))
            found |= {
                each for each in candidates if each == base or (folder / f"{each.rpartition('.')[2]}.py").exists()
            }
        elif isinstance(node, ast.Import) and node not in left_out:
            found |= {alias.name for alias in node.names}
    return {each for each in found if each.startswith("actufunc.")}


def test_the_closure_of_imports() -> None:
    found: set[str] = set()
    waiting = {
        f"actufunc.backends.numpy.{name}" for name in ("jit.kernels", "jit.intrinsics", "numba_extension.functions")
    }
    while waiting:
        found |= waiting
        waiting = set().union(*map(imported, waiting)) - found
    assert environment.sources().keys() == found
    assert "actufunc.backends.coefficients" in found
    assert "actufunc.backends.cupy.kernels" not in found


def test_each_module_counts(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "actufunc", ignore=shutil.ignore_patterns("__pycache__"))
    code = [
        "import sys",
        f"sys.path.insert(0, {str(tmp_path)!r})",
        "import actufunc",
        "print(actufunc.__file__)",
        TOUCH,
    ]
    file, *names = run(*code).split()
    assert Path(file).parent == tmp_path / "actufunc"
    assert set(names) == environment.sources().keys()


def test_versions_and_settings_count() -> None:
    changes = [
        "actufunc.__version__ = 'other'",
        "numba.__version__ = 'other'",
        "llvmlite.__version__ = 'other'",
        "numpy.__version__ = 'other'",
        "numba.config.CPU_NAME = 'other'",
        "numba.config.CPU_FEATURES = 'other'",
        "numba.config.OPT = 1",
    ]
    code = f"""
        import actufunc, numba, llvmlite, numpy
        from actufunc.backends.numpy.jit import environment
        for change in ["", *{changes}]:  # one more each time
            exec(change)
            environment.digest.cache_clear()
            print(environment.digest().hex())
    """
    assert len(set(run(code).split())) == len(changes) + 1


CALL = """
    import actufunc, numba, numpy as np
    from actufunc import sigmoid
    print(actufunc.__file__)
    print(sigmoid(np.zeros(1))[0], actufunc.softmax(np.zeros(2))[0], actufunc.gelu(np.zeros(1, "f2"))[0])
    print(numba.njit(lambda x: sigmoid(x))(0.0))
"""


def test_a_program_in_an_archive(tmp_path: Path) -> None:
    """Modules need not be files."""
    archive = tmp_path / "app.pyz"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(PACKAGE.rglob("*.py")):
            file.write(path, path.relative_to(PACKAGE.parent))
    caches: list[dict[str, str]] = [
        {"NUMBA_CACHE_DIR": str(tmp_path / "cache")},
        {"XDG_CACHE_HOME": str(tmp_path / "user"), "NUMBA_CACHE_DIR": ""},
    ]
    for cache in [*caches, *caches]:
        where, *values = run("import sys", f"sys.path.insert(0, {str(archive)!r})", CALL, **cache).split()
        assert Path(where).is_relative_to(archive)
        assert values == ["0.5", "0.5", "0.0", "0.5"]
    for folder in ("cache", "user"):
        assert len(list((tmp_path / folder).rglob("*.kernel"))) == 5
    start = "import runpy; runpy.run_module('actufunc', run_name='__main__')"
    listed = run("import sys", f"sys.path.insert(0, {str(archive)!r})", "sys.argv = ['actufunc', 'list']", start)
    assert "sigmoid" in listed


def test_a_frozen_program_has_no_sources() -> None:
    """Its loader has the code of modules only."""
    texts = ["x = 1", "x = 2"]
    specs = []
    for text in texts:
        loader = SimpleNamespace(get_code=lambda name, text=text: compile(text, name, "exec"))
        specs.append(SimpleNamespace(name="module", origin=None, loader=loader))
    one, other = map(environment._content, specs)
    assert one == environment._content(specs[0]) != other
