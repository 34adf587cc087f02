"""Names on the command line: those that work, those that are planned, and all others."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from .errors import NotInstalled, UsageError


def check_choice(
    option: str, name: str, known: Collection[str], planned: Mapping[str, str] | None = None
) -> None:
    """Pass if the name is known; say what it will be if it is planned, or what there is if not.

    >>> check_choice("--gate", "strict", ["exact", "strict"])
    """
    if name in known:
        return
    if planned and name in planned:
        raise NotInstalled(
            f"{option} {name} ({planned[name]}) comes in a later version; here there is: "
            f"{', '.join(known)}"
        )
    raise UsageError(f"expected {option} to be one of {', '.join(known)}; got {name!r}")
