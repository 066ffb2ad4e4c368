"""The fusions of two inputs: bilinear forms by `F.bilinear`, the polynomial expanded by hand, the rest by loops."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.oracles import oracle
from tests.oracles.written import act, join


def normed(p: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    """The LayerNorm `name` over the second dimension of (B, K) or (B, K, H, W), with the epsilon of vectors or maps."""
    shape = (-1, *[1] * (x.ndim - 2))
    mean, eps = x.mean(1, keepdim=True), 1e-5 if x.ndim == 2 else 1e-6
    var = ((x - mean) ** 2).mean(1, keepdim=True)
    return (x - mean) / torch.sqrt(var + eps) * p[f"{name}.weight"].view(shape) + p[f"{name}.bias"].view(shape)


def both(p: dict[str, Tensor], a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    return normed(p, "left_norm", a), normed(p, "right_norm", b)


def linear(p: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    """The linear layer or pointwise convolution `name` over the second dimension."""
    weight, bias = p[f"{name}.weight"], p.get(f"{name}.bias", torch.zeros((), dtype=x.dtype))
    out = torch.einsum("oi,bi...->bo...", weight.flatten(1), x)
    return out + bias.view(-1, *[1] * (x.ndim - 2)) if bias.ndim else out


def bilinear(left: Tensor, right: Tensor, out: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """sum_m out_om (left a)_m (right b)_m by `F.bilinear`, with its three-dimensional weight written out."""
    return F.bilinear(a, b, torch.einsum("om,mi,mj->oij", out, left, right))


def extended(x: Tensor) -> Tensor:
    """x with a 1 at its end: a linear map of it has a bias."""
    return torch.cat((x, torch.ones_like(x[:, :1])), dim=1)


def affine(p: dict[str, Tensor], name: str) -> Tensor:
    """Weight and bias of a linear layer as one matrix, for `extended`."""
    return torch.cat((p[f"{name}.weight"], p[f"{name}.bias"][:, None]), dim=1)


@oracle("linear_sum", {}, {"act": None}, {"act": "silu"})
def linear_sum(p: dict[str, Tensor], a: Tensor, b: Tensor, **v: Any) -> Tensor:
    a, b = both(p, a, b)
    return linear(p, "out", act(v["act"], linear(p, "u", a)) + act(v["act"], linear(p, "v", b)))


@oracle("concat_mlp", {}, {"act": None})
def concat_mlp(p: dict[str, Tensor], a: Tensor, b: Tensor, **v: Any) -> Tensor:
    a, b = both(p, a, b)
    left, right = p["u.weight"][:, : a.shape[1]], p["u.weight"][:, a.shape[1] :]
    return linear(p, "out", act(v["act"], a @ left.T + b @ right.T + p["u.bias"]))


@oracle("mlb", {"act": None}, {"act": "sigmoid"}, {"act": None, "interact": "sum"})
def mlb(p: dict[str, Tensor], a: Tensor, b: Tensor, **v: Any) -> Tensor:
    a, b = both(p, a, b)
    if v["act"] is None and v["interact"] == "mul":
        form = bilinear(affine(p, "u"), affine(p, "v"), p["out.weight"], extended(a), extended(b))
        return form + p["out.bias"]
    return linear(p, "out", join(v["interact"], act(v["act"], linear(p, "u", a)), act(v["act"], linear(p, "v", b))))


def power(z: Tensor) -> Tensor:
    z = z / torch.sqrt(z.abs() + 1e-4)
    return z / torch.sqrt((z**2).sum(-1, keepdim=True))


@oracle("mfb", {"power": False}, {}, {"factors": 1, "hidden": 3}, {"interact": "sum"})
def mfb(p: dict[str, Tensor], a: Tensor, b: Tensor, **v: Any) -> Tensor:
    """The sum over groups is a bilinear form whose weights are those of the group."""
    a, b = both(p, a, b)
    k = v["factors"]
    if v["interact"] == "mul":
        groups = torch.eye(v["hidden"], dtype=a.dtype).repeat_interleave(k, dim=1)
        z = bilinear(affine(p, "u"), affine(p, "v"), groups, extended(a), extended(b))
    else:
        z = torch.stack((linear(p, "u", a) + linear(p, "v", b)).split(k, dim=1), 1).sum(2)
    return linear(p, "out", power(z) if v["power"] else z)


@oracle("mutan", {}, {"rank": 1}, {"core": 3, "hidden": 5}, {"interact": "sum"})
def mutan(p: dict[str, Tensor], a: Tensor, b: Tensor, **v: Any) -> Tensor:
    """Each of the `rank` products is a bilinear form of the two cores."""
    a, b = both(p, a, b)
    left, right = extended(linear(p, "u", a)), extended(linear(p, "v", b))
    one, total = torch.eye(v["hidden"], dtype=a.dtype), torch.zeros((), dtype=a.dtype)
    for m, n in zip(affine(p, "m").split(v["hidden"]), affine(p, "n").split(v["hidden"]), strict=True):
        total = total + (bilinear(m, n, one, left, right) if v["interact"] == "mul" else left @ m.T + right @ n.T)
    return linear(p, "out", total)


@oracle("block_fusion", {"power": False}, {}, {"chunks": 1, "power": False}, {"interact": "sum"})
def block_fusion(p: dict[str, Tensor], a: Tensor, b: Tensor, **v: Any) -> Tensor:
    """Chunk by chunk; the grouped layers have the chunk's rows for each rank one after another."""
    a, b = both(p, a, b)
    left, right = linear(p, "u", a), linear(p, "v", b)
    core, wide = v["core"] // v["chunks"], v["hidden"] // v["chunks"]
    found = []
    for chunk in range(v["chunks"]):
        x, y = (side[:, chunk * core : (chunk + 1) * core] for side in (left, right))
        z = torch.zeros((), dtype=a.dtype)
        for rank in range(v["rank"]):
            start = (chunk * v["rank"] + rank) * wide
            m, n = (
                side @ p[f"{name}.weight"][start : start + wide, :, 0].T + p[f"{name}.bias"][start : start + wide]
                for side, name in ((x, "m"), (y, "n"))
            )
            z = z + join(v["interact"], m, n)
        found.append(power(z) if v["power"] else z)
    return linear(p, "out", torch.cat(found, dim=1))


