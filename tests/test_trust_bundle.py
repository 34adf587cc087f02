"""A bundle from anybody: nothing is opened that is no plain file, nothing that leads elsewhere."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from trust_bundles import assert_one_clear_line, copied, real, reseal, rezip, run, sealed

from torch_sigmoid_ext.export import pipeline
from torch_sigmoid_ext.export.bundle import MANIFEST, check_contents, open_bundle, opened
from torch_sigmoid_ext.export.errors import UsageError
from torch_sigmoid_ext.export.manifest import MOST_BYTES
from torch_sigmoid_ext.export.model import InputSpec
from torch_sigmoid_ext.export.pipeline import verify_again
from torch_sigmoid_ext.export.stored import load_samples, save_samples
from torch_sigmoid_ext.export.trust import Untrusted, arrays, files
from torch_sigmoid_ext.export.trust.expressions import check_expression
from torch_sigmoid_ext.export.trust.text import parse_json

INPUTS = [InputSpec.parse("input=float32[batch,3]")]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return copied(tmp_path)


def refused(bundle: Path) -> str:
    """What is said of a bundle that must be refused before anything of it is run."""
    with pytest.raises(UsageError) as error, opened(bundle):
        pytest.fail("opened")
    said = str(error.value)
    assert said.isprintable() and len(said) < 1500
    return said


# Files


def make_link(path: Path) -> str:
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")
    return "is a symbolic link"


def make_hard_link(path: Path) -> str:
    os.link(path, path.parent.parent / "elsewhere")
    return "is one of 2 hard links"


def make_pipe(path: Path) -> str:
    path.unlink()
    os.mkfifo(path)
    return "is a pipe"


def make_socket(path: Path) -> str:
    import socket

    path.unlink()
    with socket.socket(socket.AF_UNIX) as made:
        here = os.getcwd()
        os.chdir(path.parent)  # a socket's path is short
        try:
            made.bind(path.name)
        finally:
            os.chdir(here)
    return "is a socket"


def make_folder(path: Path) -> str:
    path.unlink()
    path.mkdir()
    return "is missing"


def make_sparse(path: Path) -> str:
    with path.open("ab") as file:
        file.truncate(1 << 35)
    return f"it has {1 << 35:,} bytes"


@pytest.mark.parametrize("name", ["model.onnx", "samples.npz", "report.html"])
@pytest.mark.parametrize(
    "make", [make_link, make_hard_link, make_pipe, make_socket, make_folder, make_sparse]
)
def test_file_that_is_no_plain_file_is_refused_unread(bundle: Path, name: str, make) -> None:
    says = make(bundle / name)
    assert f"{name} " in refused(bundle) and says in refused(bundle)


@pytest.mark.parametrize("make", [make_link, make_hard_link, make_pipe, make_sparse])
def test_manifest_that_is_no_plain_file_is_refused(bundle: Path, make) -> None:
    make(bundle / MANIFEST)
    assert "is not a manifest that can be read" in refused(bundle)


def test_link_to_a_folder_inside_is_not_followed(bundle: Path) -> None:
    (bundle / "more").symlink_to(bundle.parent)
    assert "more is a symbolic link" in refused(bundle)


def test_bundle_itself_may_be_reached_by_a_link(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(bundle)
    assert open_bundle(tmp_path / "latest").files


def test_names_that_would_garble_the_message_are_shown_escaped(bundle: Path) -> None:
    for name in (b"\x1b[31mred", b"a\nb", b"\xff\xfe", b"x" * 250):
        (bundle / os.fsdecode(name)).write_text("x")
    said = refused(bundle)
    assert "'\\x1b[31mred' is not in the manifest" in said and "\\udcff" in said


def test_more_files_than_a_bundle_can_have_are_not_all_looked_at(bundle, monkeypatch) -> None:
    monkeypatch.setattr(files, "MOST_FILES", 20)
    for number in range(20):
        (bundle / f"{number}").write_text("x")
    assert "it has more than 20 files" in refused(bundle)


def test_bundle_beyond_the_cap_is_not_hashed(bundle, monkeypatch) -> None:
    monkeypatch.setattr(files, "MOST_BYTES", 1000)
    assert "more than 1,000" in refused(bundle)


def test_file_exchanged_after_its_hash_is_not_what_is_run(bundle, monkeypatch) -> None:
    """The runtimes get a private copy, made of the very bytes that were hashed."""
    run_from = []

    def exchange(directory: Path, *_: object) -> list[Any]:
        evil = bundle / "model.torchscript.pt"
        evil.unlink()
        evil.write_bytes(b"exchanged")
        run_from.append((directory / "model.torchscript.pt").read_bytes())
        assert (directory / "model.torchscript.pt").stat().st_mode & 0o777 == 0o400
        assert directory.stat().st_uid == os.getuid() and directory != bundle
        assert directory.parent.stat().st_mode & 0o77 == 0, "nobody else may enter it"
        return []

    monkeypatch.setattr(pipeline, "verify_bundle", exchange)
    verify_again(bundle, runtimes=["eager"])
    assert run_from == [(real() / "model.torchscript.pt").read_bytes()]


def test_file_that_grows_while_it_is_read_is_noticed(bundle: Path) -> None:
    size = (bundle / "model.onnx").stat().st_size
    for wrong in (size - 1, size + 1):
        with pytest.raises(Untrusted, match="changes while it is read"):
            files.sha256_of(bundle, "model.onnx", wrong)


def test_bundle_of_the_format_before_has_no_sizes_and_opens(bundle: Path) -> None:
    def older(fields: dict[str, Any]) -> None:
        fields["format_version"] = 1
        del fields["sizes"]

    reseal(bundle, older)
    with opened(bundle) as (manifest, _):
        assert manifest.sizes == {}


# The manifest


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'{"a":' * 5000, "nested deeper than 100 levels"),
        (b"[" * 500_000, "nested deeper than 100 levels"),
        (b'{"a": 1, "a": 2}', "has the key a twice"),
        (b'{"a": NaN}', "has NaN"),
        (b'{"a": -Infinity}', "has -Infinity"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": ' + b"9" * 100_000 + b"}", "a whole number of 100000 digits"),
        (b'{"a": "\xff"}', "not UTF-8 at byte 7"),
        (b"\xff\xfe{\0}\0", "not UTF-8 at byte 0"),
        (b"", "no JSON"),
        (b"[]", "the manifest is of type list, not dict"),
        (b"{" + b" " * MOST_BYTES + b"}", f"has more than {MOST_BYTES:,} bytes"),
    ],
)
def test_manifest_that_is_no_strict_json_is_refused(bundle: Path, data: bytes, says: str) -> None:
    (bundle / MANIFEST).write_bytes(data)
    assert says in refused(bundle)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("notes", ["\x1b]0;title\x07"], "notes's element has control characters"),
        ("model", "\ud800", "model has control characters"),
        ("opset", True, "opset is of type bool"),
        ("opset", -1, "opset is -1"),
        ("inputs", [{"name": "x", "dtype": "float32", "dims": [1 << 50]}], "more than"),
        ("inputs", [{"name": "x", "dtype": "float32", "dims": [1] * 33}], "33 dimensions"),
        ("inputs", [{"name": "x y", "dtype": "float32", "dims": []}], "expected an input"),
        ("inputs", {}, "inputs is of type dict, not list"),
        ("files", {"samples.npz": "0" * 63}, "no sha256"),
        ("sizes", {"samples.npz": 1}, "sizes are not those of its files"),
        ("format_version", 3, "format_version is 3, none of 1, 2"),
        ("imports", ["os"], "it has imports, which no manifest has"),
    ],
)
def test_manifest_with_a_part_of_the_wrong_kind_is_refused(bundle, key, value, says) -> None:
    fields = json.loads((bundle / MANIFEST).read_text())
    (bundle / MANIFEST).write_bytes(sealed({**fields, key: value}))
    assert says in refused(bundle)


@pytest.mark.parametrize(
    "name",
    ["", ".", "./model.onnx", "a//b", "a\\b", "a\0b", "a\nb", "/dev/stdin", "../x", "a/b/c/d/e"],
)
def test_name_that_is_none_of_a_file_is_refused(bundle: Path, name: str) -> None:
    for change in (
        lambda fields: fields["files"].update({name: "0" * 64}),
        lambda fields: fields["formats"]["onnx"].update(model=name),
    ):
        fields = json.loads((bundle / MANIFEST).read_text())
        change(fields)
        (bundle / MANIFEST).write_bytes(sealed(fields))
        assert "is not a manifest that can be read" in refused(bundle)


def test_file_with_another_formats_ending_is_refused(bundle: Path) -> None:
    """The C++ program takes *.pt2 for native code, ONNX Runtime *.ort for its own format."""

    def rename(fields: dict[str, Any]) -> None:
        fields["files"]["model.pt2"] = fields["files"]["model.torchscript.pt"]
        fields["formats"]["torchscript"]["model"] = "model.pt2"

    reseal(bundle, rename)
    assert "model.pt2 is no name of a file *.torchscript.pt" in refused(bundle)


def test_what_is_written_can_be_read_whatever_the_notes_say(bundle, tmp_path) -> None:
    from dataclasses import replace

    from torch_sigmoid_ext.export.bundle import seal

    manifest = replace(open_bundle(bundle), notes=["\x1b[31mred\ud800"], files={}, sizes={})
    (bundle / MANIFEST).unlink()
    seal(bundle, manifest)
    assert open_bundle(bundle).notes == ["\ufffd[31mred\ufffd"]


# Samples


class Evil:
    """Unpickled, it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return open, (str(self.mark), "w")


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "unpickled"


