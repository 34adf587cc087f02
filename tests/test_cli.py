"""The command, as a process: what it prints, the code it exits with, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from torch_sigmoid_ext.export import cli, commands
from torch_sigmoid_ext.export.cli import main
from torch_sigmoid_ext.export.errors import UsageError
from torch_sigmoid_ext.export.formats import FORMATS, LOWERINGS
from torch_sigmoid_ext.export.gates import GATES
from torch_sigmoid_ext.export.runtimes import RUNTIMES

COMMAND = [sys.executable, "-m", "torch_sigmoid_ext.export"]
SIMPLE = ["SimpleNN", "-o", "out"]


def run(*arguments: str, cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command with these arguments in that folder; ``path`` goes in front of Python's own."""
    env = {**os.environ, "PYTHONPATH": str(path)} if path else None
    done = subprocess.run([*COMMAND, *arguments], cwd=cwd, env=env, capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def assert_refused(done: subprocess.CompletedProcess[str], code: int, *says: str) -> None:
    """One clear paragraph after the steps that were done, the right code, and no result."""
    *steps, paragraph = done.stderr.strip().splitlines()
    assert done.returncode == code, done.stderr
    assert paragraph.startswith("torch-sigmoid-ext: ") and done.stdout == ""
    assert all(step.startswith("exporting to ") for step in steps), done.stderr
    for words in says:
        assert words in paragraph


@pytest.fixture(scope="session")
def exact(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("exact")
    return folder / "out", run("export", *SIMPLE, cwd=folder)


@pytest.fixture(scope="session")
def native(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("native")
    options = ("--sigmoid", "native", "--runtime", "eager,onnxruntime")
    return folder / "out", run("export", *SIMPLE, *options, cwd=folder)


def row(done: subprocess.CompletedProcess[str], runtime: str) -> str:
    [line] = [line for line in done.stdout.splitlines() if line.strip().startswith(runtime + " ")]
    return line


@pytest.mark.parametrize("runtime", ["eager", "torchscript", "onnxruntime", "reference"])
def test_exact_export_is_within_the_gate_with_no_differing_bit(exact, runtime: str) -> None:
    _, done = exact
    assert done.returncode == 0, done.stdout
    assert re.search(r" 0 differing bits of \d{6} .* within", row(done, runtime))


def test_exact_export_leaves_the_whole_bundle_and_says_what_it_did(exact) -> None:
    out, done = exact
    assert {path.name for path in out.iterdir()} == {
        *("manifest.json", "samples.npz", "report.html", "report.md", "report.json"),
        *("model.onnx", "operator.onnx", "model.torchscript.pt", "operator.torchscript.pt"),
        *("model.pt2", "operator.pt2"),
        "libtorch_sigmoid_ext.so",
    }
    assert "verifying in onnxruntime" in done.stderr
    report = json.loads((out / "report.json").read_text())
    assert report["passed"] and report["lowering"] == "exact" and report["gate"] == "strict"


def test_native_export_exits_1_and_names_onnxruntimes_zero_band(native) -> None:
    out, done = native
    assert done.returncode == 1
    assert "OUTSIDE" in row(done, "onnxruntime")
    first = next(line for line in done.stdout.splitlines() if line.startswith("onnxruntime: "))
    assert re.fullmatch(
        r"onnxruntime: premature zeros for x in \[-103\.97\d*, -1[5-8]\.?\d*\]: "
        r"sigmoid\(-1[5-8][.\d]*\) is [\d.]+e-0[78], got 0 \(.* ULP\)",
        first,
    )
    assert "to mend: export with --sigmoid exact" in done.stdout
    assert (out / "report.html").is_file(), "the evidence is kept"


def test_bundle_is_verified_again_elsewhere_and_by_another_gate(exact, tmp_path: Path) -> None:
    moved = shutil.copytree(exact[0], tmp_path / "moved")
    before = {path: path.stat().st_mtime_ns for path in moved.iterdir()}
    done = run("verify", "moved", "--runtime", "onnxruntime", "--gate", "portable", cwd=tmp_path)
    assert done.returncode == 0 and "within" in row(done, "onnxruntime")
    assert "gate portable" in done.stdout
    assert before == {path: path.stat().st_mtime_ns for path in moved.iterdir()}


def test_bundle_outside_its_gate_is_still_outside_later(native, tmp_path: Path) -> None:
    out = str(native[0])
    done = run("verify", out, "--runtime", "eager,onnxruntime", cwd=tmp_path)
    assert done.returncode == 1 and "gate strict" in done.stdout
    assert "within" in row(done, "eager") and "OUTSIDE" in row(done, "onnxruntime")


def test_tampered_bundle_is_refused_by_the_name_of_the_file(exact, tmp_path: Path) -> None:
    moved = shutil.copytree(exact[0], tmp_path / "moved")
    with (moved / "model.onnx").open("ab") as file:
        file.write(b"\0")
    assert_refused(run("verify", "moved", cwd=tmp_path), 2, "model.onnx has changed")


MODELS = """
import torch
from torch import nn

@torch.library.custom_op("cli_tests::twice", mutates_args=())
def twice(x: torch.Tensor) -> torch.Tensor:
    return 2 * x

twice.register_fake(torch.empty_like)

class Twice(nn.Module):
    def forward(self, x):
        return torch.sigmoid(torch.ops.cli_tests.twice(x))

class Torch(nn.Module):
    def forward(self, x):
        return torch.sigmoid(x)

class Fixed(nn.Module):
    def forward(self, x):
        return x + torch.zeros(4, 3)
"""

REFUSALS = {
    "a model that is none": (["Simple", "-o", "out"], 2, ["expected MODEL as SimpleNN"]),
    "no such file": (["no.py:Net", "-o", "out"], 2, ["expected a Python file at no.py"]),
    "an import error": (
        ["broken.py:Net", "-o", "out", "--input", "x=float32[3]"],
        2,
        ["broken.py:1"],
    ),
    "no input": (["models.py:Torch", "-o", "out"], 2, ["--input 'x=float32[batch,3]'"]),
    "a wrong input": ([*SIMPLE, "--input", "x=float[3]"], 2, ["'float'", "float32"]),
    "an input that does not fit": (
        [*SIMPLE, "--input", "x=float32[n,4]"],
        2,
        ["cannot run with x"],
    ),
    "a size that the model has fixed": (
        ["models.py:Fixed", "-o", "out", "--input", "x=float32[batch,3]"],
        2,
        ["cannot run with x float32[7, 3]", "a number a fixed one"],
    ),
    "an operator without lowering": (
        ["models.py:Twice", "-o", "out", "--input", "x=float32[n]"],
        2,
        ["torch.ops.cli_tests.twice.default has no ONNX lowering", "onnx_translation_table"],
    ),
    "an opset that cannot be": ([*SIMPLE, "--opset", "9"], 2, ["from 13 to", "got opset 9"]),
    "missing weights": ([*SIMPLE, "--weights", "no.pt"], 2, ["no.pt"]),
    "a file in the way": (["SimpleNN", "-o", "models.py/b"], 2, ["models.py is none", "-o"]),
    "weights that are none": ([*SIMPLE, "--weights", "models.py"], 2, ["nor of safetensors"]),
    "an input beyond all memory": (
        [*SIMPLE, "--input", "x=float32[99999999999,3]"],
        2,
        ["at most 268,435,456 elements"],
    ),
    "no format at all": ([*SIMPLE, "--format", ","], 2, ["expected --format NAME,..., got ','"]),
    "no such package": (["no.such.mod:f", "-o", "out"], 2, ["no module named no; looked in"]),
    "an existing folder": (["SimpleNN", "-o", "."], 2, ["not to exist"]),
    "an unknown format": ([*SIMPLE, "--format", "coreml"], 2, ["pt2, aoti; got 'coreml'"]),
    "an unknown lowering": ([*SIMPLE, "--sigmoid", "fast"], 2, ["exact, stable, native, function"]),
    "an unknown gate": ([*SIMPLE, "--gate", "loose"], 2, ["exact, strict, portable, absolute"]),
    "an unknown runtime": ([*SIMPLE, "--runtime", "onyx"], 2, ["got 'onyx'"]),
    "a runtime of another format": (
        [*SIMPLE, "--runtime", "aoti", "--format", "torchscript"],
        2,
        ["--runtime aoti, which runs aoti"],
    ),
}


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a good and a broken file of models, as the current one."""
    (tmp_path / "models.py").write_text(MODELS)
    (tmp_path / "broken.py").write_text("import no_such_package\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("case", REFUSALS)
def test_bad_request_gets_one_paragraph_its_code_and_leaves_nothing(
    models: Path, case: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, code, says = REFUSALS[case]
    monkeypatch.setattr(sys, "argv", ["torch-sigmoid-ext", "export", *arguments])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # this process is pytest's
    with pytest.raises(SystemExit) as end:
        main()
    out, err = capsys.readouterr()
    assert_refused(subprocess.CompletedProcess([], int(str(end.value)), out, err), code, *says)
    assert {path.name for path in models.iterdir()} - {"__pycache__"} == {"models.py", "broken.py"}


@pytest.mark.parametrize("case", ["an import error", "an opset that cannot be"])
def test_process_ends_with_the_same_paragraph_and_code(models: Path, case: str) -> None:
    arguments, code, says = REFUSALS[case]
    assert_refused(run("export", *arguments, cwd=models), code, *says)


@pytest.mark.parametrize("package", ["onnxruntime", "onnx"])
def test_what_is_asked_for_and_not_installed_is_answered_with_the_command(
    tmp_path, package
) -> None:
    (tmp_path / f"{package}.py").write_text("raise ImportError('not here')\n")
    named = ["--runtime", "onnxruntime"] if package == "onnxruntime" else ["--format", "onnx"]
    done = run("export", *SIMPLE, *named, cwd=tmp_path, path=tmp_path)
    assert_refused(done, 3, f"pip install {package}")


def test_what_is_missing_is_left_out_and_named_by_export_and_doctor(tmp_path: Path) -> None:
    (tmp_path / "onnx.py").write_text("raise ImportError('not here')\n")
    done = run("export", *SIMPLE, "--no-verify", cwd=tmp_path, path=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "note: the format onnx needs onnx; run: pip install onnx onnxscript" in done.stdout
    doctor = run("doctor", cwd=tmp_path, path=tmp_path)
    assert doctor.returncode == 0
    assert re.search(r"runtime reference +missing +pip install onnx\b", doctor.stdout)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [*COMMAND, "export", "SimpleNN", "-o", "a/out"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("a/.out.*/*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [path.name[:5] for path in (tmp_path / "a").iterdir()] == [".out."]
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert err.splitlines()[-1] == "torch-sigmoid-ext: interrupted; nothing was written"
    assert "Traceback" not in err and out == ""
    assert process.returncode == 128 + number
    assert list(tmp_path.iterdir()) == []


def test_names_given_twice_or_with_a_trailing_comma_count_once(tmp_path: Path) -> None:
    twice = ("--format", "torchscript,torchscript", "--runtime", "eager, eager,")
    done = run("export", "SimpleNN", "-o", "no/such/parent/out", *twice, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert row(done, "eager") and done.stderr.count("exporting to torchscript") == 1
    assert (tmp_path / "no" / "such" / "parent" / "out" / "report.html").is_file()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption_that_a_library_turns_into_its_own_error_is_still_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    def command() -> None:
        try:
            cli._interrupt(number, None)
        except BaseException as error:
            raise UsageError("torch.onnx.export cannot convert the model") from error

    monkeypatch.setattr(cli, "_received", [])
    monkeypatch.setattr(commands, "app", command)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # this process is pytest's
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 128 + number
    assert capsys.readouterr().err == "torch-sigmoid-ext: interrupted; nothing was written\n"


def test_doctor_names_every_part(tmp_path: Path) -> None:
    done = run("doctor", cwd=tmp_path)
    assert done.returncode == 0
    for part in (
        *("python", "torch", "operator library", "sigmoid", "C++ compiler", "CPU capability"),
        *("format torchscript", "format onnx", "runtime onnxruntime", "runtime reference"),
    ):
        assert re.search(rf"^ *{re.escape(part)} +ok", done.stdout, re.MULTILINE), done.stdout


def test_help_is_quick_and_names_the_commands_that_exist(tmp_path: Path) -> None:
    done = run("--help", cwd=tmp_path)
    assert done.returncode == 0
    for command in ("export", "verify", "demo", "doctor"):
        assert re.search(rf"\b{command}\b", done.stdout)
    code = "import sys, torch_sigmoid_ext.export.commands; print('onnx' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert loaded.stdout == "False\n", loaded.stderr


def test_help_names_every_choice_and_no_value_for_a_flag(tmp_path: Path) -> None:
    shown = {
        command: run(command, "--help", cwd=tmp_path).stdout for command in ("export", "verify")
    }
    assert "export [OPTIONS] MODEL" in shown["export"] and "verify [OPTIONS] DIR" in shown["verify"]
    assert not any("bool" in text for text in shown.values())
    for names in (FORMATS, LOWERINGS, GATES, RUNTIMES):
        for name in names:
            assert re.search(rf"\b{name}\b", shown["export"])
    assert "safetensors" in shown["export"]


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (OSError(28, "No space left on device"), 2, "cannot go on: [Errno 28] No space left"),
        (ZeroDivisionError("of ours"), 70, "this is a defect of torch_sigmoid_ext"),
    ],
)
def test_what_nobody_foresaw_is_told_apart_from_a_runtime_outside_the_gate(
    error: Exception, code: int, says: str, monkeypatch, capsys
) -> None:
    def app() -> None:
        raise error

    monkeypatch.setattr(commands, "app", app)
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)  # pytest's own stay
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == code and f"torch-sigmoid-ext: {says}" in said
    assert ("ZeroDivisionError: of ours" in said) == (code == 70)
