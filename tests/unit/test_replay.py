"""Replays on a table: the figures of a search, bad tables, and a small bench in which a worse sampler fails."""

import csv
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

import hadnas.samplers.surrogate
from hadnas.errors import SpecError, UnknownName
from hadnas.measure.front import hypervolume
from hadnas.replay.replay import contender, replay_search, replays, score
from hadnas.replay.scores import summaries
from hadnas.replay.table import Goal, KnownTable, goal, read_table, table_of
from hadnas.space import every, one_of, op, repeat
from tests.deep import Deep
from tests.shell import hadnas as run

BLOCK = one_of(op("star", expand=one_of(1, 2)), op("mlp"))
SPACE = op("net", blocks=repeat(BLOCK, one_of(1, 2)))
GOAL = Goal({"accuracy": "maximize", "macs": "minimize"}, known=["macs"])


def rows(seeds: tuple[str, ...] = ("0", "1", "2")) -> list[dict[str, str]]:
    """Two blocks are one network in either order; seeds differ by a tenth."""
    out = []
    for params, draw in every(SPACE):
        stars = sum(block.get("expand", 0) for block in draw["blocks"])
        key = " ".join(sorted(f"{block['op']}{block.get('expand', '')}" for block in draw["blocks"]))
        for seed in seeds:
            accuracy = stars / 4 + int(seed) / 10
            figures = {"accuracy": f"{accuracy}", "macs": str(stars + len(draw["blocks"])), "key": key, "seed": seed}
            out.append({name: str(value) for name, value in params.items()} | figures)
    return out


def table(found: list[dict[str, str]], goal: Goal = GOAL) -> KnownTable:
    return table_of(SPACE, dict.fromkeys(name for row in found for name in row), found, goal)


def test_a_network_is_told_as_one_seed_and_judged_by_the_mean() -> None:
    known = table(rows())
    assert {round(known.trained("mlp star1", seed)[0], 6) for seed in range(20)} == {0.25, 0.35, 0.45}
    assert known.trained("mlp star1", 3) == known.trained("mlp star1", 3)
    assert known.judged("mlp star1") == pytest.approx([0.35, 3.0])
    assert known.problem.reference == known.reference == pytest.approx((0.1, 6.0)) or known.reference[1] == 6.0
    everything = {key: known.judged(key) for key in known.figures}
    assert score(known, everything) == pytest.approx(1)
    best = hypervolume(list(everything.values()), ("maximize", "minimize"), known.reference)
    assert known.best == pytest.approx(best)


def test_the_choice_is_by_what_was_seen() -> None:
    """A lucky seed is chosen, and judged by its mean."""
    known = table(rows(), Goal({"accuracy": "maximize"}))
    assert score(known, {"mlp": [0.9], "star2 star2": [0.8]}) == pytest.approx(0.1)


def test_a_budget_counts_new_networks_and_a_search_ends_when_none_is_left() -> None:
    known = table(rows())
    optuna.logging.set_verbosity(optuna.logging.INFO)
    for name in ("tpe", "surrogate", "random"):
        found = replay_search(known, contender(name), 0, 100)
        assert found.at(1).score < found.at(100).score == pytest.approx(1) and len(found.steps) < 100, name
    assert optuna.logging.get_verbosity() == optuna.logging.ERROR  # no line for each of the draws


def without(found: list[dict[str, str]], name: str) -> list[dict[str, str]]:
    return [{key: value for key, value in row.items() if key != name} for row in found]


def changed(place: int, **cells: str) -> list[dict[str, str]]:
    found = rows()
    found[place] = found[place] | cells
    return found


BAD: dict[str, Any] = {
    r"11 of 12 draws.*missing is \{.*'mlp'": lambda: rows()[:-3],
    "line 38: the draw of line 2 again": lambda: [*rows(), rows()[0]],
    "line 5: accuracy = 'nan' is no figure": lambda: changed(3, accuracy="nan"),
    "line 3: macs = '' is no figure": lambda: changed(1, macs=""),
    "line 2: blocks.0 = conv is outside of the space; allowed are star, mlp": lambda: changed(
        0, **{"blocks.0": "conv"}
    ),
    "line 2: no value of blocks.times": lambda: changed(0, **{"blocks.times": ""}),
    "line 3: key 'b' for a draw whose key was": lambda: changed(1, key="b"),
    "other figures of key": lambda: changed(3, key="star1"),
}


