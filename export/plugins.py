"""Runtimes in packages of their own, found by the entry-point group ``torch_sigmoid_ext.runtimes``.

The entry point's name is the runtime's on the command line; its object is a class with the members
of `runtimes.Runtime`, of which name, format, version and load are enough. It is imported in a
process of its own and never in the command's, so that a plug-in that crashes, hangs or prints
garbage is a row in the report.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from .runtimes.apart import RuntimeFailure
from .runtimes.runtime import Run, Runtime

GROUP = "torch_sigmoid_ext.runtimes"


class Plugin(Runtime):
    """A plug-in as the command sees it: what its class says of itself is asked for when needed."""

    def __init__(self, entry: metadata.EntryPoint, clash: bool = False) -> None:
        self.name = self._entry_name = entry.name
        self.adapter = (entry.module, entry.attr)
        self.distribution = entry.dist.name if entry.dist else entry.module
        self._clash = clash

    @cached_property
    def _facts(self) -> dict[str, Any]:
        from .runtimes.worker import describe_apart

        try:
            if self._clash:
                raise RuntimeFailure("crashed", f"the name {self._entry_name} is another runtime's")
            return {"broken": "", **describe_apart(self.adapter)}
        except RuntimeFailure as failure:
            return {"broken": f"the plug-in of {self.distribution} cannot be used: {failure}"}

    @property
    def broken(self) -> str:  # type: ignore[override]
        """Why it cannot be used, or "" where it can."""
        return str(self._facts["broken"])

    @property
    def format(self) -> str:  # type: ignore[override]
        return str(self._facts.get("format", ""))

    @property
    def install(self) -> str:  # type: ignore[override]
        return str(self._facts.get("install", "")) or f"pip install {self.distribution}"

    @property
    def precision(self) -> str:  # type: ignore[override]
        return str(self._facts.get("precision", ""))

    @property
    def on_request(self) -> bool:  # type: ignore[override]
        return bool(self._facts.get("on_request", False))

    def version(self) -> str:
        return str(self._facts.get("version", ""))

    def features(self) -> str:
        return str(self._facts.get("features", ""))

    def load(self, path: Path) -> Run:
        raise TypeError(f"{self.name} is loaded in the worker alone, from {self.adapter}")


def plugins(taken: Collection[str] = ()) -> Iterator[Plugin]:
    """Every plug-in that is installed; one whose name is taken says so under its package's name."""
    seen = set(taken)
    for entry in metadata.entry_points(group=GROUP):
        clash = entry.name in seen
        plugin = Plugin(entry, clash)
        if clash:
            plugin.name = f"{plugin.distribution}:{entry.name}"
        seen.add(plugin.name)
        yield plugin
