"""A bundle on another machine: what is not as recorded is shown, and torch need not be there."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import torch_sigmoid_ext
from torch_sigmoid_ext.export import export, verify
from torch_sigmoid_ext.export.bundle import open_bundle
from torch_sigmoid_ext.export.changes import differences
from torch_sigmoid_ext.export.cli import main
from torch_sigmoid_ext.export.errors import UsageError
from torch_sigmoid_ext.export.findings import Change, Skip, SkipKind, Standing
from torch_sigmoid_ext.export.model import InputSpec
from torch_sigmoid_ext.export.pipeline import export_bundle
from torch_sigmoid_ext.export.record import read_record
from torch_sigmoid_ext.export.show import skipped_lines

COMMAND = [sys.executable, "-m", "torch_sigmoid_ext.export"]
REPORTS = {"report.html", "report.md", "report.json", "junit.xml"}
Edit = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that was verified in two runtimes."""
    out = tmp_path_factory.mktemp("elsewhere") / "out"
    inputs = [InputSpec.parse("input=float32[batch,3]")]
    report = export_bundle(
        torch_sigmoid_ext.SimpleNN(),
        "SimpleNN",
        inputs,
        out,
        formats=["torchscript", "onnx"],
        runtimes=["eager", "onnxruntime"],
    )
    assert report.passed and report.since_export is None
    return out


def with_record(exported: Path, folder: Path, edit: Edit) -> Path:
    """The bundle, as if its report had said otherwise, with hashes that fit."""
    out = shutil.copytree(exported, folder / "out")
    record = json.loads((out / "report.json").read_text("utf-8"))
    edit(record)
    return with_report(out, json.dumps(record))