@pytest.mark.parametrize("message", BAD)
def test_a_bad_table_is_one_error(message: str) -> None:
    with pytest.raises(SpecError, match=message):
        table(BAD[message]())


def test_a_cell_that_a_draw_does_not_have_and_a_missing_column_are_errors() -> None:
    found = rows()
    place = next(i for i, row in enumerate(found) if row["blocks.times"] == "1" and i)
    found.append(found.pop(place) | {"blocks.1": "mlp"})
    with pytest.raises(SpecError, match=r"blocks\.1 = mlp, but this draw has no such decision"):
        table(found)
    with pytest.raises(UnknownName, match="'maccs'; did you mean 'macs'"):
        table(rows(), Goal({"maccs": "minimize"}))


def test_objectives_are_named_and_a_judge_has_a_column() -> None:
    with pytest.raises(SpecError, match="--maximize or --minimize"):
        goal([], [], [], [], [], "", 0)
    with pytest.raises(SpecError, match=r"'accuracy' .* OBJECTIVE=COLUMN"):
        goal(["accuracy"], [], [], ["accuracy"], [], "", 0)


def test_the_command_on_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from hadnas import one_of, op, repeat\n"
        "BLOCK = one_of(op('star', expand=one_of(1, 2)), op('mlp'))\n"
        "SPACE = op('net', blocks=repeat(BLOCK, one_of(1, 2)))\n"
    )
    columns = list(dict.fromkeys(name for row in rows() for name in row))
    with (tmp_path / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows())
    assert read_table(SPACE, [tmp_path / "table.csv"], GOAL) == table(rows())
    words = ("bench", tmp_path / "mine.py", tmp_path / "table.csv", "--maximize", "accuracy", "--seeds", "2")
    words = (*words, "--budget", "3", "--processes", "1", "--csv", tmp_path / "scores.csv")
    done = run(*words)
    assert done.exit_code == 0 and "ahead of tpe" in done.output, done.output
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 1 + 2 * 2 * 3
    assert "exists already" in run(*words).output
    assert run(*words[:3]).exit_code == 2
    assert "unknown objective 'macs'" in run(*words[:5], "--known", "macs").output


def test_means_errors_and_leads() -> None:
    benchmark = Deep(1, 2)
    found = list(replays(benchmark, [contender("random"), contender("tpe")], 3, 4))
    assert [(search.contender.label, search.seed) for search in found[:3]] == [("random", 0), ("tpe", 0), ("random", 1)]
    rows = summaries(found, (2, 4))
    assert [(row.budget, row.label) for row in rows] == [(2, "random"), (2, "tpe"), (4, "random"), (4, "tpe")]
    scores = {name: [s.at(4).score for s in found if s.contender.label == name] for name in ("random", "tpe")}
    assert rows[3].mean == pytest.approx(np.mean(scores["tpe"])) and rows[3].low <= rows[3].mean <= rows[3].high
    assert rows[0].work == 1 and rows[3].work == 1  # of a training, where no column says it
    assert rows[3].lead == pytest.approx(np.mean(scores["tpe"]) - np.mean(scores["random"]))
    errors = [np.std(values, ddof=1) / np.sqrt(3) for values in scores.values()]
    assert rows[3].lead_error == pytest.approx(np.hypot(*errors)) and rows[2].lead == 0


LABELS = ("none", "add", "mul", "conv")
FLAT = {f"x{i}": one_of(*LABELS) for i in range(5)}


