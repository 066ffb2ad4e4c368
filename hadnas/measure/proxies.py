"""Zero-cost scores of an untrained network: nwot and synflow. `hadnas proxies` measures how they rank a study."""

from typing import Any

import torch
from torch import Tensor, nn

from hadnas.errors import MeasurementError
from hadnas.inputs import Inputs, InputShape, shapes_text, zeros
from hadnas.measure.aten import GATES, TorchDispatchMode
from hadnas.measure.copies import copied


def nwot(module: nn.Module, inputs: Inputs) -> float:
    """Score without training: how much the activation patterns of the images of a batch (B, ...), B >= 2, differ.

    log |det K|,  K_ij = A - d(c_i, c_j): A activations in all, c_i their binary code for image i (1 for a positive
    input), d the Hamming distance. -inf if two images have the same code. An activation is any variant of ReLU, called
    as a module or as a function. Training mode, on a copy on the images' device.

    Raises MeasurementError if the network has no activation or the forward pass fails.
    Source: Mellor et al., "Neural architecture search without training", 2021, arXiv 2006.04647, equations 1 and 2
    (there for ReLU only).
    """
    first = inputs[0]
    if len(first) < 2:
        raise MeasurementError(f"nwot on a batch of {len(first)} images: allowed are two or more images")
    twin = _copied(module, first.device).train()
    codes = _Codes(len(first))
    with torch.random.fork_rng(devices=[first.device] if first.is_cuda else []), torch.no_grad(), codes:
        torch.manual_seed(0)
        _forward(twin, inputs)
    if codes.total == 0:
        raise MeasurementError(f"nwot: the module ({type(module).__name__}) has no activation function")
    return float(torch.linalg.slogdet(codes.kernel)[1])


def synflow(module: nn.Module, *shapes: InputShape) -> float:
    """Synaptic flow: the sum over weights of |w dR/dw|, R the summed output for inputs of ones; tokens are all 0.

    The score of Abdelfattah et al.'s published code: every parameter and buffer is replaced by its absolute value and
    every batch normalisation by the identity (with the activation that timm fuses into some); the sum is over the
    weights of two-dimensional convolutions and linear layers. Float64 on the CPU and evaluation mode, so that dropout
    does not make it random. Layer and group normalisation remain and rescale the signal, which makes the score much
    less meaningful.

    Raises MeasurementError if the pass fails.
    Source: Tanaka et al., "Pruning neural networks without any data by iteratively conserving synaptic flow", 2020,
    arXiv 2006.05467, equation 3; as a score: Abdelfattah et al., "Zero-cost proxies for lightweight NAS", 2021,
    arXiv 2101.08134, and github.com/SamsungLabs/zero-cost-nas.
    """
    twin = _copied(module, torch.device("cpu")).double().eval().requires_grad_()
    with torch.no_grad():
        for value in twin.state_dict().values():
            if value.is_floating_point():
                value.abs_()
    for part in twin.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.register_forward_hook(lambda norm, given, out: given[0])
    weights = [part.weight for part in twin.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    with torch.enable_grad():
        # two equal images, since some backward passes of torch are wrong for one; half their sum is R
        ones = tuple(one + 1 if one.is_floating_point() else one for one in zeros(shapes, 2, dtype=torch.float64))
        flow = _forward(twin, ones).sum() / 2
        gradients = torch.autograd.grad(flow, weights, allow_unused=True) if weights else ()
    flows = [(w.detach() * g).abs().sum() for w, g in zip(weights, gradients, strict=True) if g is not None]
    return float(sum(flows))


class _Codes(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Collects, over all activations, how many of them two images share."""

    def __init__(self, images: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kernel = torch.zeros(images, images, dtype=torch.float64)
        self.total = 0

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if op.overloadpacket in GATES and len(args[0]) == len(self.kernel):
            code = (args[0] > 0).flatten(1).double()
            self.kernel += (code @ code.T + (1 - code) @ (1 - code).T).cpu()
            self.total += code.shape[1]
        return op(*args, **(kwargs or {}))


def _copied(module: nn.Module, device: torch.device) -> nn.Module:
    if any(p.is_meta for p in module.parameters()):
        raise MeasurementError(f"the module ({type(module).__name__}) is on the meta device: no weights, no score")
    return copied(module).to(device)


def _forward(module: nn.Module, inputs: Inputs) -> Tensor:
    try:
        out: Tensor = module(*inputs)
    except Exception as error:
        raise MeasurementError(
            f"the module ({type(module).__name__}) failed on an input {shapes_text(inputs)}: "
            f"{type(error).__name__}: {error}"
        ) from error
    return out
