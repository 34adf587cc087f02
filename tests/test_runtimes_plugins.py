"""Runtimes that other packages bring: one that works, the one of docs/runtimes.md, and bad ones."""

from __future__ import annotations

import os
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest
from runtime_packages import make_bundle, make_package, row, run_command

from torch_sigmoid_ext.export import plugins
from torch_sigmoid_ext.export.errors import NotInstalled
from torch_sigmoid_ext.export.runtimes import RUNTIMES, worker
from torch_sigmoid_ext.export.verify import choose_runtimes

DOCUMENT = Path(__file__).parents[1] / "docs" / "runtimes.md"

BAD = """
import os, signal, sys, time

class SegfaultsAtOnce:
    name = format = "onnx"
    def version(self): os.kill(os.getpid(), signal.SIGSEGV)

class SegfaultsInLoad:
    format = "onnx"
    def version(self): return "0.1"
    def load(self, path): os.kill(os.getpid(), signal.SIGSEGV)

class Hangs:
    format = "onnx"
    def version(self): time.sleep(600)

class PrintsGarbage:
    format, install = "onnx", "[/red] pip \\x1b[31m install"
    def version(self):
        os.write(1, os.urandom(100_000)); os.write(2, os.urandom(100_000))
        return "[/bold]\\x1b[31m1.0\\x00" + "9" * 10_000
    def load(self, path): return lambda inputs: "garbage"

class Absent:
    format, install = "onnx", "pip install absent-runtime"
    def version(self): return ""
"""
NAMES = {
    "segfaults-at-once": "SegfaultsAtOnce",
    "segfaults-in-load": "SegfaultsInLoad",
    "prints-garbage": "PrintsGarbage",
    "absent": "Absent",
    "no-such-class": "NoSuchClass",
    "eager": "Absent",
}


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_package(tmp_path_factory.mktemp("bad"), "bad_runtimes", BAD, NAMES)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "out", "exact")


def documented() -> tuple[str, str]:
    """The module and the entry point of the document's example."""
    blocks = re.findall(r"```(\w+)\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    [module] = [code for kind, code in blocks if kind == "python" and "def load" in code]
    [metadata_] = [code for kind, code in blocks if kind == "toml" and "entry-points" in code]
    return module, metadata_


def test_example_of_the_document_runs_in_a_row_beside_those_of_bad_plugins(
    bundle: Path, bad: Path, tmp_path: Path
) -> None:
    code, project = documented()
    assert len(code.splitlines()) <= 20
    [(name, module, attribute)] = re.findall(r'^([\w-]+) = "(\w+):(\w+)"$', project, re.MULTILINE)
    folder = make_package(tmp_path / "site", module, code, {name: attribute})
    crash = ["segfaults-at-once", "segfaults-in-load", "prints-garbage"]
    options = ("--runtime", ",".join([*crash, name]))
    both = Path(f"{bad}{os.pathsep}{folder}")
    done = run_command("verify", str(bundle), *options, cwd=tmp_path, path=both)
    assert done.returncode == 1, done.stderr
    line = row(done, name)
    assert metadata.version("onnxruntime") in line and " 0 differing bits" in line
    assert "within" in line
    assert all("crashed" in row(done, bad_one) for bad_one in crash)
    assert (
        "segfaults-at-once crashed: the plug-in of bad_runtimes cannot be used: killed by SIGSEGV "
        "while asking for its version" in done.stdout
    )
    assert "segfaults-in-load crashed: killed by SIGSEGV while loading the file" in done.stdout
    assert "prints-garbage crashed: running float32[" in done.stdout
    assert "TypeError: expected a list of arrays from the runtime, got str" in done.stdout
    assert "\x1b" not in done.stdout and "\x00" not in done.stdout


def test_doctor_shows_bad_plugins_for_what_they_are(bad: Path, tmp_path: Path) -> None:
    done = run_command("doctor", cwd=tmp_path, path=bad)
    assert done.returncode == 0, done.stdout
    states = {name: row(done, f"runtime {name}").split()[2] for name in NAMES if name != "eager"}
    assert states == {
        "segfaults-at-once": "broken",
        "segfaults-in-load": "ok",
        "prints-garbage": "ok",
        "absent": "missing",
        "no-such-class": "broken",
    }
    assert "pip install absent-runtime" in row(done, "runtime absent")
    assert "the name eager is another" in row(done, "runtime bad_runtimes:eager")
    assert row(done, "runtime eager").split()[2] == "ok"


@pytest.fixture(scope="module")
def here(bad: Path) -> dict[str, plugins.Plugin]:
    """The bad plug-ins in this process, as the command finds them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(bad)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(bad), *filter(None, sys.path)]))
        found = {plugin.name: plugin for plugin in plugins.plugins(RUNTIMES)}
        for name in ("segfaults-at-once", "absent", "no-such-class"):
            patch.setitem(RUNTIMES, name, found[name])
        yield found


def test_plugins_are_found_without_importing_them(here) -> None:
    assert set(here) == {*NAMES} - {"eager"} | {"bad_runtimes:eager"}
    assert "bad_runtimes" not in sys.modules
    assert here["absent"].version() == "" and here["absent"].install == "pip install absent-runtime"
    assert "bad_runtimes" not in sys.modules


def test_broken_plugin_is_skipped_with_the_reason_unless_it_is_named(here) -> None:
    chosen, skipped = choose_runtimes(None, ["onnx"])
    assert "cannot be used: killed by SIGSEGV" in str(skipped["segfaults-at-once"])
    assert "no attribute 'NoSuchClass'" in str(skipped["no-such-class"])
    assert {"onnxruntime", "reference"} <= {runtime.name for runtime in chosen}
    with pytest.raises(NotInstalled, match="pip install absent-runtime"):
        choose_runtimes(["absent"], ["onnx"])


def test_plugin_that_hangs_is_broken_after_the_time_limit(here, bad, monkeypatch) -> None:
    monkeypatch.setattr(worker, "DESCRIBE_LIMIT", 6.0)
    entry = metadata.EntryPoint("hangs", "bad_runtimes:Hangs", plugins.GROUP)
    assert "no answer within 6 s while asking for its version" in plugins.Plugin(entry).broken
