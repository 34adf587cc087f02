"""`make test-mutations`: its list fits the tree, and its verdicts are what happened."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
if not (ROOT / "scripts").is_dir():
    pytest.skip("the scripts are not beside the tests", allow_module_level=True)
sys.path.insert(0, str(ROOT))

from scripts.mutations import trial  # noqa: E402
from scripts.mutations.__main__ import main  # noqa: E402
from scripts.mutations.catalogue import Mutation, load, problems  # noqa: E402
from scripts.mutations.tree import Tree  # noqa: E402
from scripts.mutations.trial import Counts, Run, judge  # noqa: E402

# A package of another kind: its "build" copies a number out of a header, if it is one.
FILES: Mapping[str, str] = {
    ".gitignore": "built.txt\n",
    "setup.py": """
value = float(open("csrc/value.h").read())
open("built.txt", "w").write(str(value))
""",
    "csrc/value.h": "2.0",
    "shapes.py": """
def area(width, height):
    return width * height

def edges():
    return 4
""",
    "tests/test_shapes.py": """
import os, subprocess, sys, time
import pytest
import shapes

def test_area():
    assert shapes.area(2, 3) == 6

def test_area_elsewhere():
    code = "import shapes; print(shapes.area(2, 3))"
    environment = {**os.environ, "PYTHONPATH": os.devnull}
    command = [sys.executable, "-c", code]
    assert subprocess.check_output(command, cwd="/", env=environment) == b"6\\n"

@pytest.mark.parametrize("sides", [3, 4])
def test_edges(sides):
    assert shapes.edges() >= sides

def test_built():
    assert open("built.txt").read() == "2.0"

@pytest.mark.skip
def test_elsewhere():
    pass

def test_is_wrong_anyway():
    assert shapes.edges() == 5

def test_hangs():
    if shapes.edges() > 4:
        time.sleep(600)

def test_crashes():
    if shapes.edges() > 4:
        os.abort()
