"""Programs in fresh interpreters, for tests about a whole process."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path


def outcome(*parts: str, options: tuple[str, ...] = (), **environment: str) -> tuple[int, str, str]:
    """Run code in a fresh interpreter, and return its exit status and what it wrote to stdout and stderr.

    Parameters
    ----------
    *parts : str
        Code, each part indented as it likes. It can import the modules of this directory.
    options : tuple of str
        Of the interpreter.
    **environment : str
        Variables to add.
    """
    paths = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    result = subprocess.run(  # noqa: S603
        [sys.executable, *options, "-c", "\n".join(map(textwrap.dedent, parts))],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": paths, **environment},
    )
    return result.returncode, result.stdout, result.stderr


def run(*parts: str, options: tuple[str, ...] = (), **environment: str) -> str:
    """Run code in a fresh interpreter that treats warnings as errors, and return what it prints.

    There must be nothing on stderr, and the exit status must be 0.
    """
    # From Python 3.12 on a fork beside threads, which some of these programs try on purpose, is warned of.
    strict = ("-W", "error", "-W", "ignore:This process:DeprecationWarning")
    status, out, err = outcome(*parts, options=(*strict, *options), **environment)
    assert (status, err) == (0, ""), f"exit status {status}\n{err}"
    return out
