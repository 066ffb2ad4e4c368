"""The counter against closed formulas, however an operation is spelled."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hadnas.measure.cost import Cost, cost
from hadnas.measure.figures import TABLE

C, H, W = 8, 6, 4
N = C * H * W


class Two(nn.Module):
    """Two maps of the input, joined by `join(self, u, v)`; the maps cost 2 C^2 H W MACs."""

    def __init__(self, join):
        super().__init__()
        self.f, self.g = nn.Conv2d(C, C, 1), nn.Conv2d(C, C, 1)
        self.gain = nn.Parameter(torch.ones(C, 1, 1))
        self.register_buffer("table", torch.ones(C, H, W))
        self.join = join

    def forward(self, x):
        return self.join(self, self.f(x), self.g(x))


def joined(join) -> Cost:
    """Cost of the join alone: what stands on the path of the module, less the convolutions."""
    found = cost(Two(join), (C, H, W))
    assert found.macs >= 2 * C * N
    return found


def written(y, u):
    """`y`, its halves filled with those of `u` through views."""
    y[:, : C // 2] = u[:, : C // 2]
    y.narrow(1, C // 2, C // 2).copy_(u[:, C // 2 :])
    return y


PRODUCTS = {
    "u * v": lambda m, u, v: u * v,
    "torch.mul": lambda m, u, v: torch.mul(u, v),
    "multiply": lambda m, u, v: torch.multiply(u, v),
    "mul_": lambda m, u, v: u.mul_(v),
    "out=": lambda m, u, v: torch.mul(u, v, out=torch.empty_like(u)),
    "einsum": lambda m, u, v: torch.einsum("bchw,bchw->bchw", u, v),
    "einsum, permuted": lambda m, u, v: torch.einsum("bchw,bwhc->bhcw", u, v.transpose(1, 3)),
    "bmm": lambda m, u, v: torch.bmm(u.reshape(-1, 1, 1), v.reshape(-1, 1, 1)),
    "matmul": lambda m, u, v: (u[..., None, None] @ v[..., None, None])[..., 0, 0],
    "prod": lambda m, u, v: torch.stack([u, v]).prod(0),
    "pow": lambda m, u, v: u**2,
    "square": lambda m, u, v: u.square(),
    "grouped convolution": lambda m, u, v: F.conv2d(u.reshape(1, N, 1, 1), v.reshape(N, 1, 1, 1), groups=N),
    "written through views": lambda m, u, v: written(torch.zeros_like(u), u) * written(u.new_empty(u.shape), v),
}


@pytest.mark.parametrize("join", PRODUCTS.values(), ids=PRODUCTS.keys())
def test_a_product_costs_the_same_however_spelled(join):
    found = joined(join)
    assert (found.macs, found.elementwise, found.products) == (2 * C * N, N, N)


FUSED = {  # spelling -> element-wise operations per element, of which one is a product
    "addcmul": (lambda m, u, v: torch.addcmul(u, u, v), 2),
    "glu": (lambda m, u, v: F.glu(torch.cat([u, v], 1), 1), 2),
    "lerp": (lambda m, u, v: torch.lerp(u, v, v), 3),
    "written out addcmul": (lambda m, u, v: u + u * v, 2),
    "written out glu": (lambda m, u, v: u * v.sigmoid(), 2),
    "written out lerp": (lambda m, u, v: u + v * (v - u), 3),
}


@pytest.mark.parametrize(("join", "times"), FUSED.values(), ids=FUSED.keys())
def test_fused_products_cost_what_they_cost_written_out(join, times):
    found = joined(join)
    assert (found.macs, found.elementwise, found.products) == (2 * C * N, times * N, N)


NO_PRODUCTS = {
    "sum": (lambda m, u, v: u + v, N),
    "quotient": (lambda m, u, v: u / v, N),
    "number": (lambda m, u, v: u * 2.0, N),
    "parameter": (lambda m, u, v: u * m.gain, N),
    "view of a parameter": (lambda m, u, v: u * m.gain.view(1, C, 1, 1).expand(1, C, H, W), N),
    "computed from a parameter": (lambda m, u, v: u * m.gain.exp(), N + C),
    "parameter by einsum": (lambda m, u, v: torch.einsum("bchw,cij->bchw", u, m.gain), N),
    "buffer": (lambda m, u, v: u * m.table, N),
    "constant": (lambda m, u, v: u * torch.ones(W), N),
    "constant of the input's shape": (lambda m, u, v: u * torch.ones_like(v) * v.new_full((W,), 2.0), 2 * N),
    "constant, filled through a view": (lambda m, u, v: u * written(torch.zeros_like(u), m.table[None]), N),
    "power of a number": (lambda m, u, v: 2**u, N),
    "power by a parameter": (lambda m, u, v: u**m.gain, N),
    "power by an activation": (lambda m, u, v: u**v, N),
    "scalar of the input": (lambda m, u, v: u * v.mean(), 2 * N),
    "silu": (lambda m, u, v: F.silu(u), N),
    "gelu": (lambda m, u, v: F.gelu(u), N),
    "hardswish": (lambda m, u, v: F.hardswish(u), N),
    "mish": (lambda m, u, v: F.mish(u), N),
    "softmax": (lambda m, u, v: u.softmax(1), 5 * N),
    "layer norm": (lambda m, u, v: F.layer_norm(u, (W,), m.table[0, 0]), 6 * N),
    "group norm": (lambda m, u, v: F.group_norm(u, 2), 5 * N),
    "rms norm": (lambda m, u, v: F.rms_norm(u, (W,)), 3 * N),
    "max pooling": (lambda m, u, v: F.max_pool2d(u, 2), N),
    "mean": (lambda m, u, v: u.mean((2, 3)), N),
    "dropout": (lambda m, u, v: F.dropout(u, 0.5, m.training), 0),
    "moving": (lambda m, u, v: torch.cat([u.roll(1, 2), v.flip(3).permute(0, 1, 2, 3).contiguous()], 1), 0),
}


@pytest.mark.parametrize(("join", "elementwise"), NO_PRODUCTS.values(), ids=NO_PRODUCTS.keys())
def test_what_is_no_product_of_activations(join, elementwise):
    found = joined(join)
    assert (found.macs, found.elementwise, found.products) == (2 * C * N, elementwise, 0)


def test_an_outer_product_is_a_product():
    by_einsum = joined(lambda m, u, v: torch.einsum("bchw,bdhw->bcdhw", u, v))
    by_views = joined(lambda m, u, v: u.unsqueeze(2) * v.unsqueeze(1))
    assert by_einsum.products == by_views.products == C * N
    assert by_einsum.macs == by_views.macs == 2 * C * N


def test_a_gate_per_channel_is_a_product():
    assert joined(lambda m, u, v: u * v.mean((2, 3), keepdim=True).sigmoid()).products == N


CONTRACTIONS = {
    "convolution": (nn.Conv2d(C, 10, 3, padding=1), 10 * C * 9 * H * W),
    "grouped": (nn.Conv2d(C, 16, 3, groups=4, bias=False), 16 * 2 * 9 * (H - 2) * (W - 2)),
    "depthwise": (nn.Conv2d(C, C, (5, 3), padding=(2, 1), groups=C), C * 15 * H * W),
    "padding by name": (nn.Conv2d(C, C, 3, padding="same"), 9 * C * N),
    "transposed": (nn.ConvTranspose2d(C, 5, 4, stride=2), C * H * W * 5 * 16),
    "linear": (nn.Linear(W, 7), C * H * W * 7),
    "linear of one feature": (nn.Sequential(nn.Flatten(0), nn.Unflatten(0, (N, 1)), nn.Linear(1, 3)), N * 3),
}


@pytest.mark.parametrize(("module", "macs"), CONTRACTIONS.values(), ids=CONTRACTIONS.keys())
def test_contractions_follow_their_formulas(module, macs):
    found = cost(module, (C, H, W))
    assert (found.macs, TABLE["flops"].of(found), found.elementwise) == (macs, 2 * macs, 0)


class SelfAttention(nn.Module):
    def __init__(self, attend, heads=2):
        super().__init__()
        self.qkv = nn.Linear(C, 3 * C)
        self.attend, self.heads = attend, heads

    def forward(self, x: Tensor):
        tokens = self.qkv(x.flatten(2).transpose(1, 2))
        q, k, v = tokens.reshape(1, H * W, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        return self.attend(q, k, v)


ATTENTIONS = {
    "fused": F.scaled_dot_product_attention,
    "matmul": lambda q, k, v: (q * 0.5 @ k.transpose(-2, -1)).softmax(-1) @ v,
    "einsum": lambda q, k, v: torch.einsum(
        "bhij,bhjd->bhid", torch.einsum("bhid,bhjd->bhij", q * 0.5, k).softmax(-1), v
    ),
}


@pytest.mark.parametrize("attend", ATTENTIONS.values(), ids=ATTENTIONS.keys())
def test_attention_costs_the_same_fused_and_unfused(attend):
    found = cost(SelfAttention(attend), (C, H, W))
    tokens = H * W
    assert found.macs == 3 * C * C * tokens + 2 * tokens * tokens * C
    assert (found.elementwise, found.products) == (tokens * C + 2 * tokens * tokens * 5, 0)


def test_a_recurrent_cell_shows_its_products():
    class Cell(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.LSTM(C, C, batch_first=True)

        def forward(self, x):
            return self.cell(x.flatten(2).transpose(1, 2))[0]

    found = cost(Cell(), (C, H, W))
    assert found.macs == H * W * 8 * C * C
    # input, forget and output gate; the first forget gate meets a constant, the zero state
    assert found.products == (3 * H * W - 1) * C


def test_activations_are_the_elements_written():
    views = joined(
        lambda m, u, v: u.reshape(1, C, -1).transpose(1, 2).contiguous(memory_format=torch.contiguous_format)
    )
    assert views.activations == 3 * N  # two convolutions and the copy; the views write nothing
    assert joined(lambda m, u, v: u.contiguous().view(1, -1)).activations == 2 * N


def test_memory_follows_how_the_module_is_written():
    floats = 4
    relu = cost(nn.Sequential(nn.Conv2d(C, C, 1), nn.ReLU()), (C, H, W))
    in_place = cost(nn.Sequential(nn.Conv2d(C, C, 1), nn.ReLU(inplace=True)), (C, H, W))
    assert relu.peak_activation_bytes == 3 * N * floats  # the caller holds the input
    assert in_place.peak_activation_bytes == 2 * N * floats
    assert relu.bytes_moved == in_place.bytes_moved == (4 * N + C * C + C) * floats
    half = cost(nn.Sequential(nn.Conv2d(C, C, 1), nn.ReLU()).bfloat16(), (C, H, W))
    assert half.bytes_moved * 2 == relu.bytes_moved
    product = joined(lambda m, u, v: m.table * u)
    assert product.peak_activation_bytes == 4 * N * floats  # weights and tables are no activations


def test_calls_are_the_operations_executed_views_not_counted():
    net = nn.Sequential(
        nn.Conv2d(C, 2 * C, 1), nn.Conv2d(2 * C, 2 * C, 3, padding=1, groups=2 * C), nn.ReLU(), nn.Unflatten(1, (C, 2)),
        nn.Flatten(1, 2), nn.ConvTranspose2d(2 * C, C, 1), nn.ConvTranspose2d(C, C, 1, groups=C), nn.Linear(W, 3),
    )  # fmt: skip
    found = cost(net, (C, H, W))
    assert found.calls == found.by_module[""].calls == 6 and found.by_module["2"].calls == 1
    macs = {"convolution": 4 * C * N, "grouped_convolution": 18 * N + N, "matrix_product": 3 * N, "other": 0}
    assert found.by_kind == {name: (2 if "conv" in name else 1, count) for name, count in macs.items()}
    assert joined(lambda m, u, v: u @ v.mT).by_kind["matrix_product"][0] == 1
    assert joined(lambda m, u, v: torch.einsum("bchw,bchw->bchw", u, v)).by_kind["matrix_product"] == (0, 0)


def test_counts_per_module_path():
    net = nn.Sequential(Two(lambda m, u, v: u * v), nn.Sequential(nn.ReLU(), nn.Conv2d(C, 3, 1)))
    found = cost(net, (C, H, W))
    assert set(found.by_module) == {"", "0", "0.f", "0.g", "1", "1.0", "1.1"}
    assert found.by_module["0"].products == found.products == N
    assert found.by_module["0.f"].macs == C * N and found.by_module["0.f"].params == C * C + C
    assert found.by_module["1"].elementwise == N and found.by_module["1.1"].macs == 3 * N
    assert found.by_module[""].macs == found.macs == 2 * C * N + 3 * N
    assert found.by_module[""].params == found.params == sum(p.numel() for p in net.parameters())


def test_a_shared_module_is_run_twice_and_owned_once():
    shared = nn.Conv2d(C, C, 1)
    found = cost(nn.Sequential(shared, shared), (C, H, W))
    assert (found.macs, found.params) == (2 * C * N, C * C + C)


def test_sums_over_batches_outer_products_and_broadcast_queries():
    plain = joined(lambda m, u, v: u.flatten(2) @ v.flatten(2).mT)
    over = joined(lambda m, u, v: torch.addbmm(torch.zeros(C, C), u.flatten(2), v.flatten(2).mT))
    assert over.macs - 2 * C * N == plain.macs - 2 * C * N == C * N
    outer = joined(lambda m, u, v: torch.outer(u[0, :, 0, 0], v[0, :, 0, 0]))
    added = joined(lambda m, u, v: torch.addr(torch.zeros(C, C), u[0, :, 0, 0], v[0, :, 0, 0]))
    assert added.products == outer.products == C * C
    assert joined(lambda m, u, v: torch.linalg.vecdot(u, v, dim=1)).macs == 2 * C * N + N

    def attended(m, u, v, expand):
        query = m.table.reshape(1, 1, N // C, C)
        keys, values = (t.flatten(2).mT.unsqueeze(0).expand(4, -1, -1, -1) for t in (u, v))
        return F.scaled_dot_product_attention(query.expand(4, -1, -1, -1) if expand else query, keys, values)

    few, all_ = (joined(lambda m, u, v, expand=expand: attended(m, u, v, expand)) for expand in (False, True))
    assert few.macs == all_.macs == 2 * C * N + 4 * 2 * (N // C) ** 2 * C


def test_a_mask_is_added_and_a_bias_is_free():
    def scores(m, u, v, first):
        return torch.baddbmm(first, u.flatten(2), v.flatten(2).mT)

    mask, bias = torch.zeros(1, C, C), torch.zeros(1, 1, C)
    assert joined(lambda m, u, v: scores(m, u, v, mask)).elementwise == C * C
    assert joined(lambda m, u, v: scores(m, u, v, bias)).elementwise == 0
