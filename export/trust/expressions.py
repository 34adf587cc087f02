"""Python expressions that torch evaluates when it loads a program: sizes, and conditions on them.

torch.export writes a size as ``Add(Symbol('s77', positive=True), Integer(-2))`` and gives it to
sympy, which gives it to ``eval``. What is let through is a tree of names known here and of numbers.
"""

from __future__ import annotations

import ast
import re
import warnings

from . import Untrusted
from .text import shown

LONGEST = 20_000  # characters of one expression

_FUNCTIONS = frozenset(
    # torch.utils._sympy.functions
    "FloorDiv ModularIndexing Where PythonMod Mod CleanDiv CeilToInt FloorToInt CeilDiv LShift "
    "RShift PowByNatural FloatPow FloatTrueDiv IntTrueDiv IsNonOverlappingAndDenseIndicator "
    "TruncToFloat TruncToInt RoundToInt RoundDecimal ToFloat Identity Max Min "
    # sympy
    "Symbol Dummy Integer Float Rational Add Mul Pow Abs Eq Ne Equality Unequality Lt Le Gt Ge "
    "StrictLessThan LessThan StrictGreaterThan GreaterThan And Or Not Piecewise ExprCondPair Tuple "
    "floor ceiling sqrt true false oo int_oo Infinity NegativeInfinity BooleanTrue BooleanFalse "
    # Python
    "True False None min max abs math".split()
)
_QUOTED = ("Symbol", "Dummy", "Integer", "Float", "Rational")  # they take a text for what it says
_SYMBOL = re.compile(r"_?[A-Za-z]{1,4}_?\d+")
_TEXT = re.compile(r"[A-Za-z_]\w*|[-+]?\d+(\.\d*)?(e[-+]?\d+)?")

_NODES = (
    *(ast.Expression, ast.Call, ast.keyword, ast.Name, ast.Constant, ast.Tuple, ast.Load),
    *(ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.operator, ast.unaryop, ast.boolop),
    *(ast.cmpop,),
)
# A guard also looks an argument up and asks for its size: L['x'].size()[0] <= 64.
_ATTRIBUTES = ("size", "stride", "dim", "storage_offset", "inf", "isnan", "isinf")


def check_expression(text: str, *, guard: bool = False) -> None:
    """Untrusted unless it can do no more than arithmetic."""
    if len(text) > LONGEST:
        raise Untrusted(f"has an expression of {len(text):,} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is no good style
            tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise Untrusted(f"has an expression that cannot be read: {shown(text)}") from None
    quoted = {
        id(argument)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in _QUOTED
        for argument in node.args
    }
    for node in ast.walk(tree):
        if not _harmless(node, guard, id(node) in quoted):
            raise Untrusted(f"has an expression that is more than arithmetic: {shown(text)}")


def _harmless(node: ast.AST, guard: bool, quoted: bool) -> bool:
    if isinstance(node, ast.Name):
        return (
            node.id in _FUNCTIONS
            or bool(_SYMBOL.fullmatch(node.id))
            or (guard, node.id)
            == (
                True,
                "L",
            )
        )
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            return bool(_TEXT.fullmatch(node.value)) and (quoted or guard)
        return node.value is None or isinstance(node.value, bool | int | float)
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) or (guard and isinstance(node.func, ast.Attribute))
    if isinstance(node, ast.Attribute):
        return guard and node.attr in _ATTRIBUTES
    return isinstance(node, _NODES) or (guard and isinstance(node, ast.Subscript))