def test_object_array_in_the_samples_is_not_unpickled(bundle: Path, mark: Path) -> None:
    evil = np.empty(1, object)
    evil[0] = Evil(mark)
    with np.load(bundle / "samples.npz") as saved:
        honest = dict(saved)
    np.savez(bundle / "samples.npz", **{**honest, "1/inputs/0": evil}, allow_pickle=True)
    assert "no numbers, and nothing is unpickled" in refused(reseal(bundle))
    (bundle / "samples.npz").write_bytes(pickle.dumps(Evil(mark)))
    assert "samples.npz does not end as a zip archive" in refused(reseal(bundle))
    assert not mark.exists()


def npy(shape: str, dtype: str = "<f4", data: bytes = b"") -> bytes:
    header = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header + b"\n" + data


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (npy("(1000000000000,)"), "whose shape"),
        (npy("(281474976710656,)"), "a shape that no array can have"),
        (npy("(-1,)"), "a shape that no array can have"),
        (npy("(1.5,)"), "no array that can be read"),
        (npy("(" * 300 + ")" * 300), "no array that can be read"),
        (npy("(2, 3)", "<U1000000000"), "no array that can be read"),
        (npy("(2, 3)", "<U10", b"\0" * 240), "no numbers"),
        (npy("(2, 3)", "|V24", b"\0" * 144), "no numbers"),
        (npy("__import__('os')"), "no array that can be read"),
        (npy("(2,3)", data=b"\0" * 25), "whose shape"),
        (b"\x93NUMPY\x03\x00", "another version"),
        (b"no numpy", "no array that can be read"),
        (b"", "no array that can be read"),
    ],
)
def test_array_whose_header_lies_is_refused_unallocated(bundle, content, says) -> None:
    data = (bundle / "samples.npz").read_bytes()
    changed = rezip(data, {"1/inputs/0.npy": content})
    (bundle / "samples.npz").write_bytes(changed)
    assert says in refused(reseal(bundle))


