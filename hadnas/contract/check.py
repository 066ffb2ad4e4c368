"""Checks the contract of every registered op, shipped or user-defined. A finding is a sentence; a good op has none.

    check_op(find_op("star")) == []

A finding names the op, the case, what was found and what is allowed. Hosts are not checked: they are
whole models. A graft is checked around or in place of a module of every kind of site at which it may stand.
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

from hadnas.blocks.layers import Act, Norm
from hadnas.blocks.registry import Op, find_op
from hadnas.contract.cases import Case, cases, pointwise, randomise, state
from hadnas.contract.formula import compute, degree, lines
from hadnas.contract.graft_cases import around, at_sites
from hadnas.contract.masks import masks
from hadnas.contract.state_dict import outside_state_dict
from hadnas.errors import HadnasError, SpecError
from hadnas.inputs import Mask
from hadnas.measure.cost import cost

INNER_ROLES = frozenset({"block", "merge"})  # the roles inside a residual node
WITH_DEGREE = INNER_ROLES | {"fusion", "masked"}
COUNTED = ("Params", "MACs", "Products")
DEPTH = 12  # stacked residual nodes
COEFFICIENT_TOLERANCE = 1e-9  # relative to the largest value of the function
# Of a gradient, relative to the largest. Seen: 1e-15 for parameters without effect, at least 1e-10 for all others.
ROUNDING = 1e-12
STRANGE: dict[type, tuple[Any, ...]] = {int: (-1, 0, 2, 3), float: (-1.0, 0.0, 1.5)}

NORMS = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
    *(nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, RmsNorm, RmsNorm2d, SimpleNorm, SimpleNorm2d),
)
ACTIVATIONS = (
    StarReLU,
    SquaredReLU,
    *(
        cls
        for cls in (*vars(torch_activations).values(), *vars(timm_activations).values())
        if inspect.isclass(cls) and issubclass(cls, nn.Module) and cls not in (nn.Module, nn.MultiheadAttention)
    ),
)


def behaviour(case: Case) -> Iterator[str]:
    """Output shape, dtype and finite values; input unchanged; a gradient in every parameter not declared idle."""
    module = randomise(case.build(dtype=torch.float64)).eval()
    if stray := [key for key, t in state(module) if t.is_floating_point() and t.dtype != torch.float64]:
        yield f"{stray} ignore the dtype given; every parameter and buffer takes device and dtype"
    if stray := [key for key, t in state(case.build(device="meta")) if not t.is_meta]:
        yield f"{stray} ignore the device given; every parameter and buffer takes device and dtype"
    inputs = [x.requires_grad_(x.is_floating_point()) for x in case.inputs(dtype=torch.float64)]
    given = [x.clone() for x in inputs]
    out = module(*given)
    if out.shape != (2, *case.shape_out):
        yield f"the output has the shape {tuple(out.shape)}; allowed is {(2, *case.shape_out)}"
    if out.dtype != torch.float64:
        yield f"the output of a float64 input is {out.dtype}; allowed is the dtype of the input"
    if not out.isfinite().all():
        yield "the output is not finite with random weights"
    if not all(torch.equal(x, y) for x, y in zip(inputs, given, strict=True)):
        yield "the forward pass changed its input in place"
    if case.height * case.width > 1:  # at one position a mean, a softmax over tokens or a shift is constant
        yield from gradients(case, module, inputs)


def gradients(case: Case, module: nn.Module, inputs: list[Tensor]) -> Iterator[str]:
    """A gradient beyond rounding in every parameter; no effect beyond rounding of those declared idle."""
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
    """The docstring's numbers of parameters, MACs and products equal the counted ones."""
    stated = lines(case.op.cls)
    if case.height * case.width == 1:  # a contraction over one token is a product
        return
    counted = counts(case)
    for key, value in zip(COUNTED, counted, strict=True):
        if key in stated and (computed := compute(stated[key], case.names)) != value:
            yield f"{key} are {value} by count; the docstring gives {computed} ({stated[key]})"


def family(case: Case) -> Iterator[str]:
    """An additive op multiplies no two activations: studies compare families by their names."""
    if case.op.family == "additive" and (products := counts(case)[2]):
        yield f"the family is 'additive', yet {products} products of two activations are counted; allowed are none"


def counts(case: Case) -> tuple[int, int, int]:
    """Parameters, MACs and products of a case."""
    module = case.build(device="meta")
    found = cost(module, *case.shapes_in)
    return sum(p.numel() for p in module.parameters()), found.macs, found.products


