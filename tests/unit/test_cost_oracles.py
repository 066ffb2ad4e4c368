"""The counter against published figures and against an independent counter."""

import pytest
import timm

from hadnas.measure.cost import cost
from tests.networks import fvcore_counts

# parameters, MACs in millions and products of timm models at 3 x 224 x 224, attention included: published or by hand
PUBLISHED = {
    "resnet18": (11_689_512, 1814.07, 0),
    # the star of each block: 2 x 56^2 x 96 + 2 x 28^2 x 192 + 8 x 14^2 x 384 + 3 x 7^2 x 768 products
    "starnet_s1": (2_869_168, 421.88, 1_618_176),
    # 12 blocks of 197 tokens: 12 C^2 and the two attention products 2 x 197 C per token; embedding and head
    "vit_tiny_patch16_224": (
        5_717_416,
        12 * 197 * (12 * 192**2 + 394 * 192) / 1e6 + 0.192 * (768 * 196 + 1000) / 1e3,
        0,
    ),
}
# a number to the power of a tensor: parameters and MACs in millions, and the side of the images they are said for
POWERS = [
    ("edgenext_xx_small", 1.33, 260, 256),
    pytest.param("xcit_nano_12_p16_224", 3.05, 560, 224, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_figures(name):
    params, millions, products = PUBLISHED[name]
    found = cost(timm.create_model(name, device="meta"), (3, 224, 224))
    assert (found.params, found.products) == (params, products)
    assert found.macs / 1e6 == pytest.approx(millions, abs=0.01)


@pytest.mark.parametrize(("name", "params", "millions", "size"), POWERS)
def test_published_figures_of_networks_with_powers(name, params, millions, size):
    found = cost(timm.create_model(name, device="meta"), (3, size, size))
    assert (found.params / 1e6, found.macs / 1e6) == (
        pytest.approx(params, abs=0.005),
        pytest.approx(millions, rel=0.02),
    )


def test_attention_as_timm_writes_it_costs_the_same_fused_and_unfused(monkeypatch):
    monkeypatch.setattr(timm.layers.config, "_USE_FUSED_ATTN", timm.layers.config._USE_FUSED_ATTN)  # put back later
    found = []
    for fused in (True, False):
        timm.layers.set_fused_attn(fused)
        net = timm.create_model("vit_tiny_patch16_224", depth=2, device="meta")
        assert net.blocks[0].attn.fused_attn is fused
        found.append(cost(net, (3, 224, 224)))
    assert (found[0].macs, found[0].elementwise) == (found[1].macs, found[1].elementwise)


def test_starnet_stage_by_stage():
    found = cost(timm.create_model("starnet_s1", device="meta"), (3, 224, 224)).by_module
    by_hand = [2 * 56**2 * 96, 2 * 28**2 * 192, 8 * 14**2 * 384, 3 * 7**2 * 768]
    assert [found[f"stages.{i}"].products for i in range(4)] == by_hand


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_050", "convnext_atto"])
def test_fvcore_agrees_on_networks_without_products(name):
    net = timm.create_model(name)
    by_fvcore = fvcore_counts(net, (3, 64, 64))
    contractions = sum(v for k, v in by_fvcore.items() if k in ("conv", "linear", "matmul", "addmm"))
    # fvcore adds norms and pooling to its total; these are element-wise here, hence the named operators
    assert cost(net, (3, 64, 64)).macs == contractions
