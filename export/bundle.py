"""The folder that an export leaves: provably unchanged ever after, and looked at before it is run.

staging.py makes it appear whole or not at all, manifest.py has what it says of itself.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from .errors import UsageError
from .manifest import FORMAT_VERSION, INNER, MANIFEST, MOST_BYTES, ROLES, SAMPLES, Manifest
from .staging import check_free, staged
from .trust import Untrusted, files, onnx_file, pt2_file
from .trust.text import shown

__all__ = [
    "FORMAT_VERSION",
    "INNER",
    "MANIFEST",
    "ROLES",
    "SAMPLES",
    "Manifest",
    "check_free",
    "open_bundle",
    "opened",
    "seal",
    "staged",
]


def seal(directory: Path, manifest: Manifest) -> None:
    """Write the manifest with size and hash of every file that is in the folder, and its own hash.

    The hashes tell that something was changed; who can rewrite them all is not found out.
    """
    found = files.find_files(directory)
    for name, size in sorted(found.sizes.items()):
        manifest.sizes[name] = size
        manifest.files[name] = files.sha256_of(directory, name, size)
    (directory / MANIFEST).write_text(manifest.to_text(), encoding="utf-8")


def open_bundle(directory: Path) -> Manifest:
    """The manifest of a bundle all of whose files are what it says; UsageError otherwise."""
    return _checked(directory, None)


@contextmanager
def opened(directory: Path) -> Iterator[tuple[Manifest, Path]]:
    """The manifest, and a private copy of the files: what was hashed is what will be run.

    Else who may write to the folder could exchange a file between its hash and its use. Every file
    is also looked into, as far as its format allows: UsageError where it holds more than it may.
    """
    with tempfile.TemporaryDirectory(prefix="torch_sigmoid_ext-") as name:
        copy = Path(name) / "bundle"
        copy.mkdir()
        manifest = _checked(directory, copy)
        check_contents(copy, manifest)
        yield manifest, copy


def check_contents(directory: Path, manifest: Manifest) -> None:
    """UsageError where a runtime would find more in a file than a model, or no proper samples."""
    from .stored import load_samples

    load_samples(directory / SAMPLES, manifest.inputs)
    sizes = files.find_files(directory).sizes
    for format, entry in manifest.formats.items():
        if format == "onnx" and not importlib.util.find_spec("onnx"):
            _leave_alone(format, entry)
            continue
        names = [entry[role] for role in (*ROLES, "inner") if role in entry]
        for name in dict.fromkeys(map(str, names)):
            try:
                _LOOK[format](directory, name, sizes)
            except Untrusted as error:
                raise UsageError(
                    f"{shown(name)} {error}. Nothing of this bundle is run; export the model again"
                ) from error


def _leave_alone(format: str, entry: dict[str, Any]) -> None:
    """Nobody runs what cannot be looked into."""
    from .runtimes import RUNTIMES

    why = "without onnx the file cannot be looked into before it is run; run: pip install onnx"
    entry["cannot_run"] = {name: why for name, each in RUNTIMES.items() if each.format == format}


def _look_into_onnx(directory: Path, name: str, sizes: Mapping[str, int]) -> None:
    data = files.read_small(directory, name, onnx_file.MOST_BYTES)
    onnx_file.check_model(data, name, sizes)


def _look_into(
    check: Callable[[IO[bytes]], None],
) -> Callable[[Path, str, Mapping[str, int]], None]:
    def look(directory: Path, name: str, sizes: Mapping[str, int]) -> None:
        with files.open_plain(directory, name) as file:
            check(file)

    return look


_LOOK: dict[str, Callable[[Path, str, Mapping[str, int]], None]] = {
    "onnx": _look_into_onnx,
    "torchscript": _look_into(pt2_file.check_script),
    "pt2": _look_into(pt2_file.check_program),
    "aoti": _look_into(pt2_file.check_package),
}


def _checked(directory: Path, copy: Path | None) -> Manifest:
    """The manifest, once every file was found to be what it says; the files' copies are made."""
    manifest, changed = _read_manifest(directory)
    try:
        found = files.find_files(directory)
    except (Untrusted, OSError) as error:
        raise UsageError(f"{directory} is no bundle: {_words(error)}") from error
    wrong = [f"{MANIFEST} has changed: its sha256 is not its own"] if changed else []
    wrong += [f"{shown(name)} {what}" for name, what in found.wrong.items()]
    known = {MANIFEST, *manifest.files, *found.wrong}
    wrong += [f"{shown(name)} is not in the manifest" for name in found.sizes.keys() - known]
    total = sum(found.sizes[name] for name in manifest.files.keys() & found.sizes.keys())
    if total > files.MOST_BYTES:
        raise UsageError(f"{directory} has {total:,} bytes, more than {files.MOST_BYTES:,}")
    if copy is not None:
        _check_room(copy, total)
    for name, expected in manifest.files.items():
        if name in found.wrong:
            continue
        what = _changed(directory, name, expected, found.sizes.get(name), manifest, copy)
        wrong += [f"{shown(name)} {what}"] if what else []
    if wrong:
        more = f"; and {len(wrong) - 10} more" if len(wrong) > 10 else ""
        raise UsageError(
            f"{directory} is not as it was exported: {'; '.join(sorted(wrong)[:10])}{more}. "
            "Nothing can be said about it; export the model again"
        )
    return manifest


def _read_manifest(directory: Path) -> tuple[Manifest, bool]:
    path = directory / MANIFEST
    if not os.path.lexists(path):
        raise UsageError(
            f"expected a bundle with a {MANIFEST} in {directory}, found none; give the folder that "
            "torch-sigmoid-ext export wrote"
        )
    try:
        data = files.read_small(directory, MANIFEST, MOST_BYTES)
        manifest, same = Manifest.from_bytes(data)
    except (Untrusted, ValueError) as error:
        raise UsageError(
            f"{path} is not a manifest that can be read: {error}; export the model again"
        ) from error
    return manifest, not same


def _changed(
    directory: Path,
    name: str,
    expected: str,
    size: int | None,
    manifest: Manifest,
    copy: Path | None,
) -> str:
    """In which way the file is not the manifest's, or ""; what has another size is not read."""
    if size is None:
        return "is missing"
    if manifest.sizes and size != manifest.sizes[name]:
        return f"has changed: it has {size:,} bytes, not the manifest's {manifest.sizes[name]:,}"
    try:
        got = files.sha256_of(directory, name, size, copy / name if copy else None)
    except Untrusted as error:
        return str(error)
    return "" if got == expected else "has changed: its sha256 is not the manifest's"


def _check_room(copy: Path, total: int) -> None:
    free = shutil.disk_usage(copy).free
    if total > free:
        raise UsageError(
            f"expected {total:,} bytes free in {tempfile.gettempdir()}, for the private copy that "
            f"is run, got {free:,}; set TMPDIR to a folder with room"
        )


def _words(error: Exception) -> str:
    return error.strerror or "" if isinstance(error, OSError) else str(error)
