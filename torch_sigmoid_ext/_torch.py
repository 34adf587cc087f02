"""Whether torch is installed, and what a user reads who asks for something that needs it.

Without torch the package can be imported, and ``torch_sigmoid_ext.export`` verifies a bundle's ONNX
file: the machine that serves a model need not have what trained it.
"""

from __future__ import annotations

from functools import cache
from typing import NoReturn

from ._paths import LIBRARY, built_for

_NEED_TORCH = (
    *("ConversionReport", "Sigmoid", "SigmoidUse", "SimpleNN", "conversion_report", "convert"),
    *("decompositions", "inductor", "revert", "sigmoid", "sigmoid_"),
)


@cache
def torch_is_here() -> bool:
    """Whether ``import torch`` finds one; an installed torch that fails says so itself."""
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        return False
    return True


def install_torch() -> str:
    """The command that brings the torch which this package's binaries are built for."""
    version = built_for() if LIBRARY.exists() else ""
    return f"pip install torch=={version}" if version else "pip install torch"


def refuse(name: str) -> NoReturn:
    """The package's ``__getattr__`` where there is no torch."""
    if name not in _NEED_TORCH:
        raise AttributeError(f"module {__package__!r} has no attribute {name!r}")
    raise ImportError(
        f"{__package__}.{name} needs torch, which is not installed here; run: {install_torch()}. "
        "Without torch there is the command torch-sigmoid-ext, which verifies and times the ONNX "
        "file of a bundle"
    )
