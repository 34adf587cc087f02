"""Sigmoid, SimpleNN and convert."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torch_sigmoid_ext import Sigmoid, SimpleNN, convert, sigmoid


class TutorialNN(nn.Module):
    """The well-known tutorial's class, as its readers have it."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.fc1(x))


class EveryWay(nn.Module):
    """Calls torch's sigmoid under each of its names."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Sigmoid()
        self.inner = nn.Sequential(nn.Linear(4, 4), nn.ModuleList([nn.Sigmoid()])[0])

    def forward(self, x: Tensor) -> Tensor:
        x = self.gate(x) + torch.sigmoid(x) + x.sigmoid() + torch.special.expit(x)
        x = x + F.sigmoid(x) + torch.sigmoid_(x.clone())
        x = x + x.clone().sigmoid_() + torch.sigmoid(input=x)
        return self.inner(x)


def torch_sigmoids(function: Callable[[], object]) -> int:
    """How many times aten's own sigmoid runs."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        function()
    return sum(e.name in ("aten::sigmoid", "aten::sigmoid_") for e in profile.events())


def test_simple_nn_and_the_tutorial_s_class_share_state_dicts() -> None:
    ours, theirs = SimpleNN(), TutorialNN()
    assert list(ours.state_dict()) == ["fc1.weight", "fc1.bias"]
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(5, 3)
    torch.testing.assert_close(ours(x), theirs(x))


def test_simple_nn_has_the_sizes_asked_for() -> None:
    assert SimpleNN()(torch.tensor([[0.5, -0.2, 3.0]])).shape == (1, 2)
    assert SimpleNN(in_features=5, out_features=7)(torch.randn(4, 5)).shape == (4, 7)


def test_simple_nn_survives_pickle_deepcopy_script_trace_and_compile() -> None:
    model, x = SimpleNN(), torch.randn(4, 3)
    expected = model(x)
    assert torch.equal(pickle.loads(pickle.dumps(model))(x), expected)
    assert torch.equal(copy.deepcopy(model)(x), expected)
    assert torch.equal(torch.jit.script(model)(x), expected)
    assert torch.equal(torch.jit.trace(model, x)(torch.cat([x, x]))[:4], expected)
    torch._dynamo.reset()
    torch.testing.assert_close(torch.compile(model, fullgraph=True)(x), expected)


def test_simple_nn_trains() -> None:
    torch.manual_seed(0)
    x = torch.randn(200, 3)
    target = torch.stack([x[:, 0] > 0, x[:, 1] > x[:, 2]], dim=1).float()
    model = SimpleNN()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        F.binary_cross_entropy(model(x), target).backward()
        optimizer.step()
    assert ((model(x) > 0.5) == target.bool()).float().mean() > 0.95


def test_sigmoid_module() -> None:
    x = torch.randn(4)
    assert torch.equal(Sigmoid()(x), sigmoid(x))
    assert repr(Sigmoid()) == "Sigmoid()" and repr(Sigmoid(True, True)) == (
        "Sigmoid(fast=True, inplace=True)"
    )
    y = x.clone()
    assert Sigmoid(inplace=True)(y) is y and torch.equal(y, sigmoid(x))
    for module in (Sigmoid(), Sigmoid(fast=True), Sigmoid(inplace=True)):
        scripted = torch.jit.script(module)(x.clone())
        assert torch.equal(scripted, sigmoid(x, fast=module.fast))


def test_convert_leaves_no_sigmoid_of_torch_s() -> None:
    model, x = EveryWay(), torch.randn(5, 4)
    converted = convert(model)
    assert torch_sigmoids(lambda: model(x)) >= 9
    assert torch_sigmoids(lambda: converted(x)) == 0
    torch.testing.assert_close(converted(x), model(x))
    assert isinstance(model.gate, nn.Sigmoid) and isinstance(converted.gate, Sigmoid)
    assert isinstance(converted, EveryWay)
    assert list(converted.state_dict()) == list(model.state_dict())


def test_converted_model_works_everywhere() -> None:
    model, x = convert(EveryWay()), torch.randn(5, 4)
    expected = model(x)
    assert torch.equal(copy.deepcopy(model)(x), expected)
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    reloaded = torch.load(buffer, weights_only=False)
    assert torch.equal(reloaded(x), expected)
    assert torch_sigmoids(lambda: reloaded(x)) == 0
    for program in (torch.export.export(model, (x,)).module(), torch.jit.trace(model, x)):
        assert torch_sigmoids(lambda program=program: program(x)) == 0
        torch.testing.assert_close(program(x), expected)
    strict = torch.export.export(model, (x,), strict=True).module()
    assert torch_sigmoids(lambda: strict(x)) == 0
    torch._dynamo.reset()
    torch.testing.assert_close(torch.compile(model, fullgraph=True)(x), expected)
    twice = convert(model)
    assert torch.equal(twice(x), expected)


def test_convert_of_plain_modules_can_be_scripted() -> None:
    model = convert(nn.Sequential(nn.Linear(3, 2), nn.Sigmoid()))
    x = torch.randn(4, 3)
    assert torch.equal(torch.jit.script(model)(x), model(x))
    assert isinstance(convert(nn.Sigmoid()), Sigmoid)


@pytest.mark.parametrize("training", [True, False])
def test_convert_keeps_mode_hooks_and_shared_modules(training: bool) -> None:
    shared = nn.Sigmoid()
    model = nn.Sequential(nn.Linear(3, 3), shared, nn.Linear(3, 3), shared).train(training)
    calls: list[int] = []
    model[0].register_forward_hook(lambda *_: calls.append(1))
    converted = convert(model)
    converted(torch.randn(1, 3))
    assert calls == [1]
    assert all(m.training is training for m in converted.modules())
    assert isinstance(converted[1], Sigmoid) and isinstance(converted[3], Sigmoid)
