"""A bundle is whole or not there, and provably what was exported."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import torch_sigmoid_ext
from torch_sigmoid_ext.export import pipeline
from torch_sigmoid_ext.export.bundle import MANIFEST, check_free, open_bundle, staged
from torch_sigmoid_ext.export.errors import UsageError
from torch_sigmoid_ext.export.findings import Report
from torch_sigmoid_ext.export.model import InputSpec
from torch_sigmoid_ext.export.pipeline import export_bundle


def export(directory: Path, **options) -> Report:
    """The quickest bundle there is: TorchScript alone, not verified."""
    options = {"formats": ["torchscript"], "verify": False, **options}
    inputs = [InputSpec.parse("input=float32[batch,3]")]
    return export_bundle(torch_sigmoid_ext.SimpleNN(), "SimpleNN", inputs, directory, **options)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    export(tmp_path / "out")
    return tmp_path / "out"


def test_manifest_tells_every_file_and_what_was_asked(bundle: Path) -> None:
    manifest = json.loads((bundle / MANIFEST).read_text())
    files = {path.name for path in bundle.iterdir()} - {MANIFEST}
    assert set(manifest["files"]) == files >= {"model.torchscript.pt", "samples.npz", "report.html"}
    assert manifest["inputs"] == [{"name": "input", "dtype": "float32", "dims": ["batch", 3]}]
    assert manifest["dynamic_dims"] == ["batch"] and manifest["lowering"] == "exact"
    assert "operator library" in manifest["formats"]["torchscript"]["requires"]
    opened = open_bundle(bundle)
    assert [str(spec) for spec in opened.inputs] == ["input=float32[batch,3]"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RuntimeError])
@pytest.mark.parametrize("where", ["check_model", "save_samples", "write_report", "seal"])
def test_nothing_is_left_behind_by_an_interruption(tmp_path, monkeypatch, where, error) -> None:
    def interrupt(*_: object) -> None:
        raise error

    monkeypatch.setattr(pipeline, where, interrupt)
    with pytest.raises(error):
        export(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_staging_folder_appears_under_its_name_at_the_end_only(tmp_path: Path) -> None:
    with staged(tmp_path / "out") as staging:
        (staging / "file").write_text("x")
        assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "file"]


def test_missing_parents_are_made_and_gone_after_an_error(tmp_path: Path) -> None:
    check_free(tmp_path / "a" / "b" / "out")
    with pytest.raises(RuntimeError), staged(tmp_path / "a" / "b" / "out"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with staged(tmp_path / "a" / "b" / "out"):
        pass
    assert (tmp_path / "a" / "b" / "out").is_dir()


def test_full_disk_is_told_by_the_users_own_path(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error, staged(tmp_path / "out") as staging:
        raise OSError(28, "No space left on device", str(staging / "model.onnx"))
    assert f"cannot write {tmp_path / 'out'}" in str(error.value)
    assert "No space left on device; give -o another place" in str(error.value)
    assert ".out." not in str(error.value)
    with pytest.raises(FileNotFoundError), staged(tmp_path / "out"):
        open("the model's own file")


def test_existing_or_unwritable_place_is_refused_before_any_work(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(pipeline, "check_model", lambda *_: pytest.fail("slow work was begun"))
    (tmp_path / "file").write_text("x")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for taken in (tmp_path, tmp_path / "file", tmp_path / "dangling"):
        with pytest.raises(UsageError, match="not to exist"):
            export(taken)
    with pytest.raises(UsageError, match=f"{tmp_path / 'file'} is none; give -o another place"):
        export(tmp_path / "file" / "b" / "out")
    with pytest.raises(UsageError, match=r"cannot write .*File name too long; give -o another"):
        export(tmp_path / ("x" * 300))
    assert {path.name for path in tmp_path.iterdir()} == {"file", "dangling"}


@pytest.mark.skipif(sys.platform != "linux", reason="/proc takes no folder, not even from root")
def test_place_that_takes_no_folder_is_named_as_the_user_wrote_it() -> None:
    with pytest.raises(UsageError, match=r"^cannot write /proc/x in /proc: .*; give -o another"):
        check_free(Path("/proc/x"))


@pytest.mark.parametrize("name", ["model.torchscript.pt", "samples.npz", "report.html"])
def test_changed_or_missing_file_is_named(bundle: Path, name: str) -> None:
    file = bundle / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(UsageError, match=f"{name} has changed"):
        open_bundle(bundle)
    file.unlink()
    with pytest.raises(UsageError, match=f"{name} is missing"):
        open_bundle(bundle)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"format_version": 2}', '{"format_version": 1, "inputs": 3}']
)
def test_garbled_manifest_is_an_error_of_use(bundle: Path, text: str) -> None:
    (bundle / MANIFEST).write_text(text)
    with pytest.raises(UsageError, match="manifest"):
        open_bundle(bundle)
    (bundle / MANIFEST).write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="manifest"):
        open_bundle(bundle)
    (bundle / MANIFEST).unlink()
    with pytest.raises(UsageError, match="found none"):
        open_bundle(bundle)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../secret"])
def test_manifest_may_not_point_outside_the_bundle(bundle: Path, name: str) -> None:
    (bundle.parent / "secret").write_text("x")
    for change in (
        lambda m: m["files"].update({name: "0" * 64}),
        lambda m: m["formats"]["torchscript"].update(model=name),
    ):
        manifest = json.loads((bundle / MANIFEST).read_text())
        change(manifest)
        (bundle / MANIFEST).write_text(json.dumps(manifest))
        with pytest.raises(UsageError, match="outside the bundle"):
            open_bundle(bundle)


def edit(bundle: Path, **changes) -> None:
    fields = json.loads((bundle / MANIFEST).read_text())
    (bundle / MANIFEST).write_text(json.dumps({**fields, **changes}))


@pytest.mark.parametrize("key", ["lowering", "gate", "operator_dtype", "swept"])
def test_manifest_may_say_nothing_that_does_not_exist(bundle: Path, key: str) -> None:
    edit(bundle, **{key: "bogus"})
    with pytest.raises(UsageError, match=f"{key} is 'bogus', none of "):
        open_bundle(bundle)


def test_manifest_may_not_name_an_unknown_format(bundle: Path) -> None:
    edit(bundle, formats={"coreml": {"model": "samples.npz", "operator": "samples.npz"}})
    with pytest.raises(UsageError, match="formats has coreml, none of torchscript, onnx"):
        open_bundle(bundle)


@pytest.mark.parametrize(
    "changes", [{"gate": "absolute"}, {"operator_dtype": "float64"}, {"notes": ["all is well"]}]
)
def test_edited_manifest_is_noticed(bundle: Path, changes: dict[str, object]) -> None:
    edit(bundle)
    open_bundle(bundle)  # laid out in another way, it says the same
    edit(bundle, **changes)
    with pytest.raises(UsageError, match=r"manifest.json has changed"):
        open_bundle(bundle)


def test_file_that_the_manifest_does_not_name_is_reported(bundle: Path) -> None:
    (bundle / "more").mkdir()
    (bundle / "more" / "model.onnx").write_text("x")
    with pytest.raises(UsageError, match=r"more/model.onnx is not in the manifest"):
        open_bundle(bundle)
