"""Arrays of numbers out of .npz files: shapes are believed once the bytes are there for them."""

from __future__ import annotations

import math
import warnings
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from . import Untrusted
from .archives import DAMAGED, open_archive
from .files import open_plain
from .text import shown

Array = NDArray[Any]

MOST_ARRAYS = 100_000
MOST_BYTES = 1 << 34  # 16 GiB of arrays in one file
UNPACKED = 100  # times the size of its file, from 64 MiB on
SMALL = 1 << 26
_HEADER = 4096  # bytes of a member that say what the others are
_KINDS = "biufc"


def read_arrays(path: Path) -> dict[str, Array]:
    """Every array by its name, in the file's order; Untrusted where one is no array of numbers.

    Nothing is unpickled, and nothing is allocated before all sizes are known to be borne out by
    the file.
    """
    with open_plain(path.parent, path.name) as file, open_archive(file, packed=True) as archive:
        members = archive.infolist()
        if len(members) > MOST_ARRAYS:
            raise Untrusted(f"has more than {MOST_ARRAYS:,} arrays")
        _check_total(sum(member.file_size for member in members), file.seek(0, 2))
        for member in members:
            _check_member(archive, member)
        return {_name(member): _read(archive, member) for member in members}


def _name(member: zipfile.ZipInfo) -> str:
    return member.filename.removesuffix(".npy")


def _check_total(unpacked: int, packed: int) -> None:
    if unpacked > MOST_BYTES:
        raise Untrusted(f"has arrays of {unpacked:,} bytes, more than {MOST_BYTES:,}")
    if unpacked > SMALL and unpacked > UNPACKED * packed:
        raise Untrusted(f"has arrays of {unpacked:,} bytes in a file of {packed:,}")


def fits(unpacked: int, packed: int) -> bool:
    """Whether `read_arrays` would take arrays of so many bytes out of a file of so many."""
    try:
        _check_total(unpacked, packed)
    except Untrusted:
        return False
    return True


def _check_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    if not member.filename.endswith(".npy"):
        raise Untrusted(f"has a member {shown(member.filename)}, which is no array")
    try:
        with archive.open(member) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy takes garbage for what Python 2 wrote
            shape, dtype, length = _header(file)
    except Untrusted:
        raise
    except Exception as error:  # numpy parses Python's literals, and its tokenizer raises its own
        raise Untrusted(f"has no array that can be read in {shown(_name(member))}") from error
    if dtype.kind not in _KINDS or dtype.hasobject:
        raise Untrusted(
            f"has an array {shown(_name(member))} of {shown(str(dtype))}: no numbers, and nothing "
            "is unpickled"
        )
    if length + math.prod(shape) * dtype.itemsize != member.file_size:
        raise Untrusted(
            f"has an array {shown(_name(member))} whose shape {shown(str(shape))} is not that of "
            "its bytes"
        )


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, dtype and the header's own length."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise Untrusted("has another version of numpy's format")
    read = np.lib.format.read_array_header_1_0
    if version == (2, 0):
        read = np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file, max_header_size=_HEADER)
    if len(shape) > 32 or not all(type(size) is int and 0 <= size < 1 << 48 for size in shape):
        raise Untrusted("has a shape that no array can have")
    return shape, dtype, file.tell()


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    try:
        with archive.open(member) as file:
            array: Array = np.lib.format.read_array(file, allow_pickle=False)
    except MemoryError:
        raise Untrusted(
            f"has arrays for which this machine has no memory: {member.file_size:,} bytes in "
            f"{shown(_name(member))}"
        ) from None
    except DAMAGED as error:
        raise Untrusted(f"has a damaged array {shown(_name(member))}") from error
    return array
