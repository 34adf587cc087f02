"""Whatever a runtime does to its process, or returns, ends as one sentence about that runtime."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest

from torch_sigmoid_ext.export.runtimes import Runtime, apart, worker
from torch_sigmoid_ext.export.runtimes.apart import Ended, RuntimeFailure, printable, run_command
from torch_sigmoid_ext.export.runtimes.worker import describe_apart, run_apart

ADAPTERS = """
import os, subprocess, sys, time
import numpy as np
from torch_sigmoid_ext.export.runtimes import Runtime

class Adapter(Runtime):
    name, format = "adapter", "onnx"
    def version(self): return "1.0"
    def load(self, path): return self.run

class PrintsGarbage(Adapter):
    def run(self, inputs):
        for _ in range(200):
            os.write(1, os.urandom(1 << 17))
            os.write(2, os.urandom(1 << 17))
        return [x + 1 for x in inputs]

class DiesColourfully(Adapter):
    def run(self, inputs):
        sys.stderr.write("\\x1b[31mno\\x07 kernel\\x1b[0m for " + "x" * 5000 + "\\n")
        sys.stderr.flush()
        os._exit(9)

class Text(Adapter):
    def run(self, inputs): return "garbage"

class Objects(Adapter):
    def run(self, inputs): return [np.array([object()])]

class Nothing(Adapter):
    def run(self, inputs): return None

class Tampers(Adapter):
    def run(self, inputs):
        self.folder = os.getcwd()
        return inputs
    def load(self, path):
        import atexit
        atexit.register(lambda: open("outputs0.npz", "wb").write(b"PK garbage"))
        return self.run

class Orphans(Adapter):
    def run(self, inputs):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        time.sleep(600)

class Leaves(Adapter):
    def run(self, inputs):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        return inputs

class HangsInVersion(Adapter):
    def version(self): time.sleep(600)
"""


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, type[Runtime]]:
    folder = tmp_path_factory.mktemp("adapters")
    (folder / "garbage_runtimes.py").write_text(ADAPTERS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        paths = [str(folder), *filter(None, sys.path)]
        patch.setenv("PYTHONPATH", ":".join(paths))
        import garbage_runtimes as module

        yield vars(module)


def run(adapter: type[Runtime]) -> list[list[np.ndarray]]:
    return run_apart(adapter(), Path("file"), [[np.arange(3, dtype=np.float32)]])


def test_garbage_on_stdout_and_stderr_leaves_the_results_alone(adapters) -> None:
    [[got]] = run(adapters["PrintsGarbage"])
    np.testing.assert_array_equal(got, np.array([1, 2, 3], np.float32))


def test_last_words_are_one_plain_line_of_bounded_length(adapters) -> None:
    with pytest.raises(RuntimeFailure) as failure:
        run(adapters["DiesColourfully"])
    said = str(failure.value)
    assert said.startswith("exit code 9 while running float32[3]: no kernel for xxx")
    assert said.isprintable() and len(said) < 400


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Text", "expected a list of arrays from the runtime, got str 'garbage'"),
        ("Objects", "expected arrays of numbers from the runtime, got object array"),
        ("Nothing", "expected a list of arrays from the runtime, got NoneType 'None'"),
        ("Tampers", "left no outputs that can be read"),
    ],
)
def test_results_that_are_no_arrays_are_a_failure_of_the_runtime(adapters, name, says) -> None:
    with pytest.raises(RuntimeFailure) as failure:
        run(adapters[name])
    assert failure.value.status == "crashed" and says in str(failure.value)


def test_hang_ends_in_time_although_a_grandchild_holds_the_pipe(adapters, monkeypatch) -> None:
    monkeypatch.setattr(worker, "TIME_LIMIT", 6.0)
    start = time.monotonic()
    with pytest.raises(RuntimeFailure, match=r"no answer within 6 s while running float32\[3\]"):
        run(adapters["Orphans"])
    assert time.monotonic() - start < 60, "the grandchild sleeps for 600 s"


def test_what_a_runtime_leaves_running_ends_with_it(adapters) -> None:
    start = time.monotonic()
    [[got]] = run(adapters["Leaves"])
    assert len(got) == 3 and time.monotonic() - start < 60


def test_version_that_never_comes_is_a_failure(adapters, monkeypatch) -> None:
    monkeypatch.setattr(worker, "DESCRIBE_LIMIT", 6.0)
    with pytest.raises(RuntimeFailure, match="no answer within 6 s while asking for its version"):
        describe_apart(("garbage_runtimes", "HangsInVersion"))


def test_adapter_that_cannot_be_imported_says_why(adapters) -> None:
    with pytest.raises(RuntimeFailure, match=r"importing the adapter: ModuleNotFoundError: .*no_s"):
        describe_apart(("no_such_module", "Adapter"))


def test_group_is_killed_on_any_exception_of_the_parent(tmp_path: Path) -> None:
    mark = tmp_path / "alive"
    code = f"import time; time.sleep(3); open({str(mark)!r}, 'w')"

    class Stop(BaseException):
        pass

    def interrupted(*_: object) -> None:
        raise Stop

    child = apart.Child([sys.executable, "-c", code], tmp_path)
    child._process.wait, wait = interrupted, child._process.wait
    with pytest.raises((Stop, AttributeError)):
        child.wait(10)
    child._process.wait = wait
    assert wait(10) == -9 and not mark.exists()


def test_signals_that_have_no_name_are_named_by_number(tmp_path: Path) -> None:
    assert Ended(-11, "").manner == "killed by SIGSEGV"
    assert Ended(-63, "").manner in ("killed by signal 63", "killed by SIGRTMAX-1")
    ended = run_command([sys.executable, "-c", "import os; os.kill(os.getpid(), 6)"], tmp_path, 30)
    assert ended.manner == "killed by SIGABRT"


def test_printable_keeps_words_and_drops_the_rest() -> None:
    assert printable("\x1b[1;31mE\x1b[0m:\tno\x00pe\r") == "E: no pe"
    assert printable("a" * 1000) == "a" * 300 + "..."
