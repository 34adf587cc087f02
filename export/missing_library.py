"""What a user reads where an operator's library is missing: the remedy, in the file or as error.

PyTorch resolves every operator before it runs anything in a file, so no file can load a library by
itself. But its error quotes the file's code around the call, with a comment that stands there.
"""

from __future__ import annotations

import re

NAMESPACE = "torch_sigmoid_ext"
LIBRARY = f"lib{NAMESPACE}.so"  # its name in a bundle, as in the package

REQUIRES = (
    f"torch_sigmoid_ext's operator library, loaded before the file: in Python `import {NAMESPACE}` "
    f'or, without that package, torch.ops.load_library("{LIBRARY}"); in C++ link or dlopen it. '
    f"{LIBRARY} lies beside the file and fits this libtorch version and processor family alone"
)

REMEDY = (
    f"needs the operator library of {NAMESPACE}, loaded before this file: in Python "
    f'`import {NAMESPACE}` (pip) or, without it, torch.ops.load_library("{LIBRARY}"); in C++ link '
    "it or dlopen it"
)

# The same as comments: TorchScript's error shows three lines above the call.
_COMMENT = (
    "# needs the operator library of torch_sigmoid_ext, loaded before this file: in Python",
    f"# `import {NAMESPACE}` (pip) or, without it,",
    f'# torch.ops.load_library("{LIBRARY}"); in C++ link it or dlopen it',
)

# How TorchScript and AOTInductor say that they do not know an operator.
_UNKNOWN = re.compile(r"(?:Unknown builtin op:|Could not find schema for) (\w+::\w+)")


def calls_operators(code: str) -> bool:
    """Whether TorchScript's code calls an operator of ours."""
    return f"ops.{NAMESPACE}." in code


def with_remedy(code: str) -> str:
    """The same TorchScript code with the remedy above each call of an operator of ours."""
    lines = []
    for line in code.splitlines():
        if calls_operators(line):
            indent = line[: len(line) - len(line.lstrip())]
            lines += [indent + comment for comment in _COMMENT]
        lines.append(line)
    return "\n".join([*lines, ""])


def explain(error: BaseException) -> str:
    """What PyTorch's error about an unknown operator means, or "" for any other error.

    >>> explain(RuntimeError("Unknown builtin op: vision::nms.")).split(", ")[0]
    'the file calls vision::nms'
    """
    found = _UNKNOWN.search(str(error))
    if not found:
        return ""
    remedy = (
        f"import {NAMESPACE} before loading the file, or load the library as its manifest says"
        if found[1].startswith(f"{NAMESPACE}::")
        else "import the Python package that has it before loading the file, or give its library "
        "to torch.ops.load_library; torch-sigmoid-ext cannot run the file without"
    )
    return f"the file calls {found[1]}, an operator that no library in this process has; {remedy}"
