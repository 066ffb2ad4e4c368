"""Checks that an op's output depends on its state dict and input only, so that a rebuilt network is the same."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hadnas.contract.cases import Case, randomise


def outside_state_dict(case: Case) -> Iterator[str]:
    """All state is in the state dict: two builds with different seeds and one state dict give equal outputs.

    The first build is trained on a batch before, since the state that training leaves must be saved, too. Outputs are
    compared up to rounding.
    """
    first, second = case.build(), case.build()  # the random generator advances between them
    if lost := [f"{name} holds {text}" for name, items in _unregistered(first).items() if (text := _learned(items))]:
        yield (
            f"{', '.join(lost)} outside the state dict: neither trained, counted nor saved; allowed are registered "
            "ones, as attributes, in nn.ModuleList or in nn.ParameterList"
        )
        return
    inputs = case.inputs()
    with torch.no_grad():
        _run(randomise(first).train(), inputs)
        out = _run(first.eval(), inputs)
        if not torch.equal(out.nan_to_num(), _run(first, inputs).nan_to_num()):
            yield "two evaluations of one input differ; evaluation must be deterministic"
            return
        shapes, others = ({key: tuple(t.shape) for key, t in m.state_dict().items()} for m in (first, second))
        if unlike := [key for key in {**shapes, **others} if shapes.get(key) != others.get(key)]:
            yield f"the state dicts of two builds differ in {unlike}; allowed are equal keys and shapes"
            return
        second.load_state_dict(first.state_dict())
        again = _run(second.eval(), inputs)
    rounding = torch.finfo(out.dtype).eps ** 0.5 * float(out.nan_to_num().abs().max())
    if not torch.allclose(out, again, rtol=0, atol=rounding, equal_nan=True):
        saved = first.state_dict()
        found = [name for name, _ in first.named_buffers() if name not in saved]
        found += [name for name, items in _unregistered(first).items() if any(isinstance(x, Tensor) for x in items)]
        places = f", in {', '.join(found)}" if found else ""
        yield (
            f"two builds under different seeds give unequal outputs with one state dict: state is outside it{places}; "
            "allowed is state in parameters, persistent buffers and registered modules"
        )


def _run(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    out: Tensor = module(*(x.clone() for x in inputs))
    return out


def _unregistered(module: nn.Module) -> dict[str, list[Any]]:
    """Attribute -> its objects, those in containers included, that are not registered with the module."""
    known = {id(part) for part in (*module.modules(), *module.parameters(), *module.buffers())}
    every = vars(nn.Module()).keys()
    return {
        f"{path}.{name}" if path else name: [item for item in _items(value) if id(item) not in known]
        for path, part in module.named_modules()
        for name, value in vars(part).items()
        if name not in every
    }


def _items(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _items(item)
    else:
        yield value


def _learned(items: list[Any]) -> str:
    """Those of `items` that have weights or statistics, in words: "3 Conv2d"; empty if there are none."""
    kinds = [
        type(item).__name__
        for item in items
        if isinstance(item, nn.Parameter) or (isinstance(item, nn.Module) and item.state_dict())
    ]
    return " and ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
