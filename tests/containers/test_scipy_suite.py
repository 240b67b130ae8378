"""SciPy's own tests of expit, logit, logsumexp, softmax and log_softmax hold for our functions on NumPy arrays."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path


def test_logit_and_logsumexp(tmp_path: Path) -> None:
    plugin = ["-p", "scipy_plugin", "-p", "no:cacheprovider", "-p", "no:xdist", "-q"]
    modules = [f"scipy.special.tests.test_{name}" for name in ("logit", "logsumexp")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    folders = [str(Path(__file__).parents[1] / "support"), environment.get("PYTHONPATH")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, folders))
    command = [sys.executable, "-m", "pytest", *plugin, "--pyargs", *modules]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed, done.stdout
    assert int(passed[1]) >= 40
