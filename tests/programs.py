"""Programs of their own, for what concerns a whole process."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap


def run(*parts: str, options: tuple[str, ...] = (), timeout: float = 120, **environment: str) -> str:
    """Run code in a fresh interpreter that treats warnings as errors, and return what it prints.

    Parameters
    ----------
    *parts : str
        Code, each part indented as it likes.
    options : tuple of str
        Of the interpreter.
    timeout : float
        Seconds after which it is ended, and the test fails.
    **environment : str
        Variables to add.

    Returns
    -------
    str
        What it wrote to stdout; there must be nothing on stderr, and the exit status must be 0.
    """
    result = subprocess.run(  # noqa: S603
        [sys.executable, "-W", "error", *options, "-c", "\n".join(map(textwrap.dedent, parts))],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        env={**os.environ, **environment},
    )
    assert (result.returncode, result.stderr) == (0, ""), f"exit status {result.returncode}\n{result.stderr}"
    return result.stdout
