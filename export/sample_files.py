"""Tables of numbers from files that anyone may have written: .npz without objects, and .csv."""

from __future__ import annotations

import csv
import math
import zipfile
import zlib
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .errors import UsageError

Array = NDArray[Any]

ELEMENTS = 1 << 26  # of one array: 256 MiB of float32, and the truth takes several times that
CSV_BYTES = 1 << 28


def check_dtype(name: str, dtype: np.dtype[Any], place: str) -> None:
    if dtype.kind not in "biuf":
        raise UsageError(
            f"expected {name} in {place} to hold numbers, got dtype {dtype}; save it as a numeric "
            f"array, as in numpy.asarray({name}, 'float32')"
        )


def check_size(name: str, shape: tuple[int, ...], place: str) -> None:
    elements = math.prod(shape)
    if elements > ELEMENTS:
        raise UsageError(
            f"expected {name} in {place} to have at most {ELEMENTS:,} elements, got {elements:,}; "
            "give fewer rows"
        )
    if not elements:
        raise UsageError(
            f"expected at least one row for {name} in {place}, got shape {list(shape)}; give rows, "
            "or leave --samples away"
        )


def read_npz(path: Path) -> dict[str, Array]:
    """Every array of the file, each checked by its header before it is read."""
    with _readable(path), zipfile.ZipFile(path) as archive:
        members = {m.filename.removesuffix(".npy"): m for m in archive.infolist()}
        for name, member in members.items():
            with archive.open(member) as file:
                _check_header(name, file, member.file_size, path.name)
        arrays = {}
        for name, member in members.items():
            with archive.open(member) as file:
                arrays[name] = np.lib.format.read_array(file, allow_pickle=False)
        return arrays


def _check_header(name: str, file: IO[bytes], size: int, place: str) -> None:
    """UsageError where the array is no numbers, is too large, or is not all there."""
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        header = np.lib.format.read_array_header_2_0
    shape, _, dtype = header(file)
    check_dtype(name, dtype, place)
    check_size(name, shape, place)
    if math.prod(shape) * dtype.itemsize > size:
        raise ValueError(f"{name} is shorter than its header says")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (
        *(OSError, ValueError, KeyError, EOFError, MemoryError, NotImplementedError),
        *(RuntimeError, zipfile.BadZipFile, zlib.error),
    ) as error:
        raise UsageError(
            f"expected {path.name} to be a file of numpy.savez, it cannot be read: "
            f"{type(error).__name__}: {error}; save the arrays again"
        ) from error


def read_csv(path: Path) -> tuple[list[str], Array]:
    """The header and the numbers under it."""
    if path.stat().st_size > CSV_BYTES:
        raise UsageError(
            f"expected {path.name} to have at most {CSV_BYTES:,} bytes, got "
            f"{path.stat().st_size:,}; give fewer rows, or arrays as .npz"
        )
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, strict=True)
            names = [name.strip() for name in next(lines, [])]
            _check_header_line(names, path.name)
            cells = array("d")
            for row in lines:
                if row:  # a line of nothing at all is none
                    cells.extend(_numbers(row, names, lines.line_num, path.name))
    except (csv.Error, UnicodeError) as error:
        raise UsageError(
            f"expected {path.name} to be a table of commas and newlines in UTF-8, it cannot be "
            f"read: {error}; save it again as .csv"
        ) from error
    table = np.array(cells, np.float64).reshape(-1, len(names))
    check_size("the table", table.shape, path.name)
    return names, table


def _check_header_line(names: Sequence[str], place: str) -> None:
    if not any(names):
        raise UsageError(f"expected a header with the columns' names in {place}, got an empty file")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(
            f"expected every column in {place} to have a name of its own, got {twice[0]!r} twice; "
            "rename one"
        )
    if all(_is_number(name) for name in names):
        raise UsageError(
            f"expected a header with the columns' names in {place}, got numbers in the first line; "
            "write the names above them"
        )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # Python takes 1_000 for a number, and no table does


def _numbers(row: Sequence[str], names: Sequence[str], line: int, place: str) -> list[float]:
    if len(row) != len(names):
        raise UsageError(
            f"expected {len(names)} cells in line {line} of {place}, as in its header, got "
            f"{len(row)}; separate them by commas, and quote a cell that holds one"
        )
    for cell, name in zip(row, names, strict=True):
        if not _is_number(cell):
            raise UsageError(
                f"expected a number in line {line}, column {name!r} of {place}, got {cell!r}; "
                "leave columns away that are no numbers, and rows that lack one"
            )
    return [float(cell) for cell in row]
