"""A runtime that is no Python: a server process, spoken to over two pipes of its own.

stdin and stdout stay free for whatever a runtime prints. All numbers are little-endian.

    request   float64 seconds, tensors     0: run once; else run for so long and send the times
    answer    uint32 status, then          0: tensors   1: uint32 length, a message in UTF-8
    tensors   uint32 count, then each      uint32 dtype, uint32 rank, uint64 sizes..., the elements

The first answer comes unasked, once the file is loaded. Times are one float64 tensor, in seconds.
"""

from __future__ import annotations

import os
import signal
import struct
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np

from .runtime import Array

# A dtype is its place here: serve.cpp and serve.mjs have the same list.
DTYPES = tuple(
    np.dtype(name)
    for name in (
        "float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool"
    ).split()
)


class Piped:
    """The server as a function of arrays, which the worker calls and bench times."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None):
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        self._process = subprocess.Popen(
            [*command, str(theirs_in), str(theirs_out)],
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs_in, theirs_out),
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._receive()

    def __call__(self, inputs: list[Array]) -> list[Array]:
        return self._ask(0.0, inputs)

    def timed(self, inputs: list[Array], seconds: float) -> Array:
        """Seconds of each call, by the server's own clock: the pipes are not the runtime's."""
        [times] = self._ask(seconds, inputs)
        return times

    def _ask(self, seconds: float, inputs: list[Array]) -> list[Array]:
        with suppress(BrokenPipeError):  # the answer's absence is what tells
            self._send(struct.pack("<d", seconds) + packed(inputs))
        return self._receive()

    def _send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._out, view) :]

    def _receive(self) -> list[Array]:
        (status,) = self._numbers("<I")
        if status:
            raise RuntimeError(self._read(*self._numbers("<I")).decode(errors="replace"))
        (count,) = self._numbers("<I")
        return [self._tensor() for _ in range(count)]

    def _tensor(self) -> Array:
        code, rank = self._numbers("<II")
        sizes = self._numbers(f"<{rank}Q")
        dtype = DTYPES[code]
        data = self._read(dtype.itemsize * int(np.prod(sizes, dtype=np.int64)))
        return np.frombuffer(data, dtype).reshape(sizes)

    def _numbers(self, format: str) -> tuple[int, ...]:
        return struct.unpack(format, self._read(struct.calcsize(format)))

    def _read(self, length: int) -> bytearray:
        data = bytearray(length)
        view = memoryview(data)
        while view:
            got = os.readv(self._in, [view])
            if not got:
                raise RuntimeError(self._end())
            view = view[got:]
        return data

    def _end(self) -> str:
        code = self._process.wait()
        if code < 0:
            return f"the program was killed by {signal.Signals(-code).name}"
        return f"the program ended with exit code {code}"


def packed(arrays: Sequence[Array]) -> bytes:
    """The arrays as `tensors` of the protocol."""
    parts = [struct.pack("<I", len(arrays))]
    for array in arrays:
        header = (DTYPES.index(array.dtype), array.ndim, *array.shape)
        parts += [struct.pack(f"<II{array.ndim}Q", *header), np.ascontiguousarray(array).tobytes()]
    return b"".join(parts)
