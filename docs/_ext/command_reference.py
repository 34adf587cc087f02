"""The directive ``command-reference``: every command and option, as the command's help has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

PROGRAM = "torch-sigmoid-ext"


def commands() -> dict[str, Any]:
    """The commands by their names, from the application itself."""
    import typer

    from torch_sigmoid_ext.export.commands import app

    return dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def usage(name: str, command: Any) -> str:
    """``torch-sigmoid-ext NAME`` with its arguments, as --help begins."""
    context = command.make_context(name, [], resilient_parsing=True)
    return " ".join([PROGRAM, name, *command.collect_usage_pieces(context)])


def help_of(parameter: Any) -> str:
    """The help, without the backslashes by which rich is told what is no markup."""
    return str(parameter.help or "").replace("\\[", "[")


def signature(parameter: Any) -> str:
    """An option with its other names and its value, or an argument."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar)
    value = f" {parameter.metavar}" if parameter.metavar and not parameter.is_flag else ""
    return ", ".join(parameter.opts) + value


def markdown(name: str, command: Any) -> Iterator[str]:
    """A section: what it does, how it is called, what each parameter is."""
    yield from (f"## {name}", "", command.help.strip(), "", "```text", usage(name, command), "```")
    for parameter in command.params:
        if parameter.name == "help":
            continue
        default = parameter.default
        said = parameter.required or parameter.is_flag if _is_option(parameter) else True
        shown = "" if said or default is None else f" Default: `{default}`."
        yield from ("", f"`{signature(parameter)}`", f": {help_of(parameter)}{shown}")
    yield ""


def _is_option(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "option")


class CommandReference(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        lines = [line for name, each in commands().items() for line in markdown(name, each)]
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("command-reference", CommandReference)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
