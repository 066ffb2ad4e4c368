"""A study that ran, as a person looks at it: narrow terminals, one network of many, two studies, figures in Python."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

import hadnas as library
from hadnas.errors import HadnasError
from hadnas.opened import OpenStudy, open_study
from hadnas.results.comparison import overlay
from hadnas.search.run import run_study
from hadnas.shell.console import PlainConsole
from hadnas.shell.tables import console
from hadnas.shell.tables.grid import NAME_WIDTH
from hadnas.store.home import Home
from hadnas.train.data.spec import DataSpec
from tests.homes import RECIPE, new_home, study
from tests.shell import hadnas

LONG = "a_baseline_whose_name_is_longer_than_a_line_of_most_tables"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Two studies of the same space, on other splits and with another recipe; one has a baseline of a long name."""
    home = new_home(tmp_path_factory.mktemp("choosing"))
    run_study(study(baselines={LONG: "test_resnet"}, latency="eager"), home, device="cpu")
    other = study(
        name="other",
        data=DataSpec(source="digits", split_seed=1),
        recipe=RECIPE.model_copy(update={"lr": 0.001}),
        trials=2,
        seed=4,
    )
    run_study(other, home, device="cpu")
    return home


@pytest.fixture
def results(home: Home) -> OpenStudy:
    return open_study("tiny", home.path)


def in_terminal(monkeypatch: pytest.MonkeyPatch, width: int, *arguments: object) -> list[str]:
    """The lines of a command in a terminal of a width."""
    with monkeypatch.context() as terminal:
        terminal.setattr(PlainConsole, "is_terminal", True)
        terminal.setattr(console, "width", width)
        done = hadnas(*arguments)
    assert done.exit_code == 0, done.output
    return done.output.splitlines()


