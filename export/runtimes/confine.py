"""What a runtime's process may not do: take all memory, write outside of its folder, or connect.

A file from anybody may hold an operator that writes a file, and a runtime's parser may have a bug.
Linux has Landlock for this from 5.13 on, without privileges; elsewhere the memory alone is bounded.
It bounds what a process does by itself, and is no virtual machine: it may read what you may read.
"""

from __future__ import annotations

import ctypes
import os
import resource
from pathlib import Path

SHARE = 0.75  # of the memory of this machine, or of this container
_CGROUP = Path("/sys/fs/cgroup/memory.max")

# include/uapi/linux/landlock.h; the numbers of the calls are the same on every architecture.
_CREATE, _ADD, _RESTRICT = 444, 445, 446
_WRITE_FILE, _REFER, _TRUNCATE = 1 << 1, 1 << 13, 1 << 14
_MAKE_AND_REMOVE = sum(1 << bit for bit in range(4, 13))
_CONNECT = 0b11  # bind and connect by TCP
_SCOPES = 0b11  # abstract sockets and signals to the processes of others
_BENEATH = 1
_NO_NEW_PRIVILEGES = 38  # prctl


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def limit_memory() -> None:
    """Bound the data of this process and of each that it starts; and leave no core files."""
    most = int(SHARE * memory())
    for kind, limit in ((resource.RLIMIT_DATA, most), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(kind)
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (limit, limit))


def memory() -> int:
    """Bytes that this machine has, or that the container may take."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(whole, int(_CGROUP.read_text()))
    except (OSError, ValueError):  # no cgroup, or "max"
        return whole


def can_confine() -> bool:
    """Whether `write_only_in` has a way to see to it here."""
    return _version(ctypes.CDLL(None, use_errno=True)) >= 1


def _version(libc: ctypes.CDLL) -> int:
    """Of Landlock; below 1 where there is none."""
    return int(libc.syscall(_CREATE, None, ctypes.c_size_t(0), 1))


def write_only_in(folder: Path) -> bool:
    """From now on; False where this system has no way to see to it."""
    libc = ctypes.CDLL(None, use_errno=True)
    version = _version(libc)
    if version < 1:
        return False
    rights = _WRITE_FILE | _MAKE_AND_REMOVE
    rights |= (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    rules = _Ruleset(rights, _CONNECT if version >= 4 else 0, _SCOPES if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8  # an older kernel knows no more
    ruleset = libc.syscall(_CREATE, ctypes.byref(rules), ctypes.c_size_t(size), 0)
    if ruleset < 0:
        return False
    try:
        _allow(libc, ruleset, folder, rights)
        _allow(libc, ruleset, Path(os.devnull), rights & (_WRITE_FILE | _TRUNCATE))
        libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        return bool(libc.syscall(_RESTRICT, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = _PathBeneath(rights, parent)
        libc.syscall(_ADD, ruleset, _BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(parent)
