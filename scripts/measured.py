"""What every process of a measured run begins with: coverage.py, its file open already.

`scripts.coverage` has the interpreter run this at its start, in the test run and in each process
that comes of it. coverage.py's own way would open its file at the end; by then a worker is confined
to its folder, which is removed with all in it (export/runtimes/confine.py). A file that is open
stays so.
"""

from __future__ import annotations

import atexit
import os
import secrets
from pathlib import Path

import coverage

ROOT = Path(__file__).resolve().parent.parent
FOLDER = "TORCH_SIGMOID_EXT_MEASURED"  # where each process leaves what it measured
PACKAGES = ("torch_sigmoid_ext", "export", "build_backend")


def measure(folder: Path) -> None:
    """From now to the end of this process, which writes what `CoverageData.loads` reads."""
    file = (folder / f"{os.getpid()}-{secrets.token_hex(4)}").open("xb", buffering=0)
    measuring = coverage.Coverage(
        data_file=None,
        config_file=str(ROOT / "pyproject.toml"),
        source=[str(ROOT / name) for name in PACKAGES],
    )

    def finish() -> None:
        measuring.stop()
        with file:
            file.write(measuring.get_data().dumps())

    atexit.register(finish)
    measuring.start()


# Where two folders of packages are one, as lib and lib64 are, the interpreter comes here twice.
if __name__ == "__main__" and coverage.Coverage.current() is None:
    measure(Path(os.environ[FOLDER]))
