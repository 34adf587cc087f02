"""The mutations, as data: the .toml files beside this one, read and held against the tree."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parent
ENDS = ("failure", "error", "crash", "hang")
_NEEDED = {"id", "file", "old", "new", "spoils", "tests"}


@dataclass(frozen=True)
class Mutation:
    """A text in one file that is replaced by another, and who has to notice."""

    section: str  # the title of its file
    id: str
    file: str
    old: str  # occurs there once
    new: str
    spoils: str  # in a few words
    tests: tuple[str, ...]  # pytest's names; each of them must fail
    ends: str = "failure"  # how the tests end: by set-up errors, a crash or a hang if that is said
    needs: str = ""  # a test that is skipped where the mutation cannot be tried

    @property
    def named(self) -> tuple[str, ...]:
        """Every test that it speaks of."""
        return (*self.tests, self.needs) if self.needs else self.tests

    @property
    def is_compiled(self) -> bool:
        """Whether the libraries are made of the file. The tests compile the CUDA headers."""
        path = PurePosixPath(self.file)
        compiled = path.parts[0] == "csrc" and path.suffix in (".h", ".cpp")
        return compiled and "cuda" not in path.parts

    def applied_to(self, text: str) -> str:
        """The spoiled text; ValueError where the mutation does not fit."""
        if (found := text.count(self.old)) != 1:
            raise ValueError(
                f"{self.id} is stale: expected its old text once in {self.file}, found it {found} "
                "times; write it anew as it stands there"
            )
        return text.replace(self.old, self.new)


def load(folder: Path = FOLDER) -> list[Mutation]:
    """Every mutation of the folder's files; ValueError where one is not written as it must be."""
    found = [mutation for path in sorted(folder.glob("*.toml")) for mutation in _read(path)]
    ids = [mutation.id for mutation in found]
    if twice := {id for id in ids if ids.count(id) > 1}:
        raise ValueError(f"expected each id once, got twice: {', '.join(sorted(twice))}")
    return found


def _read(path: Path) -> Iterator[Mutation]:
    fields = tomllib.loads(path.read_text(encoding="utf-8"))
    for entry in fields["mutation"]:
        yield _mutation(fields["title"], entry, path.name)


def _mutation(section: str, entry: dict[str, Any], where: str) -> Mutation:
    if not _NEEDED <= entry.keys() <= _NEEDED | {"ends", "needs"}:
        raise ValueError(
            f"expected {', '.join(sorted(_NEEDED))} of a mutation in {where}, and perhaps ends and "
            f"needs, got {', '.join(sorted(entry))}"
        )
    mutation = Mutation(section, **{**entry, "tests": tuple(entry["tests"])})
    if mutation.ends not in ENDS or not mutation.tests or mutation.old == mutation.new:
        raise ValueError(
            f"{mutation.id} in {where}: expected one test or more, a new text unlike the old one, "
            f"and `ends` to be one of {', '.join(ENDS)}"
        )
    return mutation


def problems(mutations: Iterable[Mutation], root: Path) -> list[str]:
    """What no longer fits the tree: old texts, and tests that are named and are not there."""
    found = []
    for mutation in mutations:
        path = root / mutation.file
        try:
            mutation.applied_to(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            found.append(str(error))
        found += [
            f"{mutation.id} is stale: there is no test {test}"
            for test in mutation.named
            if _function(test) not in _tests_in(root / test.split("::")[0])
        ]
    return found


def _function(test: str) -> str:
    """ "test_a" of "tests/test_it.py::test_a[float32]"."""
    return re.sub(r"\[.*", "", test.split("::", 1)[-1], flags=re.DOTALL)


@cache
def _tests_in(path: Path) -> frozenset[str]:
    if not path.is_file():
        return frozenset()
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return frozenset(node.name for node in body if isinstance(node, ast.FunctionDef))
