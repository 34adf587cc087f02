"""Bounds that only a forged file comes to: counts, sizes, overlaps, and parts that are missing."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from trust_bundles import real, rezip

from torch_sigmoid_ext.export.model import InputSpec
from torch_sigmoid_ext.export.stored import load_samples
from torch_sigmoid_ext.export.trust import Untrusted, archives, arrays
from torch_sigmoid_ext.export.trust.expressions import LONGEST, check_expression
from torch_sigmoid_ext.export.trust.files import open_plain
from torch_sigmoid_ext.export.trust.onnx_file import check_model
from torch_sigmoid_ext.export.trust.pt2_file import check_package, check_program


def archive(members: dict[str, bytes]) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return file


def saved(path: Path, **named: Any) -> Path:
    np.savez(path, **named)
    return path


def test_archive_of_too_many_members_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_MEMBERS", 3)
    with archives.open_archive(archive(dict.fromkeys("abc", b""))) as opened:
        assert opened.namelist() == ["a", "b", "c"]
    with (
        pytest.raises(Untrusted, match="more than 3 members"),
        archives.open_archive(archive(dict.fromkeys("abcd", b""))),
    ):
        pass


def test_members_that_share_bytes_are_refused() -> None:
    """A member whose bytes are the record of another one: unpacked, they would be twice as many."""
    inner = archive({"b": b"\7" * 4096})
    with zipfile.ZipFile(inner) as opened:
        (member,) = opened.infolist()
    record = inner.getvalue()[: 30 + len("b") + 4096]  # the local header, and the bytes
    outer = io.BytesIO()
    with zipfile.ZipFile(outer, "w") as packed:
        packed.writestr("a", record)
        member.header_offset = 30 + len("a")
        packed.filelist.append(member)
        packed.NameToInfo["b"] = member
    with (
        pytest.raises(Untrusted, match=r"one over the other|[Oo]verlap"),
        archives.open_archive(outer),
    ):
        pass


def test_member_larger_than_may_be_read_is_refused() -> None:
    with archives.open_archive(archive({"graph": b"{}    "})) as opened:
        assert archives.read_member(opened, "graph", 6) == b"{}    "
        with pytest.raises(Untrusted, match="graph of more than 5 bytes"):
            archives.read_member(opened, "graph", 5)


def test_arrays_of_more_than_the_bounds_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "a.npz", x=np.zeros(4), y=np.zeros(4))
    assert list(arrays.read_arrays(path)) == ["x", "y"]
    monkeypatch.setattr(arrays, "MOST_ARRAYS", 1)
    with pytest.raises(Untrusted, match="more than 1 arrays"):
        arrays.read_arrays(path)
    monkeypatch.setattr(arrays, "MOST_ARRAYS", 2)
    monkeypatch.setattr(arrays, "MOST_BYTES", 100)
    with pytest.raises(Untrusted, match="320 bytes, more than 100"):
        arrays.read_arrays(path)


def array_file(header: str, data: bytes, version: int = 1) -> bytes:
    """A member of an .npz file: numpy's format, by hand."""
    text = header.encode() + b"\n"
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + data


def test_both_versions_of_numpy_s_header_are_read(tmp_path: Path) -> None:
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}"
    for version in (1, 2):
        data = np.array([1.0, 2.0]).tobytes()
        path = tmp_path / "a.npz"
        path.write_bytes(archive({"x.npy": array_file(header, data, version)}).getvalue())
        assert arrays.read_arrays(path)["x"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("shape", [f"({1 << 48},)", "(-1,)", "(True,)", f"({'1, ' * 33})"])
def test_shape_that_no_array_can_have_is_refused(tmp_path: Path, shape: str) -> None:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}"
    path = tmp_path / "a.npz"
    path.write_bytes(archive({"x.npy": array_file(header, b"")}).getvalue())
    with pytest.raises(Untrusted, match=r"no array can have|no array that can be"):
        arrays.read_arrays(path)


def test_expression_as_long_as_a_book_is_refused_unread() -> None:
    check_expression("1" + " " * (LONGEST - 1))
    with pytest.raises(Untrusted, match="an expression of 20,001 characters"):
        check_expression("1" * (LONGEST + 1))


