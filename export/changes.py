"""A change since the export in words, for the terminal and the pages."""

from __future__ import annotations

from typing import Any

from .findings import Change, Standing


def differences(change: Change) -> list[tuple[str, str, str]]:
    """What changed, what it was and what it is; in words for people.

    >>> then = Standing("1.30", "within", 0.5, 0, 2.0, 3)
    >>> now = Standing("1.31", "outside", 5.3e7, 94103, 2.0, 3)
    >>> for line in differences(Change("onnxruntime", then, now)):
    ...     print(line)
    ('version', '1.30', '1.31')
    ('verdict', 'within', 'outside')
    ('max ULP', '0.5', '5.3e+07')
    ('differing bits', '0', '94,103')
    """
    then, now = change.then, change.now
    if then is None or now is None:
        return [("runs", _summary(then) or "not run", _summary(now) or change.why)]
    return [
        (what, *_shown(getattr(then, name), getattr(now, name)))
        for name, what in _FIGURES.items()
        if getattr(then, name) != getattr(now, name)
    ]


_FIGURES = {
    "version": "version",
    "verdict": "verdict",
    "max_ulp": "max ULP",
    "differing": "differing bits",
    "model_max_ulp": "model, max ULP",
    "model_differing": "model, bits unlike eager's",
}


def _summary(stands: Standing | None) -> str:
    return f"{stands.version} {stands.verdict}".strip() if stands else ""


def _shown(then: Any, now: Any) -> tuple[str, str]:
    """Both with few digits, or with all where few would not tell them apart."""
    few, same = (_few(then), _few(now)), _few(then) == _few(now)
    return (str(then), str(now)) if same else few


def _few(value: Any) -> str:
    if value is None or value == "":
        return "none"
    if isinstance(value, float):
        return f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
