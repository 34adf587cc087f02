"""torch.export's archive, which torch opens by unpickling, importing and evaluating.

`torch.export.load` takes pickles (as weights, constants and sample inputs), names of modules (for a
default of a dict or an Enum among the arguments), a library of native code, and texts that become
Python (sizes, guards, names of arguments). What torch.export.save writes for a module of tensors
needs none of the first three, and of the last arithmetic and identifiers alone.
"""

from __future__ import annotations

import io
import json
import pickletools
import re
import zipfile
from typing import IO, Any

from . import Untrusted
from .archives import open_archive, read_member
from .expressions import check_expression
from .text import is_plain, parse_json, shown

MOST_JSON = 1 << 27  # bytes of one graph
MOST_INPUTS = 1 << 30  # bytes of the sample inputs

_BOOKKEEPING = r"archive_format|archive_version|byteorder|version|\.data/[\w.]+"
_PROGRAM = re.compile(
    rf"{_BOOKKEEPING}|models/model\.json|data/weights/(weight_\d+|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)|data/sample_inputs/model\.pt"
    r"|extra/torch_sigmoid_ext\.\w+"
)
_PACKAGE = re.compile(rf"{_BOOKKEEPING}|data/aotinductor/model/[\w.+-]+")
_TENSORS = re.compile(r"(weight|tensor)_\d+")
_NAME = re.compile(r"[\w.]*")
_TARGET = re.compile(r"(torch\.ops(\.\w+)+|torch\.sym_\w+|_operator\.\w+|math\.\w+)")
_GUARDS, _EXPRESSION, _TREES = "guards_code", "expr_str", ("in_spec", "out_spec")
# Words for people and arguments of operators: torch quotes or compares them.
_WORDS = ("metadata", "as_string", "as_strings", "torch_version", "stack_trace")
_TREE_TYPES = (
    *(None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"),
    *("torch.fx.immutable_collections.immutable_list",),
    *("torch.fx.immutable_collections.immutable_dict", "collections.namedtuple", "torch.Size"),
)
# What a pickle of tensors calls for: torch's weights_only knows the same, and more.
_PICKLED = frozenset(
    "torch._utils _rebuild_tensor_v2\n"
    "torch._utils _rebuild_parameter\n"
    "torch._tensor _rebuild_from_type_v2\n"
    "torch.serialization _get_layout\n"
    "torch Size\n"
    "collections OrderedDict".split("\n")
)
_STORAGE = re.compile(r"torch(\.storage)? \w+Storage|torch [a-z]+\d*")


def check_program(file: IO[bytes]) -> None:
    """Untrusted unless a .pt2 file holds a graph of operators with its tensors, and no more."""
    with open_archive(file) as archive:
        names = _names(archive, _PROGRAM)
        for part in ("weights", "constants"):
            _check_payload(_json(archive, names, f"data/{part}/model_{part}_config.json"))
        _check_graph(_json(archive, names, "models/model.json"))
        if inputs := names.get("data/sample_inputs/model.pt"):
            check_pickles(io.BytesIO(read_member(archive, inputs, MOST_INPUTS)))


def check_package(file: IO[bytes]) -> None:
    """Untrusted unless an .aoti.pt2 file is laid out as one: what it holds is native code."""
    with open_archive(file) as archive:
        _names(archive, _PACKAGE)


def check_script(file: IO[bytes]) -> None:
    """Untrusted unless a TorchScript file is laid out as one: torch itself reads what it holds."""
    with open_archive(file) as archive:
        if not any(name.endswith("/data.pkl") for name in archive.namelist()):
            raise Untrusted("is no TorchScript archive: it has no data.pkl")


def check_pickles(file: IO[bytes]) -> None:
    """Untrusted where an archive of torch.save holds more than tensors in tuples and dicts."""
    with open_archive(file) as archive:
        for name in archive.namelist():
            if name.endswith(".pkl"):
                _check_pickle(read_member(archive, name, MOST_JSON))


def _names(archive: zipfile.ZipFile, known: re.Pattern[str]) -> dict[str, str]:
    """The members by their names below the one folder that they all lie in."""
    names = {name.partition("/")[2]: name for name in archive.namelist()}
    if len({name.partition("/")[0] for name in archive.namelist()}) != 1:
        raise Untrusted("has not its members in one folder")
    if unknown := [name for name in names if not known.fullmatch(name)]:
        raise Untrusted(f"has a member {shown(unknown[0])}, which torch.export.save writes not")
    return names


def _json(archive: zipfile.ZipFile, names: dict[str, str], name: str) -> Any:
    if name not in names:
        raise Untrusted(f"has no member {name}")
    try:
        return parse_json(read_member(archive, names[name], MOST_JSON))
    except Untrusted as error:
        raise Untrusted(f"has a member {name} that cannot be read: {error}") from None


def _check_payload(config: Any) -> None:
    """Tensors alone, each as its bytes."""
    entries = config.get("config") if isinstance(config, dict) else None
    if not isinstance(entries, dict):
        raise Untrusted("has a list of tensors that is none")
    for name, entry in entries.items():
        if not isinstance(entry, dict) or entry.get("use_pickle") is not False:
            raise Untrusted(f"has {shown(name)} as a pickle, and nothing is unpickled")
        if not _TENSORS.fullmatch(str(entry.get("path_name"))):
            raise Untrusted(f"has {shown(name)} as something else than a tensor")
        _check_texts(entry)


def _check_graph(program: Any) -> None:
    if not isinstance(program, dict):
        raise Untrusted("has a graph that is none")
    _check_texts(program)


def _check_texts(value: Any) -> None:
    """Every text in it, by the key under which it stands, is what torch may make of it."""
    pending: list[tuple[str, Any]] = [("", value)]
    while pending:
        key, value = pending.pop()
        if isinstance(value, dict):
            for inner, each in value.items():
                if not _NAME.fullmatch(inner):
                    raise Untrusted(f"has a name that is none: {shown(inner)}")
                pending.append((key if key in _WORDS else inner, each))
        elif isinstance(value, list):
            pending += [(key, each) for each in value]
        elif isinstance(value, str):
            _check_text(key, value)


def _check_text(key: str, text: str) -> None:
    if key in _TREES:
        _check_tree(parse_json(text.encode("utf-8", "replace")))
    elif key in (_EXPRESSION, _GUARDS):
        check_expression(text, guard=key == _GUARDS)
    elif key in _WORDS:
        if not is_plain(text):
            raise Untrusted(f"has a text with control characters: {shown(text)}")
    elif key == "target" and not _TARGET.fullmatch(text):
        raise Untrusted(f"calls {shown(text)}, which is no operator")
    elif not _NAME.fullmatch(text):
        raise Untrusted(f"has a name that is none: {shown(text)}")


def _check_tree(spec: Any) -> None:
    """How arguments nest: torch imports a module for a defaultdict, and for an Enum as a key."""
    pending = [spec]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending += value
        elif isinstance(value, dict):
            kind, context = value.get("type"), value.get("context")
            if kind not in _TREE_TYPES or "__enum__" in value:
                raise Untrusted(f"nests its arguments in {shown(str(kind))}")
            if isinstance(context, str):
                _check_context(context)
            elif context is not None:
                raise Untrusted("nests its arguments in a way that cannot be read")
            pending.append(value.get("children_spec"))


def _check_context(text: str) -> None:
    """Names, or a list of them."""
    context = parse_json(text.encode("utf-8", "replace"))
    names = context if isinstance(context, list) else [context]
    if not all(name is None or isinstance(name, str | int) for name in names):
        raise Untrusted(f"nests its arguments under {shown(json.dumps(context))}")


def _check_pickle(data: bytes) -> None:
    """Every name that it would import is one of torch's for tensors."""
    try:
        for code, argument, _ in pickletools.genops(data):
            if code.name == "GLOBAL":
                _check_global(str(argument))
            elif code.name in ("INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4"):
                raise Untrusted("has a pickle that hides what it calls for")  # torch writes none
    except Untrusted:
        raise
    except Exception as error:  # pickletools raises whatever it meets
        raise Untrusted("has a pickle that cannot be read") from error


def _check_global(name: str) -> None:
    if name not in _PICKLED and not _STORAGE.fullmatch(name):
        raise Untrusted(
            f"has a pickle that calls for {shown(name.replace(' ', '.'))}, and nothing is unpickled"
        )
