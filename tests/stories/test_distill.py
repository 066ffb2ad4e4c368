"""Block-wise distillation: the options of a trained network's sites, scored alone, combined, and searched first."""

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hadnas
from hadnas.errors import HadnasError
from hadnas.hosts.build import build_plan, build_seeded, save_weights
from hadnas.hosts.host import make_plan
from hadnas.measure.cost import cost
from hadnas.search.distill.combination import Program
from hadnas.search.distill.distill import Distilled, distill
from hadnas.search.distill.imitation import imitate, record_calls
from hadnas.search.distill.options import read_options
from hadnas.space import one_of, op
from hadnas.store.home import Home
from hadnas.train.data.spec import DataSpec, load_data
from tests import shell
from tests.distilled import AS_TRAINED, DIGITS, MODEL, PARENT, study, write_weights
from tests.homes import new_home

PRODUCT = op("input_product", interact=one_of("mul", "sum"))
SITES = {
    "layer1.0": ["keep", "drop", op("conv_next", kernel=3), PRODUCT],
    "layer1.0.conv1": ["keep", op("second_order")],
    "layer2.0.conv2": one_of("keep", "drop", name="convs"),
    "layer3.0.conv2": one_of("keep", "drop", name="convs"),
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("parent"))


def scored(found: Distilled) -> dict[tuple[str, str], tuple[float, float]]:
    return {(one.choice.name, one.option.label): (one.divergence.mean, one.change) for one in found.options}


def logits(node: dict[str, Any], weights: Path) -> Tensor:
    """Of all validation images."""
    network = build_seeded(make_plan({"op": "timm", "model": MODEL, "weights": str(weights), **node}, DIGITS), 0).eval()
    with torch.no_grad():
        out: Tensor = network(torch.cat([images for (images,), _ in load_data(AS_TRAINED).val.batches(512)]))
    return out.double().log_softmax(1)


def test_options_are_scored_alone_and_combined_by_limits(weights: Path, tmp_path: Path) -> None:
    found = distill(study(weights, SITES), Home(tmp_path), best=3, steps=40, device="cpu")
    scores = scored(found)
    assert len(scores) == 9 and found.n == 288 and not found.is_meaningless
    exact = [("layer1.0", f"input_product interact={name}") for name in ("mul", "sum")]
    for unchanged in (*exact, ("layer1.0", "keep"), ("layer1.0.conv1", "second_order"), ("layer2.0.conv2 +1", "keep")):
        assert scores[unchanged][0] == 0
    own = logits({}, weights)

    def divergence(sites: dict[str, Any]) -> float:
        return float((own.exp() * (own - logits({"sites": sites}, weights))).sum(1).mean())

    assert scores["layer1.0", "drop"][0] == pytest.approx(divergence({"layer1.0": "drop"}), rel=1e-4)
    tied = divergence({"layer2.0.conv2": "drop", "layer3.0.conv2": "drop"})
    assert scores["layer2.0.conv2 +1", "drop"][0] == pytest.approx(tied, rel=1e-4)
    (learned,) = (one for one in found.options if one.divergence.loss is not None)
    assert (
        learned.option.label == "conv_next kernel=3"
        and learned.divergence.loss is not None
        and learned.divergence.loss < 1
    )
    assert learned.divergence.mean < divergence({"layer1.0": op("conv_next", kernel=3)}) / 2  # of a fresh one

    assert found.combinations and found.combinations == tuple(sorted(found.combinations, key=lambda one: -one.figure))
    for combination in found.combinations:
        assert combination.figure == found.parent + sum(one.change for one in combination.options) <= combination.limit
        counted = cost(build_plan(make_plan(combination.arch, DIGITS), device="meta"), DIGITS.shape)
        assert counted.macs == combination.figure
        assert combination.score == pytest.approx(sum(one.divergence.mean for one in combination.options))


def test_scores_are_measured_once(weights: Path, tmp_path: Path) -> None:
    home, asked = Home(tmp_path), study(weights, SITES)
    first = scored(distill(asked, home, steps=5, device="cpu"))
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "checkpoints").iterdir()}
    assert len(files) == 6  # every option but the network's own modules
    gone = next(iter(files))
    gone.unlink()
    other = study(weights, SITES, name="other", baselines=None, constraints={"macs": 500_000.0})
    found = distill(other, home, steps=5, device="cpu")
    assert scored(found) == first and max(one.limit for one in found.combinations) == 500_000
    changed = {path for path, time in files.items() if path.stat().st_mtime_ns != time}
    assert changed == {gone}
    assert scored(distill(asked, home, steps=6, device="cpu")) != first


def test_a_program_finds_the_best_of_all_combinations(weights: Path) -> None:
    _, choices = read_options(study(weights, SITES).space, DIGITS)
    options = [option for choice in choices for option in choice.options]
    inner = next(option for option in options if set(option.sites) == {"layer1.0.conv1"})
    rng, places = np.random.default_rng(0), {id(option): place for place, option in enumerate(options)}
    for _ in range(20):
        scores, changes = rng.random(len(options)), rng.integers(-5, 3, len(options)) * 1e6
        scores[rng.integers(3)] = np.inf
        program = Program(choices, changes)
        everything = [
            [places[id(option)] for option in combination]
            for combination in itertools.product(*(choice.options for choice in choices))
            if not (combination[0].replaced and inner is combination[1])
        ]
        allowed = [one for one in everything if np.isfinite(scores[one].sum())]
        assert program.least_change() == min(changes[one].sum() for one in everything)
        for limit in (-3e6, 0, 2e6):
            within = [one for one in allowed if changes[one].sum() <= limit]
            best = program.best(scores, limit)
            assert best == min(within, key=lambda one: scores[one].sum()) if within else best is None


