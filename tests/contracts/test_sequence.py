"""A sequence runs its blocks in order, as the Arch lists them."""

import torch
from torch import nn

from hadnas.blocks.registry import find_op


def test_blocks_run_in_order() -> None:
    torch.manual_seed(0)
    conv, gate = find_op("depthwise").cls(8), find_op("se").cls(8, reduction=2)
    x = torch.randn(2, 8, 5, 7)
    sequence = find_op("sequence").cls(8, blocks=[conv, gate]).eval()
    assert torch.equal(sequence(x), gate(conv(x)))
    assert not torch.equal(sequence(x), conv(gate(x)))
    assert all(key.startswith(("blocks.0.", "blocks.1.")) for key in sequence.state_dict())


def test_slot_holds_a_list_of_blocks() -> None:
    slot = find_op("sequence").slots["blocks"]
    assert slot.many and slot.roles == ("block",)
    assert isinstance(find_op("sequence").cls(8, blocks=[nn.Identity()]).blocks, nn.Sequential)
