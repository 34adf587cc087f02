"""Makes a new operator package in the form of this one: schema, kernel, autograd, Python, tests.

    python scripts/new_operator.py softplus -o ../torch_softplus_ext
    python scripts/new_operator.py arctangent --formula 'atan(x)' -o ../torch_arctangent_ext

The formula is sympy's, in x. From it come the C++ of the function and of its two derivatives, and
the truth that the tests hold them to. Where sympy's derivative would lose digits or has no C++,
--first and --second give one that does not. docs/new-operator.md is the walk through the result.
"""

from __future__ import annotations

import argparse
import keyword
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import jinja2
import sympy
from sympy.codegen.cfunctions import exp2, expm1, log1p
from sympy.printing.codeprinter import PrintMethodNotImplementedError
from sympy.printing.cxx import CXX17CodePrinter
from sympy.printing.pycode import MpmathPrinter

ROOT = Path(__file__).resolve().parents[1]
TEMPLATES = Path(__file__).with_name("operator_template")
# Ours as they are; torch ships a header that includes one which it does not ship.
SHARED = (
    "build_backend/backend.py",
    "csrc/absent_headers/nlohmann/json.hpp",
    ".clang-format",
    ".gitignore",
)

X = sympy.Symbol("x", real=True)
WORDS = {"x": X, "log1p": log1p, "expm1": expm1, "exp2": exp2}

# e^min(x, 0) is e^x left of 0 and 1 right of it: no exponential of softplus overflows.
KNOWN = {
    "softplus": {
        "formula": "Max(x, 0) + log1p(exp(-Abs(x)))",
        "first": "exp(Min(x, 0)) / (1 + exp(-Abs(x)))",
        "second": "exp(-Abs(x)) / (1 + exp(-Abs(x)))**2",
        "domain": "-1000,1000",
    },
}


class WrongFormula(Exception):
    """What was expected of a formula, what came, and how to mend it."""


class _Cxx(CXX17CodePrinter):  # type: ignore[misc]  # sympy ships no types
    """C++ in which an integer beside a double is no other type."""

    def _print_Max(self, expression: Any) -> str:
        return f"std::max<double>({', '.join(self._print(each) for each in expression.args)})"

    def _print_Min(self, expression: Any) -> str:
        return f"std::min<double>({', '.join(self._print(each) for each in expression.args)})"


@dataclass(frozen=True)
class Formula:
    """One expression as text, and as C++ that computes what recurs in it once."""

    text: str
    steps: list[tuple[str, str]]
    code: str


def parse(text: str) -> Any:
    """The expression in x that the text is."""
    try:
        expression = sympy.parse_expr(text, local_dict=WORDS)
    except Exception as error:  # the parser evaluates, and raises whatever evaluation raises
        raise WrongFormula(
            f"expected a formula of sympy's, as 'exp(-x**2)', got {text!r}: {error}"
        ) from error
    strangers = sorted(map(str, getattr(expression, "free_symbols", set()) - {X}))
    if not isinstance(expression, sympy.Expr) or strangers:
        raise WrongFormula(f"expected a formula in x alone, got {text!r} with {strangers}")
    return expression


def derivatives(formula: str, first: str | None, second: str | None) -> list[Any]:
    """f, f' and f'': as given, or else by sympy."""
    f = parse(formula)
    slope = parse(first) if first else sympy.diff(f, X)
    bend = parse(second) if second else sympy.diff(slope, X)
    return [f, slope, bend]


def cxx(expression: Any, option: str) -> Formula:
    """The expression's C++.

    Raises:
        WrongFormula: it has a function that C++ has not, as the derivative of Abs(x) at 0.
    """
    replaced, (reduced,) = sympy.cse(expression, symbols=(sympy.Symbol(f"t{i}") for i in range(99)))
    steps = [(str(name), printed(_Cxx(), part, option)) for name, part in replaced]
    return Formula(str(expression), steps, printed(_Cxx(), reduced, option))


def printed(printer: Any, expression: Any, option: str) -> str:
    """The expression as the printer's language says it."""
    try:
        return str(printer.doprint(expression))
    except PrintMethodNotImplementedError as error:
        raise WrongFormula(
            f"expected {option} of functions that C++ and mpmath have, got {expression}; "
            "give one without"
        ) from error


def context(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """What the templates are filled with."""
    known = KNOWN.get(name, {})
    formula = options.formula or known.get("formula")
    if formula is None:
        raise WrongFormula(f"expected --formula, or a name among {', '.join(KNOWN)}, got {name!r}")
    given = {} if options.formula else known
    expressions = derivatives(
        formula, options.first or given.get("first"), options.second or given.get("second")
    )
    low, high = interval(options.domain or given.get("domain", "-30,30"))
    return {
        "name": name,
        "package": f"torch_{name}_ext",
        "class_name": name.title().replace("_", ""),
        "node": f"{name.title().replace('_', '')}ExtBackward",
        "formulas": [
            cxx(each, option)
            for each, option in zip(expressions, ("--formula", "--first", "--second"), strict=True)
        ],
        "truth": printed(MpmathPrinter(), expressions[0], "--formula"),
        "low": low,
        "high": high,
        "ulp": options.ulp,
        "digits": 400,  # subnormal float64 has 324 zeros after the point
    }


def interval(text: str) -> tuple[float, float]:
    """The two ends of "LOW,HIGH"."""
    try:
        low, high = (float(end) for end in text.split(","))
    except ValueError:
        low = high = 0.0
    if not low < high:
        raise WrongFormula(f"expected --domain=LOW,HIGH with LOW below HIGH, got {text!r}")
    return low, high


def write(values: dict[str, Any], folder: Path) -> None:
    """The package, whole: every template filled, and what is ours as it is."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # C++ and Python, no HTML
    )
    for source in sorted(TEMPLATES.rglob("*")):
        if source.is_dir():
            continue
        place = source.relative_to(TEMPLATES).as_posix()
        named = place.replace("package/", f"{values['package']}/").replace("NAME", values["name"])
        target = folder / named.removesuffix(".j2")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(environment.get_template(place).render(values), encoding="utf-8")
    for ours in SHARED:
        (folder / ours).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / ours, folder / ours)


def arguments() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", help=f"the function's; of {', '.join(KNOWN)} the formula is known")
    parser.add_argument("-o", "--output", type=Path, required=True, help="a folder to make")
    parser.add_argument("--formula", help="f(x), as sympy reads it")
    parser.add_argument("--first", help="f'(x); default: sympy's derivative")
    parser.add_argument("--second", help="f''(x); default: sympy's derivative of f'")
    parser.add_argument("--domain", metavar="LOW,HIGH", help="the inputs that the tests take")
    parser.add_argument("--ulp", type=int, default=4, help="float64's bound (default: 4)")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    name = options.name
    if not (name.isascii() and name.isidentifier() and name.islower()) or keyword.iskeyword(name):
        fail(f"expected NAME as a lower-case name for Python and C++, as softplus, got {name!r}")
    if options.output.exists():
        fail(f"expected -o to name a folder that is not there yet, got {options.output}")
    try:
        values = context(name, options)
    except WrongFormula as error:
        fail(str(error))
    write(values, options.output)
    print(f"{values['package']} is in {options.output}; there, build it and run its tests:")
    print("  pip install --no-build-isolation -e '.[dev]'")
    print("  python -m pytest")


def fail(message: str) -> NoReturn:
    print(f"new_operator: {message}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
