"""A bundle is whole or not there: killed at any step, on a full disk, two at once."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from trust_bundles import COMMAND, assert_one_clear_line, copied, real, run

import torch_sigmoid_ext
from torch_sigmoid_ext.export import bench, staging
from torch_sigmoid_ext.export.bundle import open_bundle, opened, seal, staged
from torch_sigmoid_ext.export.errors import UsageError
from torch_sigmoid_ext.export.model import InputSpec
from torch_sigmoid_ext.export.pipeline import export_bundle
from torch_sigmoid_ext.export.staging import check_free, replacing, write_whole

QUICK = ("--format", "torchscript", "--no-verify")


def write(directory: Path) -> None:
    """What an export does with the disk, without the model."""
    manifest = open_bundle(real())
    with staged(directory) as folder:
        for name in manifest.files:
            (folder / name).write_bytes((real() / name).read_bytes())
        seal(folder, manifest)


def killed_at(step: int, directory: Path) -> int | None:
    """Write in a process that is killed at its call number `step`; the number of calls if not."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # nothing of pytest may run in here
        calls = 0

        def count(frame: object, event: str, argument: object) -> None:
            nonlocal calls
            if event == "c_call":
                calls += 1
                if calls == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.setprofile(count)
            write(directory)
            sys.setprofile(None)
            os.write(writing, str(calls).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as told:
        return int(told.read() or 0) or None


def test_kill_at_any_step_leaves_nothing_or_the_whole(tmp_path: Path) -> None:
    write(tmp_path / "first")  # what is done once is done here, and not in each child
    calls = killed_at(0, tmp_path / "second")
    assert calls is not None and calls > 300
    killed = []  # the outcomes: whether it was there
    for step in [*range(1, calls, calls // 25), *range(calls - 240, calls, 12)]:
        folder = tmp_path / str(step)
        folder.mkdir()
        if killed_at(step, folder / "out") is None:
            killed.append((folder / "out").exists())
        if not (folder / "out").exists():
            write(folder / "out")
        assert open_bundle(folder / "out").files == open_bundle(real()).files
        assert [path.name for path in folder.iterdir()] == ["out"], "the next one cleaned up"
    assert len(killed) > 25 and {*killed} == {False, True}, "some steps come after the name"


def test_folder_of_a_dead_export_is_removed_and_that_of_a_living_one_is_not(tmp_path: Path) -> None:
    dead = tmp_path / ".out.0123abcd"
    dead.mkdir()
    (dead / "model.onnx").write_text("half")
    others = [tmp_path / ".out.notes", tmp_path / ".other.0123abcd"]
    for other in others:
        other.mkdir()
    with staged(tmp_path / "out") as living:
        assert not dead.exists() and all(other.exists() for other in others)
        with pytest.raises(UsageError, match="another export is writing it; wait for it"):
            check_free(tmp_path / "out")
        assert living.exists()
    assert (tmp_path / "out").is_dir()


@pytest.mark.parametrize("libc", [True, False])
@pytest.mark.parametrize("taken", ["empty folder", "full folder", "file", "dangling link"])
def test_what_has_appeared_meanwhile_is_never_replaced(tmp_path, monkeypatch, taken, libc) -> None:
    if not libc:  # a file system, or a system, that cannot
        monkeypatch.setattr(staging.ctypes, "CDLL", lambda *_, **__: object())
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="not to exist"), staged(out) as folder:
        (folder / "ours").write_text("ours")
        if taken == "file":
            out.write_text("theirs")
        elif taken == "dangling link":
            out.symlink_to(tmp_path / "nowhere")
        else:
            out.mkdir()
            if taken == "full folder":
                (out / "theirs").write_text("theirs")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert not (out / "ours").exists()


def test_everything_is_synced_before_it_gets_its_name(tmp_path, monkeypatch) -> None:
    synced, fsync, rename = [], os.fsync, staging._rename_to_free

    def note(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    def note_rename(source: Path, target: Path) -> None:
        synced.append("rename")
        rename(source, target)

    monkeypatch.setattr(staging.os, "fsync", note)
    monkeypatch.setattr(staging, "_rename_to_free", note_rename)
    with staged(tmp_path / "out") as folder:
        (folder / "more").mkdir()
        (folder / "a").write_text("a")
        (folder / "more" / "b").write_text("b")
    before, after = synced[: synced.index("rename")], synced[synced.index("rename") + 1 :]
    assert sorted(before[:-1]) == ["a", "b", "more"] and before.index("b") < before.index("more")
    assert before[-1].startswith(".out.") and after == [tmp_path.name]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Every write beyond fails, as on a full disk, but for the number of the error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("format", "size"),
    [("torchscript", 100), ("onnx", 100), ("pt2", 100), ("onnx", 30_000), ("torchscript", 300_000)],
)
def test_full_disk_is_one_sentence_and_nothing_is_left(tmp_path: Path, format, size) -> None:
    inputs = [InputSpec.parse("input=float32[batch,3]")]
    model, out = torch_sigmoid_ext.SimpleNN(), tmp_path / "out"
    with pytest.raises(UsageError) as error, largest_file(size):
        export_bundle(model, "SimpleNN", inputs, out, formats=[format], verify=False)
    assert f"cannot write {out} in {tmp_path}: File too large" in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_full_disk_ends_the_command_with_2(tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = run("export", "SimpleNN", "-o", "out", *QUICK, cwd=tmp_path, preexec_fn=limit)
    assert_one_clear_line(done, "cannot write out in ", "File too large", "give -o another place")
    assert list(tmp_path.iterdir()) == []


def test_two_exports_into_one_folder_one_wins_and_one_says_why(tmp_path: Path) -> None:
    command = [*COMMAND, "export", "SimpleNN", "-o", "out", *QUICK]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(command, cwd=tmp_path, **pipes) for _ in range(2)]
    said = {}
    for process in both:
        _, stderr = process.communicate(timeout=300)
        said[process.returncode] = stderr
    assert sorted(said) == [0, 2], said
    line = said[2].strip().splitlines()[-1]
    assert "another export is writing it" in line or "not to exist" in line
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert open_bundle(tmp_path / "out").files


def test_killed_command_leaves_nothing_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    command = [*COMMAND, "export", "SimpleNN", "-o", "out", "--no-verify"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        while not list(tmp_path.glob(".out.*/model.torchscript.pt")):
            assert process.poll() is None
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    [left] = tmp_path.iterdir()
    assert left.name.startswith(".out.")
    assert run("export", "SimpleNN", "-o", "out", *QUICK, cwd=tmp_path).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_file_is_replaced_whole_or_stays_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    write_whole(file, "first")
    with pytest.raises(RuntimeError), replacing(file) as hidden:
        hidden.write_text("half")
        raise RuntimeError
    with largest_file(10), pytest.raises(UsageError, match=rf"cannot write {file}: File too large"):
        write_whole(file, "second" * 10)
    assert file.read_text() == "first" and list(tmp_path.iterdir()) == [file]
    write_whole(file, "second")
    assert file.read_text() == "second" and list(tmp_path.iterdir()) == [file]


def test_bench_writes_each_file_whole_and_never_into_a_bundle(tmp_path: Path) -> None:
    row = bench.Timing("bundle", "exact", "onnxruntime", "1", 1, 10, 0.001, 0.002)

    def draw(rows: object, file: Path) -> None:
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.save([row], tmp_path / "timing", draw)
    assert {path.name for path in (tmp_path / "timing").iterdir()} == {"bench.json", "bench.md"}
    assert json.loads((tmp_path / "timing" / "bench.json").read_text())[0]["calls"] == 10
    bench.check_output(tmp_path / "timing")
    bundle = copied(tmp_path)
    with pytest.raises(UsageError, match="is a bundle, which is never written to"):
        bench.check_output(bundle)


def test_no_room_for_the_private_copy_is_told_before_it_is_made(tmp_path, monkeypatch) -> None:
    from torch_sigmoid_ext.export import bundle

    monkeypatch.setattr(bundle.shutil, "disk_usage", lambda _: type("", (), {"free": 1000}))
    with pytest.raises(UsageError, match=r"bytes free in .* got 1,000; set TMPDIR to a folder"):
        with opened(real()):
            pytest.fail("opened")