""",
}


def entry(id: str, file: str, old: str, new: str, test: str, more: str = "") -> str:
    return (
        f'[[mutation]]\nid = "{id}"\nspoils = "{id}"\nfile = "{file}"\nold = "{old}"\n'
        f'new = "{new}"\ntests = ["tests/test_shapes.py::{test}"]\n{more}\n'
    )


@pytest.fixture
def attempted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, dict[str, str], str]]:
    """The exit code for a list of these entries, the row of each, and what stood on stderr."""
    if shutil.which("git") is None:
        pytest.skip("git, which tells what a tree is made of, is not installed")
    tree, folder = tmp_path / "source", tmp_path / "list"
    for name, text in FILES.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    subprocess.run(["git", "init", "--quiet"], cwd=tree, check=True)
    folder.mkdir()

    def run(*entries: str, arguments: Sequence[str] = ()) -> tuple[int, dict[str, str], str]:
        (folder / "all.toml").write_text("\n".join(['title = "All"', *entries]))
        code = main(arguments, tree, folder)
        printed = capsys.readouterr()
        rows = [re.split(" {2,}", line) for line in printed.out.splitlines()]
        for name, text in FILES.items():
            assert (tree / name).read_text() == text, "the working tree was written to"
        assert not (tree / "built.txt").exists()
        found = {row[0]: "  ".join([row[3], *row[5:]]) for row in rows if len(row) >= 5}
        return code, found, printed.err

    return run


def test_list_fits_the_tree() -> None:
    assert problems(load(), ROOT) == []


def test_list_has_every_kind_of_file() -> None:
    files = {mutation.file.split("/")[0] for mutation in load()}
    assert files >= {"csrc", "torch_sigmoid_ext", "export", "build_backend", "setup.py"}
    endings = {Path(mutation.file).suffix for mutation in load() if mutation.is_compiled}
    assert endings == {".h", ".cpp"}


def test_kill_and_survivor_are_told_apart(attempted) -> None:
    killed = entry("killed", "shapes.py", "width * height", "width + height", "test_area")
    alive = entry("alive", "shapes.py", "return 4", "return 5", "test_edges")
    code, found, _ = attempted(killed)
    assert (code, found["killed"]) == (0, "killed  test_shapes::test_area (1 of 1)")
    elsewhere = entry("elsewhere", "shapes.py", "width * height", "0", "test_area_elsewhere")
    code, found, _ = attempted(killed, alive, elsewhere)
    assert found["elsewhere"] == "killed  test_shapes::test_area_elsewhere (1 of 1)"
    assert (code, found["killed"]) == (1, "killed  test_shapes::test_area (1 of 1)")
    assert found["alive"] == "SURVIVED  test_shapes::test_edges passed"


def test_each_named_test_must_fail(attempted) -> None:
    both = entry("both", "shapes.py", "return 4", "return 3", "test_edges").replace(
        '::test_edges"', '::test_edges[4]", "tests/test_shapes.py::test_edges[3]"'
    )
    code, found, _ = attempted(both)
    assert (code, found["both"]) == (1, "SURVIVED  test_shapes::test_edges[3] passed")


def test_what_is_compiled_is_built_anew_and_must_build(attempted) -> None:
    code, found, said = attempted(
        entry("built", "csrc/value.h", "2.0", "3.0", "test_built"),
        entry("no-number", "csrc/value.h", "2.0", "two", "test_built"),
        entry("after", "shapes.py", "width * height", "0", "test_area"),
    )
    assert code == 1 and "could not convert string to float" in said
    assert found["built"] == "killed  test_shapes::test_built (1 of 1)"
    assert found["no-number"] == "does not build"
    assert found["after"].startswith("killed")


def test_copy_is_kept_on_request_and_brought_up_to_date(attempted, tmp_path: Path) -> None:
    killed = entry("killed", "csrc/value.h", "2.0", "3.0", "test_built")
    kept = tmp_path / "kept"
    for _ in range(2):
        code, found, _ = attempted(killed, arguments=["--keep", str(kept)])
        assert (code, found["killed"][:6]) == (0, "killed")
        assert (kept / "csrc" / "value.h").read_text() == "2.0"
        (kept / "csrc" / "value.h").write_text("3.0")  # as one leaves it that is killed itself


def test_code_that_cannot_be_run_is_no_kill(attempted) -> None:
    code, found, _ = attempted(
        entry("syntax", "shapes.py", "return 4", "return (", "test_edges"),
        entry("name", "shapes.py", "return 4", "return four", "test_edges"),
        entry("declared", "shapes.py", "return 4", "return four", "test_edges", 'ends = "error"'),
        entry("import", "shapes.py", "return 4", "return (", "test_edges", 'ends = "error"'),
    )
    assert code == 1
    assert found["syntax"] == found["name"] == "broken  test_shapes::test_edges cannot be run"
    assert found["declared"] == "killed  test_shapes::test_edges (2 of 2)"
    assert found["import"] == "killed  test_shapes::test_edges (not run)"


def test_tests_that_fail_or_are_skipped_anyway_say_nothing(attempted) -> None:
    code, found, _ = attempted(
        entry("skipped", "shapes.py", "return 4", "return 3", "test_edges")
        + 'needs = "tests/test_shapes.py::test_elsewhere"\n'
    )
    assert (code, found["skipped"]) == (
        0,
        "cannot run here  test_shapes::test_elsewhere is skipped",
    )
    code, found, _ = attempted(
        entry("wrong", "shapes.py", "return 4", "return 3", "test_is_wrong_anyway"),
    )
    assert (code, found["wrong"]) == (
        1,
        "says nothing  test_shapes::test_is_wrong_anyway fails on the unspoiled copy",
    )
    code, found, said = attempted(
        entry("no-case", "shapes.py", "return 4", "return 3", "test_edges[5]")
    )
    assert (code, found) == (1, {})
    assert "expected the tests to run on the unspoiled copy, got no case of tests/" in said


def test_hang_and_crash_are_ended_and_kill_where_declared(attempted, monkeypatch) -> None:
    monkeypatch.setattr(trial, "TIMEOUT", 5)
    code, found, _ = attempted(
        entry("hang", "shapes.py", "return 4", "return 5", "test_hangs"),
        entry("crash", "shapes.py", "return 4", "return 6", "test_crashes"),
        entry("declared", "shapes.py", "return 4", "return 7", "test_crashes", 'ends = "crash"'),
    )
    assert code == 1
    assert (found["hang"], found["crash"]) == ("hangs", "crashes")
    assert found["declared"] == "killed  it crashes"


@pytest.mark.parametrize(
    ("old", "test", "says"),
    [
        ("return", "test_area", "expected its old text once in shapes.py, found it 2 times"),
        ("return 9", "test_area", "expected its old text once in shapes.py, found it 0 times"),
        ("return 4", "test_volume", "there is no test tests/test_shapes.py::test_volume"),
    ],
)
def test_stale_mutation_ends_the_run_before_it_begins(attempted, old, test, says) -> None:
    code, found, said = attempted(entry("old", "shapes.py", old, "return 7", test))
    assert (code, found) == (1, {}) and f"old is stale: {says}" in said


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([entry("a", "f", "x", "y", "t")] * 2, "expected each id once, got twice: a"),
        ([entry("a", "f", "x", "x", "t")], "a new text unlike the old one"),
        ([entry("a", "f", "x", "y", "t", 'ends = "badly"')], "one of failure, error, crash, hang"),
        ([entry("a", "f", "x", "y", "t", "why = 1")], "got file, id, new, old, spoils, tests, why"),
    ],
)
def test_list_that_is_not_written_as_it_must_be_is_refused(tmp_path, entries, says) -> None:
    (tmp_path / "all.toml").write_text("\n".join(['title = "All"', *entries]))
    with pytest.raises(ValueError, match=re.escape(says)):
        load(tmp_path)


def test_id_that_is_not_in_the_list_is_refused() -> None:
    with pytest.raises(SystemExit, match=r"expected ids of the list .*, got no-such"):
        main(["--only", "no-such"])


def test_list_is_printed_and_nothing_is_tried(capsys, monkeypatch) -> None:
    monkeypatch.setattr(Tree, "__init__", lambda *_: pytest.fail("a copy is made"))
    assert main(["--list", "--only", "gate-strict"]) == 0
    assert "export/gates.py" in capsys.readouterr().out


def test_declared_end_does_not_forgive_a_survivor() -> None:
    mutation = Mutation("All", "a", "f", "x", "y", "spoils", ("t.py::a", "t.py::b"), "error")
    ended = Run({"t.py::a": Counts(errors=1), "t.py::b": Counts(passed=1)}, "", "")
    assert judge(mutation, ended).word == "SURVIVED"
