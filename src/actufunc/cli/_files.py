"""Files that are written atomically, and temporary files."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import tempfile
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from ._errors import format_path, format_size, reason, stop

if TYPE_CHECKING:
    from io import FileIO
    from pathlib import Path
    from types import TracebackType

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_ZEROS = 1 << 20
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading; raise `CommandError` if it cannot be read, or is a directory, pipe or device."""
    try:
        # A pipe would make open() wait for its other end.
        if not stat.S_ISREG(path.stat().st_mode):
            stop(f"{format_path(path)} is {'a directory' if path.is_dir() else 'not a regular file'}")
        return path.open("rb")
    except OSError as error:
        stop(f"cannot read {format_path(path)}: {reason(error)}")


def scratch(folder: Path) -> BinaryIO:
    """Open a temporary file, without a name if the system allows it, which is deleted when it is closed."""
    return tempfile.TemporaryFile(dir=folder, buffering=0)


def write_all(file: BinaryIO | FileIO, content: bytes) -> None:
    """Write all bytes to an unbuffered file, whose `write` may write only some of them."""
    left = memoryview(content)
    while left:
        left = left[file.write(left) or 0 :]


def reserve(file: BinaryIO | FileIO, offset: int, count: int) -> None:
    """Allocate space on the disk now: writing to a memory map of a file on a full disk would kill the process."""
    if not count:
        return
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), offset, count)
        except OSError as error:
            if error.errno not in {errno.EINVAL, errno.EOPNOTSUPP}:
                raise
        else:
            return
    file.seek(offset)
    zeros = memoryview(bytes(_ZEROS))
    while count:
        count -= file.write(zeros[:count]) or 0


class AtomicOutput:
    """Output that is written under a temporary name in its folder, and renamed to `path` when it is complete.

    A context manager: if it is left before `finish`, the temporary output is removed. An `OSError` within it is
    reported as an error of writing. An existing output is replaced only if `force`.
    """

    def __init__(self, path: Path, *, force: bool) -> None:
        self.path, self.force = path, force
        self.temporary = self._temporary_path()
        self._created = False

    def _temporary_path(self) -> Path:
        return self.path.with_name(f".actufunc-{secrets.token_hex(8)}.part")

    def check(self, source: Path | None = None, count: int = 0) -> None:
        """Raise `CommandError` if `count` bytes cannot be written, or if `source` is the same file."""
        try:
            self._check(source, count)
        except OSError as error:
            self._refuse(error)

    def _check(self, source: Path | None, count: int) -> None:
        folder, path = self.path.parent, self.path
        if not folder.is_dir():
            what = "is not a directory" if folder.exists() else "does not exist"
            stop(f"cannot write {format_path(path)}: {format_path(folder)} {what}")
        if path.exists():
            if source is not None and path.samefile(source):
                stop(f"{format_path(path)} is the input; the output must be another file")
            self._check_replaceable()
            if not self.force:
                stop(f"{format_path(path)} exists; --force replaces it")
        free = shutil.disk_usage(folder).free
        if free < count:
            stop(f"no space for {format_path(path)}: it takes {format_size(count)}, and {format_size(free)} are free")

    def _check_replaceable(self) -> None:
        raise NotImplementedError

    def _rename(self) -> None:
        raise NotImplementedError

    def _remove(self) -> None:
        raise NotImplementedError

    def finish(self) -> None:
        """Rename the output to its final path."""
        try:
            self._rename()
        except OSError as error:
            self._refuse(error)
        self._created = False

    def _check_absent(self) -> None:
        if not self.force and self.path.exists():
            stop(f"{format_path(self.path)} has come into existence meanwhile; --force replaces it")

    def _refuse(self, error: OSError) -> NoReturn:
        what = "no space for" if error.errno in _NO_SPACE else "cannot write"
        stop(f"{what} {format_path(self.path)}: {reason(error)}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove an output that is not finished."""
        self._remove()
        if isinstance(error, OSError):
            self._refuse(error)


class AtomicFile(AtomicOutput):
    """A file that is written under a temporary name; see `AtomicOutput`."""

    def __init__(self, path: Path, *, force: bool) -> None:
        super().__init__(path, force=force)
        self._file: FileIO | None = None

    def _check_replaceable(self) -> None:
        if not self.path.is_file():
            # os.replace would delete a device or a pipe.
            what = "a directory" if self.path.is_dir() else "not a regular file"
            stop(f"cannot write {format_path(self.path)}: it is {what}")

    def __enter__(self) -> FileIO:
        """Create the file, unbuffered: the flush of a buffer would fail again when the file is closed."""
        self._created = True
        try:
            # With the permissions of any new file, unlike files of `tempfile`.
            self._file = os.fdopen(os.open(self.temporary, _NEW, 0o666), "w+b", buffering=0)
        except OSError as error:
            self._refuse(error)
        except BaseException:
            self._remove()
            raise
        return self._file

    def _rename(self) -> None:
        assert self._file is not None  # noqa: S101
        os.fsync(self._file.fileno())  # raises the errors of a disk that reports them late
        self._file.close()
        self._check_absent()
        self.temporary.replace(self.path)

    def _remove(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
        if self._created:
            with contextlib.suppress(OSError):
                self.temporary.unlink()
