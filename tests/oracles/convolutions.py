"""Convolutional blocks: timm's classes with copied weights where the form is the published one, else torch's."""

from typing import Any

import torch
from timm.layers import create_act_layer
from timm.models._efficientnet_blocks import (
    DepthwiseSeparableConv,
    InvertedResidual,
    SqueezeExcite,
    UniversalInvertedResidual,
)
from timm.models.convnext import ConvNeXtBlock
from timm.models.inception_next import MetaNeXtBlock
from timm.models.metaformer import SepConv
from timm.models.resnet import BasicBlock
from torch import Tensor, nn
from torch.nn import functional as F

from tests.oracles import oracle

Params = dict[str, Tensor]


def renamed(p: Params, names: dict[str, str]) -> Params:
    """The same tensors under the names of another module."""
    return {f"{names[k.rpartition('.')[0]]}.{k.rpartition('.')[2]}": value for k, value in p.items()}


def run(module: nn.Module, p: Params, x: Tensor, v: dict[str, Any]) -> Tensor:
    """A timm module with these weights, in the mode asked for."""
    return torch.func.functional_call(module.to(x.dtype).train(v["training"]), p, x)


def pointwise(p: Params, name: str, h: Tensor) -> Tensor:
    out = torch.einsum("oi,bihw->bohw", p[f"{name}.weight"][:, :, 0, 0], h)
    return out + p[f"{name}.bias"][:, None, None] if f"{name}.bias" in p else out


