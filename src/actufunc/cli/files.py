"""Files that appear when they are complete, and files without a name."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import tempfile
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from .problem import of, shown, size, stop

if TYPE_CHECKING:
    from io import FileIO
    from pathlib import Path
    from types import TracebackType

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_ZEROS = 1 << 20
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def open_regular(path: Path) -> BinaryIO:
    """Open a file to read it; raise `ProblemError` if it cannot be, or is a directory, a pipe, a device."""
    try:
        # A pipe would make open() wait for a writer.
        if not stat.S_ISREG(path.stat().st_mode):
            stop(f"{shown(path)} is {'a directory' if path.is_dir() else 'not a regular file'}")
        return path.open("rb")
    except OSError as error:
        stop(f"cannot read {shown(path)}: {of(error)}")


def scratch(folder: Path) -> BinaryIO:
    """Open a file that has no name, where the system allows it, and vanishes when it is closed."""
    return tempfile.TemporaryFile(dir=folder, buffering=0)


def write_all(file: BinaryIO | FileIO, content: bytes) -> None:
    """Write to a file without a buffer, which may take less than it is given."""
    left = memoryview(content)
    while left:
        left = left[file.write(left) or 0 :]


def reserve(file: BinaryIO | FileIO, offset: int, count: int) -> None:
    """Take space from the disk now: a map of a file on a full disk would kill the process."""
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


class New:
    """What is made beside its place, under a temporary name, and put there when it is complete.

    A context manager: if it is left before `finish`, the temporary is removed and nothing remains. An `OSError` within
    it counts as one of writing.

    Parameters
    ----------
    path : Path
        Its place.
    force : bool
        Whether what is there is replaced.
    """

    def __init__(self, path: Path, *, force: bool) -> None:
        self.path, self.force = path, force
        self.temporary = self._beside()
        self._mine = False

    def _beside(self) -> Path:
        return self.path.with_name(f".actufunc-{secrets.token_hex(8)}.part")

    def check(self, source: Path | None = None, count: int = 0) -> None:
        """Raise `ProblemError` if it is known already that it cannot be written.

        Parameters
        ----------
        source : Path, optional
            What is read, which must be something else.
        count : int, optional
            Bytes that will be written.
        """
        try:
            self._check(source, count)
        except OSError as error:
            self._refuse(error)

    def _check(self, source: Path | None, count: int) -> None:
        folder, path = self.path.parent, self.path
        if not folder.is_dir():
            what = "is not a directory" if folder.exists() else "does not exist"
            stop(f"cannot write {shown(path)}: {shown(folder)} {what}")
        if path.exists():
            if source is not None and path.samefile(source):
                stop(f"{shown(path)} is the input; the output must be another file")
            self._check_replaceable()
            if not self.force:
                stop(f"{shown(path)} exists; --force replaces it")
        free = shutil.disk_usage(folder).free
        if free < count:
            stop(f"no space for {shown(path)}: it takes {size(count)}, and {size(free)} are free")

    def _check_replaceable(self) -> None:
        raise NotImplementedError

    def _put(self) -> None:
        raise NotImplementedError

    def _remove(self) -> None:
        raise NotImplementedError

    def finish(self) -> None:
        """Put it in its place."""
        try:
            self._put()
        except OSError as error:
            self._refuse(error)
        self._mine = False

    def _check_absent(self) -> None:
        if not self.force and self.path.exists():
            stop(f"{shown(self.path)} has come into existence meanwhile; --force replaces it")

    def _refuse(self, error: OSError) -> NoReturn:
        what = f"no space for {shown(self.path)}" if error.errno in _NO_SPACE else f"cannot write {shown(self.path)}"
        stop(f"{what}: {of(error)}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove what is not finished."""
        self._remove()
        if isinstance(error, OSError):
            self._refuse(error)


class NewFile(New):
    """A file that is written beside its place; see `New`."""

    def __init__(self, path: Path, *, force: bool) -> None:
        super().__init__(path, force=force)
        self._file: FileIO | None = None

    def _check_replaceable(self) -> None:
        if not self.path.is_file():
            # os.replace would take a device or a pipe away.
            what = "a directory" if self.path.is_dir() else "not a regular file"
            stop(f"cannot write {shown(self.path)}: it is {what}")

    def __enter__(self) -> FileIO:
        """Create it, without a buffer, which would be written, and fail again, when the file is closed."""
        self._mine = True
        try:
            # Unlike a file of `tempfile`, with the permissions of any new file.
            self._file = os.fdopen(os.open(self.temporary, _NEW, 0o666), "w+b", buffering=0)
        except OSError as error:
            self._refuse(error)
        except BaseException:
            self._remove()
            raise
        return self._file

    def _put(self) -> None:
        assert self._file is not None  # noqa: S101
        os.fsync(self._file.fileno())  # here a disk that fails late says so
        self._file.close()
        self._check_absent()
        self.temporary.replace(self.path)

    def _remove(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
        if self._mine:
            with contextlib.suppress(OSError):
                self.temporary.unlink()