@oracle("gated_fusion", {"act": None}, {"act": "sigmoid"}, {"act": None, "interact": "sum"})
def gated_fusion(p: dict[str, Tensor], a: Tensor, b: Tensor, **v: Any) -> Tensor:
    a, b = both(p, a, b)
    g = act("sigmoid", linear(p, "g", torch.cat((a, b), 1)))
    x, y = act(v["act"], linear(p, "u", a)), act(v["act"], linear(p, "v", b))
    return linear(p, "out", g * x + (1 - g) * y if v["interact"] == "mul" else g + x + y)


@oracle("poly2", {}, {"degree": 3}, {"degree": 4}, {"interact": "sum"})
def poly2(p: dict[str, Tensor], a: Tensor, b: Tensor, **v: Any) -> Tensor:
    """Degree 2 expanded by hand into monomials of both inputs; a higher one step by step."""
    a, b = both(p, a, b)
    first, second = ((p[f"{name}.weight"].chunk(v["degree"])) for name in ("a", "b"))
    c, one = p["c"], torch.eye(v["hidden"], dtype=a.dtype)
    if v["degree"] == 2 and v["interact"] == "mul":
        inner_a, inner_b = p["s.0.weight"] @ (c[0][:, None] * first[0]), p["s.0.weight"] @ (c[0][:, None] * second[0])
        aa, ab = bilinear(first[1], inner_a, one, a, a), bilinear(first[1], inner_b, one, a, b)
        ba, bb = bilinear(second[1], inner_a, one, b, a), bilinear(second[1], inner_b, one, b, b)
        degree_1 = a @ (c[1][:, None] * first[1]).T + b @ (c[1][:, None] * second[1]).T
        return linear(p, "out", aa + ab + ba + bb + degree_1)
    y = (a @ first[0].T + b @ second[0].T) * c[0]
    for step in range(1, v["degree"]):
        y = join(v["interact"], a @ first[step].T + b @ second[step].T, y @ p[f"s.{step - 1}.weight"].T + c[step])
    return linear(p, "out", y)


