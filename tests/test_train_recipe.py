"""A recipe is strict about names and ranges, and cheap to import."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from hadnas.errors import UnknownName
from hadnas.train.recipe import Recipe


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


def test_recipe_and_data_spec_need_no_torch() -> None:
    code = (
        "import sys; from hadnas.train.data import DataSpec; from hadnas.train.recipe import Recipe; "
        "Recipe(), DataSpec(source='digits'); print(sorted({'torch', 'timm', 'numpy', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
