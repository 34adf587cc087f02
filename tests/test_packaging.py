"""Installs: a wheel from the tree in isolation, and one from the sdist without, both working."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
import torch

ROOT = Path(__file__).parents[1]
USE = (
    "import torch, torch_sigmoid_ext as t; print(t.__file__);"
    "assert t.sigmoid(torch.tensor(-100.)) > 0; import torch_sigmoid_ext.export.formats.onnx;"
    "from importlib.resources import files; schemas = files(t.__name__ + '.export') / 'schemas';"
    "assert {p.name.split('.')[0] for p in schemas.iterdir()} == {'report', 'manifest'};"
    "import os; assert len(os.listdir(t.cmake_prefix_path() + '/torch_sigmoid_ext')) == 2"
)


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def build_sdist(folder: Path, **environment: str) -> Path:
    hook = f"import backend; print(backend.build_sdist({str(folder)!r}))"
    path = str(ROOT / "build_backend")
    run(sys.executable, "-c", hook, cwd=ROOT, PYTHONPATH=path, **environment)
    (archive,) = folder.glob("*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_sdist(tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The operator library of each wheel that was built, by the way it was built."""
    return {}


def test_sdist_holds_what_a_build_and_the_tests_need(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    for needed in (
        "build_backend/backend.py",
        "csrc/kernels/contract.h",
        "examples/cpp/CMakeLists.txt",
        "csrc/kernels/cpu/constants.h",
        "export/cli.py",
        "export/schemas/report.schema.json",
        "export/templates/report.html.j2",
        "tests/test_packaging.py",
        "torch_sigmoid_ext/py.typed",
        "torch_sigmoid_ext/_C.pyi",
        "LICENSE",
    ):
        assert needed in names, needed
    assert not [name for name in names if name.endswith(".so")]


def test_sdist_binds_to_no_one_torch(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        (name,) = (n for n in archive.getnames() if n.count("/") == 1 and n.endswith("/PKG-INFO"))
        file = archive.extractfile(name)
        assert file is not None
        asked = [line for line in file.read().decode().splitlines() if ": torch>" in line]
    assert asked == ["Requires-Dist: torch>=2.11"]


@pytest.fixture
def backend() -> ModuleType:
    """The build backend, imported by itself."""
    place = ROOT / "build_backend" / "backend.py"
    spec = importlib.util.spec_from_file_location("backend", place)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("present", [set(), {"setuptools", "ninja"}], ids=["empty", "all else"])
def test_build_asks_for_one_version_of_torch_where_there_is_none(
    backend: ModuleType, monkeypatch: pytest.MonkeyPatch, present: set[str]
) -> None:
    monkeypatch.setattr(backend, "_has", lambda name, major=0: name in present)
    asked = backend.get_requires_for_build_wheel()
    assert len([one for one in asked if re.fullmatch(r"torch==\d+\.\d+\.\d+", one)]) == 1
    assert {re.split("[=>]", one)[0] for one in asked} == {"torch", "setuptools", "ninja"} - present


def test_build_takes_the_torch_that_is_there(
    backend: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "_has", lambda name, major=0: name == "torch")
    assert not [one for one in backend.get_requires_for_build_wheel() if "torch" in one]


def test_sdist_is_the_same_bytes_wherever_and_whenever_it_is_built(
    sdist: Path, tmp_path: Path
) -> None:
    before = os.umask(0o077)
    try:
        again = build_sdist(tmp_path, PYTHONHASHSEED="2", TZ="Pacific/Auckland", LOGNAME="another")
    finally:
        os.umask(before)
    assert again.name == sdist.name and again.read_bytes() == sdist.read_bytes()


@pytest.mark.parametrize("isolated", [True, False], ids=["isolated", "not isolated"])
def test_wheel_from_the_sdist_works_outside_of_the_tree(
    sdist: Path, isolated: bool, tmp_path: Path, built: dict[str, bytes]
) -> None:
    options = [] if isolated else ["--no-build-isolation"]
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run(*pip, "wheel", "--no-deps", *options, "-w", tmp_path, sdist, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith("METADATA"))
        text = archive.read(metadata).decode()
        library = archive.read("torch_sigmoid_ext/libtorch_sigmoid_ext.so")
        dates = {member.date_time for member in archive.infolist()}
    minor = ".".join(torch.__version__.split(".")[:2])
    assert f"Requires-Dist: torch=={minor}.*\n" in text
    assert dates == {(1980, 1, 1, 0, 0, 0)}
    # pip builds each wheel in a folder of its own, and isolation moves what surrounds it.
    assert str(ROOT).encode() not in library and b"site-packages" not in library
    assert all(library == other for other in built.values()), "two builds, not the same bytes"
    built["isolated" if isolated else "not isolated"] = library
    site = tmp_path / "site"
    run(*pip, "install", "--no-deps", "--target", site, wheel, cwd=tmp_path)
    # -S and the explicit path keep an editable install of the tree out of the way.
    paths = os.pathsep.join([str(site), *(p for p in sys.path if p.endswith("site-packages"))])
    printed = run(sys.executable, "-S", "-c", USE, cwd=tmp_path, PYTHONPATH=paths)
    assert printed.strip().startswith(str(site))


def test_source_folder_without_a_build_says_what_to_do(tmp_path: Path) -> None:
    for source in (ROOT / "torch_sigmoid_ext").glob("*.py"):
        (tmp_path / "torch_sigmoid_ext").mkdir(exist_ok=True)
        (tmp_path / "torch_sigmoid_ext" / source.name).write_text(source.read_text())
    done = subprocess.run(
        [sys.executable, "-c", "import torch_sigmoid_ext"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0 and "pip install -e ." in done.stderr.splitlines()[-1]
