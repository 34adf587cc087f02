"""Mutations of a bundle by one who can make its hashes right again, and what becomes of them.

    python tests/fuzz_bundles.py 100000 [SEED]

Every mutation must end in a bundle that opens, or in one UsageError of one printable line: in time,
within a bound of memory, and with nothing written but the private copy, which is gone again.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
from trust_bundles import real, rezip, sealed

from torch_sigmoid_ext.export.bundle import opened
from torch_sigmoid_ext.export.errors import UsageError

SECONDS = 20  # for one mutation, which takes milliseconds
MEMORY = 1 << 29  # bytes that all of them together may add to the process
ARCHIVES = ("samples.npz", "model.pt2", "operator.pt2", "model.torchscript.pt")
MODELS = ("model.onnx", "operator.onnx")

STRANGE: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**30, 1.5, 1e308, -0.0),
    *("", "\0", "\n", "\x1b[31m", "\ud800", "é", "x" * 5000, ".", "..", "../../etc/passwd"),
    *("/etc/passwd", "a\\b", "model.onnx", "samples.npz", "manifest.json", "NaN", "%s%n", "{0}"),
    *("__import__('os').getpid()", "x=float32[1]", "9" * 400, "batch", "float32", "exact"),
    *([], {}, [[]], {"": {}}, [None], ["x"] * 3, {"model": 1}, {"__enum__": True}),
]


class Fuzzer:
    """One bundle, mutated over and over; the seed tells all of it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.bundle = folder / "bundle"
        self.bundle.mkdir(parents=True)
        self.fields = json.loads((real() / "manifest.json").read_text())
        keep = [*ARCHIVES, *MODELS, "operator.torchscript.pt", "model.onnx.data"]
        self.files = {name: (real() / name).read_bytes() for name in keep}
        for key in ("files", "sizes"):
            self.fields[key] = {name: self.fields[key][name] for name in keep}
        for name, data in self.files.items():
            (self.bundle / name).write_bytes(data)
        self.seal(self.fields)
        self.mutations: list[Callable[[], str]] = [
            *(self.manifest_part, self.manifest_part, self.manifest_bytes),
            *(self.file_bytes, self.archive_member, self.archive_member, self.archive_layout),
            *(self.model_part, self.model_bytes),
        ]

    def seal(self, fields: Any) -> None:
        (self.bundle / "manifest.json").write_bytes(sealed(fields))

    @contextlib.contextmanager
    def mutated(self) -> Iterator[str]:
        """One mutation, said in words; undone at the end."""
        said = self.random.choice(self.mutations)()
        try:
            yield said
        finally:
            for path in self.bundle.iterdir():
                if path.name not in self.files:
                    path.unlink()
            for name in self.touched:
                (self.bundle / name).write_bytes(self.files[name])
            self.seal(self.fields)

    touched: tuple[str, ...] = ()

    def put(self, name: str, data: bytes) -> None:
        """The file with its hash and size made right."""
        import hashlib

        self.touched = (name,)
        (self.bundle / name).write_bytes(data)
        fields = json.loads(json.dumps(self.fields))
        fields["files"][name] = hashlib.sha256(data).hexdigest()
        fields["sizes"][name] = len(data)
        self.seal(fields)

    # The manifest

    def manifest_part(self) -> str:
        self.touched = ()
        fields = json.loads(json.dumps(self.fields))
        said = self.change(fields)
        try:
            self.seal(fields)
        except UnicodeEncodeError:  # half a surrogate pair that json left as it is
            return f"nothing for {said}"
        return f"manifest: {said}"

    def manifest_bytes(self) -> str:
        self.touched = ()
        path = self.bundle / "manifest.json"
        data, said = self.bytes(path.read_bytes())
        path.write_bytes(data)
        return f"manifest, {said}"

    def change(self, value: Any) -> str:
        """One place of JSON changed, deep or not."""
        path = []
        while isinstance(value, dict | list) and value:
            key = self.random.choice(list(value) if isinstance(value, dict) else range(len(value)))
            path.append(key)
            inner = value[key]
            if not (isinstance(inner, dict | list) and inner) or self.random.random() < 0.2:
                break
            value = inner
        if not path:
            return "nothing"
        kind = self.random.randrange(6)
        strange = self.random.choice(STRANGE)
        if kind == 0:
            del value[path[-1]]
        elif kind == 1 and isinstance(value, dict):
            value[str(strange)] = value.pop(path[-1])
        elif kind == 2 and isinstance(value, dict):
            value[str(strange)] = strange
        elif kind == 3:
            for _ in range(self.random.choice([2, 90, 120, 400])):
                value[path[-1]] = self.random.choice([lambda v: [v], lambda v: {"a": v}])(
                    value[path[-1]]
                )
        elif kind == 4 and isinstance(value, list):
            value += [strange] * self.random.choice([1, 2, 3000])
        else:
            value[path[-1]] = strange
        return f"{'/'.join(map(str, path))[:100]}, way {kind}, {strange!a:.40}"

    # Bytes

    def bytes(self, data: bytes) -> tuple[bytes, str]:
        """Some bytes changed."""
        changed = bytearray(data)
        ways = self.random.randrange(1, 4)
        said = []
        for _ in range(ways):
            at = self.random.randrange(len(changed) + 1)
            length = self.random.choice([1, 1, 2, 4, 8, 64, 1000])
            kind = self.random.randrange(7)
            said.append(f"way {kind} at {at}")
            if kind == 0 and at < len(changed):
                changed[at] ^= 1 << self.random.randrange(8)
            elif kind == 1:
                changed[at : at + length] = self.random.randbytes(length)
            elif kind == 2:
                del changed[at:]
            elif kind == 3:
                del changed[at : at + length]
            elif kind == 4:
                changed[at:at] = changed[at : at + length] * self.random.choice([1, 2, 100])
            elif kind == 5:
                size = self.random.choice([1, 2, 4, 8])
                changed[at : at + size] = self.random.choice(
                    [b"\xff" * size, b"\0" * size, b"\x7f" + b"\xff" * (size - 1)]
                )
            else:
                other = self.files[self.random.choice(list(self.files))]
                start = self.random.randrange(len(other))
                changed[at : at + length] = other[start : start + length]
        return bytes(changed), "; ".join(said)

    def file_bytes(self) -> str:
        name = self.random.choice(ARCHIVES)
        data, said = self.bytes(self.files[name])
        self.put(name, data)
        return f"{name}, {said}"

    def model_bytes(self) -> str:
        name = self.random.choice(MODELS)
        data, said = self.bytes(self.files[name])
        self.put(name, data)
        return f"{name}, {said}"

    # Archives

    def archive_member(self) -> str:
        """A member changed in an archive that is right: JSON by its parts, else by its bytes."""
        name = self.random.choice(ARCHIVES)
        with zipfile.ZipFile(io.BytesIO(self.files[name])) as archive:
            member = self.random.choice(archive.namelist())
            content = archive.read(member)
        if member.endswith(".json") and self.random.random() < 0.8:
            fields = json.loads(content)
            said = self.change(fields)
            content = json.dumps(fields).encode()
        elif member.endswith("sample_inputs/model.pt") and self.random.random() < 0.8:
            data, said = self.bytes(b"\x80\x02" + content[150:400])
            content = rezip(content, {"data.pkl": data})
        elif member.endswith(".npy") and self.random.random() < 0.8:
            head, said = self.bytes(content[:128])
            content = head + content[128:]
        else:
            content, said = self.bytes(content)
        method = zipfile.ZIP_DEFLATED if name == "samples.npz" else zipfile.ZIP_STORED
        self.put(name, rezip(self.files[name], {member: content}, method=method))
        return f"{name}, {member}, {said}"

    def archive_layout(self) -> str:
        """Names, methods and sizes of members."""
        name = self.random.choice(ARCHIVES)
        data = self.files[name]
        kind = self.random.randrange(4)
        strange = "".join(c for c in str(self.random.choice(STRANGE)) if c not in "\0\ud800")
        if kind == 0:
            data = rezip(data, more={f"archive/{strange}": b"more"})
        elif kind == 1:
            data = rezip(data, more={strange or "x": b"\0" * self.random.choice([0, 10, 10**6])})
        elif kind == 2:
            data = rezip(data, method=self.random.choice([8, 12, 14, 0]))
        else:
            at = data.rindex(b"PK\x01\x02")
            tail, said = self.bytes(data[at:])
            data, strange = data[:at] + tail, said
        self.put(name, data)
        return f"{name}, layout {kind}, {strange!a:.60}"

    # ONNX

    def model_part(self) -> str:
        name = self.random.choice(MODELS)
        model = onnx.ModelProto.FromString(self.files[name])
        strange = str(self.random.choice(STRANGE)).replace("\ud800", "?")
        tensor = onnx.TensorProto(name=strange, data_type=self.random.randrange(-1, 30))
        tensor.dims.extend(
            self.random.choice([-1, 0, 1, 3, 2**31, 2**62]) for _ in range(self.random.randrange(3))
        )
        tensor.data_location = self.random.randrange(2)
        for _ in range(self.random.randrange(4)):
            key = self.random.choice(["location", "offset", "length", "checksum", strange])
            places = ["model.onnx.data", "0", "24", "12", strange]
            tensor.external_data.add(key=key, value=self.random.choice(places))
        if self.random.random() < 0.5:
            model.graph.initializer.append(tensor)
        else:
            node = model.graph.node.add(op_type=self.random.choice(["Constant", strange]))
            node.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(tensor)
        self.put(name, model.SerializeToString())
        return f"{name}, {str(tensor)[:200]!a}"


