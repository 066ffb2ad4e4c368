"""Heads: against their formulas, and as timm's interface uses them."""

from typing import Literal

import pytest
import torch
from torch import Tensor

import hadnas
from hadnas.arch.read import complete
from hadnas.blocks.core_lnet import CoreLnet
from hadnas.blocks.pairwise_mlp import PairwiseMlp
from hadnas.blocks.poly_pooled import PolyPooled
from hadnas.blocks.pooled_linear import PooledLinear
from hadnas.blocks.pooled_mlp import PooledMlp
from hadnas.contract.cases import randomise
from hadnas.space import op
from tests.networks import DOWN, residual

TASK = hadnas.Task.image(3, 32, 32, classes=5)
HEADS = [
    op("pooled_linear"),
    op("pooled_linear", norm="layernorm2d"),
    op("pooled_mlp", act="squared_relu"),
    op("corelnet", grid=2, hidden=6),
    op("pairwise_mlp", grid=2, hidden=6),
    op("pairwise_mlp", grid=2, hidden=6, context=True),
    op("poly_pooled"),
]


@pytest.mark.parametrize(("scaled", "mirror"), [(True, False), (False, False), (True, True)])
def test_relations_by_loops(scaled: bool, mirror: bool) -> None:
    """Relations of the cells of a 2 x 2 grid over a map of 4 x 6, cell by cell."""
    torch.manual_seed(0)
    head = randomise(CoreLnet(3, 4, grid=2, hidden=5, scaled=scaled, mirror=mirror, dtype=torch.float64))
    x = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    found = head(x)
    assert isinstance(head, CoreLnet) and isinstance(head.fc, torch.nn.Linear)
    for image in range(2):
        cells = [x[image, :, 2 * i : 2 * i + 2, 3 * j : 3 * j + 3].mean((1, 2)) for i in (0, 1) for j in (0, 1)]
        z = torch.stack(cells)
        z = head.gamma * (z - z.mean(0)) / (z.var(0, unbiased=True) + 1e-8).sqrt() + head.beta
        relations: list[list[Tensor]] = []
        for number, row in enumerate(z):
            read = z[: number + 1] if mirror else z
            likeness = torch.stack([(row * other).sum() for other in read]) / (3 if scaled else 1)
            relations.append(list(likeness.exp() / likeness.exp().sum()))
        pairs = [(max(i, j), min(i, j)) if mirror else (i, j) for i in range(4) for j in range(4)]
        flat = torch.stack([relations[i][j] for i, j in pairs])
        hidden = (head.relations.weight @ flat + head.relations.bias).clamp(min=0)
        assert (found[image] - head.fc.weight @ hidden - head.fc.bias).abs().max() < 1e-10


@pytest.mark.parametrize("context", [False, True])
def test_pairs_by_loops(context: bool) -> None:
    """Pairs of the cells of a 2 x 2 grid over a map of 4 x 6, by weights that read a pair [a; b] at once."""
    torch.manual_seed(0)
    head = randomise(PairwiseMlp(3, 4, grid=2, hidden=5, context=context, dtype=torch.float64))
    x = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    found = head(x)
    assert isinstance(head, PairwiseMlp) and isinstance(head.fc, torch.nn.Linear)
    first = torch.cat([head.left.weight, head.right.weight], dim=1)
    for image in range(2):
        cells = [x[image, :, 2 * i : 2 * i + 2, 3 * j : 3 * j + 3].mean((1, 2)) for i in (0, 1) for j in (0, 1)]
        if context:
            z = torch.stack(cells)
            cells = list(head.gamma * (z - z.mean(0)) / (z.var(0, unbiased=True) + 1e-8).sqrt() + head.beta)
        places = [cell + place for cell, place in zip(cells, head.place, strict=True)]
        total = torch.zeros(5, dtype=torch.float64)
        for a in places:
            for b in places:
                hidden = (first @ torch.cat([a, b]) + head.left.bias).clamp(min=0)
                total += (head.pair.weight @ hidden + head.pair.bias).clamp(min=0)
        features = (head.whole.weight @ total / 16 + head.whole.bias).clamp(min=0)
        assert (head(x, pre_logits=True)[image] - features).abs().max() < 1e-10
        assert (found[image] - head.fc.weight @ features - head.fc.bias).abs().max() < 1e-10


def test_hidden_layer_by_hand() -> None:
    torch.manual_seed(0)
    head = randomise(PooledMlp(4, 3, expand=2, norm=None, act="relu", dtype=torch.float64))
    assert isinstance(head, PooledMlp) and isinstance(head.fc, torch.nn.Linear)
    x = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    weight, bias = head.hidden.get_parameter("weight")[:, :, 0, 0], head.hidden.get_parameter("bias")
    hidden = (x.mean((2, 3)) @ weight.T + bias).clamp(min=0)
    assert (head(x) - hidden @ head.fc.weight.T - head.fc.bias).abs().max() < 1e-10
    assert (head(x, pre_logits=True) - hidden).abs().max() < 1e-10


