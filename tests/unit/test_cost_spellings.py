"""A product costs the same however it is spelled, a layer what its formula says, and what is not known is refused."""

import functools

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import flop_registry, register_flop_formula
from torchvision.ops import DeformConv2d, roi_align

from hadnas.errors import MeasurementError
from hadnas.measure.cost import cost
from tests.unit.test_cost import SelfAttention, Two, joined

C, H, W = 8, 6, 4
N = C * H * W


def counts(found):
    """MACs beside those of the two maps, element-wise operations, products of two activations."""
    return found.macs - 2 * C * N, found.elementwise, found.products


PRODUCTS = {
    "transposed convolution": lambda m, u, v: F.conv_transpose2d(
        u.reshape(1, N, 1, 1), v.reshape(N, 1, 1, 1), groups=N
    ),
    "transposed convolution apart": lambda m, u, v: F.conv_transpose1d(
        u.reshape(1, N // 2, 2), v.reshape(N // 2, 1, 2)[..., :1], stride=2, groups=N // 2
    ),
    "convolution of one axis": lambda m, u, v: F.conv1d(u.reshape(1, N, 1), v.reshape(N, 1, 1), groups=N),
    "any convolution": lambda m, u, v: torch.convolution(
        u.reshape(1, N, 1, 1), v.reshape(N, 1, 1, 1), None, [1, 1], [0, 0], [1, 1], False, [0, 0], N
    ),
    "any transposed convolution": lambda m, u, v: torch.convolution(
        u.reshape(1, N, 1, 1), v.reshape(N, 1, 1, 1), None, [1, 1], [0, 0], [1, 1], True, [0, 0], N
    ),
    "vecdot": lambda m, u, v: torch.linalg.vecdot(u[..., None], v[..., None]),
    "baddbmm": lambda m, u, v: torch.baddbmm(torch.zeros(1, 1, 1), u.reshape(-1, 1, 1), v.reshape(-1, 1, 1)),
    "einsum of broadcast maps": lambda m, u, v: torch.einsum("bchw,bcxy->bchw", u, v[:, :, :1, :1]),
    "pow in place": lambda m, u, v: u.pow_(2.0),
    "square in place": lambda m, u, v: u.square_(),
    "float_power": lambda m, u, v: u.float_power(2),
    "cumprod": lambda m, u, v: torch.stack([u, v]).cumprod(0),
}


@pytest.mark.parametrize("join", PRODUCTS.values(), ids=PRODUCTS.keys())
def test_further_spellings_of_a_product(join):
    assert counts(joined(join)) == (0, N, N)


OUTER = {
    "outer": torch.outer,
    "broadcast": lambda a, b: a[:, None] * b,
    "einsum": lambda a, b: torch.einsum("i,j->ij", a, b),
    "matmul": lambda a, b: a[:, None] @ b[None],
    "linear": lambda a, b: F.linear(a[:, None], b[:, None]),
    "kron": torch.kron,
    "tensordot": lambda a, b: torch.tensordot(a, b, dims=0),
    "transposed convolution": lambda a, b: F.conv_transpose1d(a.reshape(1, 1, C), b.reshape(1, 1, C), stride=C),
}


@pytest.mark.parametrize("join", OUTER.values(), ids=OUTER.keys())
def test_spellings_of_an_outer_product(join):
    assert counts(joined(lambda m, u, v: join(u[0, :, 0, 0], v[0, :, 0, 0]))) == (0, C * C, C * C)


SEVERAL = {  # spelling -> products of each element
    "u u u": (lambda u: u * u * u, 2),
    "cube": (lambda u: u**3, 2),
    "cube by prod": (lambda u: torch.stack([u, u, u]).prod(0), 2),
    "cube by cumprod": (lambda u: torch.stack([u, u, u]).cumprod(0), 2),
    "cube by einsum": (lambda u: torch.einsum("bchw,bchw,bchw->bchw", u, u, u), 2),
    "u u u u": (lambda u: u * u * u * u, 3),
    "fourth power": (lambda u: u**4, 3),
    "fourth power as a float": (lambda u: u.pow(4.0), 3),
}


@pytest.mark.parametrize(("power", "products"), SEVERAL.values(), ids=SEVERAL.keys())
def test_powers_are_products(power, products):
    assert counts(joined(lambda m, u, v: power(u))) == (0, products * N, products * N)


def as_complex(u):
    return torch.view_as_complex(u.reshape(C, H, W // 2, 2))


def by_parts(u, v):
    (a, b), (c, d) = u.reshape(2, -1), v.reshape(2, -1)
    return torch.stack([a * c - b * d, a * d + b * c])


COMPLEX = {
    "written out": by_parts,
    "mul": lambda u, v: as_complex(u) * as_complex(v),
    "einsum": lambda u, v: torch.einsum("chw,chw->chw", as_complex(u), as_complex(v)),
    "bmm": lambda u, v: as_complex(u).reshape(-1, 1, 1) @ as_complex(v).reshape(-1, 1, 1),
    "square": lambda u, v: as_complex(u) ** 2,
}


@pytest.mark.parametrize("join", COMPLEX.values(), ids=COMPLEX.keys())
def test_complex_products_cost_what_their_parts_cost(join):
    assert counts(joined(lambda m, u, v: join(u, v))) == (0, 6 * N // 2, 4 * N // 2)
    assert counts(joined(lambda m, u, v: as_complex(u) * v[0, ..., ::2])) == (0, N, N)
    assert counts(joined(lambda m, u, v: as_complex(u)[0] @ as_complex(v)[0].mT))[0] == 4 * H * H * W // 2


WRITTEN_OUT = {
    "xlogy": (torch.xlogy, lambda u, v: u * v.log()),
    "ldexp": (torch.ldexp, lambda u, v: u * 2**v),
    "hypot": (torch.hypot, lambda u, v: (u * u + v * v).sqrt()),
    "polar": (torch.polar, lambda u, v: torch.complex(u * v.cos(), u * v.sin())),
    "bilinear": (
        lambda u, v: F.bilinear(u.reshape(-1, 1), v.reshape(-1, 1), torch.ones(1, 1, 1)),
        lambda u, v: F.linear((u * v).reshape(-1, 1), torch.ones(1, 1)),
    ),
}


@pytest.mark.parametrize(("fused", "plain"), WRITTEN_OUT.values(), ids=WRITTEN_OUT.keys())
def test_functions_with_products_inside_cost_what_they_cost_written_out(fused, plain):
    found = counts(joined(lambda m, u, v: fused(u, v)))
    assert found == counts(joined(lambda m, u, v: plain(u, v))) and found[2] >= N


def test_what_is_executed_is_counted_not_what_it_is_equal_to():
    assert counts(joined(lambda m, u, v: (u.log() + v.log()).exp())) == (0, 4 * N, 0)
    assert counts(joined(lambda m, u, v: u / v.reciprocal())) == (0, 2 * N, 0)
    assert counts(joined(lambda m, u, v: torch.addcdiv(u, u, v))) == (0, 2 * N, 0)


TOKENS = H * W


def masked(q, k, v, mask):
    return ((q * 0.5) @ k.transpose(-2, -1) + mask).softmax(-1) @ v


MASKS = {
    "added": lambda: torch.zeros(TOKENS, TOKENS),
    "of the batch": lambda: torch.zeros(1, 1, TOKENS, TOKENS),
    "boolean": lambda: torch.ones(TOKENS, TOKENS, dtype=torch.bool),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
def test_an_attention_mask_costs_one_operation_per_score(mask):
    scores = 2 * TOKENS * TOKENS  # of two heads
    plain = cost(SelfAttention(F.scaled_dot_product_attention), (C, H, W))
    fused = cost(SelfAttention(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, mask())), (C, H, W))
    assert fused.elementwise == plain.elementwise + scores and fused.macs == plain.macs
    causal = functools.partial(F.scaled_dot_product_attention, is_causal=True)
    assert cost(SelfAttention(causal), (C, H, W)).elementwise == fused.elementwise
    unfused = cost(SelfAttention(lambda q, k, v: masked(q, k, v, mask())), (C, H, W))
    assert (unfused.macs, unfused.elementwise) == (fused.macs, fused.elementwise)


def test_attention_of_one_channel_multiplies_as_products_do():
    fused = cost(SelfAttention(F.scaled_dot_product_attention, heads=C), (C, H, W))
    unfused = cost(SelfAttention(lambda q, k, v: ((q * 0.5) @ k.mT).softmax(-1) @ v, heads=C), (C, H, W))
    assert (fused.macs, fused.elementwise, fused.products) == (unfused.macs, unfused.elementwise, unfused.products)
    assert fused.products == C * TOKENS * TOKENS


class Deformable(nn.Module):
    """A convolution whose offsets, and mask, another one computes."""

    def __init__(self, masks: bool, groups: int = 1) -> None:
        super().__init__()
        self.masks = masks
        self.offsets = nn.Conv2d(16, 27 if masks else 18, 3, padding=1)
        self.conv = DeformConv2d(16, 16, 3, padding=1, groups=groups)

    def forward(self, x):
        found = self.offsets(x)
        return self.conv(x, found[:, :18], found[:, 18:].sigmoid() if self.masks else None)


@pytest.mark.parametrize(("masks", "groups"), [(False, 1), (True, 1), (False, 4)])
def test_a_deformable_convolution_costs_its_formula(masks, groups):
    found = cost(Deformable(masks, groups), (16, 8, 8))
    offsets, macs, sampled = 9 * 16 * (27 if masks else 18), 9 * 16 * 16 // groups, 9 * 16
    assert found.macs == 64 * (offsets + macs)
    assert (found.elementwise, found.products) == (64 * ((5 if masks else 4) * sampled + 9 * masks), 0)
    assert found.by_kind["convolution" if groups == 1 else "grouped_convolution"][1] >= 64 * macs


class Tokens(nn.Module):
    """A layer over (batch, positions, channels)."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        tokens = x.flatten(2).mT
        found = (
            self.layer(tokens, tokens, tokens) if isinstance(self.layer, nn.MultiheadAttention) else self.layer(tokens)
        )
        return found[0] if isinstance(found, tuple) else found


ATTENDING = 4 * C * C * TOKENS + 2 * TOKENS * TOKENS * C
LAYERS = {
    "Conv1d": (nn.Sequential(nn.Flatten(2), nn.Conv1d(C, 5, 3, padding=1)), 3 * C * 5 * TOKENS),
    "Conv3d": (nn.Sequential(nn.Unflatten(1, (1, C)), nn.Conv3d(1, 2, 3, padding=1)), 27 * 2 * N),
    "ConvTranspose1d": (nn.Sequential(nn.Flatten(2), nn.ConvTranspose1d(C, 5, 4, stride=2)), 20 * N),
    "ConvTranspose3d": (nn.Sequential(nn.Unflatten(1, (1, C)), nn.ConvTranspose3d(1, 2, 2, stride=2)), 16 * N),
    "GRU": (Tokens(nn.GRU(C, C, batch_first=True)), 6 * C * C * TOKENS),
    "RNN": (Tokens(nn.RNN(C, C, batch_first=True)), 2 * C * C * TOKENS),
    "GRUCell": (nn.Sequential(nn.Flatten(0, 2), nn.GRUCell(W, 3)), C * H * 3 * (3 * W + 3 * 3)),
    "MultiheadAttention": (Tokens(nn.MultiheadAttention(C, 2, batch_first=True)), ATTENDING),
    "TransformerEncoderLayer": (
        Tokens(nn.TransformerEncoderLayer(C, 2, 3 * C, batch_first=True)),
        ATTENDING + 6 * C * C * TOKENS,
    ),
}


@pytest.mark.parametrize(("layer", "macs"), LAYERS.values(), ids=LAYERS.keys())
def test_layers_with_weights_cost_their_formulas(layer, macs):
    assert cost(layer, (C, H, W)).macs == macs


def test_distances_and_grids_are_contractions():
    rows = counts(joined(lambda m, u, v: torch.cdist(u.flatten(2), v.flatten(2))))
    assert rows == (C * N, C * N + C * C, 0)
    grid = joined(lambda m, u, v: F.affine_grid(u[:, :2, 0, :3], [1, C, H, W], align_corners=False))
    assert counts(grid)[0] == 2 * 3 * H * W


@pytest.fixture
def library():
    """Operations of another library: said to be one of each element, made of ATen's, with a formula, and not known."""
    made = torch.library.Library("hadnas_test", "FRAGMENT")
    for name in ("unknown", "said"):
        made.define(f"{name}(Tensor x, Tensor w) -> Tensor")
        made.impl(name, lambda x, w: x.new_empty(x.shape[0], w.shape[1], *x.shape[2:]), "Meta")
        made.define(f"{name}_written(Tensor(a!) x, Tensor w) -> ()")
        made.impl(f"{name}_written", lambda x, w: None, "Meta")
    made.define("curved(Tensor x) -> Tensor", tags=torch.Tag.pointwise)
    made.impl("curved", lambda x: torch.empty_like(x), "Meta")
    made.define("composed(Tensor x, Tensor w) -> Tensor")
    made.impl("composed", lambda x, w: torch.einsum("bchw,cd->bdhw", x, w), "CompositeImplicitAutograd")
    yield torch.ops.hadnas_test
    for op in [op for op in flop_registry if str(op).startswith("hadnas_test")]:
        del flop_registry[op]


UNKNOWN = {
    "torchvision::roi_align": lambda m, u, v: roi_align(u, m.table.new_zeros(1, 5), 2),
    "aten::_foreach_mul": lambda m, u, v: torch._foreach_mul([u], [v])[0],
    "aten::_foreach_mul_": lambda m, u, v: torch._foreach_mul_([u], [v]) or u,
    "aten::_trilinear": lambda m, u, v: torch._trilinear(u, m.table[None], v, [], [], [], [0]),
    "aten::_linalg_solve_ex": lambda m, u, v: torch.linalg.solve(v[..., :4, :], u[..., :4, :]),
    "aten::linalg_matrix_exp": lambda m, u, v: torch.linalg.matrix_exp(m.gain[:4, 0] * u[0, 0, :4]),
    "aten::_embedding_bag_forward_only": lambda m, u, v: F.embedding_bag(u[0, 0].argsort(), m.table[0]),
    "aten::mse_loss": lambda m, u, v: F.mse_loss(u, -v, reduction="none"),
    "hadnas_test::unknown": lambda m, u, v: torch.ops.hadnas_test.unknown(u, m.table[:, 0, :1].expand(C, C)),
    "hadnas_test::unknown_written": lambda m, u, v: torch.ops.hadnas_test.unknown_written(u, v) or u,
}


@pytest.mark.parametrize(("name", "join"), UNKNOWN.items(), ids=UNKNOWN.keys())
def test_what_no_rule_knows_is_refused_with_its_name(name, join, library):
    with pytest.raises(MeasurementError, match=rf"\(Two\): .*{name} .*allowed are"):
        cost(Two(join), (C, H, W))


def test_operations_of_other_libraries_are_counted_by_what_is_said_of_them(library):
    @register_flop_formula([library.said, library.said_written])
    def _(x, w, *_, out_shape=None, **__):
        return 2 * x[0] * x[1] * x[2] * x[3] * w[-1]

    def weight(m):
        return m.table[:, 0, :1].expand(C, C)

    assert counts(joined(lambda m, u, v: library.said(u, weight(m)))) == (C * N, 0, 0)
    assert counts(joined(lambda m, u, v: library.composed(u, weight(m)))) == (C * N, 0, 0)
    assert counts(joined(lambda m, u, v: library.curved(u))) == (0, N, 0)

    def in_place(m, u, v):
        empty = torch.empty(1, C, H, W)
        library.said_written(empty, u)
        return empty * v  # a product, as an activation was written there

    assert counts(joined(in_place)) == (W * N, N, N)
