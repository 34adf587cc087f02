"""What ends a command early, each with the exit code of the command line."""

from __future__ import annotations


class ExportError(Exception):
    """Ends the run with one clear paragraph: what was expected, what came, how to mend it."""

    exit_code = 2


class UsageError(ExportError):
    """Wrong usage, bad input, or a file that is not what its manifest says."""

    exit_code = 2


class NotInstalled(ExportError):
    """Something asked for by name is not here; the text says how to get it."""

    exit_code = 3


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM: no Exception, so that nothing on the way takes it for a model's error."""
