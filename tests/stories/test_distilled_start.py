"""A search from distilled weights: the tensors it starts with, what does not fit, and how it goes on."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import hadnas
from hadnas.arch.node import Arch
from hadnas.errors import HadnasError, Interrupted
from hadnas.hosts.build import build_plan, build_seeded, save_weights, trained
from hadnas.hosts.graft.weights import at_site, expected, named_weights
from hadnas.hosts.host import make_plan
from hadnas.opened import open_study
from hadnas.retraining import retrain
from hadnas.search.distill.distill import Distilled, distill
from hadnas.search.progress import Progress
from hadnas.space import one_of, op
from hadnas.store.home import Home
from hadnas.train.data.spec import load_data
from hadnas.train.recipe import Recipe
from hadnas.train.trainer import fit
from tests.distilled import AS_TRAINED, DIGITS, MODEL, PARENT, study, write_weights
from tests.homes import new_home


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("parent"))


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether all tensors of two networks are equal to the last bit."""
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def test_combinations_start_from_distilled_tensors_and_other_options_fresh(weights: Path, tmp_path: Path) -> None:
    """At the sites bit for bit; the start is part of every key, and a distillation of the same kind has the same."""
    tied = one_of("keep", op("conv_next", kernel=3), name="tied")
    sites = {"layer1.0": [op("conv_next", kernel=one_of(3, 5))], "layer2.0.conv2": tied, "layer4.0.conv2": tied}
    asked, home = study(weights, sites), Home(tmp_path)
    found = distill(asked, home, best=2, steps=3, device="cpu")
    parent, started = load_file(weights), load_file(found.start)
    assert all(torch.equal(started[name], tensor) for name, tensor in parent.items())
    assert expected(found.start) == expected(weights) is not None
    for combination in found.combinations:
        plan = make_plan(combination.arch, DIGITS)
        assert plan.host.weights(plan) == named_weights(MODEL, str(found.start))
        learned = {name: value for one in combination.options for name, value in one.divergence.state.items()}
        assert any(name.startswith("layer1.0.") for name in learned)
        for seed in (0, 7):  # as of finals and of a retraining
            network = build_seeded(plan, seed).state_dict()
            assert all(torch.equal(network[name], value) for name, value in learned.items())
            assert all(torch.equal(network[name], parent[name]) for name in network if name not in learned)
        assert not set(plan.host.origins(plan)) & set(learned)  # new parts: of the new rate, and never frozen

    node = op("timm", model=MODEL, sites={"layer1.0": op("conv_next", kernel=7), "layer4.0.conv2": op("second_order")})
    plans = [make_plan({**node, "weights": str(start)}, DIGITS) for start in (weights, found.start)]
    assert same(*(build_seeded(plan, 3).state_dict() for plan in plans))
    assert plans[0].arch.fingerprint != plans[1].arch.fingerprint

    def keys(found: Distilled) -> set[str]:
        return {one.arch.fingerprint for one in found.combinations}

    again = distill(asked, home, best=2, steps=3, device="cpu")
    assert again.start == found.start and keys(again) == keys(found)
    more = distill(asked, home, best=2, steps=4, device="cpu")
    assert more.start != found.start and not keys(more) & keys(found)


def test_distilled_tensors_that_do_not_fit_are_refused_before_a_search(weights: Path, tmp_path: Path) -> None:
    node = op("timm", model=MODEL, sites={"layer1.0": op("conv_next", kernel=3)})
    plan, start = make_plan(node, DIGITS), tmp_path / "start.safetensors"
    site = at_site("layer1.0", plan.arch.node["sites"]["layer1.0"])
    state = build_plan(plan).get_submodule("layer1.0").state_dict()
    beside, parent = {f"{site}.{name}": tensor for name, tensor in state.items()}, trained(PARENT, weights)
    for name, text in {
        "layer9#0123456789abcdef.w": r"layer9#0123456789abcdef\.w.*layer9 is no module",
        f"{site}.dw.bias": r"start\.safetensors does not fit at layer1\.0#.*dw\.bias is \(3,\); allowed is \(32,\)",
        f"{site}.more": r"layer1\.0#.*more is \(3,\); allowed is no tensor",
        "fc.more": r"start\.safetensors does not fit.*fc\.more",
    }.items():
        save_weights(parent, start, beside={**beside, name: torch.ones(3)})
        asked = study(start, {"layer1.0": [op("conv_next", kernel=3), "keep"]}, baselines={})
        queue = {"mine": make_plan({**node, "weights": str(start)}, DIGITS).arch}
        with pytest.raises(HadnasError, match=text):
            hadnas.run_study(asked, Home(tmp_path / "runs"), device="cpu", enqueued=queue)
    assert not (tmp_path / "runs" / "grafts").exists()


@pytest.mark.slow
def test_a_search_goes_on_from_distilled_weights_with_another_worker(weights: Path, tmp_path: Path) -> None:
    """Its trainings, and a retraining, are those of networks that start from the distilled tensors, to the last bit."""
    home, recipe = new_home(tmp_path / "runs"), Recipe(epochs=1)
    sites = {path: ["keep", op("conv_next", kernel=one_of(3, 5))] for path in ("layer1.0", "layer2.0.conv2")}
    found = distill(study(weights, sites), home, best=2, steps=20, device="cpu", figure="params")
    archs = [one.arch for one in found.combinations]
    asked = study(found.start, sites, trials=len(archs), baselines={}, data=AS_TRAINED, recipe=recipe)

    def interrupt(progress: Progress) -> None:
        if progress.done == 1:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        hadnas.run_study(asked, home, device="cpu", watch=interrupt)
    hadnas.run_study(asked, Home(home.path), device="cpu")
    results, data = open_study("grafts", home.path), load_data(AS_TRAINED)
    assert {one.arch.fingerprint for one in results.ranked} == {arch.fingerprint for arch in archs}

    def fitted(arch: Arch, seed: int) -> dict[str, Tensor]:
        network = build_seeded(make_plan(arch, DIGITS), seed)
        fit(network, data, recipe, seed=seed)
        return network.state_dict()

    ends = {arch: load_file(home.path / "grafts" / "weights" / f"{arch.fingerprint}.safetensors") for arch in archs}
    assert all(same(end, fitted(arch, 0)) for arch, end in ends.items())
    assert same(retrain(archs[0], data, recipe, seed=5, device="cpu").module.state_dict(), fitted(archs[0], 5))
