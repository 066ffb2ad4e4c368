"""A search among grafts into a timm network that starts from weights of a file, from the command line to the export."""

import json
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.layers import HardSwish
from torch import Tensor, nn

import hadnas
from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.errors import SpecError, StudyError, UnknownName, markdown
from hadnas.hosts.build import build_seeded
from hadnas.hosts.graft.observe import is_activation
from hadnas.hosts.graft.sites import find_sites
from hadnas.hosts.graft.weights import check_weights
from hadnas.hosts.host import make_plan
from hadnas.library import load_study, started_from
from hadnas.opened import open_study
from hadnas.space import every, one_of, op, size
from hadnas.store.study import Study
from tests import shell
from tests.homes import new_home

DIGITS = Task.image(1, 8, 8, classes=10)
SEARCH = ("--trials", "2", "--epochs", "1", "--device", "cpu", "--sampler", "random")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Weights of timm's test_resnet for 3 channels and 7 classes."""
    torch.manual_seed(5)
    save_file(timm.create_model("test_resnet", num_classes=7).state_dict(), tmp_path / "parent.safetensors")
    return tmp_path / "parent.safetensors"


@pytest.mark.slow
def test_a_search_starts_every_network_from_the_weights_and_needs_them_no_longer(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    new_home(tmp_path / "runs")
    sites = ("--sites", "layer1.*", "--sites", "layer4.0.conv*")
    tuned = ("--recipe", "freeze=layer2", "--recipe", "new_rate=5")
    command = (
        "search",
        "timm:test_resnet",
        *sites,
        "--weights",
        "parent.safetensors",
        *tuned,
        *SEARCH,
        "--home",
        "runs",
    )
    done = shell.hadnas(*command)
    assert done.exit_code == 0, done.output
    results = open_study("test_resnet_grafts", tmp_path / "runs")
    (baseline,) = results.baselines
    hashed = baseline.arch.node["weights"]
    assert re.fullmatch(r"parent\.safetensors#[0-9a-f]{16}", hashed) and "sites" not in baseline.arch.node
    assert {found.arch.node["weights"] for found in results.ranked} == {hashed}
    assert results.moments() == ((0.5,), (0.5,))  # as timm's configuration says
    assert results.data().mean == (0.5,)
    start = load_file(weights)
    network = build_seeded(make_plan(baseline.arch, results.task()), 3).state_dict()
    same = [key for key in start if key in network and torch.equal(start[key], network[key])]
    assert set(start) - set(same) == {"conv1.0.weight", "fc.weight", "fc.bias"}  # adapted to 1 channel and 10 classes

    weights.unlink()
    exported = shell.hadnas("export", "test_resnet_grafts", "--home", "runs", "--out", "out")
    assert exported.exit_code == 0, exported.output  # verified without hadnas: same keys, bit-equal logits
    assert hashed in (tmp_path / "out" / "README.md").read_text()
    assert "timm.create_model" in (tmp_path / "out" / "model.py").read_text()
    again = shell.hadnas(*command)
    assert again.exit_code == 2 and "parent.safetensors" in again.output


@pytest.mark.slow
def test_a_network_of_timm_is_trained_and_then_the_start_of_a_study_that_learns_from_it(tmp_path: Path) -> None:
    """The export knows its classes and images; a parent of other classes is refused before any training."""
    short = ("--data", "digits", "--epochs", "1", "--augment", "none", "--mixup", "0", "--device", "cpu")
    done = shell.hadnas("retrain", "timm:test_resnet", *short, "--out", tmp_path / "parent")
    assert done.exit_code == 0, done.output
    new_home(tmp_path / "runs")
    weights = tmp_path / "parent" / "model.safetensors"
    command = (
        "search",
        "timm:test_resnet",
        "--sites",
        "layer1.*",
        "--weights",
        weights,
        *SEARCH,
        "--recipe",
        "distill=0.5",
    )
    done = shell.hadnas(*command, "--home", tmp_path / "runs")
    assert done.exit_code == 0, done.output
    (baseline,) = open_study("test_resnet_grafts", tmp_path / "runs").baselines
    network = build_seeded(make_plan(baseline.arch, DIGITS), 0).state_dict()
    assert all(torch.equal(network[key], value) for key, value in load_file(weights).items())
    np.savez(tmp_path / "few.npz", train_images=np.zeros((40, 8, 8), np.uint8), train_labels=np.arange(40) % 2)
    refused = shell.hadnas(*command, "--data", tmp_path / "few.npz", "--home", tmp_path / "runs")
    assert refused.exit_code == 2 and "10 classes, not the 2" in refused.output

    graft = tmp_path / "graft.json"
    graft.write_text(json.dumps({"format": 1, **baseline.arch.node, "sites": {"layer1.0": {"op": "input_product"}}}))
    done = shell.hadnas("retrain", graft, *short, "--out", tmp_path / "longer")
    assert done.exit_code == 0, done.output
    card = (tmp_path / "longer" / "README.md").read_text()
    assert f"| started from | {markdown(baseline.arch.node['weights'])} |" in card and "too high" in done.output


def test_other_weights_in_the_file_make_another_architecture(weights: Path) -> None:
    node = {"op": "timm", "model": "test_resnet", "weights": str(weights), "sites": {"layer1.0": "drop"}}
    first = complete(node, DIGITS)
    state = load_file(weights)
    save_file({**state, "fc.bias": state["fc.bias"] + 1}, weights)
    second = complete(node, DIGITS)
    assert first.fingerprint != second.fingerprint
    assert complete(first.node, DIGITS) == first  # read without a look at the file, built with one
    with pytest.raises(StudyError, match=first.node["weights"].rpartition("#")[2]):
        hadnas.build(first, DIGITS)
    assert hadnas.build(first, DIGITS, device="meta") is not None


def test_weights_of_equal_channels_and_classes_are_taken_whole(weights: Path) -> None:
    task = Task.image(3, 32, 32, classes=7)
    network = hadnas.build(complete({"op": "timm", "model": "test_resnet", "weights": str(weights)}, task), task)
    assert all(torch.equal(network.state_dict()[key], value) for key, value in load_file(weights).items())
    assert "state_dict" not in (network.pretrained_cfg or {}) or network.pretrained_cfg["state_dict"] is None


def test_a_canonical_form_has_paths_nodes_and_no_site_inside_a_replaced_one() -> None:
    sites = {"layer{1,4}.*": op("input_product"), "layer1.0": "drop", "layer1.0.act1": op("act", act="gelu")}
    arch = complete(op("timm", model="resnet18", sites={**sites, "layer4.1": "keep", "fc": "keep"}), DIGITS)
    product = {"op": "input_product", "alpha": 0.0, "project": True, "norm": True, "interact": "mul"}
    assert arch.node["sites"] == {"layer1.0": {"op": "identity"}, "layer1.1": product}
    assert complete(arch.node, DIGITS) == arch == complete(arch.node)
    kept = complete(op("timm", model="resnet18", sites={"kind:block": "keep"}), DIGITS)
    assert kept.node == {"op": "timm", "model": "resnet18"}
    inside = {"layer1.1": op("gate", block=op("se")), "layer1.1.act1": op("act", act="gelu")}
    assert list(complete(op("timm", model="resnet18", sites=inside)).node["sites"]) == ["layer1.1", "layer1.1.act1"]


def test_the_size_of_the_images_changes_no_kind_and_no_layout() -> None:
    """Of small images the maps of the last stages have one position, which follows nothing."""
    for model, side in (("resnet18", 8), ("test_convnext", 32)):
        small, large = find_sites(model, (1, side, side)).found, find_sites(model).found
        one, other = ([(s.path, s.kind, s.layout) for s in found.values()] for found in (small, large))
        assert one == other
    assert find_sites("resnet18", (1, 8, 8)).found["layer4.1"].grid == (1, 1)
    assert find_sites("test_vit", (3, 32, 64)).found["blocks.0"].grid == (2, 4)


def test_a_space_of_grafts_has_a_choice_at_every_site_or_one_for_all() -> None:
    options = ["keep", "drop", op("input_product", interact=one_of("mul", "sum"))]
    own = hadnas.graft("resnet18", {"layer1.*": options, "kind:linear": [op("second_order", rank=2), "keep"]})
    assert list(own["sites"]) == ["layer1.0", "layer1.1", "fc"] and size(own) == 4 * 4 * 2
    tied = hadnas.graft("resnet18", {"layer1.*": options}, tied=True)
    assert size(tied) == 4
    archs = {complete(draw, DIGITS).fingerprint for _, draw in every(tied)}
    parent = complete(op("timm", model="resnet18"), DIGITS)
    assert len(archs) == 4 and parent.fingerprint in archs
    for _, draw in every(tied):
        chosen = complete(draw, DIGITS).node.get("sites", {})
        assert chosen == {} or chosen["layer1.0"] == chosen["layer1.1"]
    default = hadnas.graft("test_vit", "kind:attention")
    assert {choice.options[0] for choice in default["sites"].values()} == {"keep"} and size(default) > 5**6


def test_a_mixer_without_weights_is_a_site_and_what_mixes_nothing_is_none() -> None:
    sites = find_sites("poolformer_s12", (3, 64, 64))
    mixer = sites.found["stages.0.blocks.0.token_mixer"]
    assert (mixer.kind, mixer.params, mixer.layout, mixer.inner) == ("mixer", 0, "nchw", True)
    assert "token_mixer" in sites.others["stages.0.blocks.0.token_mixer.pool"]
    for name in ("drop_path1", "mlp.drop1", "res_scale1"):
        assert sites.others[f"stages.0.blocks.0.{name}"] == "has no parameters and mixes no positions"


def test_rotary_embeddings_of_positions_are_no_mask() -> None:
    """A block in place of eva's attention gets them and needs none; swin's masks are refused."""
    task = Task.image(3, 56, 56, classes=3)
    node = op("timm", model="eva02_tiny_patch14_224", sites={"blocks.{0,11}.attn": op("star", expand=1)})
    network = hadnas.build(complete(node, task), task)
    assert network(torch.randn(2, 3, 56, 56)).shape == (2, 3)
    site = find_sites("eva02_tiny_patch14_224", (3, 56, 56)).found["blocks.0.attn"]
    assert (site.positions, site.masked, site.grid, site.prefix) == (True, False, (4, 4), 1)


class Sharp(nn.Module):
    """A function of single numbers, of no library."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x.abs().clamp(max=2)


@pytest.mark.parametrize(
    ("module", "found"),
    [
        *((nn.GELU(), True), (nn.ReLU(inplace=True), True), (HardSwish(), True), (Sharp(), True)),
        *((nn.Softmax(-1), False), (nn.Dropout(0.5).eval(), False), (nn.Identity(), False), (nn.PReLU(), False)),
        *((nn.GroupNorm(1, 4, affine=False), False), (nn.BatchNorm2d(4, affine=False).eval(), False)),
        *((nn.AvgPool2d(3, 1, 1), False), (nn.Flatten(), False), (nn.GLU(), False)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_activation_is_a_function_of_single_numbers(module: nn.Module, found: bool) -> None:
    assert is_activation(module) is found


STAR = op("star")
WRONG: dict[str, tuple[tuple[Any, ...], str, type[Exception]]] = {
    "an unknown model": (("resnet81", "kind:block"), "'resnet81'.*resnet18", UnknownName),
    "an unknown kind": (("resnet18", "kind:atention"), "'atention'.*'attention'", UnknownName),
    "a kind that it lacks": (("resnet18", "kind:attention"), "'kind:attention'.*kind:block", SpecError),
    "a pattern without a site": (("resnet18", "layer9.*"), r"'layer9\.\*'.*layer\d", SpecError),
    "a malformed pattern": (("resnet18", "layer[1]"), r"'layer\[1\]'.*kind:NAME", SpecError),
    "a norm": (("resnet18", "layer1.0.bn1"), r"layer1\.0\.bn1 is a norm", SpecError),
    "a block that changes the shape": (("resnet18", {"layer2.0": [STAR]}), "64 x 56 x 56 to 128 x 28 x 28", SpecError),
    "a module called twice": (("edgenext_xx_small", "stages.1.blocks.1.drop_path"), "called 2 times", SpecError),
    "a block for an activation": (("resnet18", {"act1": [STAR]}), "act1.*star.*activation", SpecError),
    "second order of a block": (("resnet18", {"layer1.0": [op("second_order")]}), "block.*linear or conv", SpecError),
    "no node": (("resnet18", {"layer1.0": ["kepp"]}), "layer1.0.*'kepp'.*'keep'", SpecError),
    "an unknown op": (("resnet18", {"layer1.0": [op("stra")]}), "'stra'.*'star'", UnknownName),
    "two patterns": (("resnet18", {"layer1.*": "keep", "kind:block": "keep"}), r"layer1\.\*.*kind:block", SpecError),
    "a block on windows": (
        ("swin_tiny_patch4_window7_224", {"layers.0.blocks.0.attn": [STAR]}), r"\(49, 96\).*input_product", SpecError,
    ),
    "a block under a mask": (("swin_tiny_patch4_window7_224", {"layers.0.blocks.1.attn": [STAR]}), "mask", SpecError),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_grafted_is_refused_in_a_sentence(name: str) -> None:
    arguments, text, kind = WRONG[name]
    with pytest.raises(kind, match=text):
        hadnas.graft(*arguments)


def test_a_size_at_which_the_model_cannot_run_is_refused() -> None:
    with pytest.raises(SpecError, match="test_maxvit cannot run on the meta device with 3 x 17 x 17"):
        complete(op("timm", model="test_maxvit", sites={"kind:block": "drop"}), Task.image(3, 17, 17, classes=2))
    done = shell.hadnas("sites", "test_maxvit", "--size", "3x17x17")
    assert done.exit_code == 2 and "17" in done.output


def test_weights_that_do_not_fit_are_refused_before_any_training(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_text("no weights")
    save_file(
        {"conv1.weight": torch.zeros(64, 3, 7, 7), "fc.weight": torch.zeros(5, 512)}, tmp_path / "few.safetensors"
    )
    for file, facts in (("parent", ("conv1.weight", "resnet18")), ("text", ("text.safetensors",)), ("few", ("few",))):
        name = tmp_path / f"{file}.safetensors"
        done = shell.hadnas("search", "timm:resnet18", "--weights", name, *SEARCH, "--home", tmp_path / "runs")
        assert done.exit_code == 2 and len(done.output.strip().splitlines()) <= 2, done.output
        assert all(fact in done.output for fact in facts), done.output
    done = shell.hadnas("search", "timm:resnet18", "--weights", "none.pth", *SEARCH, "--home", tmp_path / "runs")
    assert done.exit_code == 2 and "'none.pth'" in done.output and "pretrained" in done.output
    assert not list((tmp_path / "runs").glob("*grafts*"))


def test_pretrained_weights_without_a_network_say_what_to_pass(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(StudyError, match=r"resnet18.*--weights FILE, or none"):
        check_weights("resnet18", "pretrained", {"num_classes": 3})
    with pytest.raises(SpecError, match="timm has none of vit_wee"):
        complete(op("timm", model="vit_wee_patch16_reg1_gap_256.untrained", weights="pretrained"))


def test_sites_are_a_tree_with_runs_of_equal_blocks_folded() -> None:
    done = shell.hadnas("sites", "test_vit")
    assert done.exit_code == 0, done.output
    tree = done.output.partition("may stand there")[0]
    rows = {line.split()[0]: line.split() for line in tree.splitlines() if line.strip()}
    assert rows["0-5"][1] == "block" and rows["attn"][1] == "attention" and rows["mlp"][1] == "mlp"
    assert rows["qkv"][-2:] == ["12,480", "1,241,088"]  # 64 * 192 + 192, and 101 tokens
    assert shell.hadnas("sites", "resnet81").exit_code == 2
    assert shell.hadnas("search", "digits", "--sites", "kind:block").exit_code == 2


def test_sites_are_listed_for_weights_that_fit(weights: Path) -> None:
    size = {"images": {"mean": [0.5] * 3, "std": [0.2] * 3, "shape": [3, 32, 48]}}
    save_file(load_file(weights), weights, {key: json.dumps(value) for key, value in size.items()})
    done = shell.hadnas("sites", "test_resnet", "--weights", weights)
    assert done.exit_code == 0 and "3 x 32 x 48" in done.output, done.output
    other = shell.hadnas("sites", "resnet10t", "--weights", weights)
    assert other.exit_code == 2 and "resnet10t" in other.output and weights.name in other.output


def test_a_study_of_one_timm_model_starts_from_weights_by_an_option(weights: Path) -> None:
    study = Study(name="mine", space=op("timm", model="test_resnet", sites=one_of({}, {"layer1.0": "drop"})))
    started = started_from(study, str(weights))
    assert {draw["weights"] for _, draw in every(started.space)} == {f"{weights}#{hashed(weights)}"}
    for other in (load_study("digits"), Study(name="two", space=op("timm", model=one_of("test_vit", "test_resnet")))):
        with pytest.raises(SpecError, match=other.name):
            started_from(other, str(weights))


def hashed(path: Path) -> str:
    """The first 16 digits of a file's SHA-256."""
    return sha256(path.read_bytes()).hexdigest()[:16]
