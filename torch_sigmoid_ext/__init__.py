"""The sigmoid, ``σ(x) = 1 / (1 + e^-x)``, correctly rounded, as a PyTorch operator.

>>> import torch, torch_sigmoid_ext
>>> torch_sigmoid_ext.sigmoid(torch.tensor([1.0, 2.0, 3.0, 4.0]))
tensor([0.7311, 0.8808, 0.9526, 0.9820])

``torch_sigmoid_ext.export`` takes a model to TorchScript and ONNX files and verifies them.
"""

from typing import TYPE_CHECKING

from ._paths import cmake_prefix_path, library_path
from ._torch import torch_is_here
from ._version import __version__

if TYPE_CHECKING or torch_is_here():
    from ._decompositions import decompositions, inductor
    from ._register import register
    from ._report import ConversionReport, conversion_report
    from ._uses import SigmoidUse
    from .convert import convert, revert
    from .functional import sigmoid, sigmoid_
    from .modules import Sigmoid, SimpleNN

    register()
else:
    from ._torch import refuse as __getattr__  # noqa: F401

__all__ = [
    "ConversionReport",
    "Sigmoid",
    "SigmoidUse",
    "SimpleNN",
    "__version__",
    "cmake_prefix_path",
    "conversion_report",
    "convert",
    "decompositions",
    "inductor",
    "library_path",
    "revert",
    "sigmoid",
    "sigmoid_",
]
