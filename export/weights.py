"""--weights: a state dict from a file of safetensors or torch.save, loaded strictly.

What a file is, its content says and not its name. Nothing that it holds is run, and no message of
torch's is passed on: they advise ``weights_only=False``.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .errors import NotInstalled, UsageError

SAVE = "save it with torch.save(model.state_dict(), path)"
SAVE_SAFETENSORS = "save it with safetensors.torch.save_file(model.state_dict(), path)"
WRAPPERS = {  # what goes in front of every key -> who puts it there, and where the model is
    "module.": ("DataParallel and DistributedDataParallel", "module"),
    "_orig_mod.": ("torch.compile", "_orig_mod"),
}


def load_weights(module: nn.Module, path: Path) -> None:
    """Load a state dict strictly; UsageError names every key that does not fit."""
    if not path.is_file():
        raise UsageError(f"expected weights at {path}, found no file there; check --weights")
    state, own = _read(path), module.state_dict()
    for prefix, (wrapper, attribute) in WRAPPERS.items():
        if state and own.keys() == {key.removeprefix(prefix) for key in state.keys() - own.keys()}:
            raise UsageError(
                f"expected {path} to fit the model, got {prefix!r} in front of every key, as "
                f"{wrapper} has them; save model.{attribute}.state_dict()"
            )
    wrong = [f"missing {key}" for key in own.keys() - state.keys()]
    wrong += [f"unexpected {key}" for key in state.keys() - own.keys()]
    wrong += [
        f"{key} is {list(state[key].shape)} where the model has {list(own[key].shape)}"
        for key in own.keys() & state.keys()
        if state[key].shape != own[key].shape
    ]
    if wrong:
        raise UsageError(
            f"expected {path} to fit the model, got: {'; '.join(sorted(wrong))}. Give the state "
            "dict of this very architecture"
        )
    try:
        module.load_state_dict(state)
    except RuntimeError as error:  # a layout or dtype that the model's own cannot take
        lines = str(error).strip().splitlines()
        raise UsageError(f"{path} does not fit the model: {lines[-1].strip()}; {SAVE}") from error


def _read(path: Path) -> dict[str, Tensor]:
    """The state dict in the file, known by its first bytes."""
    with path.open("rb") as file:
        head = file.read(9)
    if not head:
        raise UsageError(f"expected weights in {path}, found an empty file; {SAVE}")
    if head[8:] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return _read_safetensors(path)
    if head.startswith((b"PK\x03\x04", b"\x80")):  # a zip, or the pickle of torch before 1.6
        return _state_dict(path, _read_torch(path))
    raise UsageError(
        f"expected {path} to hold a state dict, and it is neither a file of torch.save nor of "
        f"safetensors; {SAVE_SAFETENSORS if path.suffix == '.safetensors' else SAVE}"
    )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise NotInstalled(
            f"reading {path} needs safetensors; run: pip install safetensors"
        ) from error
    try:
        return load_file(path)
    except SafetensorError as error:
        raise UsageError(
            f"expected {path} to be a whole safetensors file: {error}; {SAVE_SAFETENSORS}"
        ) from error


def _read_torch(path: Path) -> Any:
    """What torch.save wrote, as far as it is data."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with path.open("rb") as file:  # given the path, torch goes by the name
                return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # anything at all, from a file that is torch's only at its start
        code = re.search(r"GLOBAL (\S+)", str(error))
        if code:
            got = f"an object of {code[1]}, as of a whole pickled model, whose code is not run"
        elif "TorchScript archive" in str(error):
            got = "a TorchScript archive, which is a program"
        else:
            raise UsageError(
                f"expected {path} to hold a state dict, and it is damaged or no file of "
                f"torch.save; {SAVE}"
            ) from error
        raise UsageError(f"expected {path} to hold a state dict, got {got}; {SAVE}") from error


def _state_dict(path: Path, state: Any) -> dict[str, Tensor]:
    """``state`` if it is one; UsageError says what is in the way, and where one may be."""
    if not isinstance(state, dict):
        raise UsageError(
            f"expected {path} to hold a state dict, a dict of tensors, got {type(state).__name__}; "
            f"{SAVE}"
        )
    others = {key: value for key, value in state.items() if not isinstance(value, Tensor)}
    inside = [key for key, value in others.items() if _is_state_dict(value)]
    if inside:
        raise UsageError(
            f"expected {path} to hold a state dict, got a checkpoint with the keys "
            f"{', '.join(map(repr, state))}; it may be under {' or '.join(map(repr, inside))}: "
            f"save that alone, torch.save(checkpoint[{inside[0]!r}], path)"
        )
    if others or not all(isinstance(key, str) for key in state):
        got = [f"{key!r} is of type {type(value).__name__}" for key, value in others.items()]
        got += [f"the key {key!r} is no name" for key in state if not isinstance(key, str)]
        raise UsageError(
            f"expected {path} to hold a state dict, names with tensors, got: {'; '.join(got)}; "
            f"{SAVE}"
        )
    return state


def _is_state_dict(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(each, Tensor) for each in value.values())
    )
