"""Options of the command line as settings of a study, and the defaults that the help shows."""

import click
import pytest

from hadnas.errors import HadnasError, SpecError
from hadnas.retraining import LONG_RECIPE
from hadnas.shell.cli import main
from hadnas.shell.commands import Duration
from hadnas.shell.commands.network import retrain_command
from hadnas.shell.commands.overrides import chosen_limits, updated_study
from hadnas.train.data.spec import DataSpec
from hadnas.train.recipe import Policy
from tests.homes import study
from tests.shell import hadnas


def test_settings_of_recipe_data_and_objectives() -> None:
    chosen = updated_study(
        study(),
        lr=0.002,
        augment="shift",
        val_fraction=0.3,
        objectives="val/accuracy, params",
        recipe=("optimizer=sgd", "ema=0.9", "clip_grad=null", "mixup=0"),
    )
    recipe = chosen.recipe
    assert (recipe.lr, recipe.augment, recipe.optimizer, recipe.ema, recipe.clip_grad, recipe.mixup) == (
        0.002, "shift", "sgd", 0.9, None, 0.0,
    )  # fmt: skip
    assert (chosen.data.val_fraction, chosen.objectives) == (0.3, ("val/accuracy", "params"))
    assert (recipe.epochs, recipe.batch, chosen.name) == (1, 512, "tiny")
    assert updated_study(study()) == study()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"recipe": ("epoch=3",)}, "did you mean 'recipe.epochs'"),
        ({"recipe": ("lr",)}, "--recipe 'lr' is not allowed"),
        ({"recipe": ("lr=0.1", "lr=0.2")}, "lr is given twice"),
        ({"recipe": ("lr=0.1",), "lr": 0.2}, "lr is given twice"),
        ({"recipe": ("lr=fast",)}, "recipe.lr = 'fast'"),
        ({"lr": -1.0}, "recipe.lr = -1.0"),
        ({"augment": "shif"}, "augment = 'shif'"),
        ({"val_fraction": 1.5}, "data.val_fraction = 1.5"),
        ({"objectives": "accuracy"}, "unknown objective 'accuracy'"),
        ({"objectives": ""}, "objectives = [] is not allowed"),
    ],
)
def test_a_setting_that_is_not_allowed(changes: dict[str, object], said: str) -> None:
    with pytest.raises(HadnasError) as caught:
        updated_study(study(), **changes)  # type: ignore[arg-type]
    assert said in str(caught.value)


def test_columns_of_the_table_of_a_study_are_not_those_of_other_data() -> None:
    table = DataSpec(source="a/labels.csv", label_columns=["x", "y"], group="patient", size=32, val_fraction=0.3)
    named = study(data=table, metric="macro_f1")
    other = updated_study(named, data="images.npz", metric="accuracy").data
    assert other == DataSpec(source="images.npz", size=32, val_fraction=0.3)
    assert updated_study(named, group="site").data == table.model_copy(update={"group": "site"})


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("digit_pairs:first", "digit_pairs_first"),
        ("relations:same:glyphs.npz", "relations_same_glyphs"),
        ("relations:same:/a/b/glyphs.npz", "relations_same_glyphs"),
        ("/a/b/images.npz", "images"),
        ("/a/scans/table.csv", "scans-table"),
    ],
)
def test_a_study_is_named_by_other_data(data: str, name: str) -> None:
    assert updated_study(study(), data=data).name == f"tiny-{name}"


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2H", 7200)])
def test_a_time(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["0", "-1", "nan", "1d", "m", "1 2", "1e3"])
def test_a_time_that_is_none(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"90s, 30m or 2h"):
        Duration().convert(text, None, None)


def test_limits_by_the_name_of_their_figure() -> None:
    given = dict.fromkeys(("params", "elementwise", "products", "activations", "bytes_moved", "calls"))
    given |= dict.fromkeys(("peak_activation", "latency_ratio"))
    assert chosen_limits({**given, "latency": "5ms", "macs": "100k"}) == {"latency_ms": 5.0, "macs": 100e3}
    with pytest.raises(SpecError, match="--macs 'x' is not allowed"):
        chosen_limits({**given, "latency": None, "macs": "x"})


def test_the_help_of_retrain_has_the_defaults_of_its_recipe() -> None:
    policy = LONG_RECIPE.augment
    assert isinstance(policy, Policy)
    known = {**LONG_RECIPE.model_dump(), **policy.model_dump(), "augment": policy.auto_augment}
    options = [option for option in retrain_command.params if isinstance(option, click.Option)]
    shown = {option.name: option.show_default for option in options if option.name in known and option.show_default}
    assert len(shown) == 11
    for name, text in shown.items():
        value = known[str(name)]
        numbers = value if isinstance(value, tuple) else (value,)
        assert text == " ".join(part if isinstance(part, str) else f"{part:g}" for part in numbers), name


def test_every_option_says_its_default_or_is_optional() -> None:
    """Flags, limits on nothing and repeated options have none."""
    for name, command in main.commands.items():
        for option in command.params:
            if isinstance(option, click.Option) and not (option.is_flag or option.multiple or option.required):
                known = option.show_default or option.default is not None
                assert known or option.name in ("csv", "weights", "arch", "blocks", "size"), f"{name} {option.name}"


def test_the_list_of_commands_has_whole_summaries() -> None:
    shown = " ".join(hadnas("-h").output.split())
    assert "..." not in shown.partition("Commands:")[2]
    for command in main.commands.values():
        assert " ".join(command.get_short_help_str(1000).split()) in shown
