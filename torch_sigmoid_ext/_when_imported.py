"""when_imported: tell a module of torch's about our operators as soon as somebody imports it.

Importing torch._dynamo or torch.distributed.tensor ourselves would cost every user a second or more
at our import, for something that most of them never use.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_waiting: dict[str, list[Callable[[], object]]] = {}


class _Finder:
    """Finds the modules waited for, as Python would, and runs what waits for them."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in _waiting:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)  # looking alone must not use anything up, nor a failed import
            for run in _waiting.pop(name, ()):
                run()
            if not _waiting and _finder in sys.meta_path:
                sys.meta_path.remove(_finder)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


_finder = _Finder()


def when_imported(name: str, run: Callable[[], object]) -> None:
    """Calls `run` once, as soon as the module `name` is imported: now, if it is already."""
    if name in sys.modules:
        run()
        return
    _waiting.setdefault(name, []).append(run)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