def whitened(x: Tensor) -> Tensor:
    """Mean 0 and variance 1 over channels and positions."""
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) / torch.sqrt(((x - mean) ** 2).mean((1, 2, 3), keepdim=True) + 1e-5)


@oracle("film", {}, {"interact": "sum"}, {"hidden": 3})
def film(p: dict[str, Tensor], a: Tensor, b: Tensor, **v: Any) -> Tensor:
    a, b = both(p, a, b.mean((2, 3), keepdim=True))
    h, (g, s) = whitened(linear(p, "u", a)), linear(p, "f", b).chunk(2, dim=1)
    return linear(p, "out", h + g * h + s if v["interact"] == "mul" else h + g + s)


def convolved(p: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    """The dense k x k convolution `name`, as a matrix product over windows."""
    weight = p[f"{name}.weight"]
    windows = F.unfold(x, weight.shape[2], padding=weight.shape[2] // 2)
    return (weight.flatten(1) @ windows + p[f"{name}.bias"][:, None]).unflatten(2, x.shape[2:])


@oracle("spatial_conditioning", {}, {"interact": "sum"}, {"kernel": 1, "shared": 3})
def spatial_conditioning(p: dict[str, Tensor], a: Tensor, b: Tensor, **v: Any) -> Tensor:
    a, b = both(p, a, b)
    rows, columns = (torch.arange(n) * m // n for n, m in zip(a.shape[2:], b.shape[2:], strict=True))
    resized = b[:, :, rows][..., columns]
    g, s = convolved(p, "f", act("relu", convolved(p, "g", resized))).chunk(2, dim=1)
    h = whitened(linear(p, "u", a))
    return linear(p, "out", h + g * h + s if v["interact"] == "mul" else h + g + s)


@oracle("cross_attention", {}, {"heads": 4})
def cross_attention(p: dict[str, Tensor], a: Tensor, b: Tensor, **v: Any) -> Tensor:
    a, b = both(p, a, b)
    read = []
    for q, k, value in zip(
        *(linear(p, n, x).chunk(v["heads"], 1) for n, x in (("q", a), ("k", b), ("v", b))), strict=True
    ):
        scores = torch.einsum("bchw,bcij->bhwij", q, k) / q.shape[1] ** 0.5
        shares = scores.exp() / scores.exp().sum((3, 4), keepdim=True)
        read.append(torch.einsum("bhwij,bcij->bchw", shares, value))
    return linear(p, "out", linear(p, "u", a) + torch.cat(read, dim=1))


@oracle("linear_cross_attention", {}, {"heads": 4, "norm": None}, {"hidden": 3, "heads": 3, "norm": None})
def linear_cross_attention(p: dict[str, Tensor], a: Tensor, b: Tensor, **v: Any) -> Tensor:
    """Key by key: each adds its similarity to the query times its value."""
    if v["norm"] is not None:
        a, b = both(p, a, b)
    read = []
    for q, k, value in zip(
        *(linear(p, n, x).chunk(v["heads"], 1) for n, x in (("q", a), ("k", b), ("v", b))), strict=True
    ):
        total = torch.zeros((), dtype=a.dtype)
        for key, own in zip(k.flatten(2).unbind(2), value.flatten(2).unbind(2), strict=True):
            similarity = (q * key[:, :, None, None]).sum(1, keepdim=True) / q.shape[1] ** 0.5
            total = total + similarity * own[:, :, None, None]
        read.append(total / b[0, 0].numel())
    return linear(p, "out", linear(p, "u", a) + torch.cat(read, dim=1))