def test_file_in_a_folder_is_opened_and_one_behind_a_link_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(b"here")
    (tmp_path / "link").symlink_to("a")
    with open_plain(tmp_path, "a/b/file") as file:
        assert file.read() == b"here"
    with pytest.raises(Untrusted), open_plain(tmp_path, "link/b/file"):
        pass


def onnx_model(tensor: onnx.TensorProto | None) -> onnx.ModelProto:
    given = [] if tensor is None else [tensor]
    graph = onnx.helper.make_graph([], "graph", [], [], initializer=given)
    return onnx.helper.make_model(graph)


def test_model_without_a_graph_or_an_opset_is_refused() -> None:
    check_model(onnx_model(None).SerializeToString(), "m.onnx", {})
    for part in ("graph", "opset_import"):
        model = onnx_model(None)
        model.ClearField(part)
        with pytest.raises(Untrusted, match="no graph or no opset"):
            check_model(model.SerializeToString(), "m.onnx", {})


@pytest.mark.parametrize(("count", "size"), [(8, 4), (7, 4), (9, 5)])
def test_external_tensors_of_half_bytes_have_half_as_many(count: int, size: int) -> None:
    tensor = onnx.TensorProto(data_type=onnx.TensorProto.INT4, dims=[count], name="w")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for length in (size, size + 1):
        del tensor.external_data[:]
        for key, value in {"location": "m.data", "offset": 0, "length": length}.items():
            tensor.external_data.add(key=key, value=str(value))
        data = onnx_model(tensor).SerializeToString()
        if length == size:
            check_model(data, "m.onnx", {"m.data": 100})
            continue
        with pytest.raises(Untrusted):
            check_model(data, "m.onnx", {"m.data": 100})


def test_package_of_native_code_holds_what_torch_puts_there() -> None:
    good = {"p/version": b"3", "p/data/aotinductor/model/a.so": b""}
    check_package(archive(good))
    for name in ("p/data/aotinductor/model/../a.so", "p/extra/start.sh", "q/version"):
        with pytest.raises(Untrusted):
            check_package(archive({**good, name: b""}))


def test_program_without_its_parts_is_refused() -> None:
    data = (real() / "model.pt2").read_bytes()
    check_program(io.BytesIO(data))
    with pytest.raises(Untrusted, match=r"no member models/model\.json"):
        check_program(io.BytesIO(rezip(data, {"models/model.json": None})))
    with pytest.raises(Untrusted, match="a graph that is none"):
        check_program(io.BytesIO(rezip(data, {"models/model.json": b"[]"})))

    def nested(program: Any) -> bytes:
        """With the arguments' nesting told by a number instead of names."""
        signature = program["graph_module"]["module_call_graph"][0]["signature"]
        spec = json.loads(signature["in_spec"])
        spec[1]["context"] = 7
        signature["in_spec"] = json.dumps(spec)
        return json.dumps(program).encode()

    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        program = json.loads(opened.read("archive/models/model.json"))
    with pytest.raises(Untrusted, match="in a way that cannot be read"):
        check_program(io.BytesIO(rezip(data, {"models/model.json": nested(program)})))


def without(role: str) -> Callable[[dict[str, Any]], None]:
    return lambda named: named.pop(f"given/{role}/0")


def of_more_rows(named: dict[str, Any]) -> None:
    named["given/runs/0"] = np.array([5, 4, 1])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without("runs"), "given rows without runs"),
        (without("threshold"), "given rows without threshold"),
        (of_more_rows, "5 given rows, and inputs of another number"),
    ],
)
def test_given_rows_that_do_not_fit_together_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], says: str
) -> None:
    rows, probabilities = np.ones((4, 3), np.float32), np.full((4, 2), 0.5, np.float32)
    named = {
        "given/inputs/0": rows,
        "given/eager/0": probabilities,
        "given/truth/0": probabilities.astype(np.float64),
        "given/runs/0": np.array([4, 4, 1]),
        "given/threshold/0": np.array(0.5),
    }
    inputs = [InputSpec.parse("x=float32[batch,3]")]
    (sample,) = load_samples(saved(tmp_path / "good.npz", **named), inputs)
    assert sample.batch == 4
    change(named)
    with pytest.raises(Exception, match=says):
        load_samples(saved(tmp_path / "bad.npz", **named), inputs)
