"""Text that others wrote: strict JSON, and words that can be printed anywhere."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from typing import Any

from . import Untrusted

NESTING = 100  # of JSON; what torch.export writes comes to a dozen
SHOWN = 80  # characters of a name in a message
_DIGITS = 19  # of 2^63


def parse_json(data: bytes) -> Any:
    """The value of strict JSON: UTF-8, no key twice, no NaN, no number that Python must spell out.

    >>> parse_json(b'{"a": [1, 2.5]}')
    {'a': [1, 2.5]}
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Untrusted(f"it is not UTF-8 at byte {error.start}") from None
    _check_nesting(text)
    try:
        return json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_int=_short_int,
            parse_float=_finite,
        )
    except json.JSONDecodeError as error:
        raise Untrusted(
            f"it is no JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None


def _check_nesting(text: str) -> None:
    """Counted before it is parsed: the parser's own limit is the interpreter's stack."""
    depth = 0
    for bracket in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', text, re.DOTALL):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(bracket[0], 0)
        if depth > NESTING:
            raise Untrusted(f"it is nested deeper than {NESTING} levels")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Untrusted(f"it has the key {shown(twice)} twice")
    return fields


def _no_constant(name: str) -> Any:
    raise Untrusted(f"it has {name}, which is no JSON")


def _short_int(digits: str) -> int:
    if len(digits.lstrip("-")) > _DIGITS:
        raise Untrusted(f"it has a whole number of {len(digits)} digits")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise Untrusted(f"it has the number {shown(digits)}, which is too large")
    return value


def shown(name: str) -> str:
    r"""The name for a message: whole where it is short and plain, else escaped and cut.

    >>> shown("model.onnx"), shown("a\nb\x1b[31m")
    ('model.onnx', "'a\\nb\\x1b[31m'")
    """
    plain = name if name.isprintable() and name == name.strip() and name else ascii(name)
    return plain if len(plain) <= SHOWN else f"{plain[:SHOWN]}..."


def is_plain(text: str) -> bool:
    """Whether it can be printed anywhere: no escape sequence, no half of a surrogate pair."""
    return all(c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs") for c in text)


def plain(value: Any) -> Any:
    """JSON's value with every character that `is_plain` has not replaced by U+FFFD."""
    if isinstance(value, str):
        return value if is_plain(value) else "".join(c if is_plain(c) else "\ufffd" for c in value)
    if isinstance(value, dict):
        return {plain(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value
