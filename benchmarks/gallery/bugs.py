"""Models and commands with a bug on purpose, and the message that each gets."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .shell import ROOT, Done, expect

BROKEN = "examples/gallery/broken.py"
GATED = "examples/gallery/gated.py:Gated"
QUESTIONS = "examples/gallery/questions.py:Questions"
_X = "--input 'x=float32[batch,3]'"
_PIXELS = "--input 'pixels=float32[batch,64]'"
_OUT = Path("out/gallery")


@dataclass(frozen=True)
class Bug:
    """What is wrong, and the command that meets it."""

    title: str
    why: str
    command: str
    source: str = ""  # what of broken.py to show
    before: tuple[str, ...] = ()  # commands that lead there
    made: bool = False  # whether it wants what `make gallery` trained and exported


BUGS = (
    Bug(
        "An --input of another shape",
        "The network takes 64 pixels in a row, and the command says 8 rows of 8.",
        f"torch-sigmoid-ext export {GATED} --input 'pixels=float32[batch,8,8]' -o out/bug",
    ),
    Bug(
        "No --input",
        "Nothing in a module's file says what its forward takes.",
        f"torch-sigmoid-ext export {GATED} -o out/bug",
    ),
    Bug(
        "A factory that is not there",
        "Misspelled.",
        f"torch-sigmoid-ext export {BROKEN}:Brunching {_X} -o out/bug",
    ),
    Bug(
        "A factory that raises",
        "It loads a checkpoint that lies on another machine. The line told is the file's own, "
        "and not that of the library in which it came to an end.",
        f"torch-sigmoid-ext export {BROKEN}:from_checkpoint {_X} -o out/bug",
        source="from_checkpoint",
    ),
    Bug(
        "A factory that returns nothing",
        "The model is made, and lost.",
        f"torch-sigmoid-ext export {BROKEN}:without_return {_X} -o out/bug",
        source="without_return",
    ),
    Bug(
        "Outputs that are no tensors",
        "A notebook does not mind words among the results; a file for runtimes does.",
        f"torch-sigmoid-ext export {BROKEN}:Talkative {_X} -o out/bug",
        source="Talkative",
    ),
    Bug(
        "A batch that was fixed without a word",
        "The command promises any batch, and the model keeps four rows.",
        f"torch-sigmoid-ext export {BROKEN}:FixedBatch {_X} -o out/bug",
        source="FixedBatch",
    ),
    Bug(
        "Control flow that depends on the data",
        "torch.export and torch.onnx refuse it, each in pages of its own; here it is one line.",
        f"torch-sigmoid-ext export {BROKEN}:Branching {_X} --format onnx -o out/bug",
        source="Branching",
    ),
    Bug(
        "The same, where the format says nothing",
        "torch.jit.trace records the way that the example took and says nothing of the other. The "
        "file is written, and the comparison with the truth finds it: exit code 1, and the "
        "report shows where.",
        f"torch-sigmoid-ext export {BROKEN}:Branching {_X} --convert --format torchscript \\\n"
        f"    --runtime torchscript -o {_OUT / 'branching'}",
        made=True,
    ),
    Bug(
        "Weights of another model",
        "Those of the ten questions, for the network of gates: every key is named.",
        f"torch-sigmoid-ext export {GATED} --weights {_OUT / 'questions.safetensors'} \\\n"
        f"    {_PIXELS} -o out/bug",
        made=True,
    ),
    Bug(
        "A whole pickled model for weights",
        "A pickle can run any code when it is opened. It is not opened.",
        f"torch-sigmoid-ext export {QUESTIONS} --weights {_OUT / 'whole.pt'} \\\n"
        f"    {_PIXELS} -o out/bug",
        before=(
            'python -c "import torch; torch.save(torch.nn.Linear(64, 10), '
            f"'{_OUT / 'whole.pt'}')\"",
        ),
        made=True,
    ),
    Bug(
        "A file that changed after its export",
        "One byte is missing at the end of the ONNX file. Nothing of it is opened.",
        f"torch-sigmoid-ext verify {_OUT / 'changed'}",
        before=(
            f"cp -r {_OUT / 'gated'} {_OUT / 'changed'}",
            f"truncate -s -1 {_OUT / 'changed/model.onnx'}",
        ),
        made=True,
    ),
    Bug(
        "A gate that there is not",
        "Every choice is answered with those that there are.",
        "torch-sigmoid-ext export SimpleNN --gate loose -o out/bug",
    ),
)


@dataclass(frozen=True)
class Met:
    """A bug, and what came of it."""

    bug: Bug
    done: Done

    @property
    def source(self) -> str:
        return source_of(self.bug.source) if self.bug.source else ""

    @property
    def said(self) -> str:
        """The message on stderr; where the command ran to its end, its listing on stdout."""
        return self.done.stdout if self.done.code == 1 else self.done.stderr


def meet(bug: Bug, tell: Callable[[str], None] | None = None) -> Met:
    """Run the command; SystemExit where the bug is not noticed."""
    for command in bug.before:
        expect(command, tell=tell)
    return Met(bug, expect(bug.command, (1, 2), tell))


def source_of(name: str) -> str:
    """The class or function of broken.py, as it stands there."""
    text = (ROOT / BROKEN).read_text(encoding="utf-8")
    [node] = [n for n in ast.parse(text).body if getattr(n, "name", "") == name]
    return ast.get_source_segment(text, node) or ""