@pytest.mark.parametrize("width", [60, 80, 100, 200])
@pytest.mark.parametrize("command", ["top", "ledger", "compare", "show", "list", "pick"])
def test_no_line_is_wider_than_the_terminal_and_no_cell_is_cut(
    command: str, width: int, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = {
        "top": ("top", "tiny", "--home", home.path),
        "ledger": ("ledger", "trainings", "--home", home.path),
        "compare": ("compare", "tiny", "other", "--home", home.path),
        "show": ("show", "hornet_tiny"),
        "list": ("list",),
        "pick": ("pick", "tiny", "--home", home.path),
    }[command]
    lines = in_terminal(monkeypatch, width, *arguments)
    assert max(map(len, lines)) <= width and "…" not in "".join(lines)
    if command == "top":
        assert any(LONG[:NAME_WIDTH] in line for line in lines)
        left_out = "left out at" in " ".join(lines)
        assert left_out == (width < 130) and ("merges" in "".join(lines[1:3])) == (width == 200)
        for number in (
            f"{found.value:.4f} ± {found.standard_error:.4f}" for found in open_study("tiny", home.path).front
        ):
            assert any(number in line for line in lines)


def test_the_tables_of_a_command_have_the_same_columns_and_the_letters_go_first(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    for width in range(80, 150, 10):
        lines = in_terminal(monkeypatch, width, "top", "tiny", "-n", 1, "--home", home.path)
        titles = [n for n, line in enumerate(lines) if line.startswith(("tiny: ", "Pareto front", "Best of each"))]
        heads = [" ".join(lines[n + 1 : n + 3]).split() for n in titles]
        columns = ("MACs", "parameters", "products", "latency", "ratio", "blocks", "merges")
        shown = [[column for column in columns if column in head] for head in heads]
        assert len(shown) == 3 and all(one == shown[0] for one in shown), (width, shown)
        assert "merges" not in shown[0] or "blocks" in shown[0]
        assert "blocks" not in shown[0] or heads[0].count("latency") == 2, (width, heads)  # and its ratio


def test_the_best_of_each_family_is_shown_where_the_leaderboard_lacks_one(results: OpenStudy, home: Home) -> None:
    best = {family: next(f for f in results.ranked if f.family == family) for family in ("additive", "mixed")}
    assert {found.family for found in results.ranked} == set(best)
    shown = hadnas("top", "tiny", "-n", 1, "--home", home.path).output.partition("Best of each family")[2]
    rows = {line.split()[0]: line.split()[1:2] for line in shown.splitlines()[2:7]}
    names = {family: [found.name] for family, found in best.items()}
    assert rows == {"hadamard": [], "additive": [], "convolution": [], "attention": [], "mixed": [], **names}
    assert "Best of each family" not in hadnas("top", "tiny", "-n", 3, "--home", home.path).output


def test_the_studies_of_a_home_are_listed_and_shown(home: Home, tmp_path: Path) -> None:
    rows = [["tiny", "3", "digits", "accuracy"], ["other", "2", "digits", "accuracy"]]
    for command in (("list",), ("list", "studies"), ("top",)):
        done = hadnas(*command, "--home", home.path)
        own = [line.split() for line in done.output.partition("Your studies")[2].splitlines()]
        assert done.exit_code == 0 and own[1] == ["study", "trials", "data", "metric"], done.output
        assert all(row in own for row in rows), done.output
    shown = hadnas("show", "other", "--home", home.path)
    assert shown.exit_code == 0 and "lr 0.001" in shown.output and "split_seed 1" in shown.output
    assert json.loads(hadnas("show", "other", "--home", home.path, "--json").output)["seed"] == 4
    near = hadnas("show", "othr", "--home", home.path)
    assert near.exit_code == 2 and "did you mean 'other'" in near.output and near.output.count(",") < 15
    assert "Your studies" not in hadnas("list", "studies", "--home", tmp_path / "none").output
    assert "there is no study in" in hadnas("top", "--home", tmp_path / "none").output
    assert not (tmp_path / "none").exists()


def test_a_pipe_has_every_column_and_whole_names(home: Home) -> None:
    lines = hadnas("top", "tiny", "--home", home.path).output.splitlines()
    assert any(LONG in line and "baseline" in line for line in lines)
    for head in ("val/accuracy", "MACs", "parameters", "products", "latency ratio", "blocks", "merges"):
        assert head in lines[1]
    assert all(line == line.rstrip() for line in lines)
    kept = hadnas("ledger", "trainings", "--home", home.path).output
    assert "val_accuracy" in kept.splitlines()[1] and "left out" not in kept


def test_marks_are_explained_where_they_occur(home: Home, tmp_path: Path) -> None:
    run_study(study(name="again", trials=2, latency="eager"), home, device="cpu")
    again = hadnas("top", "again", "--home", home.path).output
    assert "trial-0000*" in again and "*: reused" in again and "H hadamard, A additive" in again
    first = hadnas("top", "tiny", "--home", home.path).output
    assert "*: reused" not in first and ("~: the interquartile" in first) == ("~" in first.partition("left out")[0])


def test_the_picked_network_is_the_best_within_its_limits(results: OpenStudy, home: Home) -> None:
    ranked = results.ranked
    smallest = min(ranked, key=lambda found: found.figures["macs"])
    limit = smallest.figures["macs"]
    assert results.pick() == results.best
    for most in (found.figures["macs"] for found in ranked):
        assert results.pick({"macs": most}) == next(f for f in ranked if f.figures["macs"] <= most)
    with pytest.raises(HadnasError, match=f"the smallest is {limit:,.0f}"):
        results.pick({"macs": limit - 1})
    fastest = results.pick(metric="latency_ms")
    assert fastest.figures["latency_ms"] == min(found.figures["latency_ms"] for found in ranked)
    done = hadnas("pick", "tiny", "--home", home.path, "--macs", limit)
    assert done.exit_code == 0 and f"{results.pick({'macs': limit}).name} of tiny" in done.output, done.output


def test_the_pick_shows_the_figures_that_decided(results: OpenStudy, home: Home) -> None:
    shown = hadnas("pick", "tiny", "--home", home.path, "--metric", "macro_f1", "--calls", "1k").output
    found = results.pick({"calls": 1000}, "val/macro_f1")
    rows = {line.rpartition("  ")[0].strip(): line.rpartition("  ")[2] for line in shown.splitlines()}
    assert rows["val/macro_f1"] == f"{found.figures['val/macro_f1']:.4f}", shown
    assert rows["calls"] == f"{found.figures['calls']:.0f}", shown


@pytest.mark.slow
def test_the_picked_network_is_exported_and_a_refusal_chooses_nothing(
    results: OpenStudy, home: Home, tmp_path: Path
) -> None:
    limit, out = min(found.figures["macs"] for found in results.ranked), tmp_path / "out"
    done = hadnas("pick", "tiny", "--home", home.path, "--macs", limit, "--out", out)
    assert done.exit_code == 0, done.output
    picked = results.pick({"macs": limit})
    assert picked.arch is not None and f"{picked.name} of tiny" in done.output
    assert json.loads((out / "arch.json").read_text())["op"] == picked.arch.node["op"]
    again = hadnas("pick", "tiny", "--home", home.path, "--macs", limit, "--out", out)
    assert again.exit_code == 2 and "already has files" in again.output and picked.name not in again.output
    refused = hadnas("export", "tiny", "--home", home.path, "--out", out)
    assert refused.exit_code == 2 and refused.output.startswith("error: ") and refused.output.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--macs", "1"), "no MACs of its networks is at most 1; the smallest is "),
        (("--latency", "0.000001ms", "--macs", "1G"), "within the other limits"),
        (("--metric", "accurcy"), "unknown metric 'accurcy'"),
        (("--macs", "many"), "--macs 'many' is not allowed"),
        (("--onnx",), "need --out"),
    ],
)
def test_a_choice_that_is_none(arguments: tuple[str, ...], said: str, home: Home) -> None:
    done = hadnas("pick", "tiny", "--home", home.path, *arguments)
    assert done.exit_code == 2 and said in done.output, done.output


