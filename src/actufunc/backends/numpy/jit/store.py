"""Compiled kernels on disk, one file each.

The name of a file is a digest of all that the machine code depends on. The file is written under another name and then
renamed, so that a reader finds all of it or nothing. It begins with a digest of the rest and of its name; a file that
does not match counts as missing. Nothing is unpickled.

The folder is the one in which Numba would keep the code of this module: ``NUMBA_CACHE_DIR`` if that is set, else
``__pycache__`` beside the module, else the user's cache. Files are written to the first of them that can be written to,
and read from that and those before it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from .machine_code import MachineCode

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER = "actufunc"  # a folder for this package: files that earlier versions left to Numba are not looked at
_FORMAT = b"actufunc kernel 1\n"
_DIGEST = 32  # bytes

_broken: set[Path] = set()  # folders in which a file could not be written: the next one could not, either


def folders() -> Iterator[Path]:
    """Yield the folders in which kernels are looked for; the last one is written to, if any can be."""
    config = getattr(sys.modules.get("numba"), "config", None)
    chosen = os.environ.get("NUMBA_CACHE_DIR") if config is None else config.CACHE_DIR
    for folder in (chosen, Path(__file__).parent / "__pycache__", _user_cache() / "numba"):
        if folder:
            yield Path(folder, _FOLDER)
            if _is_writable(Path(folder, _FOLDER)):
                return


@functools.cache
def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except (OSError, ValueError):  # ValueError: from a path that no system call takes
        return False
    return True


def _user_cache() -> Path:
    """Return the system's folder for the user's files that may be deleted."""
    home = os.path.expanduser("~")  # noqa: PTH111 -- which never fails
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home)
    if sys.platform == "darwin":
        return Path(home, "Library", "Caches")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path(home, ".cache"))


def load(digest: str) -> MachineCode | None:
    """Return the machine code of a kernel; None if there is no file, or a broken one."""
    for folder in folders():
        try:
            content = (folder / f"{digest}.kernel").read_bytes()
        except (OSError, ValueError):
            continue
        start = len(_FORMAT) + _DIGEST
        if content[:start] == _FORMAT + _checksum(digest, content[start:]):
            facts, _, code = content[start:].partition(b"\n")
            entry, *needs = json.loads(facts)
            return MachineCode(entry, tuple(needs), code)
    return None


def save(digest: str, code: MachineCode) -> None:
    """Write the machine code of a kernel to disk, if that is possible."""
    *_, folder = folders()
    if folder in _broken or not _is_writable(folder):
        return
    body = json.dumps([code.entry, *code.needs]).encode() + b"\n" + code.content
    try:
        _write(folder / f"{digest}.kernel", _FORMAT + _checksum(digest, body) + body)
    except OSError:
        _broken.add(folder)


def _write(path: Path, content: bytes) -> None:
    new = path.with_name(f"{path.name}.{os.urandom(8).hex()}.tmp")
    try:
        new.write_bytes(content)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _checksum(digest: str, body: bytes) -> bytes:
    return hashlib.blake2b(body, key=digest.encode(), digest_size=_DIGEST).digest()
