"""TorchScript: the model traced into a file that libtorch runs, in Python or C++."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ..errors import UsageError
from ..missing_library import LIBRARY, REQUIRES, calls_operators, with_remedy
from ..model import named_dims
from . import SUFFIXES, Program


class TorchScript:
    """torch.jit.trace, then a run at other sizes, because a trace bakes in what Python computed."""

    name = "torchscript"
    suffix = SUFFIXES[name]
    install = ""
    default = True

    def missing(self) -> str:
        return ""

    def export(self, program: Program, path: Path) -> dict[str, Any]:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # torch.jit is deprecated as of 2.13, and still works
            try:
                traced = torch.jit.trace(  # type: ignore[no-untyped-call]
                    program.module, program.example(), strict=False, check_trace=False
                )
            except Exception as error:
                raise UsageError(f"torch.jit.trace cannot follow the model: {error}") from error
            self._check_dynamic_dims(program, traced)
            calls = _save(traced, path)
        libtorch = f"libtorch {torch.__version__}"
        if calls:
            return {"requires": f"{libtorch} with {REQUIRES}", "library": LIBRARY}
        return {"requires": libtorch}

    def _check_dynamic_dims(self, program: Program, traced: Any) -> None:
        """The trace must give eager's shapes at sizes that it was not made with."""
        inputs = program.example(grow=3)
        expected = [tuple(t.shape) for t in _tensors(program.module(*inputs))]
        try:
            got: Any = [tuple(t.shape) for t in _tensors(traced(*inputs))]
        except RuntimeError as error:
            got = str(error).strip().splitlines()[-1]
        if got != expected:
            raise UsageError(
                f"a dynamic dimension ({', '.join(named_dims(program.inputs))}) came out static in "
                f"TorchScript: expected outputs {expected} at another size, got {got}; keep sizes "
                "as tensors' own (x.shape, not int(...) or a Python branch) or declare the "
                "dimension as a number"
            )


def _save(traced: Any, path: Path) -> bool:
    """torch.jit.save without this machine's paths; returns whether operators of ours are called.

    The records with the ending .debug_pkl hold the Python stack of every node, for a traceback that
    nobody but the exporter could follow. Without them the same model gives the same bytes.
    """
    saved = BytesIO()
    torch.jit.save(traced, saved)
    saved.seek(0)
    reader = torch._C.PyTorchFileReader(saved)
    stripped = BytesIO()  # on a full disk libtorch's own writer ends the process
    writer = torch._C.PyTorchFileWriter(stripped)
    writer.set_min_version(int(reader.get_record("version")))
    calls = False
    for name in reader.get_all_records():
        if name.endswith(".debug_pkl") or name in _WRITERS_OWN:
            continue
        record = reader.get_record(name)
        if name.endswith(".py"):
            code = record.decode()
            calls |= calls_operators(code)
            record = with_remedy(code).encode()
        writer.write_record(name, record, len(record))
    writer.write_end_of_file()
    path.write_bytes(stripped.getbuffer())
    return calls


_WRITERS_OWN = ("version", ".data/serialization_id")  # records that PyTorchFileWriter adds itself


def _tensors(outputs: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, Tensor)]
