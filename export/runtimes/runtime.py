"""What a runtime is: an adapter of one verb, ``load(path)``, a function of inputs to outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray

Array = NDArray[Any]
Run = Callable[[list[Array]], list[Array]]


class Runtime(ABC):
    """A runtime for the files of one format.

    An adapter is made and asked for its version in the command's own process, which must not import
    a runtime's native library; `load` and `features` are called in a process of their own.
    """

    name: str  # on the command line
    format: str  # the format it runs; "" for eager, which runs the operator itself
    install: str = ""  # the command that brings it
    precision: str = "as the file says"  # what it computes in
    on_request: bool = False  # run where it is named, or with --runtime all, and not by default
    imports: str = ""  # the package of its own that `load` imports, which doctor tries
    confined: bool = False  # its process may write in its own folder alone (confine.py)
    broken: str = ""  # why it cannot be used at all, as only a plug-in can be
    mends: ClassVar[Mapping[str, str]] = {}  # lowering in the file -> what mends a failure on it

    @abstractmethod
    def version(self) -> str:
        """Its version, or "" where it is not installed."""

    @abstractmethod
    def load(self, path: Path) -> Run:
        """The file, ready to be run; called in a process of its own (worker.py)."""

    def features(self) -> str:
        """What of this CPU it uses, as far as it tells."""
        return ""

    def environment(self) -> dict[str, str]:
        """Environment variables for its process."""
        return {}

    def pending(self) -> str:
        """What `prepare` would do, and has not done yet; "" where there is nothing to do."""
        return ""

    def prepare(self) -> None:  # noqa: B027 - most have nothing to prepare
        """Slow work before the first run, once a machine; RuntimeFailure where it fails."""
