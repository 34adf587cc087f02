"""pt2: torch.export's own file, a graph of operators with its weights, which Python loads."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from ..missing_library import LIBRARY, REQUIRES
from . import SUFFIXES, Program
from .exported import check_dynamic_inputs, check_other_sizes, export_program, quiet
from .onnx import metadata


class Pt2:
    """torch.export.save, and then the saved program itself at other sizes."""

    name = "pt2"
    suffix = SUFFIXES[name]
    install = ""
    default = True

    def missing(self) -> str:
        return ""

    def export(self, program: Program, path: Path) -> dict[str, Any]:
        exported, calls = export_program(program, self.name)
        saved = BytesIO()  # given a path, torch goes by its ending
        with quiet():
            torch.export.save(exported, saved, extra_files=metadata(program))
            saved.seek(0)
            loaded = torch.export.load(saved)
        check_dynamic_inputs(program, loaded, self.name)
        check_other_sizes(program, loaded.module(), self.name)
        path.write_bytes(saved.getvalue())
        needs = f"torch {torch.__version__} in Python (torch.export.load)"
        if calls:
            return {"requires": f"{needs} with {REQUIRES}", "library": LIBRARY}
        return {"requires": needs}
