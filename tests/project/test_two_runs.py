"""The plugin of `.ci/run`: a second run executes what a first one without optional libraries left out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import two_runs

SUITE = """
    import pytest

    def test_always() -> None:
        pass

    def test_with_library() -> None:
        pytest.importorskip("no_such_library")

    @pytest.mark.slow
    def test_at_length() -> None:
        pass

    def test_elsewhere() -> None:
        pytest.skip("of another platform")
"""


def pytest_on(folder: Path, *options: str) -> str:
    """Run pytest as this project's options have it, and return what it prints."""
    configured = Path(__file__).parents[2] / "pyproject.toml"
    command = [sys.executable, "-m", "pytest", "-p", "two_runs", "-n0", "-v", "-c", configured, "--rootdir", folder]
    environment = {"PYTHONPATH": str(Path(two_runs.__file__).parent), "PATH": ""}
    done = subprocess.run(  # noqa: S603
        [*map(str, command), *options, str(folder)], capture_output=True, text=True, check=False, env=environment
    )
    assert done.stderr == ""
    return done.stdout


def test_the_second_run_leaves_nothing_out(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text("\n".join(line[4:] for line in SUITE.splitlines()))
    (tmp_path / "needs.py").write_text("import no_such_library\n")
    passed = tmp_path / "passed"

    first = pytest_on(tmp_path, f"--write-passed={passed}")
    assert "1 passed, 3 skipped, 1 deselected" in first
    assert passed.read_text() == "test_some.py::test_always\n"

    second = pytest_on(tmp_path, f"--all-but={passed}", "-m", "", "--continue-on-collection-errors")
    assert "test_always" not in second
    assert "test_at_length PASSED" in second
    assert "test_elsewhere SKIPPED" in second
    assert "Nothing may be missing here. Skipped: could not import 'no_such_library'" in second
    assert "Nothing may be missing here. Skipped: unable to import module" in second
