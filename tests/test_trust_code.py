"""verify runs nobody's Python; what it must run may not write, connect or take all memory."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from trust_bundles import assert_one_clear_line, copied, reseal, rezip, run

from torch_sigmoid_ext.export.runtimes import RUNTIMES, Runtime, confine, onnxruntime_web
from torch_sigmoid_ext.export.runtimes.apart import RuntimeFailure
from torch_sigmoid_ext.export.runtimes.worker import run_apart

# What a file in the current folder is called so that somebody imports it.
HOSTILE = (
    *("user_model", "sitecustomize", "usercustomize", "json", "numpy", "onnx", "onnxruntime"),
    *("torch", "typer", "rich", "jinja2", "modules", "torch_sigmoid_ext_plugin", "openvino"),
)
MODEL = """
import pathlib, torch
pathlib.Path({mark!r}).open("a").write("x")

class Net(torch.nn.Module):
    def forward(self, x):
        return torch.sigmoid(x)
"""


def test_verify_imports_neither_the_model_nor_what_lies_in_the_folder(tmp_path: Path) -> None:
    mark = tmp_path / "imported"
    (tmp_path / "user_model.py").write_text(MODEL.format(mark=str(mark)))
    options = ("--input", "x=float32[batch,3]", "--format", "torchscript,onnx", "--no-verify")
    done = run("export", "user_model.py:Net", "-o", "bundle", *options, cwd=tmp_path)
    assert done.returncode == 0 and mark.read_text() == "x", "export imports it, once"
    fields = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert fields["model"] == "user_model.py:Net", "the manifest does name it"
    mark.unlink()
    for name in HOSTILE:
        (tmp_path / f"{name}.py").write_text(f"open({str(mark)!r}, 'a').write({name!r})")
    runtimes = ("--runtime", "torchscript,onnxruntime")
    script = (
        f"import sys; sys.argv[0] = {sys.argv[0]!r}; sys.path.remove('') if '' in sys.path else 0"
    )
    code = f"{script}; from torch_sigmoid_ext.export.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "verify", "bundle", *runtimes],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert not mark.exists(), mark.read_text()
    assert "torchscript" in done.stdout and "Traceback" not in done.stderr
    assert done.returncode in (0, 1), done.stderr


def test_current_folder_is_no_place_for_libraries_under_python_m(tmp_path: Path) -> None:
    """Python puts it in front; what we import late must not come from there."""
    copied(tmp_path)
    mark = tmp_path / "imported"
    for name in ("onnx", "onnxruntime", "jinja2", "typer"):
        (tmp_path / f"{name}.py").write_text(f"open({str(mark)!r}, 'a').write({name!r})")
    done = run("verify", "bundle", "--runtime", "no-such-runtime", cwd=tmp_path)
    assert_one_clear_line(done, "no-such-runtime")
    assert not mark.exists(), mark.read_text()


def test_node_modules_of_the_current_folder_are_run_on_request_alone(monkeypatch) -> None:
    web = RUNTIMES["onnxruntime-web"]
    monkeypatch.delenv(onnxruntime_web.FOLDER, raising=False)
    assert web.on_request
    monkeypatch.setenv(onnxruntime_web.FOLDER, "/somewhere")
    assert not web.on_request


ADAPTERS = """
import os, socket, subprocess, sys
from pathlib import Path
import numpy as np
from torch_sigmoid_ext.export.runtimes import Runtime

class Adapter(Runtime):
    name, format, confined = "adapter", "onnx", True
    def version(self): return "1.0"
    def load(self, path):
        self.path = path
        return self.run

class Writes(Adapter):
    def run(self, inputs):
        Path("mine").write_text("in its own folder")
        subprocess.run([sys.executable, "-c", "open('child', 'w').write('x')"], check=True)
        for do in (self.write, self.make, self.remove, self.move, self.by_a_child):
            try:
                do(self.path.parent)
            except (OSError, subprocess.CalledProcessError):
                continue
            raise AssertionError(do.__name__)
        return inputs
    def write(self, folder): (folder / "victim").write_text("changed")
    def make(self, folder): (folder / "made").mkdir()
    def remove(self, folder): (folder / "victim").unlink()
    def move(self, folder): Path("mine").rename(folder / "moved")
    def by_a_child(self, folder):
        code = f"open({str(folder / 'victim')!r}, 'w')"
        subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL)