@pytest.mark.parametrize("interact", ["mul", "sum"])
def test_pooled_product_by_hand(interact: Literal["mul", "sum"]) -> None:
    torch.manual_seed(0)
    head = randomise(PolyPooled(4, 3, interact=interact, dtype=torch.float64))
    assert isinstance(head, PolyPooled) and isinstance(head.fc, torch.nn.Linear)
    x = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    z = (x - x.mean(1, keepdim=True)) / (x.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    z = z * head.norm.get_parameter("weight")[:, None, None]
    left, right = torch.einsum("oi,bihw->bohw", head.w.weight[:, :, 0, 0], z).split(8, dim=1)
    joined = left * (1 + right) if interact == "mul" else 2 * left + right
    features = joined.sum((2, 3)) / 15
    assert (head(x, pre_logits=True) - features).abs().max() < 1e-10
    assert (head(x) - features @ head.fc.weight.T - head.fc.bias).abs().max() < 1e-10


def test_another_pooling_takes_the_norm_of_its_width_along() -> None:
    x = torch.randn(2, 4, 3, 3)
    head = PooledLinear(4, 5, norm="layernorm2d")
    head.reset(5, "catavgmax")
    assert head(x).shape == (2, 5) and isinstance(head.norm, torch.nn.Identity)
    with pytest.raises(ValueError, match="global_pool = 'catavgmax' is not allowed"):
        PooledMlp(4, 5).reset(0, "catavgmax")
    with pytest.raises(ValueError, match="global_pool = 'catavgmax' is not allowed"):
        PolyPooled(4, 5).reset(0, "catavgmax")


def network_of(head: dict[str, object]) -> hadnas.Arch:
    stages = [{"dim": dim, "down": DOWN, "blocks": [residual(op("mlp"))]} for dim in (8, 12)]
    return complete(op("pyramid", stem=op("conv_norm", dim=8, stride=1), stages=stages, head=head), TASK)


@pytest.mark.parametrize("head", HEADS, ids=lambda head: "-".join(map(str, head.values())))
def test_classifiers_are_reset_and_networks_pruned(head: dict[str, object]) -> None:
    network = hadnas.build(network_of(head), TASK, drop_rate=0.3).eval()
    assert [part.p for part in network.head.modules() if isinstance(part, torch.nn.Dropout)] == [0.3]
    images = torch.randn(2, 3, 32, 32)
    assert network(images).shape == (2, 5)
    features = network.forward_head(network.forward_features(images), pre_logits=True)
    assert features.shape == (2, network.head_hidden_size)
    network.reset_classifier(7)
    assert network(images).shape == (2, 7)
    network.reset_classifier(0)
    assert torch.equal(network(images), network.forward_head(network.forward_features(images), pre_logits=True))
    network.prune_intermediate_layers([0])
    assert network.num_features == 8 == network.head_hidden_size
    assert network(images).shape == (2, 8, 16, 16)
    network.reset_classifier(7, "avg")
    assert network(images).shape == (2, 7)


@pytest.mark.parametrize("head", HEADS, ids=lambda head: "-".join(map(str, head.values())))
def test_without_pooling_each_position_is_classified(head: dict[str, object]) -> None:
    """As timm's tests ask: made without classes and pooling, then given classes; the pool may come back, too."""
    images = torch.randn(2, 3, 32, 32)
    bare = hadnas.build(network_of(head), TASK, num_classes=0, global_pool="").eval()
    assert bare(images).shape == (2, bare.head_hidden_size, 8, 8)
    bare.reset_classifier(2)
    logits = bare(images)
    assert logits.shape == (2, 2, 8, 8) and bare.num_classes == 2
    before = bare.forward_head(bare.forward_features(images), pre_logits=True)
    classifier = bare.get_classifier()
    one = torch.einsum("bchw,oc->bohw", before, classifier.weight[:, :, 0, 0]) + classifier.bias[:, None, None]
    assert torch.allclose(logits, one, atol=1e-5)
    bare.reset_classifier(2, "avg")
    assert bare(images).shape == (2, 2)


@pytest.mark.parametrize("head", HEADS, ids=lambda head: "-".join(map(str, head.values())))
def test_a_pruned_network_keeps_no_parameter_without_use(head: dict[str, object]) -> None:
    network = hadnas.build(network_of(head), TASK).train()
    taken = network.prune_intermediate_layers([1], prune_norm=True)
    maps = network.forward_intermediates(torch.randn(2, 3, 32, 32), indices=taken, intermediates_only=True)
    maps[0].sum().backward()
    assert not [name for name, parameter in network.named_parameters() if parameter.grad is None]