def outcome(bundle: Path) -> str:
    """What becomes of it: "opens" or the refusal's words; anything else is a defect."""

    def hang(*_: object) -> None:
        raise TimeoutError(f"no end within {SECONDS} s")

    signal.signal(signal.SIGALRM, hang)
    signal.alarm(SECONDS)
    try:
        with opened(bundle):
            return "opens"
    except UsageError as error:
        said = str(error)
        assert said.isprintable() and len(said) < 2000, f"not one line: {said!a}"
        assert " 0x" not in said, f"an object's address: {said}"
        return said
    finally:
        signal.alarm(0)


def fuzz(folder: Path, count: int, seed: int, tell: bool = False) -> Counter[str]:
    """So many mutations; how many open, and how many are refused. AssertionError for a defect."""
    fuzzer = Fuzzer(folder / "fuzz", seed)
    assert outcome(fuzzer.bundle) == "opens", "what is not mutated"
    temporary = folder / "temporary"
    temporary.mkdir()
    found: Counter[str] = Counter()
    start = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    previous, tempfile.tempdir = tempfile.tempdir, str(temporary)
    try:
        for number in range(count):
            with fuzzer.mutated() as mutation:
                try:
                    said = outcome(fuzzer.bundle)
                except Exception as error:
                    shutil.copytree(fuzzer.bundle, folder / f"defect{seed}-{number}")
                    raise AssertionError(
                        f"seed {seed}, mutation {number} ({mutation}): {type(error).__name__}: "
                        f"{error}; kept in {folder}/defect{seed}-{number}"
                    ) from error
            found["opens" if said == "opens" else "refused"] += 1
            assert not list(temporary.iterdir()), f"mutation {number} left something"
            if tell and number % 10_000 == 9_999:
                print(number + 1, dict(found), f"{time.monotonic() - start:.0f} s", flush=True)
    finally:
        tempfile.tempdir = previous
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grown < MEMORY, f"{grown:,} bytes more than before"
    assert sorted(path.name for path in folder.iterdir()) == ["fuzz", "temporary"]
    assert [path.name for path in (folder / "fuzz").iterdir()] == ["bundle"]
    found["MiB more"] = grown >> 20
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        number, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
        print(dict(fuzz(Path(name), number, seed, tell=True)))
