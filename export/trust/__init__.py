"""Files that may come from anybody, looked at before anything opens them.

Nothing in here runs, unpickles, extracts or follows what a file says: it is data until it was
found to be no more than that. docs/trust.md tells what is promised, and what is not.
"""

from __future__ import annotations


class Untrusted(ValueError):
    """A file is not what it has to be; the text says in which way, without the file's name."""