def test_studies_are_compared_and_what_differs_is_named(home: Home, tmp_path: Path) -> None:
    picture = tmp_path / "fronts.png"
    done = hadnas("compare", "tiny", "other", "--home", home.path, "--out", picture)
    assert done.exit_code == 0, done.output
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "warning: the images of 'tiny' and 'other' differ" in done.output
    assert "warning: the recipes of 'tiny' and 'other' differ: lr 0.004 and 0.001" in done.output
    assert done.output.startswith("warning: ") and "networks" in done.output
    assert "hypervolume share" not in done.output and "common front" not in done.output
    assert "objectives of these studies cannot be compared" in done.output
    for arguments, said in (
        (("tiny", "other", "--out", picture), "exists already"),
        (("tiny",), "two different studies"),
        (("tiny", "tiny"), "two different studies"),
        (("tiny", "other", "--out", tmp_path / "fronts.gif"), ".png, .svg or .pdf"),
        (("tiny", "nothing"), "unknown study 'nothing'"),
    ):
        refused = hadnas("compare", *arguments, "--home", home.path)
        assert refused.exit_code == 2 and said in refused.output, refused.output


def test_on_the_same_images_each_study_has_a_share(home: Home) -> None:
    run_study(study(name="same", trials=2, seed=4), home, device="cpu")
    done = hadnas("compare", "tiny", "same", "--home", home.path)
    assert done.exit_code == 0 and "warning" not in done.output, done.output
    shares = [line.split() for line in done.output.splitlines() if line.startswith(("tiny ", "same "))][-2:]
    assert {row[0] for row in shares} == {"tiny", "same"} and all(0 <= float(row[-1]) <= 1 for row in shares)
    assert sum(int(row[-2]) for row in shares) >= 1
    slower = RECIPE.model_copy(update={"lr": 0.001})
    run_study(study(name="slower", trials=1, recipe=slower), home, device="cpu")
    said = hadnas("compare", "tiny", "slower", "--home", home.path).output
    assert "recipes of 'tiny' and 'slower' differ: lr" in said and "hypervolume share" in said
    assert ("trainings differ" in said, "trainings differ" in done.output) == (True, False)