def test_bomb_is_refused_by_its_declared_size_and_by_its_real_one(bundle: Path) -> None:
    length = 1 << 27
    bomb = npy(f"({length // 4},)", data=b"\0" * length)
    data = (bundle / "samples.npz").read_bytes()
    packed = rezip(data, {"1024/inputs/0.npy": bomb}, method=zipfile.ZIP_DEFLATED)
    assert len(packed) < 1 << 18
    (bundle / "samples.npz").write_bytes(packed)
    assert f"bytes in a file of {len(packed):,}" in refused(reseal(bundle))
    # The same, with a central directory that declares 1000 bytes.
    lying = packed.replace(struct.pack("<I", len(bomb)), struct.pack("<I", 1000))
    (bundle / "samples.npz").write_bytes(lying)
    refused(reseal(bundle))


def test_samples_that_pack_as_a_bomb_would_are_saved_unpacked(tmp_path, monkeypatch) -> None:
    from torch_sigmoid_ext.export.stored import Sample

    monkeypatch.setattr(arrays, "SMALL", 1000)
    zeros = np.zeros((50_000, 3), np.float32)
    sample = Sample(50_000, [zeros], [zeros], [zeros.astype(np.float64)])
    save_samples(tmp_path / "samples.npz", [sample])
    [loaded] = load_samples(tmp_path / "samples.npz", INPUTS)
    np.testing.assert_array_equal(loaded.truth[0], zeros)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"1/inputs/0": np.zeros((1, 3), ">f4")}, "inputs of >f4 dtypes"),
        ({"1/inputs/0": np.zeros((1, 4), "f4")}, "input of the shape [1, 4]"),
        ({"1/inputs/0": np.zeros(3, "f4")}, "input of the shape [3]"),
        ({"1/truth/0": np.zeros((1, 3))}, "whose truth is not"),
        ({"1/truth/0": np.zeros((1, 2), "f4")}, "whose truth is not"),
        ({"1/eager/0": np.zeros((1, 2), "c8")}, "no outputs, or of dtypes"),
        ({"1/eager/7": np.zeros((1, 2), "f4")}, "out of its turn"),
        ({"x": np.zeros(1)}, "an array x, which is none"),
        ({"-1/inputs/0": np.zeros(1)}, "an array -1/inputs/0, which is none"),
    ],
)
def test_samples_that_are_not_the_models_are_refused(bundle, changes, says) -> None:
    with np.load(bundle / "samples.npz") as saved:
        honest = dict(saved)
    np.savez(bundle / "samples.npz", **{**honest, **changes})
    assert says in refused(reseal(bundle))


