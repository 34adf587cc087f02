from collections.abc import Callable
from typing import TypeVar

_F = TypeVar("_F", bound=Callable[..., object])

def fast_entry(function: _F, /) -> _F: ...
