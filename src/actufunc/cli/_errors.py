"""Errors that end a command with one line on stderr, and the parts of their messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from pathlib import Path


class CommandError(Exception):
    """An error in the input or the environment of a command, with a message of one line for the user."""


def stop(message: str) -> NoReturn:
    """Raise `CommandError`, with a message without line breaks."""
    raise CommandError(" ".join(message.split()))


def format_path(path: Path | str) -> str:
    """Return a path as printable text in one line."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def reason(error: OSError) -> str:
    """Return the reason that the operating system gives, without number and path."""
    return (error.strerror or str(error)).lower()


def format_size(count: float) -> str:
    """Return a number of bytes with a unit."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"