# ONNX


def external(location: str, offset: str | None = None, length: str | None = None) -> Any:
    tensor = onnx.TensorProto(name="stolen", data_type=onnx.TensorProto.FLOAT, dims=[2, 3])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    facts = {"location": location, "offset": offset, "length": length}
    for key, value in facts.items():
        if value is not None:
            tensor.external_data.add(key=key, value=value)
    return tensor


def as_initializer(model: Any, tensor: Any) -> None:
    model.graph.initializer.append(tensor)


def as_constant(model: Any, tensor: Any) -> None:
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["stolen"], value=tensor))


def in_subgraph(model: Any, tensor: Any) -> None:
    graph = onnx.GraphProto(name="then", initializer=[tensor])
    inner = onnx.helper.make_node("If", ["c"], ["o"], then_branch=graph, else_branch=graph)
    outer = onnx.GraphProto(name="outer", node=[inner])
    model.graph.node.append(onnx.helper.make_node("Loop", ["n"], ["o2"], body=outer))


def in_function(model: Any, tensor: Any) -> None:
    function = model.functions.add(name="F", domain="d")
    function.node.append(onnx.helper.make_node("Constant", [], ["stolen"], value=tensor))


def as_sparse_values(model: Any, tensor: Any) -> None:
    model.graph.sparse_initializer.add(values=tensor)


def as_sparse_attribute(model: Any, tensor: Any) -> None:
    attribute = model.graph.node.add(op_type="Constant").attribute.add(name="sparse_values")
    attribute.sparse_tensors.add(indices=tensor)


def as_attribute_list(model: Any, tensor: Any) -> None:
    model.graph.node.add(op_type="Custom").attribute.add(name="all").tensors.append(tensor)


def in_training(model: Any, tensor: Any) -> None:
    model.training_info.add().initialization.initializer.append(tensor)


@pytest.mark.parametrize(
    "hide",
    [
        *(as_initializer, as_constant, in_subgraph, in_function, as_sparse_values),
        *(as_sparse_attribute, as_attribute_list, in_training),
    ],
)
@pytest.mark.parametrize(
    "place", ["/etc/passwd", "../secret", "a/../../secret", "*/_ORT_MEM_ADDR_/*", ""]
)
def test_external_data_elsewhere_is_refused_wherever_a_tensor_is(bundle, hide, place) -> None:
    (bundle.parent / "secret").write_bytes(b"\0" * 24)
    path = bundle / "operator.onnx"
    model = onnx.load(path, load_external_data=False)
    hide(model, external(place, "0", "24"))
    path.write_bytes(model.SerializeToString())
    said = refused(reseal(bundle))
    assert "operator.onnx has a tensor stolen in " in said
    assert "leads out of the bundle" in said or "is no file of the manifest" in said