def test_a_module_learns_the_outputs_of_another_and_the_network_runs_no_further() -> None:
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError

    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 1), Fails())
    images = load_data("digits").train
    (batch,), _ = next(images.batches(8))
    seen = record_calls(network, ["1", "2"], batch)
    assert seen.given["1"][0][0].min() < 0 and torch.equal(seen.returned["1"], seen.given["2"][0][0])
    pupils = [("2", nn.Conv2d(4, 4, 1)), ("2", nn.Conv2d(4, 4, 1, groups=2))]
    before = torch.get_rng_state()
    close, less = imitate(network, pupils, images, steps=200, seed=0, device=torch.device("cpu"))
    assert close < 0.02 and 10 * close < less < 1 and torch.equal(before, torch.get_rng_state())


VALUES, ONE = "values.npz", op("timm", model=MODEL, sites=one_of({}, {"layer1.0": "drop"}))
WRONG: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no grafts": ({"space": op("pyramid")}, {}, "'pyramid'.*timm:MODEL"),
    "one choice of all sites": ({"space": ONE}, {}, "'timm'.*site by site"),
    "no weights": ({"weights": None}, {}, "no weights.*pretrained"),
    "nothing replaced": ({"sites": {"layer1.0": ["keep", PRODUCT]}}, {}, "replaces.*drop"),
    "an unknown figure": ({}, {"figure": "mac"}, "'mac'.*did you mean 'macs'"),
    "a figure that is no sum": ({}, {"figure": "peak_activation_bytes"}, "'peak_activation_bytes'.*latency_ms"),
    "no latency": ({}, {"figure": "latency_ms"}, "times nothing.*latency_ms"),
    "a limit out of reach": ({"constraints": {"macs": 1000.0}}, {}, r"macs below 1,000.*at least"),
    "too many options": ({"sites": {"layer1.0": [op("mlp", expand=hadnas.int_range(1, 501))]}}, {}, "501 options.*500"),
    "another task": ({"data": DataSpec(source=VALUES)}, {}, "values.*classes"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_distilled_is_refused_in_a_sentence(
    name: str, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes, arguments, text = WRONG[name]
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.savez(VALUES, train_images=rng.integers(0, 255, (40, 8, 8), np.uint8), train_labels=rng.random(40))
    asked = study(changes.get("weights", weights), changes.get("sites", SITES))
    asked = asked.model_copy(update={key: value for key, value in changes.items() if key not in ("weights", "sites")})
    with pytest.raises(HadnasError, match=text):
        distill(asked, Home(tmp_path / "runs"), steps=1, device="cpu", **arguments)
    assert not list((tmp_path / "runs").glob("**/enqueued"))


def test_a_home_that_no_path_of_weights_may_name_is_refused_first(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(HadnasError, match=r"two\\nlines.*control"):
        distill(study(weights, SITES), Home(tmp_path / "two\nlines"), steps=1, device="cpu")
    assert not (tmp_path / "two\nlines" / "checkpoints").exists()


def test_a_network_of_other_classes_has_nothing_to_give(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_weights(build_seeded(PARENT, 0), tmp_path / "fresh.safetensors")
    with pytest.raises(HadnasError, match=r"of 288 validation images.*these classes"):
        distill(study(tmp_path / "fresh.safetensors", SITES), Home(tmp_path / "runs"), steps=1, device="cpu")


FILE = """
import hadnas
SPACE = hadnas.graft("test_resnet", "layer1.0", weights=WEIGHTS)
STUDY = hadnas.Study(space=SPACE, recipe=hadnas.Recipe(epochs=1), latency=None, trials=1)
"""


def test_the_command_prints_scores_and_the_search_trains_the_best_first(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FILE.replace("WEIGHTS", repr(str(weights))))
    named = (tmp_path / "mine.py", "--home", new_home(tmp_path / "runs").path, "--device", "cpu")
    done = shell.hadnas("distill", *named, "--steps", "2", "--best", "2", "--limit", "params")
    assert done.exit_code == 0, done.output
    names = re.findall(r"^distilled_\w+", done.output, re.MULTILINE)
    assert names and " drop " in done.output and "-18.6k" in done.output  # the parameters of the block
    (start,) = re.findall(r"--weights (\S+),", done.output)
    assert shell.hadnas("sites", MODEL, "--weights", start).exit_code == 0
    searched = shell.hadnas("search", *named, "--weights", start)
    assert searched.exit_code == 0, searched.output
    assert all(re.search(f"enqueued {name}: .*trial-000", searched.output) for name in names), searched.output
    queue = tmp_path / "runs" / "mine" / "enqueued" / f"{names[0]}.json"
    queue.write_text("{")
    damaged = shell.hadnas("search", *named, "--weights", start)
    assert damaged.exit_code == 2 and queue.name in damaged.output
    assert shell.hadnas("distill", "digits", "--home", tmp_path).exit_code == 2
