"""Each internal name of Numba that is used may be missing: results are the same without it."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from programs import run

import actufunc
from actufunc.backends.numpy.jit import numba_patches
from actufunc.backends.numpy.jit.numba_patches import Internal

if TYPE_CHECKING:
    from collections.abc import Iterator

INTERNALS = {key: value for key, value in vars(numba_patches).items() if isinstance(value, Internal)}

TESTS = {
    name
    for path in next(each for each in Path(__file__).parents if each.name == "tests").rglob("test_*.py")
    for name in re.findall(r"^def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE)
}

# Gives each of the names another one everywhere in Numba.
MOVE = r"""
    import re, sys
    from importlib.machinery import PathFinder, SourceFileLoader
    class Moved(SourceFileLoader):
        def get_code(self, name):
            text = MOVING.sub(r"\g<0>_of_the_next_version", self.get_source(name))
            return compile(text, self.path, "exec", dont_inherit=True)
    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if not name.startswith("numba"):
                return None
            spec = PathFinder.find_spec(name, path)
            if spec is not None and isinstance(spec.loader, SourceFileLoader):
                if MOVING.search(spec.loader.get_data(spec.origin).decode()):
                    spec.loader = Moved(name, spec.origin)
            return spec
    sys.meta_path.insert(0, Finder)
"""

CALL = """
    import hashlib, numba, numpy as np
    import actufunc
    from actufunc import relu, softmax
    from actufunc.backends.numpy.threading import tbb
    x = np.linspace(-9, 9, 400_000)
    halves = x[:99].astype("f2")
    gaps = np.zeros(200)
    results = [relu(x[:100]), relu(x[:100], out=gaps[::2]), gaps, relu(x), softmax(x[:100].reshape(4, 25)),
               relu.vjp(halves, halves[::-1])]
    tbb.run(next(iter(actufunc.backends.numpy.jit.kernels._elementwise.values())).parallel, [x, x.copy()], 1)
    grad = relu.grad
    results.append(numba.njit(lambda x: relu(x) + grad(x))(x))
    print(hashlib.sha256(b"".join(result.tobytes() for result in results)).hexdigest())
"""


@pytest.fixture(scope="module")
def expected() -> str:
    return run(CALL)


# Three or four at a time that have little to do with each other; without the lock, something more is the same.
_OTHERS = [each for each in INTERNALS if each != "LOCK"]
_FEW = [["LOCK"], *(_OTHERS[first :: len(_OTHERS) // 3] for first in range(len(_OTHERS) // 3))]


@pytest.mark.parametrize(
    "lost",
    [*(pytest.param(few, marks=pytest.mark.slow) for few in _FEW), list(INTERNALS)],
    ids=lambda lost: ",".join(lost[:3]),
)
def test_results_are_the_same_without(lost: list[str], expected: str, tmp_path: Path) -> None:
    names = [INTERNALS[each].name.rpartition(".")[2] for each in lost]
    moving = f"import re; MOVING = re.compile(r'\\b(?:{'|'.join(names)})\\b')"
    check = f"""
        from actufunc.backends.numpy.jit import numba_patches
        for key in {lost}:
            assert getattr(numba_patches, key).get() is None, key
    """
    assert run(moving, MOVE, CALL, check, NUMBA_CACHE_DIR=str(tmp_path)) == expected
    if lost == ["LOCK"]:  # what was compiled so is kept
        assert (
            run(CALL.replace("import hashlib", "import actufunc; import hashlib"), NUMBA_CACHE_DIR=str(tmp_path))
            == expected
        )


@pytest.mark.parametrize("name", INTERNALS)
def test_each_is_there_and_has_a_canary(name: str) -> None:
    """Attributes of instances alone are seen by the test above."""
    internal = INTERNALS[name]
    assert internal.canary in TESTS
    assert internal.use
    assert internal.without


DOCUMENTED = {
    *("numba", "numba.core.types", "numba.core.config", "numba.core.cgutils", "numba.core.errors"),
    *("numba.extending", "numba.np.numpy_support"),
}


def imports() -> Iterator[tuple[str, str]]:
    for path in sorted(Path(actufunc.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((path.name, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                whole = f"{node.module}."
                yield from (
                    (path.name, node.module if whole[:-1] in DOCUMENTED else whole + a.name) for a in node.names
                )


def test_nothing_else_is_imported() -> None:
    """But by what must look at Numba without importing it; see `forks`."""
    found = {name for file, name in imports() if name.partition(".")[0] == "numba"}
    assert found <= DOCUMENTED | {"numba.config", "numba.types"}
    assert "numba.extending" in found
