"""What every registered op must keep, shipped or a user's, as findings: plain sentences, none for a good op.

    check(find_op("star")) == []

A finding names the op, the case, what was found and what is allowed. Hosts are not checked here: they are models, not
parts.
"""

import inspect
import itertools
import math
import typing
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from timm.layers import RmsNorm, RmsNorm2d, SimpleNorm, SimpleNorm2d
from timm.layers import activations as timm_activations
from timm.models.metaformer import SquaredReLU, StarReLU
from torch import Tensor, nn
from torch.nn.modules import activation as torch_activations
from torch.nn.modules.batchnorm import _NormBase

from hadnas.blocks.layers import Act, Norm
from hadnas.blocks.registry import Op, find_op
from hadnas.contract.cases import Case, cases, pointwise, randomise, state
from hadnas.contract.formula import degree, evaluate, lines
from hadnas.contract.state_dict import outside_state_dict
from hadnas.errors import HadnasError, SpecError
from hadnas.measure.cost import cost

PARTS = frozenset({"block", "merge"})
COUNTED = ("Params", "MACs", "Products")
DEPTH = 12  # stacked residual nodes
TOLERANCE = 1e-9  # of a coefficient, relative to the largest value of the function
ROUNDING = 1e-12  # of a gradient, relative to the largest: without effect it is 1e-15, the least with one is 1e-10
STRANGE: dict[type, tuple[Any, ...]] = {int: (-1, 0, 2, 3), float: (-1.0, 0.0, 1.5)}

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, RmsNorm, RmsNorm2d, SimpleNorm, SimpleNorm2d)
ACTIVATIONS = (
    StarReLU,
    SquaredReLU,
    *(
        cls
        for cls in (*vars(torch_activations).values(), *vars(timm_activations).values())
        if inspect.isclass(cls) and issubclass(cls, nn.Module) and cls not in (nn.Module, nn.MultiheadAttention)
    ),
)


class Joined(nn.Module):
    """A merge as a module of one input, its two maps stacked along the channels."""

    def __init__(self, merge: nn.Module) -> None:
        super().__init__()
        self.merge = merge

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, 1)
        out: Tensor = self.merge(a, b)
        return out


def behaviour(case: Case) -> Iterator[str]:
    """Shape, dtype and finite values out, input untouched; a gradient in every parameter but those declared idle."""
    module = randomise(case.build(dtype=torch.float64)).eval()
    if stray := [key for key, t in state(module) if t.is_floating_point() and t.dtype != torch.float64]:
        yield f"{stray} ignore the dtype given; every parameter and buffer takes device and dtype"
    if stray := [key for key, t in state(case.build(device="meta")) if not t.is_meta]:
        yield f"{stray} ignore the device given; every parameter and buffer takes device and dtype"
    inputs = [x.requires_grad_() for x in case.inputs(dtype=torch.float64)]
    given = [x.clone() for x in inputs]
    out = module(*given)
    if out.shape != (2, *case.shape_out):
        yield f"the output has the shape {tuple(out.shape)}; allowed is {(2, *case.shape_out)}"
    if out.dtype != torch.float64:
        yield f"the output of a float64 input is {out.dtype}; allowed is the dtype of the input"
    if not out.isfinite().all():
        yield "the output is not finite at random weights"
    if not all(torch.equal(x, y) for x, y in zip(inputs, given, strict=True)):
        yield "the forward pass changed its input in place"
    if case.height * case.width > 1:  # at one position a mean, a softmax over tokens or a shift is constant
        yield from effects(case, module, inputs)


def effects(case: Case, module: nn.Module, inputs: list[Tensor]) -> Iterator[str]:
    """A gradient beyond rounding in every parameter, or, where it is declared idle, no effect beyond rounding."""
    parameters = dict(module.named_parameters())
    idle = case.op.idle(case.values) if case.op.idle else ()
    if strange := sorted({*idle} - parameters.keys()):
        yield f"{strange} are declared idle; allowed are {[*parameters]}"
        return
    out = module(*(x.clone() for x in inputs))
    if out.requires_grad:
        (out * torch.randn_like(out)).sum().backward()
    sizes = [0.0 if x.grad is None else float(x.grad.abs().max()) for x in (*parameters.values(), *inputs)]
    for key, size in zip(parameters, sizes, strict=False):
        if not math.isfinite(size):
            yield f"the gradient of the parameter {key} is not finite"
        elif size <= ROUNDING * max(sizes) and key not in idle:
            yield f"no gradient reaches the parameter {key}; every parameter must have an effect or be declared idle"
    with torch.no_grad():
        for key in idle:
            parameters[key].add_(torch.randn_like(parameters[key]))
        if idle and float((module(*inputs) - out).abs().max()) > ROUNDING * float(out.abs().max()):
            yield f"the output depends on {[*idle]}, declared idle; allowed are parameters without effect"


