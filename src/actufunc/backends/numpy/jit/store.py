"""Compiled kernels on disk, one file each.

The name of a file is a digest of all that the machine code depends on. It is written under another name and then
renamed, so that whoever reads it finds all of it or nothing. It begins with a digest of all the rest and of its name;
what does not fit is as good as missing. Nothing is unpickled.

The folder is where Numba would keep what is compiled of a module like this one: in ``NUMBA_CACHE_DIR`` if that is set,
else in ``__pycache__`` beside the module, else in the user's cache. The first that can be written to takes the files,
and those before it are read.
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

_FOLDER = "actufunc"  # ours alone: what earlier versions left to Numba to keep is never looked at
_FORMAT = b"actufunc kernel 1\n"
_DIGEST = 32  # bytes

_broken: set[Path] = set()  # folders that could not take a file: what is full for one kernel is full for the next


def folders() -> Iterator[Path]:
    """Return where kernels are looked for, and last, if there is any, the folder that takes new ones."""
    config = getattr(sys.modules.get("numba"), "config", None)
    chosen = os.environ.get("NUMBA_CACHE_DIR") if config is None else config.CACHE_DIR
    for folder in (chosen, Path(__file__).parent / "__pycache__", _of_user() / "numba"):
        if folder:
            yield Path(folder, _FOLDER)
            if _takes_files(Path(folder, _FOLDER)):
                return


@functools.cache
def _takes_files(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except (OSError, ValueError):  # ValueError: of a path that no system call takes
        return False
    return True


def _of_user() -> Path:
    """Return the folder for what may be deleted, as each system has it."""
    home = os.path.expanduser("~")  # noqa: PTH111 -- which never fails
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home)
    if sys.platform == "darwin":
        return Path(home, "Library", "Caches")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path(home, ".cache"))


def load(digest: str) -> MachineCode | None:
    """Return what is kept of a kernel; None if there is nothing, or something else."""
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
    """Keep a kernel if that is possible."""
    *_, folder = folders()
    if folder in _broken or not _takes_files(folder):
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
