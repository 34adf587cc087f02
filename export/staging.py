"""Files and folders that are whole or not there: after an error, a full disk or kill -9 as well.

What is written goes to a hidden name beside the place, is synced to the disk, and gets its name in
one step. Who is killed leaves the hidden folder, which the next export of that name removes.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import UsageError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def staged(directory: Path) -> Iterator[Path]:
    """A hidden folder that becomes ``directory`` at the end, and is gone after any error."""
    with _staging(directory) as staging:
        yield staging
        _sync(staging)
        try:
            _rename_to_free(staging, directory)
        except FileExistsError:
            raise UsageError(_taken(directory)) from None
        _sync_folder(directory.absolute().parent)


def check_free(directory: Path) -> None:
    """UsageError where a bundle cannot be written, before any slow work is done."""
    if os.path.lexists(directory):
        raise UsageError(_taken(directory))
    with _staging(directory):  # trying is surer than asking: not every file system tells
        pass


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A hidden file with the same ending that takes the place of ``path`` at the end, or is gone.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder, "report.md")) as file:
    ...         _ = file.write_text("whole")
    ...     [path.name for path in Path(folder).iterdir()]
    ['report.md']
    """
    hidden = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield hidden
        _sync_file(hidden)
        os.replace(hidden, path)
    except OSError as error:
        if not _is_about(error, hidden):
            raise
        raise UsageError(f"cannot write {path}: {error.strerror}; give it another place") from error
    finally:
        hidden.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """The text in UTF-8 as the file's whole content, at once."""
    with replacing(path) as hidden:
        hidden.write_text(text, encoding="utf-8")


def _taken(directory: Path) -> str:
    return (
        f"expected {directory} not to exist, for a bundle is written whole; give -o another "
        "name or remove it"
    )


@contextmanager
def _staging(directory: Path) -> Iterator[Path]:
    """A hidden folder beside ``directory``, and the parents that it lacks.

    What is still there at the end is removed: the folder unless it was renamed, the parents unless
    there is something in them.
    """
    nearest = next(path for path in directory.absolute().parents if os.path.lexists(path))
    if not nearest.is_dir():
        raise UsageError(
            f"expected a folder for {directory}, and {nearest} is none; give -o another place"
        )
    made = [path for path in directory.parents if not path.exists()]  # the innermost first
    staging = directory.with_name(f".{directory.name}.{secrets.token_hex(4)}")
    lock = None
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        lock = _claim(directory, staging)
        yield staging
    except OSError as error:
        if not any(_is_about(error, path) for path in (staging, *made)):
            raise  # it is not about this folder
        where = "" if error.filename else f", there or in {tempfile.gettempdir()}"
        raise UsageError(
            f"cannot write {directory} in {nearest}: {error.strerror}{where}; give -o another place"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if lock is not None:
            os.close(lock)
        for parent in made:
            with suppress(OSError):
                parent.rmdir()


def _is_about(error: OSError, folder: Path) -> bool:
    """Whether it is about the folder or a file in it; a full disk may not tell of which file."""
    names = [Path(os.fsdecode(n)) for n in (error.filename, error.filename2) if _is_path(n)]
    if not names:
        return error.errno in _FULL
    return any(name.is_relative_to(folder) for name in names)


def _is_path(name: object) -> bool:
    return isinstance(name, str | bytes | os.PathLike)


def _claim(directory: Path, staging: Path) -> int | None:
    """Make the staging folder, locked as long as this process lives; remove those of the dead.

    UsageError where a living process is at it already: of two exports to one place, the first wins.
    Where the file system has no locks, the last step alone decides, and the loser learns it late.
    """
    parent = os.open(directory.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            fcntl.flock(parent, fcntl.LOCK_EX)  # for the moment that this takes
        for other in _others(directory):
            if _is_locked(other):
                raise UsageError(
                    f"expected {directory} not to be in use, and another export is writing it; "
                    "wait for it, or give -o another name"
                )
            shutil.rmtree(other, ignore_errors=True)
        staging.mkdir()
        lock = os.open(staging, os.O_RDONLY | os.O_DIRECTORY)
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return lock
    finally:
        os.close(parent)


def _others(directory: Path) -> list[Path]:
    hidden = re.compile(rf"\.{re.escape(directory.name)}\.[0-9a-f]{{8}}")
    return [path for path in directory.parent.iterdir() if hidden.fullmatch(path.name)]


def _is_locked(folder: Path) -> bool:
    """Whether a living process has it; also where that cannot be found out."""
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


_AT_FDCWD, _NOREPLACE = -100, 1  # Linux


def _rename_to_free(staging: Path, directory: Path) -> None:
    """Rename where nothing is; os.rename would also take the place of an empty folder."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is not None:
        names = (os.fsencode(staging), os.fsencode(directory))
        if rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _NOREPLACE) == 0:
            return
        number = ctypes.get_errno()
        if number not in (errno.EINVAL, errno.ENOSYS):  # not every file system can
            raise OSError(number, os.strerror(number), str(staging), None, str(directory))
    if os.path.lexists(directory):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(directory))
    os.rename(staging, directory)


def _sync(folder: Path) -> None:
    """The whole folder to the disk: files first, then what names them."""
    for path, _, names in os.walk(folder, topdown=False):
        for name in names:
            _sync_file(Path(path, name))
        _sync_folder(Path(path))


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # some file systems sync no folders
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