def docstring(case: Case) -> Iterator[str]:
    """What the docstring says of parameters, MACs and products is what there is, exactly."""
    said = lines(case.op.cls)
    if case.height * case.width == 1:  # a contraction over one token is a product
        return
    counted = counts(case)
    for key, value in zip(COUNTED, counted, strict=True):
        if key in said and (stated := evaluate(said[key], case.names)) != value:
            yield f"{key} are {value} by count; the docstring says {stated} ({said[key]})"


def family(case: Case) -> Iterator[str]:
    """What is called additive multiplies no two activations: studies compare families by their names."""
    if case.op.family == "additive" and (products := counts(case)[2]):
        yield f"the family is 'additive', yet {products} products of two activations are counted; allowed are none"


def counts(case: Case) -> tuple[int, int, int]:
    """Parameters, MACs and products of a case."""
    module = case.build(device="meta")
    channels = case.inputs(device="meta")[0].shape[1]
    merged = "merge" in case.op.roles
    found = cost(Joined(module) if merged else module, (channels * (1 + merged), case.height, case.width))
    return sum(p.numel() for p in module.parameters()), found.macs, found.products


def interaction_degree(case: Case) -> Iterator[str]:
    """f(t x), norms and activations the identity and biases off, is a polynomial in t of the stated degree."""
    said = lines(case.op.cls).get("Degree", "")
    if not PARTS & set(case.op.roles) or not said or case.height * case.width == 1:
        return
    stated, nominal = degree(said, case.names)
    varied = case.op.slots.get(case.varied.partition("=")[0])
    if nominal or (varied and {Act, Norm} & {varied.type, *typing.get_args(varied.type)}):
        return  # a nominal degree is not one of a polynomial; another norm or activation becomes the same identity
    module = randomise(case.build(dtype=torch.float64)).eval()
    for part in module.modules():
        if isinstance(part, NORMS + ACTIVATIONS):
            part.forward = lambda x, *_, **__: x
    for key, p in module.named_parameters():
        if key.rpartition(".")[2].endswith("bias"):
            nn.init.zeros_(p)
    # Nine positive points: max pooling and |x| are of degree 1 there. Chebyshev's, where the fit is well conditioned.
    points = np.cos(np.pi * (np.arange(9) + 0.5) / 9)
    scale = torch.from_numpy(1 + points).view(-1, 1, 1, 1)
    with torch.no_grad():  # the nine are one batch
        outs = module(*(scale * x for x in case.inputs(batch=1, dtype=torch.float64))).flatten(1).numpy()
    sizes = np.abs(np.linalg.solve(np.polynomial.chebyshev.chebvander(points, 8), outs)).max(1)
    found = int(np.nonzero(sizes > TOLERANCE * max(np.abs(outs).max(), 1e-300))[0].max(initial=0))
    if found != stated:
        yield f"the degree is {found if found < 8 else '8 or more, or no polynomial'}; the docstring says {stated}"


def additive_twin(case: Case) -> Iterator[str]:
    """The twin that sums where the op multiplies has as many parameters and MACs, and fewer products."""
    if case.op.twin is None or not case.op.multiplies(case.values) or case.height * case.width == 1:
        return
    slot, product, total = case.op.twin
    other = replace(case, values={**case.values, slot: total})
    if text := other.broken:
        yield f"the rules refuse the twin {slot}={total!r}: {text}"
        return
    said = lines(case.op.cls)
    mine, twins = (
        # Where a slot is varied the formulas do, if there are any, which `docstring` holds against the count.
        counts(c)
        if case.varied == "defaults" or not said.keys() >= set(COUNTED)
        else tuple(int(evaluate(said[key], c.names)) for key in COUNTED)
        for c in (case, other)
    )
    if mine[:2] != twins[:2]:
        yield f"parameters and MACs are {twins[:2]} at {slot}={total!r}, but {mine[:2]} at {product!r}; they must agree"
    if twins[2] >= mine[2]:
        yield f"products are {twins[2]} at {slot}={total!r} and {mine[2]} at {product!r}; the twin must have fewer"


