"""Architectures as data, and the modules that are built from them."""

import json
from typing import Any

import pytest
import timm
import torch

from hadnas.arch.node import Arch
from hadnas.arch.random import sample
from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.errors import SpecError, UnknownName
from hadnas.hosts.build import build
from hadnas.search_spaces.four_families import SPACE
from hadnas.space import every, int_range, one_of, op, size
from tests.networks import DOWN, TINY_SPACE, pyramid, residual, starnet

DIGITS = Task.image(1, 8, 8, classes=10)
IMAGENET = Task.image(3, 224, 224, classes=1000)


def test_complete_writes_every_default_and_is_idempotent() -> None:
    arch = complete(pyramid((8, [residual(op("star"))])), DIGITS)
    star = arch.node["stages"][0]["blocks"][0]["block"]
    assert star["expand"] == 4 and star["norm"] == "batchnorm2d"
    assert complete(arch.node, DIGITS) == arch
    assert complete(json.loads(arch.json), DIGITS).fingerprint == arch.fingerprint


def test_canonical_form_drops_identities_and_unused_values() -> None:
    plain = complete(pyramid((8, [residual(op("star", act_on="none"))])), DIGITS)
    unused = complete(pyramid((8, [op("identity"), residual(op("star", act_on="none", act="gelu"))])), DIGITS)
    used = complete(pyramid((8, [residual(op("star", act="gelu"))])), DIGITS)
    assert plain == unused
    assert used.fingerprint != plain.fingerprint


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (2, 17, 23), (3, 224, 224)])
def test_any_number_of_stages_and_any_size_on_meta(shape: tuple[int, int, int]) -> None:
    task = Task.image(*shape, classes=7)
    for stages in (1, 2, 5):
        arch = complete(pyramid(*[(8 * (i + 1), [residual(op("conv_next"))]) for i in range(stages)]), task)
        network = build(arch, task, device="meta")
        assert network(torch.empty(2, *shape, device="meta")).shape == (2, 7)


def test_timms_model_interface() -> None:
    task = Task.image(3, 64, 64, classes=5)
    arch = complete(starnet(8, (1, 1, 1, 1)), task)
    network = build(arch, task).eval()
    images = torch.randn(2, 3, 64, 64)
    features = network.forward_features(images)
    assert features.shape == (2, 64, 2, 2) and network.num_features == 64 == network.head_hidden_size
    assert network.forward_head(features, pre_logits=True).shape == (2, 64)
    assert torch.equal(network(images), network.forward_head(features))
    last, maps = network.forward_intermediates(images, indices=[0, 3], norm=True)
    assert [m.shape[1] for m in maps] == [8, 64] and torch.equal(last, maps[-1])
    early = network.forward_intermediates(images, indices=[1], stop_early=True, intermediates_only=True)
    assert [tuple(m.shape) for m in early] == [(2, 16, 8, 8)]
    assert [info["reduction"] for info in network.feature_info] == [4, 8, 16, 32]
    assert network.get_classifier().out_features == 5
    assert network.default_cfg["input_size"] == (3, 64, 64) and network.default_cfg["num_classes"] == 5

    network.set_grad_checkpointing()
    network.train()(images).sum().backward()
    assert all(p.grad is not None for p in network.parameters())

    network.reset_classifier(9)
    assert network(images).shape == (2, 9)
    network.reset_classifier(0, "")
    assert network.eval()(images).shape == (2, 64, 2, 2)
    assert network.prune_intermediate_layers([1]) == [1]
    assert network(images).shape == (2, 16, 8, 8)


def test_features_only() -> None:
    task = Task.image(3, 64, 64, classes=5)
    arch = complete(starnet(8, (1, 1, 1, 1)), task)
    network = build(arch, task, features_only=True, out_indices=(1, 3))
    assert [tuple(m.shape) for m in network(torch.randn(1, 3, 64, 64))] == [(1, 16, 8, 8), (1, 64, 2, 2)]
    assert network.feature_info.channels() == [16, 64] and network.feature_info.reduction() == [8, 32]


def test_layer_groups_are_in_order_and_complete() -> None:
    task = Task.image(3, 64, 64, classes=5)
    network = build(complete(starnet(8, (2, 1)), task), task)
    for coarse in (True, False):
        groups = timm.models.group_parameters(network, network.group_matcher(coarse), return_values=False)
        assert sorted(name for names in groups.values() for name in names) == sorted(
            name for name, _ in network.named_parameters()
        )
        assert min(i for i, names in groups.items() if any("stem" in n for n in names)) == 0


def test_every_architecture_of_a_small_space_is_its_own_function() -> None:
    archs = [complete(draw, DIGITS) for _, draw in every(TINY_SPACE)]
    assert size(TINY_SPACE) == len(archs) == 42
    assert len({arch.fingerprint for arch in archs}) == 42
    assert len(set(archs)) == 42