def depthwise_loop(p: Params, name: str, h: Tensor) -> Tensor:
    """A depthwise convolution as a sum of shifted, scaled maps."""
    weight = p[f"{name}.weight"][:, 0]
    k, (height, width) = weight.shape[-1], h.shape[2:]
    padded = F.pad(h, [k // 2] * 4)
    shifts = [(i, j) for i in range(k) for j in range(k)]
    out = sum(padded[:, :, i : i + height, j : j + width] * weight[:, i, j, None, None] for i, j in shifts)
    return out + p[f"{name}.bias"][:, None, None] if f"{name}.bias" in p else out


@oracle("conv_next", {}, {"grn": True, "kernel": 5, "expand": 2}, {"norm": None, "act": "star_relu", "kernel": 3})
def conv_next(p: Params, x: Tensor, **v: Any) -> Tensor:
    if v["norm"] == "layernorm2d":
        grn = v["grn"]
        block = ConvNeXtBlock(
            x.shape[1], None, v["kernel"], mlp_ratio=v["expand"], conv_mlp=True, use_grn=grn, ls_init_value=None
        )
        names = {"dw": "conv_dw", "norm": "norm", "w1": "mlp.fc1", "grn": "mlp.grn", "w2": "mlp.fc2"}
        return run(block, renamed(p, names), x, v) - x
    h = pointwise(p, "w1", depthwise_loop(p, "dw", x))
    return pointwise(p, "w2", p["act.scale"] * h * h * (h > 0) + p["act.bias"])


@oracle("inverted_bottleneck", {}, {"squeeze": 1, "kernel": 5, "expand": 3}, {"act": "silu", "expand": 1})
def inverted_bottleneck(p: Params, x: Tensor, **v: Any) -> Tensor:
    def gate(channels: int, act_layer: Any = None, **dd: Any) -> nn.Module:
        return SqueezeExcite(channels, rd_channels=x.shape[1] // v["squeeze"], **dd)

    block = InvertedResidual(
        x.shape[1],
        x.shape[1],
        v["kernel"],
        noskip=True,
        exp_ratio=v["expand"],
        act_layer={"relu6": nn.ReLU6, "silu": nn.SiLU}[v["act"]],
        se_layer=gate if v["squeeze"] else None,
    )
    names = {"w1": "conv_pw", "norm1": "bn1", "dw": "conv_dw", "norm2": "bn2", "w2": "conv_pwl", "norm3": "bn3"}
    names |= {"se.fc1": "se.conv_reduce", "se.fc2": "se.conv_expand"}
    return run(block, renamed(p, names), x, v)


@oracle("basic", {}, {"act": None, "kernel": 5, "norm": None})
def basic(p: Params, x: Tensor, **v: Any) -> Tensor:
    if v["act"] is None:
        return F.conv2d(F.conv2d(x, p["conv1.weight"], padding="same"), p["conv2.weight"], padding="same")
    block = BasicBlock(x.shape[1], x.shape[1])
    block.act2 = nn.Identity()
    names = {"conv1": "conv1", "norm1": "bn1", "conv2": "conv2", "norm2": "bn2"}
    return run(block, renamed(p, names), x, v) - x


@oracle("depthwise", {}, {"act": "gelu", "kernel": 5}, {"act": None, "norm": None})
def depthwise(p: Params, x: Tensor, **v: Any) -> Tensor:
    if v["norm"] is None:
        return pointwise(p, "w", depthwise_loop(p, "dw", x))
    act = type(create_act_layer(v["act"]))
    block = DepthwiseSeparableConv(x.shape[1], x.shape[1], v["kernel"], noskip=True, act_layer=act)
    return run(block, renamed(p, {"dw": "conv_dw", "norm1": "bn1", "w": "conv_pw", "norm2": "bn2"}), x, v)


@oracle(
    "uib",
    {},
    {"start": None, "expand": 2},
    {"start": 5, "middle": None, "act": "silu"},
    {"start": None, "middle": None},
)
def uib(p: Params, x: Tensor, **v: Any) -> Tensor:
    block = UniversalInvertedResidual(
        x.shape[1],
        x.shape[1],
        v["start"] or 0,
        v["middle"] or 0,
        noskip=True,
        exp_ratio=v["expand"],
        act_layer={"relu": nn.ReLU, "silu": nn.SiLU}[v["act"]],
        layer_scale_init_value=None,
    )
    parts = {"start": "dw_start", "expand": "pw_exp", "middle": "dw_mid", "project": "pw_proj"}
    names = {
        f"{ours}.{i}": f"{theirs}.{kind}" for ours, theirs in parts.items() for i, kind in enumerate(("conv", "bn"))
    }
    return run(block, renamed(p, names), x, v)


@oracle("sep_conv", {}, {"act": "gelu", "bias": True, "kernel": 3, "expand": 1})
def sep_conv(p: Params, x: Tensor, **v: Any) -> Tensor:
    options = {"act1_layer": nn.GELU} if v["act"] == "gelu" else {}
    k = v["kernel"]
    block = SepConv(x.shape[1], v["expand"], bias=v["bias"], kernel_size=k, padding=k // 2, **options)
    names = {"w1": "pwconv1", "act": "act1", "dw": "dwconv", "w2": "pwconv2"}
    return run(block, renamed(p, names), x, v)


@oracle("meta_next", {}, {"share": 4, "kernel": 5, "band": 7, "expand": 2, "norm": None})
def meta_next(p: Params, x: Tensor, **v: Any) -> Tensor:
    names = {"norm": "norm", "w1": "mlp.fc1", "w2": "mlp.fc2"}
    names |= {f"dw.{branch}": f"token_mixer.{branch}" for branch in ("dwconv_hw", "dwconv_w", "dwconv_h")}
    if v["norm"]:
        block = MetaNeXtBlock(x.shape[1], mlp_ratio=v["expand"], ls_init_value=0.0)
        return run(block, renamed(p, names), x, v) - x
    branch, rest = x.shape[1] // v["share"], x.shape[1] - 3 * (x.shape[1] // v["share"])
    parts = list(x.split([rest, branch, branch, branch], dim=1))
    for i, name in enumerate(("hw", "w", "h"), 1):
        weight, bias = p[f"dw.dwconv_{name}.weight"], p[f"dw.dwconv_{name}.bias"]
        parts[i] = F.conv2d(parts[i], weight, bias, padding="same", groups=branch)
    return pointwise(p, "w2", F.gelu(pointwise(p, "w1", torch.cat(parts, dim=1))))
