"""aoti: the model compiled by AOTInductor into a package that libtorch runs, in Python or C++."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from ..errors import UsageError
from ..missing_library import LIBRARY, REMEDY, REQUIRES
from . import SUFFIXES, Program
from .exported import check_other_sizes, export_program, quiet, shortened


class Aoti:
    """torch._inductor.aoti_compile_and_package, and then the package itself at other sizes."""

    name = "aoti"
    suffix = SUFFIXES[name]
    install = "apt-get install g++"
    default = False  # it compiles, for a minute where the model is large

    def missing(self) -> str:
        compiler = os.environ.get("CXX", "g++")
        return "" if shutil.which(compiler) else compiler

    def export(self, program: Program, path: Path) -> dict[str, Any]:
        exported, calls = export_program(program, self.name)
        with tempfile.TemporaryDirectory(prefix="torch_sigmoid_ext-") as folder:
            package = Path(folder) / "model.pt2"
            with quiet(), torch.no_grad():
                try:
                    torch._inductor.aoti_compile_and_package(
                        exported,
                        package_path=str(package),
                        inductor_configs=_configs(calls),
                    )
                except Exception as error:
                    raise UsageError(
                        f"AOTInductor cannot compile the model: {shortened(error)}; the format pt2 "
                        "takes what torch.export takes and compiles nothing"
                    ) from error
            metadata = _repack(package, path)
        with quiet():
            run = torch._inductor.aoti_load_package(str(path))
        check_other_sizes(program, run, self.name)
        isa = metadata.get("AOTI_CPU_ISA", "").strip()
        needs = (
            f"libtorch {torch.__version__} on {metadata.get('AOTI_MACHINE', 'this machine')} with "
            f"the instructions of the CPU that compiled it{f' ({isa})' if isa else ''}"
        )
        if calls:
            return {"requires": f"{needs}, and {REQUIRES}", "library": LIBRARY}
        return {"requires": needs}


def _configs(calls: bool) -> dict[str, Any]:
    """Without line tables, which are paths of this machine; with the remedy, for those who look."""
    return {
        "aot_inductor.enable_line_tables": False,
        "aot_inductor.metadata": {"requires": REMEDY} if calls else {},
        "cpp_cache_precompile_headers": False,  # they pay from the second compilation on
    }


def _repack(package: Path, path: Path) -> dict[str, str]:
    """The package without its C++ sources, whose comments are the compiler's command lines.

    In the library the paths of sources, quoted in messages, keep their length and lose their head.
    Returns what the package says of the machine it was compiled for.
    """
    reader = torch._C.PyTorchFileReader(str(package))
    repacked = BytesIO()  # on a full disk libtorch's own writer ends the process
    metadata = _copy_records(reader, torch._C.PyTorchFileWriter(repacked))
    path.write_bytes(repacked.getbuffer())
    return metadata


def _copy_records(reader: Any, writer: Any) -> dict[str, str]:
    from torch._inductor.runtime.cache_dir_utils import cache_dir  # inductor takes a second

    writer.set_min_version(int(reader.get_record(_VERSION)))
    heads = [f"{head}/".encode() for head in (Path(torch.__file__).parents[1], cache_dir())]
    metadata: dict[str, str] = {}
    for name in reader.get_all_records():
        if name.endswith(".cpp") or name in (_VERSION, _SERIALIZATION_ID):
            continue
        record = reader.get_record(name)
        if name.endswith(".wrapper_metadata.json"):
            metadata = json.loads(record)
        if name.endswith(".so"):
            for head in heads:
                record = record.replace(head, b"./".rjust(len(head), b"."))
        writer.write_record(name, record, len(record))
    writer.write_end_of_file()
    return metadata


_VERSION, _SERIALIZATION_ID = ".data/version", ".data/serialization_id"  # the writer adds its own