@pytest.mark.parametrize(
    ("tensor", "says"),
    [
        (external("nowhere.data"), "is no file of the manifest"),
        (external("report.md", "0", "25"), "of 24 bytes, and external data of 25"),
        (external("report.md", "9999999", "24"), "that ends at byte 10,000,023"),
        (external("report.md", "9" * 19, None), "that ends at byte"),
        (external("report.md", "-1", "24"), "whose offset is -1"),
        (external("report.md", "0x10", "24"), "whose offset is 0x10"),
        (external("report.md", "٣", "24"), "whose offset is ٣"),
        (external("report.md", "0", "9" * 5000), "whose length is 999"),
    ],
)
def test_external_data_outside_of_its_file_is_refused(bundle: Path, tensor: Any, says) -> None:
    path = bundle / "model.onnx"
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer.append(tensor)
    path.write_bytes(model.SerializeToString())
    assert says in refused(reseal(bundle))


def test_external_data_said_twice_or_not_as_external_is_refused(bundle: Path) -> None:
    path = bundle / "model.onnx"
    for change in (
        lambda tensor: tensor.external_data.add(key="location", value="/etc/passwd"),
        lambda tensor: tensor.external_data.add(key="basepath", value="/etc"),
        lambda tensor: tensor.ClearField("external_data"),
    ):
        model = onnx.load(real() / "model.onnx", load_external_data=False)
        change(model.graph.initializer[0])
        path.write_bytes(model.SerializeToString())
        assert "not described as ONNX has it" in refused(reseal(bundle))
    model = onnx.load(real() / "model.onnx", load_external_data=False)
    stolen = external("/etc/passwd")
    stolen.data_location = onnx.TensorProto.DEFAULT
    model.graph.initializer.append(stolen)
    path.write_bytes(model.SerializeToString())
    assert "leads out of the bundle" in refused(reseal(bundle))


@pytest.mark.parametrize("make", [make_link, make_hard_link])
def test_external_data_by_a_link_is_refused(bundle: Path, make) -> None:
    says = make(bundle / "model.onnx.data")
    assert f"model.onnx.data {says}" in refused(bundle)


def test_graphs_nested_beyond_protobufs_limit_are_refused(bundle: Path) -> None:

    def field(number: int, content: bytes) -> bytes:
        length, digits = len(content), b""
        while length > 127:
            digits, length = digits + bytes([length & 127 | 128]), length >> 7
        return bytes([number << 3 | 2]) + digits + bytes([length]) + content

    graph = b""
    for _ in range(10_000):
        graph = field(1, field(5, field(6, graph)))  # a node's attribute's graph
    (bundle / "model.onnx").write_bytes(field(7, graph))
    assert "model.onnx is no ONNX model that can be read" in refused(reseal(bundle))


def test_without_onnx_no_onnx_file_is_run(bundle: Path, monkeypatch) -> None:
    from torch_sigmoid_ext.export import bundle as module

    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with opened(bundle) as (manifest, copy):
        check_contents(copy, manifest)
        why = manifest.formats["onnx"]["cannot_run"]
        assert "pip install onnx" in why["onnxruntime"] and "eager" not in why


# torch's own archives


def change_pt2(bundle: Path, *arguments: Any, **options: Any) -> str:
    path = bundle / "model.pt2"
    path.write_bytes(rezip((real() / "model.pt2").read_bytes(), *arguments, **options))
    return refused(reseal(bundle))


def edited(name: str, change: Callable[[Any], None]) -> dict[str, bytes | None]:
    """The member with its JSON changed."""
    with zipfile.ZipFile(real() / "model.pt2") as archive:
        fields = json.loads(archive.read(f"archive/{name}"))
    change(fields)
    return {name: json.dumps(fields).encode()}


def torch_pickle(value: Any) -> bytes:
    import io

    packed = io.BytesIO()
    torch.save(value, packed)
    return packed.getvalue()