def interaction_degree(case: Case) -> Iterator[str]:
    """f(t x), with norms and activations as the identity and without biases, has the stated degree in t.

    A mask stays as it is.
    """
    formula = lines(case.op.cls).get("Degree", "")
    if not WITH_DEGREE & set(case.op.roles) or not formula or case.height * case.width == 1:
        return
    stated, nominal = degree(formula, case.names)
    varied = case.op.slots.get(case.varied.partition("=")[0])
    if nominal or (varied and {Act, Norm} & {varied.type, *typing.get_args(varied.type)}):
        return  # a nominal degree is not a polynomial's; another norm or activation is the same identity here
    module = randomise(case.build(dtype=torch.float64)).eval()
    for part in module.modules():
        if isinstance(part, NORMS + ACTIVATIONS):
            part.forward = lambda x, *_, **__: x
    for key, p in module.named_parameters():
        if key.rpartition(".")[2].endswith("bias"):
            nn.init.zeros_(p)
    # Nine positive points: max pooling and |x| have degree 1 there. At Chebyshev points the fit is well conditioned.
    points = np.cos(np.pi * (np.arange(9) + 0.5) / 9)
    scale = torch.from_numpy(1 + points)
    with torch.no_grad():  # the nine points are one batch
        inputs = case.inputs(batch=1, dtype=torch.float64)
        factors = [1 + 0 * scale if isinstance(shape, Mask) else scale for shape in case.shapes_in]
        pairs = zip(factors, inputs, strict=True)
        outs = module(*(by.view(-1, *[1] * (x.ndim - 1)) * x for by, x in pairs)).flatten(1).numpy()
    sizes = np.abs(np.linalg.solve(np.polynomial.chebyshev.chebvander(points, 8), outs)).max(1)
    found = int(np.nonzero(sizes > COEFFICIENT_TOLERANCE * max(np.abs(outs).max(), 1e-300))[0].max(initial=0))
    if found != stated:
        yield f"the degree is {found if found < 8 else '8 or more, or no polynomial'}; the docstring gives {stated}"


def twin(case: Case) -> Iterator[str]:
    """The additive twin has equal parameters and MACs, and fewer products."""
    if case.op.twin is None or not case.op.multiplies(case.values) or case.height * case.width == 1:
        return
    slot, product, total = case.op.twin
    other = replace(case, values={**case.values, slot: total})
    if text := other.broken:
        yield f"the rules refuse the twin {slot}={total!r}: {text}"
        return
    stated = lines(case.op.cls)
    mine, twins = (
        # Counting is slow; for a varied slot the formulas suffice, since `docstring` compares them with the counts.
        counts(c)
        if case.varied == "defaults" or not stated.keys() >= set(COUNTED)
        else tuple(int(compute(stated[key], c.names)) for key in COUNTED)
        for c in (case, other)
    )
    if mine[:2] != twins[:2]:
        yield f"parameters and MACs are {twins[:2]} at {slot}={total!r}, but {mine[:2]} at {product!r}; they must agree"
    if twins[2] >= mine[2]:
        yield f"products are {twins[2]} at {slot}={total!r} and {mine[2]} at {product!r}; the twin must have fewer"


def stack(case: Case) -> Iterator[str]:
    """Twelve residual nodes are finite at initialisation, forward and backward, in float32 and bfloat16."""
    if not INNER_ROLES & set(case.op.roles):
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
        context = f"{DEPTH} residual nodes in {dtype} with alphas at {alpha:g}"
        if out.dtype != dtype:
            yield f"the output is {out.dtype} in {context}; allowed is the dtype of the input"
        if not out.isfinite().all() or x.grad is None or not x.grad.isfinite().all():
            yield f"the output or its gradient is not finite after {context}"


def autocast(case: Case) -> Iterator[str]:
    """Values and gradients are finite under autocast, which training may use."""
    module, inputs = case.build(), [x.requires_grad_(x.is_floating_point()) for x in case.inputs()]
    with torch.autocast("cpu", torch.bfloat16):
        out = module(*inputs)
    if out.requires_grad:
        out.float().square().mean().backward()
    if not out.isfinite().all() or not all(p.grad is None or p.grad.isfinite().all() for p in module.parameters()):
        yield "the output or a gradient is not finite under autocast to torch.bfloat16"


HEAD = ("fc", "drop", "classes", "hidden_size", "reset")


def head(case: Case) -> Iterator[str]:
    """timm's model interface for a head: its classifier can be read, replaced and skipped."""
    if "head" not in case.op.roles:
        return
    module: Any = case.build()
    if lacking := [name for name in HEAD if not hasattr(module, name)]:
        yield f"a head needs {', '.join(HEAD)} and forward(x, pre_logits=...), like `pooled_linear`; lacks {lacking}"
        return
    module.reset(3)
    shapes = [tuple(module(*case.inputs(), pre_logits=skipped).shape) for skipped in (False, True)]
    if shapes != [(2, 3), (2, module.hidden_size)]:
        yield f"after reset(3) logits and features are {shapes}; allowed are (2, 3) and (2, hidden_size)"


def strange_values(case: Case) -> Iterator[str]:
    """An op builds and runs with every value that its types and rules allow; a rule must refuse the others."""
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
PER_CASE: tuple[Check, ...] = (behaviour, around, masks, outside_state_dict, docstring, interaction_degree, twin)
ONCE: tuple[Check, ...] = (family, stack, autocast, head, strange_values)


def check_op(op: Op, seed: int = 0) -> list[str]:
    """Every finding about `op`; none if it satisfies the contract. The caller's random state is unchanged."""
    if "host" in op.roles:
        return []
    try:
        base = cases(op)
    except HadnasError as error:
        return [str(error)]
    except Exception as error:
        return [f"{op.name}: its rules fail with {type(error).__name__}: {error}"]
    findings: list[str] = []
    found, first = [other for case in base for other in at_sites(case)], at_sites(base[0])
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # torch warns of empty tensors and broadcasts, errors of an op
        for case, rule in [*itertools.product(found, PER_CASE), *itertools.product(first, ONCE)]:
            torch.manual_seed(seed)
            try:
                named = rule is strange_values  # its findings name their own cases
                findings += (text if named else f"{case}: {text}" for text in rule(case))
            except Exception as error:
                findings.append(f"{case}: {rule.__name__} fails with {type(error).__name__}: {error}")
    return list(dict.fromkeys(findings))
