"""DTensor: how the operators act on sharded tensors, which is exactly how torch's own sigmoid does.

A shard's result is a shard of the result, along any dimension and for uneven shards. A partial sum
is reduced first, for a sigmoid is not linear; its backward reduces a partial gradient too, so that
the bits are those of one process. In place and out= write where they were told to, or refuse.
"""

from __future__ import annotations

import torch


def register_sharding() -> None:
    """Gives each operator the sharding rule of its counterpart in aten.

    torch.distributed.tensor.experimental.register_sharding, the public way, would have a dimension
    shorter than the mesh gathered where aten's rule leaves the shards alone, and in-place calls
    refused there.
    """
    from torch.distributed.tensor import DTensor

    ours, aten = torch.ops.torch_sigmoid_ext, torch.ops.aten
    # Which of these tables holds a rule differs from one release of torch to the next.
    tables = [
        table
        for table in vars(DTensor._op_dispatcher.sharding_propagator).values()
        if isinstance(table, dict)
    ]
    for operator, counterpart in {
        ours.sigmoid.default: aten.sigmoid.default,
        ours.sigmoid_.default: aten.sigmoid_.default,
        ours.sigmoid.out: aten.sigmoid.out,
        ours.sigmoid_backward.default: aten.sigmoid_backward.default,
    }.items():
        for table in tables:
            if counterpart in table:
                table[operator] = table[counterpart]
