"""Versions of packages that are looked for and not imported."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from importlib import metadata

from .runtime import Runtime


class Packaged(Runtime):
    """A runtime that is a Python package: `imports` names it, `distributions` who may bring it."""

    distributions: tuple[str, ...]
    converter: str = ""  # another package, which brings the file into the runtime's own form

    def version(self) -> str:
        needed = filter(None, (self.imports, self.converter))
        if not all(map(importlib.util.find_spec, needed)):
            return ""
        version = _first_version(self.distributions)
        if self.converter:
            version += f", {self.converter} {_first_version([self.converter])}"
        return version


def _first_version(distributions: Iterable[str]) -> str:
    for distribution in distributions:
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return "unknown version"