def stack(case: Case) -> Iterator[str]:
    """Twelve residual nodes stay finite at initialisation, forward and backward, in float32 and bfloat16."""
    if not PARTS & set(case.op.roles):
        return
    residual, add = find_op("residual").cls, find_op("add").cls
    for dtype, alpha in itertools.product((torch.float32, torch.bfloat16), (0.0, 1.0)):
        dd: dict[str, Any] = {"dtype": dtype}
        nodes = []
        for _ in range(DEPTH):
            part = case.build(**dd)
            merged = "merge" in case.op.roles
            inner, merge = (pointwise(case.dim, **dd), part) if merged else (part, add(case.dim, **dd))
            nodes.append(residual(case.dim, block=inner, merge=merge, norm="layernorm2d", **dd))
        module = nn.Sequential(*nodes)
        for key, p in module.named_parameters():
            if key.rpartition(".")[2] == "alpha":
                nn.init.constant_(p, alpha)
        x = torch.randn(2, case.dim, case.height, case.width, **dd).requires_grad_()
        out = module(x)
        out.float().square().mean().backward()
        where = f"{DEPTH} residual nodes in {dtype} with alphas at {alpha:g}"
        if out.dtype != dtype:
            yield f"the output is {out.dtype} in {where}; allowed is the dtype of the input"
        if not out.isfinite().all() or x.grad is None or not x.grad.isfinite().all():
            yield f"the output or its gradient is not finite after {where}"


def autocast(case: Case) -> Iterator[str]:
    """Under autocast, as training may be, values and gradients are finite."""
    module, inputs = case.build(), [x.requires_grad_() for x in case.inputs()]
    with torch.autocast("cpu", torch.bfloat16):
        out = module(*inputs)
    out.float().square().mean().backward()
    if not out.isfinite().all() or not all(p.grad is None or p.grad.isfinite().all() for p in module.parameters()):
        yield "the output or a gradient is not finite under autocast to torch.bfloat16"


HEAD = ("fc", "drop", "classes", "hidden_size", "reset")


def head(case: Case) -> Iterator[str]:
    """What timm's model interface asks of a head: its classifier may be taken, made anew and left out."""
    if "head" not in case.op.roles:
        return
    module: Any = case.build()
    if lacking := [name for name in HEAD if not hasattr(module, name)]:
        yield f"a head needs {', '.join(HEAD)} and forward(x, pre_logits=...), as `pooled_linear` has; lacks {lacking}"
        return
    module.reset(3)
    shapes = [tuple(module(*case.inputs(), pre_logits=left_out).shape) for left_out in (False, True)]
    if shapes != [(2, 3), (2, module.hidden_size)]:
        yield f"after reset(3) logits and features are {shapes}; allowed are (2, 3) and (2, hidden_size)"


def strange_values(case: Case) -> Iterator[str]:
    """Whatever its types and rules admit, an op must build and run: else a rule has to refuse it."""
    tried = [replace(case, dim=dim, varied="defaults") for dim in (1, 3, 10)]
    for slot in case.op.slots.values():
        for kind, values in STRANGE.items():
            for value in values:
                try:
                    if not slot.roles and kind is type(slot.check(value)):
                        varied = {**case.values, slot.name: value}
                        tried.append(replace(case, values=varied, varied=f"{slot.name}={value!r}"))
                except SpecError:
                    continue
    for strange in tried:
        try:
            if strange.broken:
                continue
            out = strange.build()(*strange.inputs())
        except Exception as error:
            yield f"{strange}: no rule refuses it, yet it fails with {type(error).__name__}: {error}"
        else:
            if out.shape != (2, *strange.shape_out):
                found, allowed = tuple(out.shape), (2, *strange.shape_out)
                yield f"{strange}: no rule refuses it, yet the output is {found}; allowed is {allowed}"


Check = Callable[[Case], Iterator[str]]
PER_CASE: tuple[Check, ...] = (behaviour, outside_state_dict, docstring, interaction_degree, additive_twin)
ONCE: tuple[Check, ...] = (family, stack, autocast, head, strange_values)


def check(op: Op, seed: int = 0) -> list[str]:
    """Every finding about `op`, none if it keeps the contract. The random state of the caller stays as it is."""
    if "host" in op.roles:
        return []
    try:
        found = cases(op)
    except HadnasError as error:
        return [str(error)]
    except Exception as error:
        return [f"{op.name}: its rules fail with {type(error).__name__}: {error}"]
    findings: list[str] = []
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # torch warns of empty tensors and broadcasts: faults of an op
        for case, rule in [*itertools.product(found, PER_CASE), *itertools.product(found[:1], ONCE)]:
            torch.manual_seed(seed)
            try:
                own = rule is strange_values  # which says of what case each finding is
                findings += (text if own else f"{case}: {text}" for text in rule(case))
            except Exception as error:
                findings.append(f"{case}: {rule.__name__} fails with {type(error).__name__}: {error}")
    return list(dict.fromkeys(findings))
