"""Zip archives as torch and numpy write them: stored members, each in its place, none twice."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from . import Untrusted
from .text import is_plain, shown

MOST_MEMBERS = 1 << 16
_END = 22  # bytes of the record at the end of an archive that has no comment

# Whatever zipfile makes of a damaged archive.
DAMAGED = (
    *(zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, OverflowError),
    *(EOFError, KeyError, IndexError, OSError, zlib.error, MemoryError),
)


@contextmanager
def open_archive(file: IO[bytes], *, packed: bool = False) -> Iterator[zipfile.ZipFile]:
    """The archive, once it is one that every reader reads alike; Untrusted otherwise.

    Its members are stored as they are, or ``packed`` by deflate; they have names that stay below
    a folder, and lie one behind the other in a file that ends with them.
    """
    size = file.seek(0, 2)
    file.seek(max(0, size - _END))
    end = file.read()
    if not end.startswith(b"PK\x05\x06") or end[-2:] != b"\0\0":  # readers seek it differently
        raise Untrusted("does not end as a zip archive")
    file.seek(0)
    try:
        archive = zipfile.ZipFile(file)
    except DAMAGED as error:
        raise Untrusted(f"is no zip archive that can be read: {_words(error)}") from None
    with archive:
        _check_members(archive, size, packed)
        yield archive


def _check_members(archive: zipfile.ZipFile, size: int, packed: bool) -> None:
    members = archive.infolist()
    if len(members) > MOST_MEMBERS:
        raise Untrusted(f"has more than {MOST_MEMBERS:,} members")
    kinds = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) if packed else (zipfile.ZIP_STORED,)
    names: set[str] = set()
    for member in members:
        name = member.filename
        parts = name.split("/")
        if not is_plain(name) or "\\" in name or any(part in ("", ".", "..") for part in parts):
            raise Untrusted(f"has a member {shown(name)}, whose name leads elsewhere")
        if name in names:
            raise Untrusted(f"has the member {shown(name)} twice")
        names.add(name)
        if member.flag_bits & 1 or member.compress_type not in kinds:
            raise Untrusted(f"has a member {shown(name)} that is packed or encrypted")
        if member.compress_type == zipfile.ZIP_STORED and member.file_size != member.compress_size:
            raise Untrusted(f"has a member {shown(name)} of two sizes")
        try:
            archive.open(member).close()  # what its own header says must be the same
        except DAMAGED as error:
            raise Untrusted(f"has a damaged member {shown(name)}: {_words(error)}") from None
    if sum(member.compress_size for member in members) > size:
        raise Untrusted("has members that lie one over the other")


def read_member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """The whole of a stored member that has at most so many bytes."""
    if archive.getinfo(name).file_size > most:
        raise Untrusted(f"has a member {shown(name)} of more than {most:,} bytes")
    try:
        return archive.read(name)
    except DAMAGED as error:
        raise Untrusted(f"has a damaged member {shown(name)}: {_words(error)}") from None


def _words(error: Exception) -> str:
    """Its text, which may quote the file."""
    said: Any = error.args[0] if error.args else type(error).__name__
    return shown(str(said))