def test_latencies_of_another_protocol_are_no_objectives_to_compare(home: Home) -> None:
    timed = {"trials": 1, "latency": "eager", "objectives": ("val/accuracy", "latency_ratio")}
    for name in ("timed", "later"):
        run_study(study(name=name, **timed), home, device="cpu")
    one, other = open_study("timed", home.path), open_study("later", home.path)
    assert set(overlay([one, other]).volumes) == {"timed", "later"}
    vars(other)["protocol"] = "of another machine"
    found = overlay([one, other])
    assert not found.volumes and not found.joint and "latencies of 'timed' and 'later' differ" in found.warnings[0]


def test_what_differs_between_latencies_is_named_with_both_values(home: Home, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (1200, 12, 12), dtype=np.uint8)
    np.savez(tmp_path / "large.npz", train_images=images, train_labels=np.arange(1200) % 3)
    sizes = DataSpec(source=str(tmp_path / "large.npz"))
    run_study(study(name="larger", data=sizes, trials=1, latency="eager"), home, device="cpu")
    said = hadnas("compare", "tiny", "larger", "--home", home.path).output
    assert "latencies of 'tiny' and 'larger' differ: shape [1, 8, 8] and [1, 12, 12]\n" in said, said


def test_fronts_of_other_objectives_are_not_compared(home: Home) -> None:
    run_study(study(name="single", trials=1, objectives=("val/accuracy",)), home, device="cpu")
    refused = hadnas("compare", "tiny", "single", "--home", home.path)
    assert refused.exit_code == 2 and "those of 'single' val/accuracy" in refused.output, refused.output


def test_the_trials_are_a_table_with_whole_numbers(results: OpenStudy) -> None:
    brief, full = results.trials, results.trials_dataframe(full=True)
    assert str(brief["trial"].dtype) == "Int64" and list(brief["trial"].dropna()) == [f.number for f in results.found]
    assert brief["trial"].isna().sum() == 1 and brief["name"].iloc[-1] == LONG
    columns = ["val/accuracy", "macs", "params", "products", "latency_ms", "latency_ratio"]
    assert [name for name in brief if name in columns] == columns and len(brief.columns) == 14
    assert set(brief) < set(full) and {"fingerprint", "flops", "phase.train", *results.found[0].params} <= set(full)
    assert set(brief[brief["front"]]["name"]) == {found.name for found in results.front}


def test_a_study_and_its_networks_sum_themselves_up(results: OpenStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Study 'tiny' on digits (1x8x8, 10 classes): 3 architectures of 3" in repr(results)
    with monkeypatch.context() as single:
        single.setattr(results, "task", lambda: library.Task.image(1, 8, 8, values=1))
        assert "(1x8x8, 1 value):" in repr(results)
    assert repr(results.best) in repr(results) and len(repr(results).splitlines()) == 3
    assert f"{results.best.name} (complete): val/accuracy {results.best.value:.4f}, MACs " in repr(results.best)
    for value in (library.load("digits"), library.load("starnet_s1"), results.study):
        assert len(repr(value)) < 300, value
    assert "trials" not in repr(results.best.arch) and results.best.arch is not None
    assert results.best.arch.fingerprint in repr(results.best.arch)


def test_figures_of_a_study(results: OpenStudy) -> None:
    front = results.plot_front()
    assert isinstance(front, Figure) and front.axes[0].get_xlabel() == "MACs of one image, log scale"
    assert results.plot_front("latency_ratio").axes[0].get_xlabel().startswith("latency ratio")
    history = results.plot_history().axes[0]
    numbers = [x for x, _ in history.collections[0].get_offsets()]
    assert numbers == [found.number for found in results.found if found.feasible]
    with pytest.raises(HadnasError, match="3 architectures were trained; a comparison of decisions needs 10"):
        results.plot_importance()
    with pytest.raises(HadnasError, match="unknown figure 'mac'"):
        results.plot_front("mac")
