"""Versions of packages that are looked for and not imported."""

from __future__ import annotations

import importlib.util
from importlib import metadata

from .runtime import Runtime


class Packaged(Runtime):
    """A runtime that is a Python package: `imports` names it, `distributions` who may bring it."""

    distributions: tuple[str, ...]

    def version(self) -> str:
        if importlib.util.find_spec(self.imports) is None:
            return ""
        for distribution in self.distributions:
            try:
                return metadata.version(distribution)
            except metadata.PackageNotFoundError:
                continue
        return "unknown version"
