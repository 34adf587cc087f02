"""The list, tried mutation by mutation.

    python -m scripts.mutations > docs/mutations.txt

In a copy of the working tree, built by itself, one text at a time is replaced: a coefficient, a
stride, a hash check. Each test that the mutation names must then fail, by what it asserts, and must
pass on the copy as it was. A mutation that survives shows what no test holds; one whose text is not
found any more, that does not build or whose tests cannot be run shows nothing, and is an error of
the list. Ends with 1 where there is any of these. With --keep FOLDER the copy and its build stay
there, and the next run takes up with them.

The list stands in the .toml files of this folder.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone
from itertools import groupby
from pathlib import Path

from rich.console import Console

from ..environments import ROOT, Failed, commit, table
from .catalogue import FOLDER, Mutation, load, problems
from .tree import Tree
from .trial import Run, Verdict, attempt, run_tests, unfit

HEAD = ("mutation", "what is spoiled", "where", "verdict", "seconds", "noticed by (of its cases)")
BASELINE_TIMEOUT = 3600


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.mutations", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--only", nargs="+", metavar="ID", help="these mutations alone")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="the copy, for the next run")
    parser.add_argument("--list", action="store_true", help="print the list and try nothing")
    return parser.parse_args(arguments)


def choose(mutations: Sequence[Mutation], only: Sequence[str] | None) -> list[Mutation]:
    if unknown := set(only or ()) - {mutation.id for mutation in mutations}:
        sys.exit(f"expected ids of the list (--list shows it), got {', '.join(sorted(unknown))}")
    return [m for m in mutations if only is None or m.id in only]


def in_order_of_files(mutations: Sequence[Mutation]) -> list[Mutation]:
    """Those that are compiled last and by files: what one leaves is compiled with the next."""
    return sorted(mutations, key=lambda m: (m.is_compiled, m.file if m.is_compiled else ""))


def try_all(
    tree: Tree, mutations: Sequence[Mutation], console: Console
) -> dict[str, tuple[Verdict, float]]:
    """Of each mutation by its id: the verdict and the seconds it took."""
    with console.status("building the copy"):
        tree.build()
        tree.check()
    tests = list(dict.fromkeys(test for mutation in mutations for test in mutation.named))
    with console.status(f"running {len(tests)} tests on the unspoiled copy"):
        unspoiled = run_tests(tree, tests, BASELINE_TIMEOUT)
    if unspoiled.ended or (lost := [t for t, c in unspoiled.counts.items() if not c.cases]):
        problem = f"a {unspoiled.ended}" if unspoiled.ended else f"no case of {', '.join(lost)}"
        raise Failed(
            f"expected the tests to run on the unspoiled copy, got {problem}:\n{unspoiled.said}"
        )
    found = {}
    for number, mutation in enumerate(in_order_of_files(mutations), 1):
        began = time.monotonic()
        with console.status(f"{number} of {len(mutations)}: {mutation.id}"):
            verdict = try_one(tree, mutation, unspoiled, console)
        seconds = time.monotonic() - began
        console.print(f"{verdict.word}: {mutation.id}, {seconds:.0f} s", highlight=False)
        found[mutation.id] = (verdict, seconds)
    return found


def try_one(tree: Tree, mutation: Mutation, unspoiled: Run, console: Console) -> Verdict:
    if verdict := unfit(mutation, unspoiled):
        console.print(unspoiled.said, markup=False)
        return verdict
    verdict, said = attempt(tree, mutation)
    if not verdict.good:
        console.print(said, markup=False, highlight=False)
    return verdict


def report(mutations: Sequence[Mutation], found: dict[str, tuple[Verdict, float]]) -> str:
    parts = []
    for title, members in groupby(mutations, key=lambda mutation: mutation.section):
        rows = [HEAD]
        for m in members:
            verdict, seconds = found[m.id]
            rows.append((m.id, m.spoils, m.file, verdict.word, f"{seconds:.0f}", verdict.noticed))
        parts.append(f"{title}\n{table(rows)}")
    words = Counter(verdict.word for verdict, _ in found.values())
    summary = ", ".join(f"{count} {word}" for word, count in words.most_common())
    return "\n\n".join([*parts, f"{len(found)} mutations: {summary}"])


def main(arguments: Sequence[str] | None = None, source: Path = ROOT, folder: Path = FOLDER) -> int:
    chosen = options(arguments)
    mutations = choose(load(folder), chosen.only)
    if chosen.list:
        print(table([(m.id, m.spoils, m.file, " ".join(m.tests)) for m in mutations]))
        return 0
    if stale := problems(mutations, source):
        print("\n".join(stale), file=sys.stderr)
        return 1
    began, start = datetime.now(timezone.utc), time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="torch-sigmoid-ext-") as place:
            tree = Tree((chosen.keep or Path(place, "tree")).resolve(), source)
            found = try_all(tree, mutations, Console(stderr=True))
    except Failed as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{began:%F}, commit {commit()}")
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}\n")
    print(report(mutations, found))
    print(f"in {(time.monotonic() - start) / 60:.0f} minutes")
    return 0 if all(verdict.good for verdict, _ in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
