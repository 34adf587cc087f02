"""Export a model to files for other runtimes, and show in ULP what each runtime makes of them.

The command ``torch-sigmoid-ext``, and the same in Python:

- :func:`export`: a model becomes a folder of files, each run and held against the float64 truth;
- :func:`verify`: such a folder again, anywhere, later;
- :func:`assert_parity`: both as one line of a test;
- :func:`onnx_translation_table`, :func:`add_onnx_functions`: for torch.onnx.export itself.

Nothing is imported before it is used: onnx, onnxscript and the runtimes cost seconds.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import (
        Bundle,
        add_onnx_functions,
        assert_parity,
        export,
        onnx_translation_table,
        verify,
    )
    from .errors import ExportError, NotInstalled, UsageError
    from .findings import Report
    from .model import InputSpec

_HOMES = {
    "api": (
        *("Bundle", "add_onnx_functions", "assert_parity", "export", "onnx_translation_table"),
        "verify",
    ),
    "errors": ("ExportError", "NotInstalled", "UsageError"),
    "findings": ("Report",),
    "model": ("InputSpec",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Bundle",
    "ExportError",
    "InputSpec",
    "NotInstalled",
    "Report",
    "UsageError",
    "add_onnx_functions",
    "assert_parity",
    "export",
    "onnx_translation_table",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """``verify`` is the function, although a module of this name lies in the folder as well."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