def flat() -> KnownTable:
    """1,024 networks: accuracy by counts of labels and by their places, with noise; the cost is known."""
    rng = np.random.default_rng(0)
    at_place = rng.normal(size=(5, 4))
    found = []
    for params, _ in every(FLAT):
        labels = [LABELS.index(str(label)) for label in params.values()]
        none, add, mul, conv = counts = [labels.count(label) for label in range(4)]
        score = sum(at_place[i, label] for i, label in enumerate(labels)) / 5
        score -= (mul - 2) ** 2 + (conv - 2) ** 2 / 2 + 0.3 * none * add
        figures = {"macs": 10 * conv + 2 * mul + add + sum(labels) / 5, **dict(zip(LABELS, counts, strict=True))}
        for seed in range(2):
            accuracy = 1 / (1 + np.exp(-score / 2)) + rng.normal(0, 0.01)
            row = {**params, **figures, "accuracy": accuracy, "seed": seed}
            found.append({name: str(value) for name, value in row.items()})
    goal = Goal({"accuracy": "maximize", "macs": "minimize"}, known=["macs"], features=LABELS)
    return table_of(FLAT, found[0], found, goal)


BENCH = flat()


def reached(sampler: str) -> list[float]:
    """Shares of the hypervolume after 20 trainings, of which 8 are spread or random, of 4 seeds."""
    chosen = contender(f"{sampler},n_startup_trials=8")
    return [replay_search(BENCH, chosen, seed, 20).at(20).score for seed in range(4)]


def test_the_surrogate_is_ahead_of_tpe_on_a_small_table() -> None:
    """Of 16 seeds the mean is .935, the least .888."""
    surrogate = reached("surrogate,pool=60")
    assert min(surrogate) > 0.88 and np.mean(surrogate) > np.mean(reached("tpe")) + 0.02


@pytest.mark.parametrize("worse", ["sign", "features", "prediction"])
def test_a_worse_surrogate_would_be_seen(worse: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar of the test above is above what it reaches with the sign turned, without features, without a model."""
    module = hadnas.samplers.surrogate
    gains, predict = module.gains, module.Gaussian.predict
    if worse == "sign":
        monkeypatch.setattr(module, "gains", lambda *words: -gains(*words))
    elif worse == "features":
        monkeypatch.setattr(module, "_columns", lambda features: np.zeros((len(features), 1)))
    else:
        monkeypatch.setattr(module.Gaussian, "predict", lambda *words: tuple(0 * x for x in predict(*words)))
    assert min(reached("surrogate,pool=60")) < 0.85


def test_damaged_files_are_one_error(tmp_path: Path) -> None:
    whole = gzip.compress(b"accuracy,macs\n" + b"".join(b"%d,1\n" % i for i in range(999)))
    for name, content in {
        "empty.csv": b"",
        "cut.csv.gz": whole[: len(whole) // 2],
        "other.csv.gz": whole[:20] + b"\xff" * 40 + whole[60:],
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises((SpecError, UnknownName), match=name):
            read_table(SPACE, [tmp_path / name], GOAL)


def test_what_does_not_fit_is_refused_before_the_first_search() -> None:
    with pytest.raises(SpecError, match=r"line 2: log10\.accuracy of 0"):
        table([row | {"accuracy": "0"} for row in rows()], Goal({"log10.accuracy": "maximize"}))
    with pytest.raises(SpecError, match="line 2: work macs = 0"):
        table([row | {"macs": "0"} for row in rows()], Goal({"accuracy": "maximize"}, work="macs"))
    with pytest.raises(SpecError, match="hypervolume of all networks is 0"):
        replays(table([row | {"macs": "1"} for row in rows()]), [contender("random")], 1, 5)
    with pytest.raises(SpecError, match="rungs = 9"):
        contender(f"random,rungs={'9' * 5000}")
    with pytest.raises(SpecError, match="line 20: macs = None is no figure"):
        table([*rows()[:18], *without(rows()[18:], "macs")])
    curves = [
        row | {f"{c}@{n}": "1" for c in ("train_loss", "val_loss", "val_accuracy") for n in (1, 2)} for row in rows()
    ]
    with pytest.raises(SpecError, match="rungs need the objective val_accuracy@2; found accuracy"):
        replays(table(curves, Goal({"accuracy": "maximize"}, epochs=2)), [contender("random,rungs=1")], 1, 5)
