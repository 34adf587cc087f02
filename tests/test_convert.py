"""convert, conversion_report and revert, on five architectures and at the edges."""

from __future__ import annotations

import copy
import functools
import io
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
import torch.nn.utils.parametrize
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.checkpoint import checkpoint

import torch_sigmoid_ext
from torch_sigmoid_ext import Sigmoid, conversion_report, convert, revert, sigmoid

ours, aten = torch.ops.torch_sigmoid_ext, torch.ops.aten
TORCHS = {aten.sigmoid.default, aten.sigmoid_.default, aten.special_expit.default, aten.sigmoid.out}
OURS = {ours.sigmoid.default, ours.sigmoid_.default, ours.sigmoid.out}


class SqueezeExcitation(nn.Module):
    """Channels weighted by what all of the image says of them (Hu et al., 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, 4, 1), nn.Conv2d(4, channels, 1)
        self.scale_activation = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        scale = F.relu(self.fc1(F.adaptive_avg_pool2d(x, 1)))
        return x * self.scale_activation(self.fc2(scale))


class SqueezeExcitationNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            nn.Conv2d(3, 8, 3), SqueezeExcitation(8), nn.Conv2d(8, 8, 3), SqueezeExcitation(8)
        )
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return torch.special.expit(self.head(self.blocks(x).mean((2, 3))))


def gated(x: Tensor) -> Tensor:
    value, gate = x.chunk(2, dim=-1)
    return value * torch.sigmoid(gate)


class GatedLinearNet(nn.Module):
    """Gated linear units written out (Dauphin et al., 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(8, 16), nn.Linear(8, 16)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = gated(layer(x))
        return x


class HandWrittenLSTMCell(nn.Module):
    """nn.LSTMCell with its parameters' names, in Python."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.weight_ih = nn.Parameter(torch.randn(4 * hidden, inputs) / 4)
        self.weight_hh = nn.Parameter(torch.randn(4 * hidden, hidden) / 4)
        self.bias_ih = nn.Parameter(torch.zeros(4 * hidden))
        self.bias_hh = nn.Parameter(torch.zeros(4 * hidden))

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        hidden, cell = state
        gates = F.linear(x, self.weight_ih, self.bias_ih)
        gates = gates + F.linear(hidden, self.weight_hh, self.bias_hh)
        enter, forget, new, leave = gates.chunk(4, dim=-1)
        cell = forget.sigmoid() * cell + torch.sigmoid(enter) * torch.tanh(new)
        return F.sigmoid(leave) * torch.tanh(cell), cell


class HandWrittenLSTM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = HandWrittenLSTMCell(4, 6)

    def forward(self, x: Tensor) -> Tensor:
        hidden = cell = x.new_zeros(x.shape[1], 6)
        for row in x:
            hidden, cell = self.cell(row, (hidden, cell))
        return hidden


class GatedAttention(nn.Module):
    """Attention over a bag of instances, with a gate (Ilse et al., 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.value, self.gate, self.weight = nn.Linear(8, 6), nn.Linear(8, 6), nn.Linear(6, 1)
        self.classify = nn.Sequential(nn.Linear(8, 1), nn.Sigmoid())

    def forward(self, bag: Tensor) -> Tensor:
        attention = self.weight(torch.tanh(self.value(bag)) * F.sigmoid(self.gate(bag)))
        return self.classify((F.softmax(attention, dim=1) * bag).sum(1))


class UNetHead(nn.Module):
    """Down, up, a skip connection through an attention gate, and a mask written in place."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(6, 6, 2, stride=2)
        self.attend = nn.Sequential(nn.Conv2d(6, 1, 1), nn.Sigmoid())
        self.skip, self.mask = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        up = self.up(F.relu(self.down(x)))
        return self.mask(up + self.skip(x) * self.attend(up)).sigmoid_()


ARCHITECTURES: dict[Callable[[], nn.Module], tuple[tuple[int, ...], int]] = {
    SqueezeExcitationNet: ((2, 3, 8, 8), 3),  # input shape, sigmoids in one forward
    GatedLinearNet: ((5, 8), 2),
    HandWrittenLSTM: ((3, 2, 4), 9),
    GatedAttention: ((2, 7, 8), 2),
    UNetHead: ((2, 3, 8, 8), 2),
}


@pytest.fixture(params=ARCHITECTURES, ids=lambda cls: cls.__name__)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor, int]:
    """A model, its input, and how many sigmoids it computes."""
    torch.manual_seed(0)
    shape, count = ARCHITECTURES[request.param]
    return request.param(), torch.randn(shape), count


def ran(function: Callable[[], object]) -> tuple[int, int]:
    """How many sigmoids of torch's and of ours run."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        function()
    names = [event.name for event in profile.events()]
    torchs = sum(n in ("aten::sigmoid", "aten::sigmoid_") for n in names)  # expit calls sigmoid
    return torchs, sum(n.startswith("torch_sigmoid_ext::sigmoid") for n in names)


def in_graph(graph: fx.Graph) -> tuple[int, int]:
    """How many nodes call torch's sigmoid, and ours."""
    targets = [node.target for node in graph.nodes]
    return sum(t in TORCHS for t in targets), sum(t in OURS for t in targets)


def test_architectures_come_no_farther_from_the_truth(case: tuple[nn.Module, Tensor, int]) -> None:
    model, x, _ = case
    converted, double = convert(model), copy.deepcopy(model).double()
    exact = convert(double)
    before, after = 0.0, 0.0
    with torch.no_grad():
        for _ in range(10):  # what the layers around it round hides a single sigmoid's gain or loss
            x = torch.randn_like(x)
            truth = double(x.double())
            before += float((model(x) - truth).square().mean())
            after += float((converted(x) - truth).square().mean())
            torch.testing.assert_close(exact(x.double()), truth, rtol=1e-14, atol=1e-15)
    assert after <= 1.2 * before, f"{after / before:.2f} of the squared error"


def test_architectures_call_no_sigmoid_of_torch_s(case: tuple[nn.Module, Tensor, int]) -> None:
    model, x, count = case
    converted = convert(model)
    assert ran(lambda: model(x))[0] >= count
    assert ran(lambda: converted(x)) == (0, count)
    assert in_graph(make_fx(converted)(x).graph) == (0, count)
    assert in_graph(torch.export.export(converted, (x,)).graph) == (0, count)
    torch._dynamo.reset()
    compiled = torch.compile(converted, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x), converted(x))
    assert ran(lambda: compiled(x)) == (0, count)


def test_architectures_train(case: tuple[nn.Module, Tensor, int]) -> None:
    model, x, _ = case
    converted = convert(model)
    for trained in (model, converted):
        F.mse_loss(trained(x), torch.full_like(trained(x), 0.3)).backward()
    for (name, theirs), parameter in zip(
        model.named_parameters(), converted.parameters(), strict=True
    ):
        torch.testing.assert_close(parameter.grad, theirs.grad, msg=name)
    optimizer = torch.optim.SGD(converted.parameters(), lr=0.05)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = F.mse_loss(converted(x), torch.full_like(converted(x), 0.3))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True) and losses[0] > losses[-1]


