"""A recipe is strict about names and ranges, and cheap to import."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from hadnas.errors import UnknownName
from hadnas.train.recipe import Policy, Recipe


def test_any_optimizer_of_timm_is_known_and_a_wrong_name_gets_the_nearest() -> None:
    assert Recipe(optimizer="nadamw").optimizer == "nadamw"
    with pytest.raises(UnknownName, match="unknown optimizer 'adamww'; did you mean 'adamw'"):
        Recipe(optimizer="adamww")


@pytest.mark.parametrize(
    "bad",
    [
        *({"epochs": 0}, {"batch": 1}, {"lr": 0}, {"lr": float("inf")}, {"ema": 1.0}, {"schedule": "cos"}),
        *({"augment": "flip"}, {"amp": "fp16"}, {"label_smoothing": 1.0}, {"clip_grad": 0}, {"epoch": 3}),
    ],
)
def test_values_out_of_range_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(bad))):
        Recipe.model_validate(bad)


def test_a_policy_of_timm_is_named_or_given_whole() -> None:
    assert Recipe.model_validate({"augment": "timm"}).augment == Policy()
    assert Recipe.model_validate({"augment": "3a"}).augment == Policy(auto_augment="3a")
    whole = Recipe(augment=Policy(auto_augment="rand-m9-n3-mstd0.5-inc1", scale=(0.3, 1), hflip=0, re_prob=0.25))
    assert Recipe.model_validate_json(whole.model_dump_json()) == whole
    assert str(whole.augment).startswith("auto_augment rand-m9-n3-mstd0.5-inc1, scale (0.3, 1.0), hflip 0.0")


@pytest.mark.parametrize(
    "policy", ["rand-m9-tweights-mstd0.5", "rand-t3aw", "augmix-m3-a0.5", "v0r", "original-mstd0.5"]
)
def test_a_policy_that_timm_reads_is_allowed(policy: str) -> None:
    assert Recipe.model_validate({"augment": policy}).augment == Policy(auto_augment=policy)


@pytest.mark.parametrize(
    "policy",
    ["rand-m9-mst0.5", "rnd-m9", "rand-mstd", "rand-m9.5", "rand-tall", "v2", "augmix-w", "augmix-t3a", "flip"],
)
def test_a_policy_that_timm_would_pass_over_is_refused(policy: str) -> None:
    with pytest.raises(ValidationError, match=f"augment = '{policy}' is not allowed; allowed are none, shift, "):
        Recipe.model_validate({"augment": policy})


@pytest.mark.parametrize("bad", [{"hflip": 2}, {"scale": (0, 1)}, {"scale": (0.9, 0.2)}, {"re_prob": -1}, {"erase": 1}])
def test_settings_of_a_policy_are_held(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(bad))):
        Recipe.model_validate({"augment": bad})


def test_recipe_and_data_spec_need_no_torch() -> None:
    code = (
        "import sys; from hadnas.train.data.spec import DataSpec; from hadnas.train.recipe import Recipe; "
        "Recipe(), DataSpec(source='digits'); print(sorted({'torch', 'timm', 'numpy', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