def with_report(out: Path, text: str) -> Path:
    """The bundle with another report, and hashes that fit."""
    (out / "report.json").write_text(text, "utf-8")
    manifest = json.loads((out / "manifest.json").read_text("utf-8"))
    del manifest["sha256"]
    manifest["files"]["report.json"] = hashlib.sha256(text.encode()).hexdigest()
    manifest["sizes"]["report.json"] = len(text.encode())
    fields = json.dumps(manifest, sort_keys=True)
    manifest["sha256"] = hashlib.sha256(fields.encode()).hexdigest()
    (out / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def run(*arguments: str, cwd: Path, path: str = "") -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(filter(None, [path, os.environ.get("PYTHONPATH", "")]))
    env = {**os.environ, "PYTHONPATH": paths, "COLUMNS": "160"}
    done = subprocess.run([*COMMAND, *arguments], cwd=cwd, env=env, capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_nothing_has_changed_on_the_same_machine_and_nothing_is_written(
    exported: Path, tmp_path: Path
) -> None:
    before = contents(exported)
    report = verify(exported, runtimes=["onnxruntime"], report=tmp_path / "again")
    assert report.since_export is not None
    assert report.since_export.same == ["onnxruntime"]
    assert report.since_export.changes == [], "eager was not asked for, and is not missed"
    assert contents(exported) == before
    written = contents(tmp_path / "again")
    assert set(written) == REPORTS
    assert json.loads(written["report.json"])["since_export"]["same"] == ["onnxruntime"]
    assert "As recorded on" in written["report.md"].decode()


def test_another_version_verdict_error_and_bits_are_shown_then_and_now(
    exported: Path, tmp_path: Path, bare: str
) -> None:
    def edit(record: dict[str, Any]) -> None:
        eager, onnxruntime = record["runtimes"]
        onnxruntime |= {"version": "1.2.3", "passed": False}
        onnxruntime["operator"] |= {"max_ulp": "inf", "differing": 94_103}
        onnxruntime["cases"][-1]["differing_from_eager"] += 1
        record["gate"] = "exact"
        record["runtimes"] = [onnxruntime, {**eager, "runtime": "vanished"}]

    with_record(exported, tmp_path, edit)
    done = run("verify", "out", "-o", "again", "--junit", "j.xml", cwd=tmp_path, path=bare)
    assert done.returncode == 0, done.stderr
    shown = [line.split("  ") for line in done.stdout.splitlines()]
    rows = [[cell.strip() for cell in line if cell.strip()] for line in shown]
    assert ["onnxruntime", "version", "1.2.3", metadata.version("onnxruntime")] in rows
    assert ["verdict", "outside", "within"] in rows
    assert ["max ULP", "inf", "0.5"] in rows and ["differing bits", "94,103", "0"] in rows
    assert "recorded by the gate exact, judged by strict now" in done.stdout
    assert re.search(r"reference +runs +not run +1\S+ within", done.stdout)
    assert re.search(r"vanished +runs +2\S+ within +no such runtime is known here", done.stdout)
    assert (tmp_path / "j.xml").is_file()
    told = json.loads((tmp_path / "again" / "report.json").read_text("utf-8"))["since_export"]
    by_runtime = {change["runtime"]: change for change in told["changes"]}
    assert by_runtime["onnxruntime"]["then"]["max_ulp"] == "inf"
    assert by_runtime["onnxruntime"]["now"]["differing"] == 0
    assert by_runtime["reference"]["then"] is None and by_runtime["vanished"]["now"] is None
    page = (tmp_path / "again" / "report.html").read_text("utf-8")
    assert "version 1.2.3 → " in page and "verdict outside → within" in page
    assert "gone: " in page and "new: " in page
    assert "differing bits 94,103 → 0" in (tmp_path / "again" / "report.md").read_text("utf-8")


def test_figures_that_few_digits_would_not_tell_apart_are_shown_in_full() -> None:
    then = Standing("1", "within", 0.5, 0, 2.0, 1)
    now = dataclasses.replace(then, max_ulp=0.5 + 1e-9)
    [(what, was, is_now)] = differences(Change("tract", then, now))
    assert (what, float(was), float(is_now)) == ("max ULP", 0.5, 0.5 + 1e-9)


def test_bundle_that_was_never_verified_has_no_record(exported: Path, tmp_path: Path) -> None:
    out = with_record(exported, tmp_path, lambda record: record.update(runtimes=[]))
    assert read_record(out, open_bundle(out)) is None
    assert read_record(exported, open_bundle(exported)) is not None


@pytest.mark.parametrize(
    "edit",
    [
        lambda record: record.update(runtimes=5),
        lambda record: record.pop("created"),
        lambda record: record["runtimes"][0].update(operator={"max_ulp": "many", "differing": 0}),
        lambda record: record["runtimes"][0].update(operator={"max_ulp": 1, "differing": "nan"}),
        lambda record: record["runtimes"][0].update(cases=[3]),
        lambda record: record["runtimes"].append("onnxruntime"),
    ],
)
def test_record_that_is_none_is_refused_before_anything_is_run(
    exported: Path, tmp_path: Path, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch_sigmoid_ext.export import pipeline

    monkeypatch.setattr(pipeline, "verify_bundle", lambda *_: pytest.fail("something was run"))
    out = with_record(exported, tmp_path, edit)
    with pytest.raises(UsageError, match=r"report\.json to be the report of an export"):
        verify(out)


def test_record_in_endless_brackets_is_refused(exported: Path, tmp_path: Path) -> None:
    out = with_report(shutil.copytree(exported, tmp_path / "out"), "[" * 100_000)
    with pytest.raises(UsageError, match="cannot be read as one"):
        verify(out)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["-o", "out/again"], "outside of out for out/again"),
        (["--junit", "out/junit.xml"], "outside of out for out/junit.xml"),
        (["-o", "."], "not to exist"),
        (["--junit", "no/such/junit.xml"], "in a folder that exists"),
    ],
)
def test_report_is_written_neither_into_the_bundle_nor_over_anything(
    exported: Path,
    tmp_path: Path,
    options: list[str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(exported, tmp_path / "out")
    before = contents(tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["torch-sigmoid-ext", "verify", "out", *options])
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # this process is pytest's
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2 and says in capsys.readouterr().err
    assert contents(tmp_path / "out") == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


# Without torch: a finder in front of all others, in the command and in all that it starts.
NO_TORCH = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name="torch")

sys.meta_path.insert(0, NoTorch())
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What goes in front of Python's path, so that `import torch` finds nothing."""
    folder = tmp_path_factory.mktemp("no-torch")
    (folder / "sitecustomize.py").write_text(NO_TORCH)
    return str(folder)


INSTALL = f"pip install torch=={torch_sigmoid_ext._paths.built_for()}"


def test_onnx_file_is_verified_without_torch(exported: Path, tmp_path: Path, bare: str) -> None:
    done = run("verify", str(exported), "-o", "again", cwd=tmp_path, path=bare)
    assert done.returncode == 0, done.stderr
    for runtime in ("onnxruntime", "reference"):
        assert re.search(rf"^ *{runtime} \S+ +0.5 +0 differing bits .* within", done.stdout, re.M)
    assert f"not installed: eager, torchscript, torchscript-cpp (run: {INSTALL})" in done.stdout
    assert re.search(rf"eager +runs +2\S+ within +not installed; run: {INSTALL}", done.stdout)
    assert set(contents(tmp_path / "again")) == REPORTS
    skipped = json.loads((tmp_path / "again" / "report.json").read_text("utf-8"))["skipped"]
    assert skipped["eager"] == {
        "kind": "not installed",
        "reason": "not installed",
        "mend": f"run: {INSTALL}",
    }


def test_tampered_bundle_is_refused_without_torch(
    exported: Path, tmp_path: Path, bare: str
) -> None:
    out = shutil.copytree(exported, tmp_path / "out")
    with (out / "model.onnx").open("ab") as file:
        file.write(b"\0")
    done = run("verify", "out", cwd=tmp_path, path=bare)
    assert done.returncode == 2 and "model.onnx has changed" in done.stderr


def test_doctor_and_bench_work_without_torch(exported: Path, tmp_path: Path, bare: str) -> None:
    doctor = run("doctor", cwd=tmp_path, path=bare)
    assert doctor.returncode == 0, doctor.stderr
    for part in ("torch", "format onnx", "runtime eager", "runtime compile", "runtime aoti-cpp"):
        assert re.search(rf"^ *{part} +missing +{INSTALL}", doctor.stdout, re.M), doctor.stdout
    assert re.search(r"^ *runtime onnxruntime +ok", doctor.stdout, re.M)
    options = ("--runtime", "onnxruntime", "--batch", "2", "--seconds", "0.01")
    bench = run("bench", str(exported), *options, cwd=tmp_path, path=bare)
    assert bench.returncode == 0, bench.stderr
    assert re.search(r"^ *2 +onnxruntime ", bench.stdout, re.M)


@pytest.mark.parametrize(
    "arguments", [["export", "SimpleNN", "-o", "new"], ["verify", "OUT", "--runtime", "eager"]]
)
def test_what_needs_torch_says_which_without_it(
    exported: Path, tmp_path: Path, bare: str, arguments: list[str]
) -> None:
    done = run(*(str(exported) if a == "OUT" else a for a in arguments), cwd=tmp_path, path=bare)
    assert done.returncode == 3, done.stderr
    assert f"not installed; run: {INSTALL}" in done.stderr and done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_bundle_that_nothing_here_can_run_is_not_within_any_gate(tmp_path: Path, bare: str) -> None:
    inputs = [InputSpec.parse("input=float32[batch,3]")]
    export_bundle(
        torch_sigmoid_ext.SimpleNN(),
        "SimpleNN",
        inputs,
        tmp_path / "out",
        formats=["torchscript"],
        verify=False,
    )
    done = run("verify", "out", cwd=tmp_path, path=bare)
    assert done.returncode == 3, done.stdout
    assert f"no runtime for torchscript is ready here; run: {INSTALL}" in done.stderr


USES = """
import torch_sigmoid_ext
from torch_sigmoid_ext import cmake_prefix_path, library_path
import torch_sigmoid_ext.export
assert library_path().endswith(".so") and torch_sigmoid_ext.__version__
assert not hasattr(torch_sigmoid_ext, "sigmoidal")
assert torch_sigmoid_ext.export.verify and torch_sigmoid_ext.export.InputSpec
torch_free = {"__version__", "cmake_prefix_path", "library_path"}
for name in set(torch_sigmoid_ext.__all__) - torch_free:
    try:
        getattr(torch_sigmoid_ext, name)
    except ImportError as error:
        assert f"torch_sigmoid_ext.{name} needs torch" in str(error) and "INSTALL" in str(error)
    else:
        raise AssertionError(name)
from torch_sigmoid_ext import sigmoid
"""


def test_package_is_imported_without_torch_and_says_so_on_use(bare: str) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([bare, os.environ.get("PYTHONPATH", "")])}
    code = USES.replace("INSTALL", INSTALL)
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: torch_sigmoid_ext.sigmoid needs torch"), done.stderr