def test_pickle_in_the_sample_inputs_is_not_unpickled(bundle: Path, mark: Path) -> None:
    said = change_pt2(bundle, {"sample_inputs/model.pt": torch_pickle((Evil(mark),))})
    assert "has a pickle that calls for" in said and "nothing is unpickled" in said
    change_pt2(bundle, {"sample_inputs/model.pt": pickle.dumps(Evil(mark))})
    assert not mark.exists()


def test_pickle_that_hides_its_names_is_not_unpickled(bundle: Path) -> None:
    """STACK_GLOBAL takes them from the stack, where they may come from anywhere."""
    hidden = rezip(torch_pickle(()), {"data.pkl": pickle.dumps(os.getpid, protocol=4)})
    assert "hides what it calls for" in change_pt2(bundle, {"sample_inputs/model.pt": hidden})


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        (
            "data/weights/model_weights_config.json",
            lambda c: c["config"]["fc1.weight"].update(use_pickle=True),
            "has fc1.weight as a pickle",
        ),
        (
            "data/weights/model_weights_config.json",
            lambda c: c["config"]["fc1.weight"].update(path_name="../../secret"),
            "as something else than a tensor",
        ),
        (
            "data/constants/model_constants_config.json",
            lambda c: c["config"].update(
                evil={"path_name": "opaque_obj_0", "use_pickle": True, "tensor_meta": None}
            ),
            "has evil as a pickle",
        ),
        (
            "models/model.json",
            lambda p: p["graph_module"]["graph"]["tensor_values"]["x"]["sizes"][0][
                "as_expr"
            ].update(expr_str="__import__('os').getpid()"),
            "an expression that is more than arithmetic",
        ),
        (
            "models/model.json",
            lambda p: p["graph_module"]["graph"]["inputs"][2]["as_tensor"].update(
                name="x=__import__('os').getpid()"
            ),
            "has a name that is none",
        ),
        (
            "models/model.json",
            lambda p: p["graph_module"]["graph"]["nodes"][0].update(target="torch.os.getpid"),
            "calls torch.os.getpid, which is no operator",
        ),
        (
            "models/model.json",
            lambda p: p.update(guards_code=["__import__('os').getpid()"]),
            "an expression that is more than arithmetic",
        ),
        (
            "models/model.json",
            lambda p: p["graph_module"]["module_call_graph"][0]["signature"].update(
                in_spec=json.dumps(
                    [
                        1,
                        {
                            "type": "collections.defaultdict",
                            "context": {"default_factory_module": "this"},
                            "children_spec": [],
                        },
                    ]
                )
            ),
            "nests its arguments in collections.defaultdict",
        ),
        (
            "models/model.json",
            lambda p: p["graph_module"]["module_call_graph"][0]["signature"].update(
                out_spec=json.dumps(
                    [
                        1,
                        {
                            "type": "builtins.dict",
                            "context": '[{"__enum__": true, "fqn": "this:x", "name": "y"}]',
                            "children_spec": [],
                        },
                    ]
                )
            ),
            "nests its arguments under",
        ),
    ],
)
def test_program_that_torch_would_run_as_python_is_refused(bundle, name, change, says) -> None:
    assert says in change_pt2(bundle, edited(name, change))


@pytest.mark.parametrize(
    "member",
    [
        "archive/data/aotinductor/model/evil.so",
        "archive/data/weights/model.pt",
        "archive/data/constants/model.pt",
        "archive/models/other.json",
        "archive/extra/../../evil",
        "/etc/evil",
        "elsewhere/archive_format",
        "archive\\data\\weights\\model.pt",
    ],
)
def test_member_that_torch_export_never_writes_is_refused(bundle: Path, member: str) -> None:
    said = change_pt2(bundle, more={member: b"evil"})
    assert said.startswith("model.pt2 has ")


def test_packed_doubled_or_prefixed_archives_are_refused(bundle: Path) -> None:
    data = (real() / "model.torchscript.pt").read_bytes()
    path = bundle / "model.torchscript.pt"
    with zipfile.ZipFile(path) as archive:
        name = archive.namelist()[0]
    for changed, says in (
        (rezip(data, method=zipfile.ZIP_DEFLATED), "that is packed or encrypted"),
        (data[:-1] + b"\1\0", "does not end as a zip archive"),
        (data[:1000], "does not end as a zip archive"),
        (b"", "does not end as a zip archive"),
        (rezip(data, {"data.pkl": None}), "it has no data.pkl"),
    ):
        path.write_bytes(changed)
        assert says in refused(reseal(bundle))
    with pytest.warns(UserWarning, match="Duplicate name"):
        path.write_bytes(rezip(data, more={name: b"other"}))
    assert "twice" in refused(reseal(bundle))


