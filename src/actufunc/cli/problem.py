"""What ends a command with one line on stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from pathlib import Path


class ProblemError(Exception):
    """Something is wrong with the input or the machine; the message tells the user what, in one line."""


def stop(message: str) -> NoReturn:
    """Raise `ProblemError`, with line breaks taken out of the message."""
    raise ProblemError(" ".join(message.split()))


def shown(path: Path | str) -> str:
    """Write a path in one line that every terminal can print."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def of(error: OSError) -> str:
    """Give the operating system's reason, without number and path."""
    return (error.strerror or str(error)).lower()


def size(count: float) -> str:
    """Write a number of bytes."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"
