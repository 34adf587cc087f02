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

from .errors import ExportError

INTERNAL_ERROR = 70  # EX_SOFTWARE: never to be taken for a runtime outside the gate


def main() -> None:
    """Run the command line and exit with its code."""
    signal.signal(signal.SIGTERM, _end)  # as an exception, which removes a half-written bundle
    try:
        from .commands import app

        app()
    except ExportError as error:
        _say(str(error))
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:  # the user's own imports are UsageErrors by now
        _say(f"{error.name} is not installed; run: pip install 'torch_sigmoid_ext[export]'")
        sys.exit(3)
    except OSError as error:
        _say(f"cannot go on: {error}")
        sys.exit(2)
    except Exception:
        traceback.print_exc()
        _say("this is a defect of torch_sigmoid_ext; please report it with the lines above")
        sys.exit(INTERNAL_ERROR)


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _say(paragraph: str) -> None:
    text = f"torch-sigmoid-ext: {' '.join(paragraph.split())}"
    wide = sys.stderr.isatty()
    print(textwrap.fill(text, 100, break_long_words=False) if wide else text, file=sys.stderr)