@pytest.mark.parametrize(
    "text",
    [
        "Symbol('s77', positive=True, integer=True)",
        "Mul(Integer(8), Max(Integer(1), Add(Symbol('s53', positive=True), Integer(-2))))",
        "Eq(Mod(s0*(s1 + 2), 3), 0)",
        "2*s0 + 1.5e-3",
    ],
)
def test_sizes_as_torch_writes_them_pass(text: str) -> None:
    check_expression(text)


@pytest.mark.parametrize(
    "text",
    [
        *("__import__('os')", "exec(chr(112))", "open(1)", "(1).__class__", "[x for x in (1,)]"),
        *(
            "Symbol('__import__(1)')",
            "Max('evil()', 1)",
            "lambda: 1",
            "s0[0]",
            "f'{s0}'",
            "breakpoint()",
        ),
        *("(" * 3000 + "1" + ")" * 3000, "s0 if s0 else s1", "Symbol.__init__", "print", "'a'*9"),
        *("Symbol(Symbol('a b'))", "getattr(s0, 's1')", "L['x'].size()"),
    ],
)
def test_expression_that_is_more_than_arithmetic_is_refused(text: str) -> None:
    with pytest.raises(Untrusted):
        check_expression(text)


def test_guards_look_up_sizes_and_nothing_else() -> None:
    check_expression("L['x'].size()[0] <= 64", guard=True)
    check_expression("L['args'][0]['k'].size()[1] % 2 == 0", guard=True)
    for text in ("L['x'].numpy()", "L.__class__", "eval(L['x'])", "L['x'].size.__globals__"):
        with pytest.raises(Untrusted):
            check_expression(text, guard=True)


def test_programs_of_models_in_use_pass(tmp_path: Path) -> None:
    """Convolutions, buffers, an LSTM, a branch, constants, nested outputs, strings, two sizes."""
    from torch_sigmoid_ext.export.trust.pt2_file import check_program

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)
            self.lstm = torch.nn.LSTM(4, 4, batch_first=True)
            self.scale = torch.tensor([1.0, 2.0, 3.0, 4.0])

        def forward(self, x):
            y = self.norm(self.conv(x)).mean((2, 3))
            y = torch.div(torch.sigmoid(y), 2, rounding_mode="floor")
            y = torch.cond(y.sum() > 0, lambda a: a + 1, lambda a: a - 1, (y,))
            h, _ = self.lstm(y[:, None])
            return {"a b": y, "b": [torch.cat([x.flatten(1), x.flatten(1)], 1), h * self.scale]}

    sizes = {0: torch.export.Dim("batch", min=2, max=64), 2: torch.export.Dim("h", min=8)}
    program = torch.export.export(
        Model().eval(), (torch.ones(4, 3, 8, 10),), dynamic_shapes=(sizes,), strict=False
    )
    torch.export.save(program, tmp_path / "model.pt2")
    with (tmp_path / "model.pt2").open("rb") as file:
        check_program(file)


def test_hostile_bundles_end_the_command_with_2_and_one_line(bundle: Path, tmp_path: Path) -> None:
    make_pipe(bundle / "model.onnx")
    assert_one_clear_line(run("verify", "bundle", cwd=tmp_path), "model.onnx is a pipe")
    shutil.rmtree(bundle)
    copied(tmp_path)
    (bundle / MANIFEST).write_bytes(b'{"a":' * 5000)
    assert_one_clear_line(run("bench", "bundle", cwd=tmp_path), "nested deeper than 100 levels")


def test_json_that_is_strict_is_read_as_it_is() -> None:
    text = '{"a": [1, -2.5, true, null, "\\u00e9\\n[[[["], "b": {"c": "\\"]"}}'
    assert parse_json(text.encode()) == json.loads(text)
