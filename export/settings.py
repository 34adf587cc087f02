"""Which gate judges which runtime: the command line, pyproject.toml, the bundle, the default.

    [tool.torch-sigmoid-ext]
    gate = "strict"

    [tool.torch-sigmoid-ext.gates]
    openvino-default = "absolute"

What names the runtime goes before what does not, and then the command line before the file:

1. ``--gate RUNTIME=NAME``
2. the file's ``gates`` (verify: those recorded in the bundle)
3. ``--gate NAME``
4. the file's ``gate`` (verify: the one recorded in the bundle)
5. strict
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .choices import check_choice
from .errors import UsageError
from .gates import DEFAULT_GATE, GATES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = "pyproject.toml"
TABLE = "torch-sigmoid-ext"
OPTION, BUNDLE, DEFAULT = "--gate", "the bundle", "default"  # who named a gate, as FILE may

_EXAMPLE = f'[tool.{TABLE}] gate = "strict", [tool.{TABLE}.gates] RUNTIME = "absolute"'


@dataclass(frozen=True)
class GateChoice:
    """A gate for every runtime, and who named it."""

    name: str = DEFAULT_GATE
    source: str = DEFAULT
    by_runtime: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # gate, source

    def of(self, runtime: str) -> tuple[str, str]:
        """The runtime's gate and who named it."""
        return self.by_runtime.get(runtime, (self.name, self.source))

    @property
    def names(self) -> dict[str, str]:
        """The gates of the runtimes that have one of their own, for the manifest."""
        return {runtime: gate for runtime, (gate, _) in self.by_runtime.items()}


def choose_gates(option: str | None, start: Path | None = None) -> GateChoice:
    """The gates of an export: --gate, then the nearest pyproject.toml from ``start`` upward.

    Raises:
        UsageError: a gate, a runtime or a key that there is not.
    """
    return _over(option, _from_file(start or Path.cwd()))


def recorded_gates(option: str | None, gate: str, gates: Mapping[str, str]) -> GateChoice:
    """The gates of a verification: --gate, then what the bundle was exported with.

    No file is read: a bundle is judged in the same way wherever it lies.
    """
    recorded = {runtime: (name, BUNDLE) for runtime, name in gates.items()}
    return _over(option, GateChoice(gate, BUNDLE, recorded))


def _over(option: str | None, below: GateChoice) -> GateChoice:
    """What the option names, over what is below it."""
    if option is None:
        return below
    general, by_runtime = _parsed(option)
    named = {runtime: (gate, OPTION) for runtime, gate in by_runtime.items()}
    return GateChoice(
        general or below.name,
        OPTION if general else below.source,
        {**below.by_runtime, **named},
    )


def _parsed(option: str) -> tuple[str | None, dict[str, str]]:
    """``strict,openvino-default=absolute``: a gate for all, and those of some runtimes."""
    general: list[str] = []
    by_runtime = {}
    for part in filter(None, map(str.strip, option.split(","))):
        runtime, equals, gate = (piece.strip() for piece in part.rpartition("="))
        check_choice(OPTION, gate, GATES)
        if equals:
            _check_runtime(OPTION, runtime)
            by_runtime[runtime] = gate
        else:
            general.append(gate)
    if len(general) > 1 or not (general or by_runtime):
        raise UsageError(
            f"expected {OPTION} NAME or RUNTIME=NAME,..., with one gate for all that are not "
            f"named, got {option!r}; write for example {OPTION} strict,openvino-default=absolute"
        )
    return next(iter(general), None), by_runtime


def _check_runtime(place: str, name: str) -> None:
    from .runtimes import RUNTIMES  # looks for plug-ins, which --help need not

    check_choice(f"the runtime in {place}", name, RUNTIMES)


def _from_file(start: Path) -> GateChoice:
    """What the nearest pyproject.toml with our table says, as ruff finds it."""
    for folder in (start.absolute(), *start.absolute().parents):
        path = folder / FILE
        if path.is_file() and (table := _table(path)) is not None:
            return _checked(table, path)
    return GateChoice()


def _table(path: Path) -> Any:
    try:
        return tomllib.loads(path.read_text("utf-8")).get("tool", {}).get(TABLE)
    except (tomllib.TOMLDecodeError, UnicodeError, AttributeError) as error:
        raise UsageError(f"expected {path} to be TOML, it cannot be read: {error}") from error


def _checked(table: Any, path: Path) -> GateChoice:
    place = f"[tool.{TABLE}] of {path}"
    gates = _of_strings(table, place).get("gates", {})
    if unknown := [key for key in table if key not in ("gate", "gates")]:
        raise UsageError(
            f"expected the keys gate and gates in {place}, got {', '.join(unknown)}; write for "
            f"example {_EXAMPLE}"
        )
    gate = table.get("gate", DEFAULT_GATE)
    if not isinstance(gate, str):
        raise UsageError(f"expected gate in {place} to be a name, got {gate!r}; write {_EXAMPLE}")
    check_choice(f"gate in {place}", gate, GATES)
    by_runtime = {}
    for runtime, name in _of_strings(gates, f"gates in {place}").items():
        if not isinstance(name, str):
            raise UsageError(
                f"expected the gate of {runtime} in {place} to be a name, got {name!r}; write "
                f"{_EXAMPLE}"
            )
        check_choice(f"the gate of {runtime} in {place}", name, GATES)
        _check_runtime(f"gates in {place}", runtime)
        by_runtime[runtime] = (name, FILE)
    return GateChoice(gate, FILE if "gate" in table else DEFAULT, by_runtime)


def _of_strings(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"expected a table at {place}, got {value!r}; write {_EXAMPLE}")
    return value
