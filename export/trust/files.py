"""Plain files of a folder: found without following a link, read once, up to a stated size."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from . import Untrusted
from .text import shown

MOST_FILES = 1000  # in a folder, with those below it
MOST_BYTES = 1 << 36  # 64 GiB of them all: a minute or two of hashing
DEPTH = 4  # folders in folders
_BLOCK = 1 << 20

_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def check_name(name: str) -> None:
    """Untrusted unless it is the plain name of a file in the folder, or in one below it."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise Untrusted(f"{name!a} lies outside the bundle")
    if (
        not path.parts
        or path.as_posix() != name
        or "\\" in name
        or not name.isprintable()
        or len(path.parts) > DEPTH
        or any(len(os.fsencode(part)) > 255 for part in path.parts)
    ):
        raise Untrusted(f"{shown(name)} is no name of a file in a bundle")


@dataclass(frozen=True)
class Found:
    """What lies in a folder: sizes by name, and what is no plain file, with what it is."""

    sizes: dict[str, int]
    wrong: dict[str, str]


def find_files(directory: Path) -> Found:
    """Everything in the folder and below it; nothing is opened and no link is followed."""
    found = Found({}, {})
    folders = [("", directory)]
    while folders:
        prefix, folder = folders.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                name, status = prefix + entry.name, entry.stat(follow_symlinks=False)
                if len(found.sizes) + len(found.wrong) + len(folders) >= MOST_FILES:
                    raise Untrusted(f"it has more than {MOST_FILES} files")
                if stat.S_ISDIR(status.st_mode) and name.count("/") + 1 < DEPTH:
                    folders.append((f"{name}/", folder / entry.name))
                elif kind := unlike_a_file(status):
                    found.wrong[name] = kind
                else:
                    found.sizes[name] = status.st_size
    return found


def unlike_a_file(status: os.stat_result) -> str:
    """What it is, where it is no plain file with one name; else ""."""
    if not stat.S_ISREG(status.st_mode):
        return f"is {_KINDS.get(stat.S_IFMT(status.st_mode), 'no file')}"
    # what else it is called may be written to while this name is looked at
    return f"is one of {status.st_nlink} hard links to a file" if status.st_nlink > 1 else ""


@contextmanager
def open_plain(directory: Path, name: str) -> Iterator[BinaryIO]:
    """The file, opened without following a link on its way; Untrusted where it is none."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe would wait
    *folders, last = PurePosixPath(name).parts
    try:
        at = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for folder in folders:
                inner = os.open(folder, flags | os.O_DIRECTORY, dir_fd=at)
                os.close(at)
                at = inner
            file = os.fdopen(os.open(last, flags, dir_fd=at), "rb")
        finally:
            os.close(at)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise Untrusted("is a link, a socket or a device") from None
        raise Untrusted(f"cannot be read: {error.strerror}") from None
    with file:
        if kind := unlike_a_file(os.fstat(file.fileno())):
            raise Untrusted(kind)
        yield file


def read_small(directory: Path, name: str, most: int) -> bytes:
    """The whole of a file that has at most so many bytes."""
    with open_plain(directory, name) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise Untrusted(f"has more than {most:,} bytes")
    return data


def sha256_of(directory: Path, name: str, size: int, copy: Path | None = None) -> str:
    """Of a file of exactly this size; what was hashed is written to ``copy`` as it is read."""
    digest = hashlib.sha256()
    with open_plain(directory, name) as file, _writing(copy) as to:
        left = size
        while block := file.read(min(_BLOCK, left + 1)):
            left -= len(block)
            if left < 0:
                break
            digest.update(block)
            if to is not None:
                to.write(block)
    if left:
        raise Untrusted("changes while it is read")
    return digest.hexdigest()


@contextmanager
def _writing(path: Path | None) -> Iterator[BinaryIO | None]:
    """A new file that nobody else may read, and nobody write once it is closed."""
    if path is None:
        yield None
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        yield file
    with suppress(OSError):  # a file system without permissions
        path.chmod(0o400)