class Connects(Adapter):
    def run(self, inputs):
        with socket.create_connection(("127.0.0.1", int(inputs[0][0])), 5):
            return inputs

class Eats(Adapter):
    def run(self, inputs):
        return [np.zeros(1 << 50, np.uint8)]

class LeavesAPipe(Adapter):
    def run(self, inputs):
        os.mkfifo("outputs0.npz")
        os._exit(0)

class LeavesALink(Adapter):
    def run(self, inputs):
        os.symlink(self.path, "outputs0.npz")
        os._exit(0)

class LeavesTexts(Adapter):
    def run(self, inputs):
        Path("doing.txt").unlink()
        os.mkfifo("doing.txt")
        Path("error.txt").write_text("\\x1b[31mred" * 10_000)
        os._exit(1)
"""


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, type[Runtime]]:
    folder = tmp_path_factory.mktemp("adapters")
    (folder / "confined_runtimes.py").write_text(ADAPTERS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", ":".join([str(folder), *filter(None, sys.path)]))
        import confined_runtimes as module

        yield vars(module)


landlock = pytest.mark.skipif(
    not any(
        line for line in [os.uname().release] if tuple(map(int, line.split(".")[:2])) >= (5, 13)
    ),
    reason="Landlock came with Linux 5.13",
)


def run_in(adapter: type[Runtime], path: Path, value: float = 0) -> list[list[np.ndarray]]:
    return run_apart(adapter(), path, [[np.array([value], np.float32)]])


@landlock
def test_runtime_writes_in_its_own_folder_alone(adapters, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("as it was")
    [[got]] = run_in(adapters["Writes"], tmp_path / "model.onnx")
    assert got == [0] and (tmp_path / "victim").read_text() == "as it was"
    assert [path.name for path in tmp_path.iterdir()] == ["victim"]


@landlock
def test_runtime_connects_to_nobody(adapters, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(RuntimeFailure, match="PermissionError"):
            run_in(adapters["Connects"], tmp_path / "model.onnx", port)


def test_runtime_that_takes_all_memory_is_a_failure_of_its_own(adapters, tmp_path: Path) -> None:
    with pytest.raises(RuntimeFailure, match="MemoryError"):
        run_in(adapters["Eats"], tmp_path / "model.onnx")
    assert confine.memory() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize("name", ["LeavesAPipe", "LeavesALink"])
def test_results_that_are_no_plain_file_are_not_opened(adapters, tmp_path, name: str) -> None:
    (tmp_path / "model.onnx").write_bytes(b"x")
    with pytest.raises(RuntimeFailure, match="left no outputs that can be read"):
        run_in(adapters[name], tmp_path / "model.onnx")


def test_last_words_are_read_as_text_of_bounded_length(adapters, tmp_path: Path) -> None:
    with pytest.raises(RuntimeFailure) as failure:
        run_in(adapters["LeavesTexts"], tmp_path / "model.onnx")
    assert str(failure.value).isprintable() and len(str(failure.value)) < 500


@landlock
def test_torchscript_that_writes_a_file_writes_none(tmp_path: Path) -> None:
    """aten::save is an operator of TorchScript: a model may write where it is run."""
    bundle, victim = copied(tmp_path), tmp_path / "victim"
    path = bundle / "model.torchscript.pt"
    with zipfile.ZipFile(path) as archive:
        # where the class was scripted before, torch calls it, and the file, by another name
        [name] = [
            each
            for each in archive.namelist()
            if "/torch_sigmoid_ext/" in each and each.endswith(".py")
        ]
        text = archive.read(name).decode()
    honest = "    return _0"
    forged = text.replace(honest, f'    torch.save(x, "{victim}")\n{honest}')
    path.write_bytes(rezip(path.read_bytes(), {name: forged.encode()}))
    reseal(bundle)
    torch.jit.load(path)(torch.ones(2, 3))
    assert victim.exists(), "in a process that may, it does"
    victim.unlink()
    done = run("verify", "bundle", "--runtime", "torchscript", cwd=tmp_path)
    assert done.returncode in (0, 1) and "torchscript" in done.stdout, done.stderr
    assert not victim.exists()
