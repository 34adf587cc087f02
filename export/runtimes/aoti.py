"""An AOTInductor package in Python."""

from __future__ import annotations

from pathlib import Path

from .libtorch import Libtorch, load_operator_library, of_arrays
from .runtime import Run


class Aoti(Libtorch):
    """torch._inductor.aoti_load_package after torch.ops.load_library."""

    name = "aoti"
    format = "aoti"

    def load(self, path: Path) -> Run:
        import torch

        load_operator_library()
        return of_arrays(torch._inductor.aoti_load_package(str(path)))