def test_architectures_keep_their_state_and_can_be_copied(
    case: tuple[nn.Module, Tensor, int],
) -> None:
    model, x, count = case
    converted = convert(model)
    assert list(converted.state_dict()) == list(model.state_dict())
    converted.load_state_dict(model.state_dict())
    assert isinstance(converted, type(model)) and type(converted).__name__ == type(model).__name__
    buffer = io.BytesIO()
    torch.save(converted, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    for twin in (copy.deepcopy(converted), pickle.loads(pickle.dumps(converted)), loaded):
        assert torch.equal(twin(x), converted(x))
        assert ran(lambda twin=twin: twin(x)) == (0, count)
        assert torch.equal(revert(twin)(x), model(x))


def test_architectures_go_back_to_the_bits_and_classes_they_had(
    case: tuple[nn.Module, Tensor, int],
) -> None:
    model, x, _ = case
    converted = convert(convert(model))
    back = revert(converted)
    assert torch.equal(back(x), model(x))
    assert ran(lambda: back(x)) == ran(lambda: model(x))
    assert [type(m) for m in back.modules()] == [type(m) for m in model.modules()]
    assert [vars(m).keys() for m in back.modules()] == [vars(m).keys() for m in model.modules()]
    assert ran(lambda: converted(x))[0] == 0, "revert() changed what it was given"


def test_architectures_are_reported_whole(case: tuple[nn.Module, Tensor, int]) -> None:
    model, x, count = case
    report = conversion_report(convert(model), (x,))
    assert report.complete and report == conversion_report(convert(model), (x,))
    assert sum(use.calls or 0 for use in (*report.modules, *report.functions)) == count
    read = conversion_report(convert(model))
    assert (read.complete and read.modules and not read.functions) or read.functions
    by_line = {(use.name, use.place) for use in report.functions}
    assert by_line == {(use.name, use.place) for use in read.functions}
    assert {use.module for use in report.modules} == {use.module for use in read.modules}
    for unconverted in (conversion_report(model, (x,)), conversion_report(revert(convert(model)))):
        assert not unconverted.modules and not unconverted.functions
        assert {use.remedy for use in unconverted.left} == {
            "pass the model to torch_sigmoid_ext.convert"
        }
        assert len(unconverted.left) == len(read.modules) + len(read.functions)


def test_graphs_are_converted_and_go_back(case: tuple[nn.Module, Tensor, int]) -> None:
    model, x, count = case
    program = torch.export.export(model, (x,))
    converted = convert(program)
    assert isinstance(converted, ExportedProgram)
    assert in_graph(program.graph) == (count, 0) and in_graph(converted.graph) == (0, count)
    assert torch.equal(converted.module()(x), convert(model)(x))
    assert in_graph(converted.run_decompositions().graph) == (0, count)
    buffer = io.BytesIO()
    torch.export.save(converted, buffer)
    buffer.seek(0)
    loaded = torch.export.load(buffer)
    for back in (revert(converted), revert(loaded)):
        assert in_graph(back.graph) == (count, 0)
        assert torch.equal(back.module()(x), program.module()(x))
    assert len(conversion_report(converted).functions) == count
    assert conversion_report(converted, (x,)).complete


class EveryName(nn.Module):
    """Calls torch's sigmoid by every name it has."""

    def forward(self, x: Tensor) -> Tensor:
        x = torch.sigmoid(x) + x.sigmoid() + torch.special.expit(x) + F.sigmoid(x)
        x = x + torch.sigmoid_(x.clone()) + x.clone().sigmoid_() + torch.sigmoid(input=x)
        x = x + torch.ops.aten.sigmoid(x) + torch.ops.aten.sigmoid_.default(x.clone())
        return x + torch.sigmoid(x, out=torch.empty_like(x))


class Unannotated(nn.Module):
    """fx pickles no graph of a forward whose annotations are strings, as they are in this file."""

    def forward(self, x):  # type: ignore[no-untyped-def]
        return torch.sigmoid(x).sigmoid()


def test_graph_modules_are_converted_and_go_back() -> None:
    x = torch.randn(4)
    traced = fx.symbolic_trace(EveryName())
    converted = convert(traced)
    assert ran(lambda: traced(x))[0] == 10 and ran(lambda: converted(x)) == (0, 10)
    assert torch.equal(revert(converted)(x), traced(x))
    assert len(conversion_report(converted).functions) == 10
    assert len(conversion_report(traced).left) == 10
    within = convert(nn.Sequential(traced, nn.Sigmoid()))
    assert ran(lambda: within(x)) == (0, 11)
    simple = fx.symbolic_trace(Unannotated())
    again = pickle.loads(pickle.dumps(convert(simple)))
    assert ran(lambda: again(x)) == (0, 2) and torch.equal(revert(again)(x), simple(x))
    # fx asks no mode about a method of its stand-ins for tensors: convert what it traced
    retraced = convert(fx.symbolic_trace(convert(EveryName())))
    assert [node.name for node in retraced.graph.nodes if node.op == "placeholder"] == ["x"]
    assert ran(lambda: retraced(x)) == (0, 10) and torch.equal(revert(retraced)(x), traced(x))


def test_a_fast_sigmoid_in_a_graph_is_the_user_s_own() -> None:
    class Mixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return sigmoid(x, fast=True) + torch.sigmoid(x)

    x = torch.randn(4)
    program = torch.export.export(Mixed(), (x,))
    assert torch.equal(revert(convert(program)).module()(x), program.module()(x))


@pytest.mark.parametrize("strict", [False, True])
def test_every_name_is_converted_in_export(strict: bool) -> None:
    x = torch.randn(4)
    converted = convert(EveryName())
    program = torch.export.export(converted, (x,), strict=strict)
    assert ran(lambda: program.module()(x)) == (0, 10)
    assert torch.equal(program.module()(x), converted(x))


def test_compile_takes_every_name_where_dynamo_comes_after_convert() -> None:
    code = (
        "import sys, torch, torch.nn.functional as F, torch_sigmoid_ext\n"
        "class Net(torch.nn.Module):\n"
        "    def forward(self, x): return F.sigmoid(x) + torch.sigmoid_(x.clone())\n"
        "net = torch_sigmoid_ext.convert(Net())\n"
        "assert 'torch._dynamo' not in sys.modules\n"
        "y = torch.compile(net, fullgraph=True, backend='eager')(torch.tensor([-100.0]))\n"
        "print(y.item() > 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "True", done.stderr


def test_a_compiled_model_is_converted_through() -> None:
    torch._dynamo.reset()
    x = torch.randn(4)
    for compiled in (
        convert(torch.compile(EveryName(), backend="eager")),
        convert(nn.Sequential(torch.compile(EveryName(), backend="eager"))),
    ):
        compiled(x)
        assert ran(lambda compiled=compiled: compiled(x)) == (0, 10)


def test_hooks_shared_modules_and_references_stay() -> None:
    class Referring(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = self.second = nn.Sigmoid()
            self.unregistered = [self.first, nn.Sigmoid()]

        def forward(self, x: Tensor) -> Tensor:
            return self.first(x) + self.second(x) + sum(act(x) for act in self.unregistered)

    model, calls = Referring().eval(), []
    model.first.register_forward_hook(lambda module, args, y: calls.append(type(module)))
    converted = convert(model)
    assert converted.first is converted.second is converted.unregistered[0]
    assert ran(lambda: converted(torch.zeros(2))) == (0, 4)
    assert calls == [Sigmoid] * 3 and not converted.first.training
    back = revert(converted)
    back(torch.zeros(2))
    assert calls[3:] == [nn.Sigmoid] * 3 and back.first is back.unregistered[0]


def test_what_the_user_wrote_with_ours_stays_so_on_the_way_back() -> None:
    model = nn.Sequential(Sigmoid(fast=True), nn.Sigmoid(), Sigmoid())
    back = revert(convert(model))
    assert [type(m) for m in back] == [Sigmoid, nn.Sigmoid, Sigmoid] and back[0].fast


def test_parts_and_methods_of_a_converted_model_are_converted() -> None:
    class Coder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = EveryName()

        def encode(self, x: Tensor) -> Tensor:
            return self.inner(x)

        def forward(self, x: Tensor) -> Tensor:
            return self.encode(x)

    converted, x = convert(Coder()), torch.randn(3)
    assert ran(lambda: converted.encode(x)) == (0, 10)
    assert ran(lambda: nn.Sequential(converted.inner)(x)) == (0, 10)


def test_a_checkpointed_module_recomputes_with_ours() -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = GatedLinearNet()

        def forward(self, x: Tensor) -> Tensor:
            return checkpoint(self.block, x, use_reentrant=False)

    converted, x = convert(Checkpointed()), torch.randn(2, 8, requires_grad=True)
    plain = converted.block(x).sum()
    forward_and_backward = ran(lambda: converted(x).sum().backward())
    assert forward_and_backward[0] == 0 and forward_and_backward[1] >= 2 * 2
    assert torch.equal(x.grad, torch.autograd.grad(plain, x)[0])
    (left,) = conversion_report(converted).left
    assert left.name == "torch.utils.checkpoint.checkpoint" and "a module" in left.remedy


def test_functions_that_torch_s_own_modules_are_given_are_rerouted() -> None:
    model = nn.TransformerEncoderLayer(4, 1, 8, dropout=0.0, activation=torch.sigmoid)
    converted, x = convert(model), torch.randn(3, 2, 4)
    assert ran(lambda: converted(x)) == (0, 1)
    (use,) = conversion_report(converted).functions
    assert (use.name, use.place) == ("torch.sigmoid", "attribute activation")
    assert type(revert(converted)) is nn.TransformerEncoderLayer


def test_parametrizations_are_converted() -> None:
    class Positive(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return torch.sigmoid(weight)

    model = nn.Linear(2, 2)
    torch.nn.utils.parametrize.register_parametrization(model, "weight", Positive())
    converted = convert(model)
    assert ran(lambda: converted(torch.zeros(1, 2))) == (0, 1)
    assert ran(lambda: converted.weight) == (0, 1)


def lstm_cell_by_hand(cell: nn.LSTMCell, x: Tensor) -> Tensor:
    """The cell that docs/convert.md offers, with the parameters of torch's."""
    page = (Path(__file__).parent.parent / "docs" / "convert.md").read_text()
    code = page.split("```python\nclass LSTMCell")[1].split("```")[0]
    names: dict[str, Any] = {"nn": nn, "F": F, "torch": torch, "sigmoid": sigmoid}
    exec(f"class LSTMCell{code}", names)
    written = names["LSTMCell"](cell.input_size, cell.hidden_size)
    written.load_state_dict(cell.state_dict())
    zeros = x.new_zeros(len(x), cell.hidden_size)
    hidden: Tensor = written(x, (zeros, zeros))[0]
    return hidden


FUSED: dict[str, tuple[nn.Module, Callable[[Any, Tensor], Tensor] | None]] = {
    "nn.LSTM": (nn.LSTM(4, 4), None),
    "nn.GRU": (nn.GRU(4, 4), None),
    "nn.GRUCell": (nn.GRUCell(4, 4), None),
    "nn.LSTMCell": (nn.LSTMCell(4, 4), lstm_cell_by_hand),
    "nn.SiLU": (nn.SiLU(), lambda module, x: x * sigmoid(x)),
    "nn.GLU": (nn.GLU(), lambda module, x: x.chunk(2, -1)[0] * sigmoid(x.chunk(2, -1)[1])),
    "nn.LogSigmoid": (nn.LogSigmoid(), None),
}


@pytest.mark.parametrize("name", FUSED)
def test_kernels_with_a_sigmoid_inside_are_left_and_said_so_with_a_remedy(name: str) -> None:
    module, remedy = FUSED[name]
    x = torch.randn(3, 4)
    model = convert(nn.Sequential(module))
    (left,) = conversion_report(model).left
    assert (left.name, left.module) == (name, "0") and left.remedy
    (left,) = conversion_report(model, (x,)).left
    assert (left.name, left.module, left.calls) == (name, "0", 1)
    if remedy is not None:
        expected = module(x)
        expected = expected[0] if isinstance(expected, tuple) else expected
        torch.testing.assert_close(remedy(module, x), expected)


class Fused(nn.Module):
    """Calls functions that have a sigmoid inside."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(x) + F.logsigmoid(x) + F.glu(torch.cat([x, x], -1))
        return F.binary_cross_entropy_with_logits(x, torch.ones_like(x))


def test_functions_with_a_sigmoid_inside_are_left_and_said_so() -> None:
    names = ["F.silu", "F.logsigmoid", "F.glu", "F.binary_cross_entropy_with_logits"]
    model = convert(Fused())
    for report in (conversion_report(model), conversion_report(model, (torch.randn(3),))):
        assert sorted(use.name for use in report.left) == sorted(names)
        assert all("test_convert.py" in use.place and use.remedy for use in report.left)


KNOWN, TABLE = torch.zeros(2), [[1.0, 2.0]]


class OfAGlobal(nn.Module):
    """Takes the sigmoid of a tensor that is no attribute, beside a name that cannot be hashed."""

    def forward(self, x: Tensor) -> Tensor:
        return x + KNOWN.sigmoid() + TABLE[0][0]


def test_sigmoid_of_a_tensor_outside_of_the_model_is_told_read_or_run() -> None:
    for arguments in ((), ((torch.zeros(2),),)):
        (left,) = conversion_report(OfAGlobal(), *arguments).left
        assert left.name == "Tensor.sigmoid" and "test_convert.py" in left.place
        (use,) = conversion_report(convert(OfAGlobal()), *arguments).functions
        assert use.name == "Tensor.sigmoid" and "OfAGlobal.forward" in use.place


def test_code_written_at_run_time_is_told_where_it_is_run() -> None:
    scope = {"F": F}
    exec("def forward(self, x):\n    return F.silu(x) + x.sigmoid()", scope)
    model = convert(type("Written", (nn.Module,), {"forward": scope["forward"]})())
    report = conversion_report(model)
    assert not report.left and not report.functions  # no source to be read
    report = conversion_report(model, (torch.zeros(2),))
    assert [use.name for use in report.left] == ["F.silu"]
    assert [use.name for use in report.functions] == ["Tensor.sigmoid"]


def test_scripted_parts_are_left_and_said_so() -> None:
    scripted = torch.jit.script(nn.Sequential(nn.Linear(2, 2), nn.Sigmoid()))
    without = torch.jit.script(nn.Sequential(nn.Linear(2, 2)))
    model = convert(nn.Sequential(scripted, without, nn.Sigmoid()))
    report = conversion_report(model, (torch.zeros(1, 2),))
    (left,) = report.left
    assert (left.name, left.module) == ("torch.jit.ScriptModule", "0")
    assert "before torch.jit.script" in left.remedy
    assert [(use.module, use.calls) for use in report.modules] == [("2", 1)]


def test_scripting_rerouted_code_is_refused_and_tracing_is_not() -> None:
    converted, x = convert(GatedLinearNet()), torch.randn(2, 8)
    with pytest.raises(TypeError, match=r"torch\.jit\.trace"):
        torch.jit.script(converted)
    assert torch.equal(torch.jit.trace(converted, x)(x), converted(x))
    scripted = torch.jit.script(convert(nn.Sequential(nn.Linear(8, 2), nn.Sigmoid())))
    assert "torch_sigmoid_ext::sigmoid" in str(scripted.inlined_graph)


class Outside(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.sigmoid(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad * x.sigmoid()


def test_what_an_autograd_function_calls_is_rerouted_in_its_forward() -> None:
    class Calls(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return Outside.apply(x)

    x = torch.randn(3, requires_grad=True)
    converted = convert(Calls())
    assert ran(lambda: converted(x)) == (0, 1)
    (use,) = conversion_report(converted, (x,)).functions
    assert use.name == "torch.sigmoid" and use.place.endswith("forward")


class Classifier(nn.Module):
    """One whose sigmoids all stand outside of its forward."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 1

    def predict(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self(x))

    @property
    def far(self) -> Tensor:
        return torch.tensor(-100.0).sigmoid()


class Called(nn.Module):
    def __call__(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x)


def test_methods_beside_forward_are_rerouted() -> None:
    x = torch.tensor([-100.0])
    converted = convert(Classifier())
    assert torch.equal(converted.predict(x), sigmoid(x))
    assert torch.equal(converted.far, sigmoid(x)[0])
    assert torch.equal(convert(Called())(x), sigmoid(x))
    assert revert(converted).predict(x) == 0


class Stateful(nn.Module):
    """Keeps something that cannot be copied, and says what to keep instead."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = lambda x: 2 * x

    def __getstate__(self) -> dict[str, Any]:
        return {**{k: v for k, v in vars(self).items() if k != "factor"}, "kept": True}

    def __setstate__(self, state: dict[str, Any]) -> None:
        del state["kept"]
        super().__setstate__(state)
        self.factor = lambda x: 2 * x

    def forward(self, x: Tensor) -> Tensor:
        return self.factor(torch.sigmoid(x))


class Frozen(nn.Module):
    def __setattr__(self, name: str, value: Any) -> None:
        if name not in ("training", "_modules"):
            raise AttributeError(f"{name} is fixed")
        super().__setattr__(name, value)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x)


class Registered(nn.Module):
    names: ClassVar[set[str]] = set()

    def __init_subclass__(cls, *, name: str) -> None:
        if name in cls.names:
            raise ValueError(f"two classes of the name {name}")
        cls.names.add(name)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x)


class RegisteredOnce(Registered, name="once"):
    pass


@pytest.mark.parametrize("cls", [Stateful, Frozen, RegisteredOnce])
def test_classes_with_rules_of_their_own_are_converted_and_copied(cls: type[nn.Module]) -> None:
    x = torch.tensor([-100.0])
    converted = convert(cls())
    for model in (converted, copy.deepcopy(converted), pickle.loads(pickle.dumps(converted))):
        assert model(x) > 0
    reverted = revert(converted)
    assert type(reverted) is cls and reverted(x) == 0


def test_a_converted_module_may_be_parametrized_and_converted_again() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            return self.weight * torch.sigmoid(x)

    converted = convert(Scaled())
    nn.utils.parametrize.register_parametrization(converted, "weight", nn.Identity())
    assert conversion_report(converted).complete
    assert convert(converted)(torch.tensor([-100.0])) > 0


def test_a_compiled_model_is_reported() -> None:
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.sigmoid(x)

    compiled = torch.compile(convert(Net()), backend="eager", fullgraph=True)
    report = conversion_report(compiled, (torch.ones(2),))
    assert [use.calls for use in report.functions] == [1] and report.complete


def test_the_report_prints_as_a_table() -> None:
    model = convert(nn.Sequential(nn.Linear(4, 4), nn.Sigmoid(), nn.SiLU()))
    assert str(conversion_report(model, (torch.zeros(1, 4),))).splitlines() == [
        "modules swapped: 1",
        "  nn.Sigmoid  1, 1x",
        "functions rerouted: none",
        "left as they were: 1",
        "  nn.SiLU  2, 1x",
        "             write x * torch_sigmoid_ext.sigmoid(x)",
    ]


def test_the_report_names_the_line() -> None:
    (use,) = conversion_report(convert(GatedLinearNet())).functions
    file, line = use.place.split(" in ")[0].rsplit(":", 1)
    assert use.place.endswith(" in gated") and Path(file).name == "test_convert.py"
    text = Path(__file__).read_text().splitlines()[int(line) - 1]
    assert text.strip() == "return value * torch.sigmoid(gate)"


def test_a_report_leaves_the_model_and_the_random_numbers_alone() -> None:
    model = convert(nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(), nn.Sigmoid()))
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(0)
    conversion_report(model, (torch.randn(4, 2),))
    after_one = torch.rand(())
    torch.manual_seed(0)
    torch.randn(4, 2)
    assert torch.equal(torch.rand(()), after_one)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("function", [convert, revert, conversion_report])
def test_something_else_is_a_type_error(function: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=r"expected model to be a torch\.nn\.Module .*got type"):
        function(nn.Sigmoid)


def test_the_faces_are_public() -> None:
    for name in ("convert", "conversion_report", "revert", "ConversionReport", "SigmoidUse"):
        assert name in torch_sigmoid_ext.__all__


@pytest.mark.parametrize(
    "activation",
    [functools.partial(torch.sigmoid), lambda x: torch.sigmoid(x)],
    ids=["partial", "lambda"],
)
def test_functions_around_torchs_that_a_module_of_torchs_holds_are_rerouted(
    activation: Callable[[Tensor], Tensor],
) -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, activation=activation).eval()
    report = conversion_report(convert(layer), (torch.randn(3, 1, 8),))
    assert report.complete and [use.name for use in report.functions] == ["torch.sigmoid"], report
    left = conversion_report(layer, (torch.randn(3, 1, 8),)).left
    assert [use.name for use in left] == ["torch.sigmoid"]


def test_a_forward_set_on_the_instance_is_reported() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    model[0].forward = torch.sigmoid
    report = conversion_report(convert(model))
    assert [(use.name, use.module) for use in report.left] == [("forward", "0")], report