def test_sample_is_seeded_and_every_sample_runs() -> None:
    archs = [sample(SPACE, DIGITS, seed=seed) for seed in range(12)]
    assert archs == [sample(SPACE, DIGITS, seed=seed) for seed in range(12)]
    assert len(set(archs)) > 8
    for arch in archs:
        assert build(arch, DIGITS, device="meta")(torch.empty(2, 1, 8, 8, device="meta")).shape == (2, 10)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (op("stra"), "block#1: unknown op 'stra'; did you mean 'star'"),
        (op("star", kernl=3), "block#1: unknown parameter of star 'kernl'; did you mean 'kernel'"),
        (op("star", kernel=one_of(3, "5")), "block#1: star: kernel = '5' is not allowed"),
        (op("star", interact=one_of("mul", "mult")), "block#1: star: interact = 'mult' is not allowed"),
        (op("attention", heads=int_range(1, 4), gated="yes"), "block#1: attention: gated = 'yes' is not allowed"),
    ],
)
def test_a_wrong_option_is_refused_where_most_draws_are_valid(option: dict[str, Any], message: str) -> None:
    """What a rule refuses at this width may be right at another; this is right nowhere."""
    blocks = one_of(op("mlp"), option, op("attention", heads=one_of(3, 2)))
    with pytest.raises((SpecError, UnknownName), match=f"stages.0.blocks.0.{message}"):
        sample(pyramid((8, [residual(blocks)])), DIGITS)


def test_timm_models_are_architectures_too() -> None:
    arch = complete({"op": "timm", "model": "resnet10t"}, DIGITS)
    network = build(arch, DIGITS)
    assert network.eval()(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    with pytest.raises(UnknownName, match="did you mean 'resnet10t'"):
        complete({"op": "timm", "model": "resnet10"}, DIGITS)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (3, "architecture: found 3"),
        ({"op": "pyramyd"}, "unknown op 'pyramyd'; did you mean 'pyramid'"),
        ({"op": "star"}, "'star' has the role block"),
        ({**pyramid((8, [])), "format": 99}, "format 99 .*1"),
        ({**pyramid((8, [])), "format": "1"}, "format = '1' is not allowed"),
        ({**pyramid((8, [])), "hed": 1}, "unknown parameter of pyramid 'hed'; did you mean 'head'"),
        (pyramid(), "stages = \\[\\] is not allowed"),
        (pyramid((8, "star")), "stages.0.blocks: found 'star'; allowed is a list"),
        (pyramid((0, [])), "stages.0: dim = 0 is not allowed"),
        (pyramid((8, [op("add")])), "stages.0.blocks.0: 'add' has the role merge"),
        (pyramid((8, [residual(op("stra"))])), "stages.0.blocks.0.block: unknown op 'stra'; did you mean 'star'"),
        (pyramid((8, [residual(op("star", kernl=3))])), "unknown parameter of star 'kernl'; did you mean 'kernel'"),
        (pyramid((8, [residual(op("star", kernel="3"))])), "block: kernel = '3' is not allowed"),
        (pyramid((8, [residual(op("star", kernel=4))])), "block: star: kernel = 4 must be odd"),
        (pyramid((8, [residual(op("star", expand=0))])), "expand = 0 leaves no channel of dim"),
        (pyramid((8, [residual(op("attention", heads=3))])), "heads = 3 must divide dim = 8"),
        (pyramid((8, [residual(op("gn_conv", order=5))])), "block: gn_conv: order = 5 .*dim = 8 must be divisible"),
        ({**pyramid((8, [])), "head": op("corelnet", grid=5)}, "head: corelnet: grid = 5 must be .*, 4 x 4"),
        (pyramid((8, [op("residual", block=op("star"))])), "residual needs 'merge'"),
        (pyramid(*[(8, [])] * 2, stem=op("conv_norm", dim=8, kernel=16, stride=16)), "stem: conv_norm .* 0 x 0"),
        (op("pyramid", stem=op("conv_norm", dim=8), stages=[{"dim": 9, "blocks": []}], head=op("pooled_linear")),
         "stages.0: dim = 9 without a down node; allowed is 8"),
        (op("pyramid", stem=op("conv_norm", dim=8), stages=[{"dim": 8, "blok": []}], head=op("pooled_linear")),
         "stages.0: found"),
        (op("pyramid", stem=DOWN, stages=[{"dim": 8, "blocks": []}], head=op("pooled_linear")), "stem: dim = None"),
    ],
)  # fmt: skip
def test_a_wrong_architecture_is_refused_with_its_path(node: object, message: str) -> None:
    with pytest.raises((SpecError, UnknownName), match=message):
        complete(node, DIGITS)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(0, 8, 8), (1, 8.0, 8), (1, -1, 8)])
def test_a_wrong_task_is_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(SpecError, match=r"image has the size (0|8.0|-1); allowed"):
        Task.image(*shape, classes=10)


def test_the_tree_writes_runs_once() -> None:
    tree = Arch(complete(starnet(24, (2, 2, 8, 3)), IMAGENET).node).tree()
    assert "blocks.0-7: residual" in tree and tree.count("star") == 4


def test_dropout_that_timm_supplies_is_no_choice_of_a_space() -> None:
    """Parts of the host have their own: residual.drop_path and the head's dropout."""
    with pytest.raises(UnknownName, match="unknown parameter of pyramid 'drop_path_rate'"):
        complete({**pyramid((8, [residual(op("mlp"))])), "drop_path_rate": 0.3}, DIGITS)
