"""Compiled kernels on disk, one file each.

A file is written under another name and then renamed, so that whoever reads it finds all of it or nothing. It begins
with a digest of all the rest and of its own name, in which stands what the machine code depends on. What does not fit
is as good as missing. Nothing is unpickled.

The folder is where Numba would keep what is compiled of a module like this one: in ``NUMBA_CACHE_DIR`` if that is set,
else in ``__pycache__`` beside the module, else in the user's cache. The first that can be written to gets the files,
and they are read wherever they are.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
from pathlib import Path

from .machine_code import MachineCode

_FOLDER = "actufunc"  # ours alone: what earlier versions left to Numba to keep is never looked at
_FORMAT = b"actufunc kernel 1\n"
_DIGEST = 32  # bytes
_LONGEST_NAME = 100  # characters: file systems have limits

# What a whole disk suffers from, not a folder or a file.
_OF_DISKS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_is_full = False
_unwritable: set[Path] = set()


def folders() -> list[Path]:
    """Return where kernels may be kept, the first choice first."""
    config = getattr(sys.modules.get("numba"), "config", None)
    chosen = os.environ.get("NUMBA_CACHE_DIR") if config is None else config.CACHE_DIR
    found = [Path(chosen)] if chosen else []
    return [folder / _FOLDER for folder in (*found, Path(__file__).parent / "__pycache__", _of_user() / "numba")]


def _of_user() -> Path:
    """Return the folder for what may be deleted, as each system has it."""
    home = os.path.expanduser("~")  # noqa: PTH111 -- which never fails
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home)
    if sys.platform == "darwin":
        return Path(home, "Library", "Caches")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path(home, ".cache"))


def load(name: str, digest: str) -> MachineCode | None:
    """Return what is kept of a kernel; None if there is nothing, or something else."""
    file = _file(name, digest)
    for folder in folders():
        try:
            content = (folder / file).read_bytes()
        except (OSError, ValueError):  # ValueError: of a path that no system call takes
            continue
        start = len(_FORMAT) + _DIGEST
        if content[:start] == _FORMAT + _checksum(digest, content[start:]):
            facts, _, code = content[start:].partition(b"\n")
            return MachineCode(**json.loads(facts), content=code)
    return None


def save(name: str, digest: str, code: MachineCode) -> None:
    """Keep a kernel if that is possible."""
    global _is_full  # noqa: PLW0603 -- a disk that is full for one kernel is full for the next
    body = json.dumps({"entry": code.entry, "needs": code.needs}).encode() + b"\n" + code.content
    file = _file(name, digest)
    for folder in folders():
        if _is_full:
            return
        if folder in _unwritable:
            continue
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write(folder / file, _FORMAT + _checksum(digest, body) + body)
        except (OSError, ValueError) as error:
            number = getattr(error, "errno", None)
            _is_full = number in _OF_DISKS
            if number != errno.ENAMETOOLONG:
                _unwritable.add(folder)
        else:
            return


def _write(path: Path, content: bytes) -> None:
    new = path.with_name(f"{path.name}.{os.urandom(8).hex()}.tmp")
    try:
        new.write_bytes(content)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _file(name: str, digest: str) -> str:
    readable = name if name.isascii() else ""
    return f"{readable[:_LONGEST_NAME]}-{digest}.kernel"


def _checksum(digest: str, body: bytes) -> bytes:
    return hashlib.blake2b(body, key=digest.encode(), digest_size=_DIGEST).digest()
