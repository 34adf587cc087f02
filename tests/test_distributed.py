"""Many processes give what one gives: DTensor, DDP, FSDP2, tensor parallel, the example.

Starting processes that import torch takes seconds, so each number of processes is launched once,
runs every check in turn, and what each check raised is what its test here reports.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import json
import os
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import Tensor, nn

import torch_sigmoid_ext
from torch_sigmoid_ext._when_imported import when_imported

ours, aten = torch.ops.torch_sigmoid_ext, torch.ops.aten

LIMIT = 120  # seconds for one launch, on a busy machine

Check = Callable[[int], None]
checks: dict[int, dict[str, Check]] = {2: {}, 4: {}}


def check(*worlds: int) -> Callable[[Check], Check]:
    """Registers what every process of a launch runs; it is given the number of processes."""

    def register(function: Check) -> Check:
        for world in worlds:
            checks[world][function.__name__] = function
        return function

    return register


def random(*shape: int, seed: int = 0) -> Tensor:
    """The same numbers in every process, into both tails, whose sums are exact in any order."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator) * 30 * 64).round() / 64


def meshes(world: int) -> list[Any]:
    from torch.distributed.device_mesh import init_device_mesh

    return [init_device_mesh("cpu", (world,)), init_device_mesh("cpu", (2, world // 2))]


def placements(rank: int) -> list[Any]:
    """Every placement of a tensor of that rank on one dimension of a mesh."""
    from torch.distributed.tensor import Partial, Replicate, Shard

    return [Replicate(), *map(Shard, range(rank)), Partial(), Partial("max")]


def distributed(tensor: Tensor, mesh: Any, places: Any) -> Any:
    """The tensor on the mesh; where it is partial, each process holds a different part of it."""
    from torch.distributed.tensor import DTensor, Replicate, distribute_tensor

    if not any(place.is_partial() for place in places):
        return distribute_tensor(tensor, mesh, places)
    coordinate = mesh.get_coordinate()
    part = tensor * (1 + sum(c for c, p in zip(coordinate, places, strict=True) if p.is_partial()))
    if not all(place.is_partial() or place.is_replicate() for place in places):
        shards = [p if p.is_shard() else Replicate() for p in places]
        part = distribute_tensor(part, mesh, shards, src_data_rank=None).to_local()
    shape, stride = tensor.shape, tensor.stride()
    return DTensor.from_local(part, mesh, places, run_check=False, shape=shape, stride=stride)


def mixed_partials(places: tuple[Any, ...]) -> bool:
    """DTensor knows no tensor that is a sum along one mesh dimension and a max along another."""
    return len({str(place) for place in places if place.is_partial()}) > 1


def outcome(call: Callable[[], Any]) -> Any:
    """(result, where it lies, how many collectives of each kind it took), or the error's words."""
    from torch.distributed.tensor.debug import CommDebugMode

    try:
        with CommDebugMode() as communication:
            result = call()
    except Exception as error:
        return re.sub(r"\w+(\.|::)sigmoid", "sigmoid", str(error).split("\n")[0])
    counts = {str(op): n for op, n in communication.get_comm_counts().items()}
    return result, result.placements, counts


def assert_as_aten(ours_did: Any, aten_did: Any, expected: Tensor | None, what: str) -> None:
    """The same placement at the same cost, or the same refusal; and the bits of one process."""
    if isinstance(aten_did, str):
        assert ours_did == aten_did, what
        return
    assert not isinstance(ours_did, str), f"{what}: {ours_did}"
    assert ours_did[1:] == aten_did[1:], f"{what}: {ours_did[1:]}, aten {aten_did[1:]}"
    if expected is not None:
        assert torch.equal(ours_did[0].full_tensor(), expected), what


SHAPES = [(8, 4), (5, 3), (1, 6)]  # even, uneven, and fewer rows than processes


@check(2, 4)
def forward_lies_where_aten_s_does_with_the_bits_of_one_process(world: int) -> None:
    line, grid = meshes(world)
    for mesh, shape in [*((line, shape) for shape in SHAPES), (grid, SHAPES[1])]:
        for places in itertools.product(placements(2), repeat=mesh.ndim):
            if mixed_partials(places):
                continue
            what = f"{shape} {places}"
            x = distributed(random(*shape), mesh, places)
            expected = torch_sigmoid_ext.sigmoid(x.full_tensor())
            assert_as_aten(
                outcome(lambda x=x: torch_sigmoid_ext.sigmoid(x)),
                outcome(lambda x=x: torch.sigmoid(x)),
                expected,
                what,
            )
            fast = torch_sigmoid_ext.sigmoid(x, fast=True).full_tensor()
            torch.testing.assert_close(fast, expected)


@check(2, 4)
def in_place_and_out_write_where_told_or_refuse_as_aten_s_do(world: int) -> None:
    mesh = meshes(world)[0]
    places = [(place,) for place in placements(2)]
    for shape, place in itertools.product(SHAPES, places):
        x, y = (distributed(random(*shape), mesh, place) for _ in range(2))
        before = x.full_tensor()
        expected = torch_sigmoid_ext.sigmoid(before)
        did = outcome(lambda x=x: torch_sigmoid_ext.sigmoid_(x))
        assert_as_aten(did, outcome(lambda y=y: y.sigmoid_()), expected, f"in place {place}")
        if isinstance(did, str):
            assert "in-place operations that require placement changes" in did
            assert torch.equal(x.full_tensor(), before)
        else:
            assert did[0] is x
        for target in places:
            x = distributed(random(*shape), mesh, place)
            out, out2 = (distributed(random(*shape), mesh, target) for _ in range(2))
            did = outcome(lambda x=x, out=out: torch_sigmoid_ext.sigmoid(x, out=out))
            theirs = outcome(lambda x=x, out=out2: torch.sigmoid(x, out=out))
            assert_as_aten(did, theirs, expected, f"{place} to out {target}")
            assert isinstance(did, str) or did[0] is out
    refused = outcome(lambda: torch_sigmoid_ext.sigmoid_(distributed(random(4), mesh, places[-2])))
    assert isinstance(refused, str), "a partial sum was written over in place"


@check(2, 4)
def backward_takes_any_two_placements_as_aten_s_does(world: int) -> None:
    for mesh in meshes(world):
        every = itertools.product(placements(2), repeat=mesh.ndim)
        pairs = list(itertools.product([p for p in every if not mixed_partials(p)], repeat=2))
        for of_grad, of_output in pairs if mesh.ndim == 1 else pairs[::13]:
            grad = distributed(random(5, 3, seed=1), mesh, of_grad)
            output = distributed(random(5, 3, seed=2) / 128, mesh, of_output)
            expected = ours.sigmoid_backward(grad.full_tensor(), output.full_tensor())
            assert_as_aten(
                outcome(lambda g=grad, y=output: ours.sigmoid_backward(g, y)),
                outcome(lambda g=grad, y=output: aten.sigmoid_backward(g, y)),
                expected,
                f"grad {of_grad}, output {of_output}",
            )


@check(2, 4)
def every_dtype_and_rank_is_sharded(world: int) -> None:
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    mesh = meshes(world)[0]
    for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.complex64, torch.int64):
        for shape in [(), (7,), (2, 3, 5)]:
            x = random(*shape).to(dtype)
            for place in [Replicate(), *map(Shard, range(len(shape)))]:
                y = torch_sigmoid_ext.sigmoid(distribute_tensor(x, mesh, [place]))
                assert y.placements == (place,), f"{dtype} {shape}"
                assert torch.equal(y.full_tensor(), torch_sigmoid_ext.sigmoid(x))


@check(2, 4)
def gradients_of_first_and_second_order_are_those_of_one_process(world: int) -> None:
    from torch.distributed.tensor import distribute_tensor

    def derivatives(x: Tensor, weight: Tensor) -> list[Tensor]:
        x.requires_grad_()
        y = torch_sigmoid_ext.sigmoid(x)
        (grad,) = torch.autograd.grad((y * weight).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad((grad * weight).sum(), x)
        return [y, grad, second]

    mesh = meshes(world)[0]
    x, weight = random(6, 5) / 10, random(6, 5, seed=3)
    expected = derivatives(x.clone(), weight)
    of_x, of_weight = ([p for p in placements(2) if not p.is_partial()] for _ in range(2))
    for here, there in itertools.product(of_x, of_weight):
        got = derivatives(
            distribute_tensor(x, mesh, [here]), distribute_tensor(weight, mesh, [there])
        )
        for order, (g, e) in enumerate(zip(got, expected, strict=True)):
            assert torch.equal(g.full_tensor(), e), f"order {order} {here} {there}"  # type: ignore[attr-defined]


@check(2)
def a_compiled_function_of_a_dtensor_has_no_graph_break(world: int) -> None:
    from torch.distributed.tensor import Shard, distribute_tensor

    def function(x: Tensor) -> Tensor:
        return torch_sigmoid_ext.sigmoid(x * 2) + 1

    x = distribute_tensor(random(6, 4), meshes(world)[0], [Shard(0)]).requires_grad_()
    y = torch.compile(function, fullgraph=True, backend="aot_eager")(x)
    assert torch.equal(y.full_tensor(), function(x.full_tensor()))  # type: ignore[attr-defined]
    (grad,) = torch.autograd.grad(y.sum(), x)
    (expected,) = torch.autograd.grad(function(x).sum(), x)
    assert torch.equal(grad.full_tensor(), expected.full_tensor())  # type: ignore[attr-defined]


class Net(nn.Module):
    """Two layers and a sigmoid after each, ours or torch's."""

    def __init__(self, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.up, self.down = nn.Linear(6, 8), nn.Linear(8, 4)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.down(self.activation(self.up(x))))


ACTIVATIONS = [torch.sigmoid, torch_sigmoid_ext.sigmoid]


def batch(world: int) -> tuple[Tensor, Tensor]:
    return random(4 * world, 6) / 30, (random(4 * world, 4, seed=5) > 0).float()


def step(model: nn.Module, rows: Tensor, labels: Tensor) -> Tensor:
    """One step's loss, after which the parameters have their gradients."""
    loss = nn.functional.binary_cross_entropy(model(rows), labels)
    loss.backward()
    return loss.detach()


def gradients(model: nn.Module) -> dict[str, Tensor]:
    """Whole gradients by parameter, whoever wraps the model."""
    found = {}
    for name, parameter in model.named_parameters():
        grad = parameter.grad
        assert grad is not None, name
        found[name.removeprefix("module.")] = (
            grad.full_tensor() if hasattr(grad, "full_tensor") else grad
        )
    return found


def assert_trains_as_one_process(
    world: int, wrap: Callable[[nn.Module], nn.Module], activation: Callable[[Tensor], Tensor]
) -> None:
    """Each process takes its part of the batch; one process takes the parts one after another."""
    rows, labels = batch(world)
    parts = list(zip(rows.chunk(world), labels.chunk(world), strict=True))
    one = [Net(activation) for _ in parts]
    losses = [step(model, *part) for model, part in zip(one, parts, strict=True)]
    by_part = [gradients(model) for model in one]
    model = wrap(Net(activation))
    loss = step(model, *parts[dist.get_rank()])
    assert torch.equal(loss, losses[dist.get_rank()])
    for name, got in gradients(model).items():
        mean = torch.stack([grads[name] for grads in by_part]).sum(0) / world
        if world == 2:  # the sum of two has one rounding and no order
            assert torch.equal(got, mean), f"{activation.__name__}: {name}"
        torch.testing.assert_close(got, mean)
        everywhere = [torch.empty_like(got) for _ in range(world)]
        dist.all_gather(everywhere, got.contiguous())
        assert all(torch.equal(got, other) for other in everywhere), name


@check(2, 4)
def ddp_gives_the_loss_and_gradients_of_one_process(world: int) -> None:
    for activation in ACTIVATIONS:
        assert_trains_as_one_process(world, nn.parallel.DistributedDataParallel, activation)


@check(2, 4)
def fsdp_gives_the_loss_and_gradients_of_one_process(world: int) -> None:
    from torch.distributed.fsdp import fully_shard

    def wrap(model: nn.Module) -> nn.Module:
        for layer in (model.up, model.down, model):
            fully_shard(layer, mesh=meshes(world)[0])
        return model

    for activation in ACTIVATIONS:
        assert_trains_as_one_process(world, wrap, activation)


@check(2, 4)
def converted_models_train_under_ddp_and_fsdp(world: int) -> None:
    from torch.distributed.fsdp import fully_shard

    rows, labels = batch(world)
    mine = slice(4 * dist.get_rank(), 4 * dist.get_rank() + 4)
    seen = []
    for activation in ACTIVATIONS:
        for wrap in (nn.parallel.DistributedDataParallel, fully_shard):
            model = wrap(torch_sigmoid_ext.convert(Net(activation)))
            seen.append((step(model, rows[mine], labels[mine]), gradients(model)))
    for loss, grads in seen[1:]:
        assert torch.equal(loss, seen[0][0])
        for name, grad in grads.items():
            torch.testing.assert_close(
                grad, seen[0][1][name], rtol=0, atol=0 if world == 2 else 1e-8
            )


@check(2, 4)
def tensor_parallel_layers_keep_the_bits_of_the_sigmoid_between_them(world: int) -> None:
    from torch.distributed.tensor import Replicate
    from torch.distributed.tensor.parallel import (
        ColwiseParallel,
        RowwiseParallel,
        parallelize_module,
    )

    rows, labels = batch(world)
    for activation, local in itertools.product(ACTIVATIONS, [True, False]):
        seen: list[tuple[Tensor, Tensor]] = []

        def noting(x: Tensor, activation: Any = activation, seen: Any = seen) -> Tensor:
            y = activation(x)
            seen.append((x, y))
            return y

        one = Net(activation)
        expected = step(one, rows, labels)
        plan = {
            "up": ColwiseParallel(use_local_output=local),
            "down": RowwiseParallel(output_layouts=Replicate()),
        }
        model = parallelize_module(Net(noting), meshes(world)[0], plan)
        torch.testing.assert_close(step(model, rows, labels), expected)
        for name, grad in gradients(one).items():
            torch.testing.assert_close(gradients(model)[name], grad, msg=name)
        assert [hasattr(x, "full_tensor") for x, _ in seen] == [not local, False]
        for x, y in seen:
            x, y = (getattr(t, "full_tensor", lambda t=t: t)() for t in (x, y))
            assert torch.equal(y, activation(x)), f"{activation.__name__} {local}"


def run_checks(rank: int, world: int, folder: str) -> None:
    """What each process does: every check, noting what it raised, in a file of its own."""
    torch.set_num_threads(1)
    found: dict[str, str] = {}
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=30),
    )
    for name, function in checks[world].items():
        try:
            function(world)
            found[name] = ""
        except Exception:
            found[name] = traceback.format_exc()
        Path(folder, f"{rank}.json").write_text(json.dumps(found))
        dist.barrier()
    dist.destroy_process_group()


@functools.cache
def launch(world: int, folder: Path) -> dict[str, list[str]]:
    """What every check raised in every process, by check."""
    context = torch.multiprocessing.spawn(
        run_checks, (world, str(folder)), nprocs=world, join=False
    )
    end, ended = time.monotonic() + LIMIT, ""
    try:
        while not context.join(timeout=1):
            if time.monotonic() > end:
                raise TimeoutError(f"expected {world} processes to end within {LIMIT} s")
    except Exception as error:
        ended = f"did not come so far: {error}"
    finally:
        for process in context.processes:
            process.kill()
    files = [folder / f"{rank}.json" for rank in range(world)]
    by_rank = [json.loads(file.read_text()) if file.exists() else {} for file in files]
    return {name: [found.get(name, ended) for found in by_rank] for name in checks[world]}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    return {world: tmp_path_factory.mktemp(f"{world}-processes") for world in checks}


@pytest.mark.parametrize(
    ("world", "name"), [(world, name) for world, names in checks.items() for name in names]
)
def test_in_many_processes(world: int, name: str, folders: dict[int, Path]) -> None:
    results = launch(world, folders[world])[name]
    raised = [f"in process {rank}:\n{text}" for rank, text in enumerate(results) if text]
    assert not raised, raised[0]


def test_what_waits_for_a_module_runs_once_however_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    name, ran = "a_module_waited_for", []
    monkeypatch.delitem(sys.modules, name, raising=False)
    module = tmp_path / f"{name}.py"
    module.write_text("raise ValueError")
    finders = list(sys.meta_path)
    when_imported(name, lambda: ran.append("before"))
    when_imported(name, lambda: ran.append("before, too"))
    importlib.util.find_spec(name)
    with pytest.raises(ValueError):
        importlib.import_module(name)
    assert not ran, "looking, or a failed import, used it up"
    module.write_text("value = 1  # longer than the other, for the cache of bytecode")
    importlib.invalidate_caches()
    assert importlib.import_module(name).value == 1 and ran == ["before", "before, too"]
    when_imported(name, lambda: ran.append("after"))
    importlib.reload(sys.modules[name])
    assert ran == ["before", "before, too", "after"]
    assert [finder for finder in sys.meta_path if finder not in finders] == []


EXAMPLE = Path(__file__).parent.parent / "examples" / "distributed_train.py"


def run_example(*launcher: str, strategy: str = "ddp") -> tuple[list[float], float]:
    """The losses that the example prints, and its accuracy."""
    command = [sys.executable, *launcher, str(EXAMPLE), "--strategy", strategy, "--epochs", "30"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=environment)
    # A gloo thread of torch's that ends while Python does may abort a process that has done all.
    assert done.returncode == 0 or "terminate called without an active" in done.stderr, done.stderr
    losses = [float(loss) for loss in re.findall(r"^epoch +\d+  loss (\S+)$", done.stdout, re.M)]
    (accuracy,) = re.findall(r"^accuracy (\S+) on 113 rows held out$", done.stdout, re.M)
    return losses, float(accuracy)


@pytest.fixture(scope="module")
def in_one_process() -> tuple[list[float], float]:
    return run_example()


@pytest.mark.parametrize("strategy", ["ddp", "fsdp", "tensor"])
def test_the_example_under_torchrun_trains_as_one_process_does(
    strategy: str, in_one_process: tuple[list[float], float]
) -> None:
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    losses, accuracy = run_example(*torchrun, strategy=strategy)
    expected, expected_accuracy = in_one_process
    assert len(losses) == 30 and losses[-1] < losses[0] / 5
    assert losses == pytest.approx(expected, abs=2e-6)
    assert accuracy == expected_accuracy and accuracy > 0.95
