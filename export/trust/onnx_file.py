"""An ONNX file whose tensors lie in it, or in files of the bundle beside it, and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from . import Untrusted
from .files import check_name
from .text import shown

MOST_BYTES = 1 << 31  # protobuf's own limit

_KEYS = ("location", "offset", "length", "checksum")


def check_model(data: bytes, name: str, sizes: Mapping[str, int]) -> None:
    """Untrusted unless it is an ONNX model, with external data in files of ``sizes`` alone.

    Looked at is every tensor that protobuf finds: in graphs, subgraphs, functions, attributes,
    sparse tensors and training information alike. Needs onnx, and opens nothing.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise Untrusted("is no ONNX model that can be read") from None
    if not model.HasField("graph") or not model.opset_import:
        raise Untrusted("is no ONNX model: it has no graph or no opset")
    external = onnx.TensorProto.EXTERNAL
    for tensor in _tensors(model, onnx.TensorProto.DESCRIPTOR.full_name):
        if tensor.data_location == external or tensor.external_data:
            _check_external(tensor, name, sizes)


def _tensors(message: Any, wanted: str) -> Iterator[Any]:
    """Every tensor in the message, wherever the format has a place for one."""
    pending = [message]
    while pending:
        message = pending.pop()
        if message.DESCRIPTOR.full_name == wanted:
            yield message
            continue
        for field, value in message.ListFields():
            if field.message_type is not None:
                pending += value if hasattr(value, "__len__") else [value]


def _check_external(tensor: Any, name: str, sizes: Mapping[str, int]) -> None:
    """Its bytes lie in a file that the manifest has the hash of."""
    who = f"has a tensor {shown(_text(tensor.name))}"
    entries = [(_text(entry.key), _text(entry.value)) for entry in tensor.external_data]
    facts = dict(entries)
    if len(facts) < len(entries) or "location" not in facts or facts.keys() - {*_KEYS}:
        raise Untrusted(f"{who} whose external data is not described as ONNX has it")
    place = facts["location"]
    try:
        check_name(place)
    except Untrusted:
        raise Untrusted(f"{who} in {shown(place)}, which leads out of the bundle") from None
    file = (PurePosixPath(name).parent / place).as_posix()
    if file not in sizes:
        raise Untrusted(f"{who} in {shown(place)}, which is no file of the manifest")
    offset, length = (_number(who, key, facts.get(key)) for key in ("offset", "length"))
    needed = _bytes(tensor)
    if length is not None and needed is not None and length != needed:
        raise Untrusted(f"{who} of {needed:,} bytes, and external data of {length:,}")
    end = (offset or 0) + (length if length is not None else needed or 0)
    if end > sizes[file]:
        raise Untrusted(f"{who} that ends at byte {end:,} of {place}, which has {sizes[file]:,}")


def _text(value: str | bytes) -> str:
    """What protobuf gives as bytes where it is no UTF-8."""
    if isinstance(value, bytes):
        raise Untrusted(f"has a text that is not UTF-8: {shown(repr(value))}")
    return value


def _number(who: str, key: str, text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise Untrusted(f"{who} whose {key} is {shown(text)}, no number of bytes")
    return int(text)


def _bytes(tensor: Any) -> int | None:
    """What its shape and type take, or None for a type of no fixed size."""
    import onnx

    if any(size < 0 for size in tensor.dims):
        raise Untrusted(f"has a tensor {shown(_text(tensor.name))} of a negative size")
    try:
        width = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        name = onnx.TensorProto.DataType.Name(tensor.data_type)
    except (KeyError, ValueError, TypeError):
        return None
    elements: int = math.prod(tensor.dims)
    if name.endswith("INT4") or name == "FLOAT4E2M1":
        return (elements + 1) // 2
    return None if width.hasobject or "INT2" in name else elements * int(width.itemsize)