def test_package_with_torch_has_every_name_at_once() -> None:
    code = (
        "import torch_sigmoid_ext as t; assert set(t.__all__) <= set(vars(t)) & set(dir(t));"
        "import torch; assert torch.ops.torch_sigmoid_ext.sigmoid(torch.zeros(1)).item() == 0.5;"
        "assert not hasattr(t, '__getattr__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_torch_that_is_there_and_fails_is_not_taken_for_none(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("import no_such_library\n")
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", "import torch_sigmoid_ext"],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert "No module named 'no_such_library'" in done.stderr.splitlines()[-1]


def test_skips_are_told_by_their_kind_and_share_a_remedy() -> None:
    torch, tract = (Skip(SkipKind.NOT_INSTALLED, "not installed", f"run: {x}") for x in "ab")
    skipped = {
        "eager": torch,
        "tract": tract,
        "export": torch,
        "openvino": Skip(SkipKind.ON_REQUEST, "not installed by mistake", "add it"),
        "aoti-cpp": Skip(SkipKind.NOT_READY, "not ready", "add it"),
        "bad": Skip(SkipKind.BROKEN, "not installed says the plug-in"),
        "onnxruntime": Skip(SkipKind.CANNOT_RUN, "no kernel", "export in float32"),
    }
    assert skipped_lines(skipped) == [
        "skipped bad: not installed says the plug-in",
        "skipped onnxruntime: no kernel; export in float32",
        "left out: openvino, aoti-cpp (--runtime NAME or --runtime all runs them)",
        "not installed: eager, export (run: a)",
        "not installed: tract (torch-sigmoid-ext doctor says how)",
    ]


def test_export_in_python_writes_junit_beside_the_bundle_and_never_into_it(tmp_path: Path) -> None:
    model, inputs = torch_sigmoid_ext.SimpleNN(), "x=float32[batch,3]"
    options: dict[str, Any] = {"formats": ["torchscript"], "verify": False}
    with pytest.raises(UsageError, match="a place outside of"):
        export(model, inputs, tmp_path / "out", junit=tmp_path / "out" / "j.xml", **options)
    assert list(tmp_path.iterdir()) == []
    bundle = export(model, inputs, tmp_path / "out", junit=tmp_path / "j.xml", **options)
    assert "nothing was verified" in (tmp_path / "j.xml").read_text("utf-8")
    assert bundle.file("torchscript").is_file()  # every hash holds
