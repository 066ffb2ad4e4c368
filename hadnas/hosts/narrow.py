"""Structured pruning: hidden channels of trained blocks are removed, which gives another, smaller architecture.

The hidden channels of an op are the axes of its weights that follow its slot `expand` or `hidden`, seen by building the
network with two values of it. A removal counts only if the smaller network computes, in float64, what the whole one
does with the same channels set to 0. So ops that mix hidden channels otherwise, as a norm over them does, stay whole.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hadnas.arch.node import nodes
from hadnas.errors import SpecError
from hadnas.hosts.build import build_plan
from hadnas.hosts.host import Plan, make_plan
from hadnas.inputs import cast, drawn

WIDTH_SLOTS = ("expand", "hidden")
"""The slots of ops that set their hidden width."""

SAME = 1e-9
"""The largest difference of outputs in float64, relative to the largest output."""

Tensors = dict[str, Tensor]


def narrowed(plan: Plan, network: nn.Module, share: float) -> tuple[Plan, nn.Module]:
    """The plan and the trained network without `share` of the hidden channels of each op, those of the least norm.

    The norm of a channel is the L2 norm of all its weights in the op. The number that remains is rounded up to one that
    the rules of the op allow. Raises SpecError if no channel of any op can be removed.
    """
    plan = before = make_plan(plan.arch.node, plan.task)  # a stored node has its keys in another order
    state = {key: value.detach().cpu() for key, value in network.state_dict().items()}
    for index, node in enumerate(nodes(plan.arch.node)):
        for slot in WIDTH_SLOTS:
            if isinstance(node.get(slot), int | float):
                plan, state = _narrower(plan, state, index, slot, share) or (plan, state)
    if plan is before:
        raise SpecError(
            f"{plan.name} has no hidden channels that can be removed; allowed are ops with a slot "
            f"{' or '.join(WIDTH_SLOTS)} that compute the same without channels whose weights are 0"
        )
    return plan, _with(plan, state)


@dataclass(frozen=True)
class _Axis:
    """An axis of a tensor that follows a hidden width: from `size` to `narrow` entries, some for each channel.

    `learned` are parameters, not the running statistics of a norm.
    """

    key: str
    axis: int
    size: int
    narrow: int
    learned: bool

    def places(self, channels: Tensor, width: int, *, blocked: bool) -> Tensor:
        """The entries of these of `width` channels: in blocks of all channels, or side by side for each channel."""
        times = torch.arange(self.size // width)
        found = times[:, None] * width + channels if blocked else channels[:, None] * len(times) + times
        return found.flatten()


def _narrower(plan: Plan, state: Tensors, index: int, slot: str, share: float) -> tuple[Plan, Tensors] | None:
    """One op with fewer hidden channels, all else as before; None if that is not possible."""
    found = _candidate(plan, index, slot, share)
    if found is None:
        return None
    smaller, axes = found
    width, count = min(axis.size for axis in axes), min(axis.narrow for axis in axes)
    learned = [axis for axis in axes if axis.learned]
    if not learned or any(axis.size % width or axis.narrow * width != axis.size * count for axis in axes):
        return None
    for blocked in (True, False):
        norms = torch.stack([_squares(state[axis.key], axis, width, blocked=blocked) for axis in learned]).sum(0)
        order = norms.argsort(descending=True)
        zeroed, left = dict(state), dict(state)
        for axis in axes:
            kept = axis.places(order[:count].sort().values, width, blocked=blocked)
            removed = axis.places(order[count:], width, blocked=blocked)
            zeroed[axis.key] = zeroed[axis.key].index_fill(axis.axis, removed, 0)
            left[axis.key] = left[axis.key].index_select(axis.axis, kept)
        if _compute_the_same(_with(plan, zeroed), _with(smaller, left), plan):
            return smaller, left
    return None


def _candidate(plan: Plan, index: int, slot: str, share: float) -> tuple[Plan, list[_Axis]] | None:
    """The plan with the fewest channels that the rules of an op allow, at least those wanted, and the axes."""
    value = list(nodes(plan.arch.node))[index][slot]
    wider = _changed(plan, index, slot, 2 * value)
    width = min((axis.size for axis in _axes(plan, wider)), default=0) if wider is not None else 0
    for count in range(max(1, width - round(share * width)), width):
        # the middle between two numbers of channels where rounding gives the number below
        for number in (value * count / width, value * (count + 0.5) / width):
            smaller = _changed(plan, index, slot, int(number) if number == int(number) else number)
            axes = [] if smaller is None else _axes(plan, smaller)
            if smaller is not None and min((axis.narrow for axis in axes), default=0) == count:
                return smaller, axes
    return None


def _changed(plan: Plan, index: int, slot: str, value: float) -> Plan | None:
    """The plan with another value of a slot of the node of this number; None if its op refuses it."""
    node = copy.deepcopy(plan.arch.node)
    list(nodes(node))[index][slot] = value
    try:
        return make_plan(node, plan.task)
    except SpecError:
        return None


def _axes(plan: Plan, other: Plan) -> list[_Axis]:
    """The axes of tensors that differ between two networks; none if they do not have the same tensors."""
    mine, theirs = (build_plan(one, device="meta", start=False) for one in (plan, other))
    learned, own, others = dict(mine.named_parameters()), mine.state_dict(), theirs.state_dict()
    if own.keys() != others.keys():
        return []
    return [
        _Axis(key, axis, size, narrow, key in learned)
        for key, tensor in own.items()
        for axis, (size, narrow) in enumerate(zip(tensor.shape, others[key].shape, strict=True))
        if size != narrow
    ]


def _squares(tensor: Tensor, axis: _Axis, width: int, *, blocked: bool) -> Tensor:
    """The sum of squares of each channel's entries: (width,), float64."""
    other = [index for index in range(tensor.ndim) if index != axis.axis]
    each = tensor.double().square().sum(other) if other else tensor.double().square()
    return each.view(-1, width).sum(0) if blocked else each.view(width, -1).sum(1)


def _with(plan: Plan, state: Tensors) -> nn.Module:
    network = build_plan(plan, start=False)
    network.load_state_dict(state)
    return network.eval()


@torch.no_grad()
def _compute_the_same(left: nn.Module, right: nn.Module, plan: Plan) -> bool:
    generator = torch.Generator().manual_seed(0)
    inputs = cast(drawn(plan.task.shapes, 2, torch.randn, generator), torch.float64)
    one, other = left.double()(*inputs), right.double()(*inputs)
    return bool((one - other).abs().max() <= SAME * one.abs().max())
