"""The process around the commands: exit codes, errors in one paragraph, nothing left by a signal.

0 within the gate; 1 a runtime is outside it; 2 wrong usage, bad input or a changed bundle; 3 what
was asked for by name is not installed; 70 a defect of ours, with its traceback; 128 + n signal n.
"""

from __future__ import annotations

import signal
import sys
import textwrap
import traceback
from types import FrameType

from torch_sigmoid_ext._torch import install_torch

from .errors import ExportError, Interrupted

_INSTALL = "pip install 'torch_sigmoid_ext[export]'"
INTERNAL_ERROR = 70  # EX_SOFTWARE: never to be taken for a runtime outside the gate


def main() -> None:
    """Run the command line and exit with its code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        from .commands import app

        app()
    except SystemExit:
        raise
    except BaseException as error:
        sys.exit(_tell(error))


def _tell(error: BaseException) -> int:
    """Say in one paragraph what ended the command, and return its exit code."""
    if _received:  # whatever came of the exception on its way: torch.onnx makes it one of its own
        _say("interrupted; nothing was written")
        return 128 + _received[0]
    if isinstance(error, ExportError):
        _say(str(error))
        return error.exit_code
    if isinstance(error, ModuleNotFoundError):  # the user's own imports are UsageErrors by now
        install = install_torch() if error.name == "torch" else _INSTALL
        _say(f"{error.name} is not installed; run: {install}")
        return 3
    if isinstance(error, OSError):
        _say(f"cannot go on: {error}")
        return 2
    traceback.print_exception(error)
    _say("this is a defect of torch_sigmoid_ext; please report it with the lines above")
    return INTERNAL_ERROR


_received: list[int] = []


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End by an exception, which removes a half-written bundle on its way."""
    _received.append(number)
    raise Interrupted(number)


def _say(paragraph: str) -> None:
    text = f"torch-sigmoid-ext: {' '.join(paragraph.split())}"
    wide = sys.stderr.isatty()
    print(textwrap.fill(text, 100, break_long_words=False) if wide else text, file=sys.stderr)
