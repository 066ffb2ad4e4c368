"""The space language against brute force: a second, naive reading of what a space may become."""

import itertools
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hadnas.errors import SpecError
from hadnas.space import (
    Categorical,
    Integer,
    every,
    int_range,
    meanings,
    mutants,
    one_of,
    op,
    random_pick,
    repeat,
    replay,
    resolve,
    size,
)
from hadnas.space.choices import Choice, IntRange, Repeat
from hadnas.space.data import as_data, from_data

SPACES = {
    "plain": {"op": "a", "x": [1, None, "b", {"y": 2.5}]},
    "scalars": op("a", x=one_of(None, True, False, "mul"), y=one_of(1.5, 0.5), z=one_of(3, None)),
    "ordered, no steps": op("a", kernel=one_of(3, 5, 11), ratio=one_of(0.25, 0.5, 4.0)),
    "steps": op("a", x=one_of(2, 4, 6), y=int_range(1, 8, 3)),
    "conditional": op("a", block=one_of(op("b", k=one_of(3, 5)), op("c"), op("d", e=int_range(1, 3)))),
    "one op twice": op("a", block=one_of(op("b", k=one_of(3, 5)), op("b", k=7, e=one_of(1, 2)), op("c"))),
    "choice of choices": op("a", x=one_of(one_of(1, 2), one_of("p", "q"), [one_of(3, 4), 5])),
    "named": op("a", x=one_of(1, 2, name="w"), y=[one_of(1, 2, name="w"), one_of(1, 2)]),
    "named, met sometimes": op("a", x=one_of(op("b", w=one_of(1, 2, 4, name="w")), op("c")), y=one_of(False, True)),
    "named node": op("a", xs=repeat(one_of(op("b", k=one_of(3, 5)), op("c"), name="block"), int_range(0, 2))),
    "repeat": op("a", xs=repeat(op("b", k=one_of(3, 5)), one_of(0, 1, 3))),
    "named times": op("a", x=repeat(one_of(1, 2), one_of(1, 2, name="n")), y=repeat(3, one_of(1, 2, name="n"))),
    "spliced": op("a", xs=[0, repeat(one_of(1, 2), one_of(0, 2)), one_of("p", "q"), repeat([one_of(7, 8)], 2)]),
    "repeats of repeats": op("a", xs=repeat([repeat(one_of(1, 2), int_range(0, 1)), 5], int_range(1, 2))),
    "outermost": one_of(op("a", x=one_of(1, 2)), op("b")),
}


def possibilities(value: Any, named: dict[str, Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Every (draw, what the named choices have become), in order, by threading the named ones through."""
    if isinstance(value, Choice | IntRange):
        if value.name in named:
            yield named[value.name], named
            return
        for option in value.options if isinstance(value, Choice) else range(value.low, value.high + 1, value.step):
            for draw, after in possibilities(option, named):
                yield draw, after if value.name is None else {**after, value.name: draw}
    elif isinstance(value, Repeat):
        for times, after in possibilities(value.times, named):
            yield from each([value.item] * times, after)
    elif isinstance(value, dict):
        for items, after in each(list(value.values()), named):
            yield dict(zip(value, items, strict=True)), after
    elif isinstance(value, list) and value:
        for first, after in possibilities(value[0], named):
            for rest, last in possibilities(value[1:], after):
                yield ([*first, *rest] if isinstance(value[0], Repeat) else [first, *rest]), last
    else:
        yield value, named


def each(values: list[Any], named: dict[str, Any]) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    """The possibilities of several values together, none spliced: a repeat is spliced in a written list alone."""
    for items, after in possibilities([[value] for value in values], named):
        yield [x if isinstance(v, Repeat) else x[0] for x, v in zip(items, values, strict=True)], after


def texts(draws: Any) -> list[str]:
    return sorted(json.dumps(draw) for draw in draws)


def check_against_brute_force(space: Any) -> None:
    expected = texts(draw for draw, _ in possibilities(space, {}))
    assignments = list(every(space))
    assert texts(draw for _, draw in assignments) == expected
    assert size(space) == len(expected)
    assert len({json.dumps(params, sort_keys=True) for params, _ in assignments}) == len(expected)
    for params, draw in assignments:
        assert json.dumps(replay(space, json.loads(json.dumps(params)))) == json.dumps(draw)

    distributions: dict[str, Any] = {}
    for params, _ in assignments:

        def pick(name: str, distribution: Any, params: dict[str, Any] = params) -> Any:
            assert distributions.setdefault(name, distribution) == distribution
            return params[name]

        resolve(space, pick)


@pytest.mark.parametrize("name", SPACES)
def test_every_and_size_are_those_of_brute_force(name: str) -> None:
    check_against_brute_force(SPACES[name])


SCALARS = st.one_of(st.none(), st.booleans(), st.sampled_from(["mul", "sum"]), st.sampled_from([7, 0.5]))


def grow(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    distinct = {"min_size": 1, "max_size": 3, "unique_by": lambda option: json.dumps(option, default=repr)}
    nodes = st.builds(op, st.sampled_from("ab"), x=inner)
    times = st.one_of(st.integers(0, 2), st.just(one_of(0, 2)), st.just(int_range(0, 1)))
    return st.one_of(
        nodes,
        st.lists(inner, max_size=2),
        st.builds(lambda options: one_of(*options), st.lists(inner, **distinct)),
        st.builds(lambda options: one_of(*options), st.lists(nodes, **distinct)),
        st.builds(repeat, inner, times),
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.recursive(SCALARS, grow, max_leaves=6).map(lambda space: op("host", x=space)))
def test_any_small_space_equals_brute_force(space: Any) -> None:
    if sum(1 for _ in itertools.islice(possibilities(space, {}), 100)) < 100:
        check_against_brute_force(space)


@pytest.mark.parametrize("name", SPACES)
def test_one_seed_is_one_draw(name: str) -> None:
    space, noted = SPACES[name], {}
    draw = resolve(space, random_pick(random.Random(3), noted))
    assert draw == resolve(space, random_pick(random.Random(3)))
    assert draw == replay(space, noted)
    known = texts(draw for draw, _ in possibilities(space, {}))
    seen = {json.dumps(resolve(space, random_pick(random.Random(seed)))) for seed in range(40)}
    assert seen <= set(known)
    assert len(seen) > 1 or len(known) == 1


@pytest.mark.parametrize("name", sorted(set(SPACES) - {"plain"}))
def test_mutation_moves_one_decision(name: str) -> None:
    space = SPACES[name]
    known = dict(zip(map(json.dumps, (p for p, _ in every(space))), (d for _, d in every(space)), strict=True))
    rng = random.Random(0)
    for _, (before, _) in zip(range(60), itertools.cycle(every(space)), strict=False):
        after, draw = next(mutants(space, before, rng))
        assert known[json.dumps(after)] == draw
        assert len([key for key in before if key in after and after[key] != before[key]]) == 1


def test_names_are_place_and_branch() -> None:
    block = one_of(op("star", expand=one_of(2, 3)), op("star", kernel=one_of(3, 9, 11)), op("mlp"), None)
    space = op("host", width=one_of(8, 32, name="w"), stages=[1, repeat(op("residual", block=block), one_of(1, 2))])
    met: dict[str, Any] = {}

    def pick(name: str, distribution: Any) -> Any:
        met[name] = distribution
        return {"w": 32, "stages.1.times": 2, "stages.1.0.block": "star#0", "stages.1.1.block": "star#1"}.get(
            name, distribution.values[-1]
        )

    draw = resolve(space, pick)
    labels = Categorical(("star#0", "star#1", "mlp", None))
    assert met == {
        "w": Integer(8, 32, 24),
        "stages.1.times": Integer(1, 2),
        "stages.1.0.block": labels,
        "stages.1.0.block#0.star.expand": Integer(2, 3),
        "stages.1.1.block": labels,
        "stages.1.1.block#1.star.kernel": Integer(0, 2, options=(3, 9, 11)),  # no equal steps: by index
    }
    assert draw["stages"][2] == {"op": "residual", "block": {"op": "star", "kernel": 11}}


def test_answers_by_index_are_shown_as_the_options_they_stand_for() -> None:
    space = op("a", width=one_of(48, 64, 96), depth=int_range(1, 3), kind=one_of("x", "y"))
    assert meanings(space, {"width": 2, "depth": 2, "kind": "y"}) == {"width": 96, "depth": 2, "kind": "y"}
    assert meanings(space, {"width": 0}) == {"width": 48}  # a draw that was cut short


def test_options_of_one_op_are_shown_with_the_settings_that_tell_them_apart() -> None:
    alike = [op("star", interact=way, act="relu", kernel=one_of(3, 5)) for way in ("mul", "sum")]
    space = op("a", block=one_of(*alike, op("star", act="relu", block={"op": "mlp"}), op("mlp"), {"dim": 8}))
    shown = [meanings(space, params)["block"] for params, _ in every(space)]
    assert list(dict.fromkeys(shown)) == ["star#0 interact=mul", "star#1 interact=sum", "star#2", "mlp", "#4"]


def test_a_named_choice_is_not_one_object_in_two_places() -> None:
    draw = resolve([one_of([1], [2], name="w"), one_of([1], [2], name="w")], random_pick(random.Random(0)))
    assert draw[0] == draw[1] and draw[0] is not draw[1]


ERRORS = {
    "got no options": lambda: one_of(),
    "the option 3 twice": lambda: one_of(3, 5, 3),
    "the name 'a.b'; allowed is a Python identifier": lambda: one_of(1, name="a.b"),
    "low=1.5; allowed is an integer": lambda: int_range(1.5, 2),  # type: ignore[arg-type]
    "is empty; it needs low <= high": lambda: int_range(4, 2),
    "times=-1; allowed is an integer from 0": lambda: repeat(1, -1),
    "times='x'; allowed": lambda: repeat(1, one_of(1, "x")),
    "x: the options 1 and True": lambda: list(every({"x": one_of(1, True)})),
    "x: the options .* and 'b'": lambda: list(every({"x": one_of(op("b"), "b")})),
    "y: the choice 'w'": lambda: list(every({"x": one_of(1, 2, name="w"), "y": one_of(1, 3, name="w")})),
    "x#1.w: the choice 'w'": lambda: next(
        every({"x": one_of(op("b", w=one_of(1, 2, name="w")), op("c", w=one_of(1, 3, name="w")))})
    ),
    "x: .* the name 'x'": lambda: next(every({"x": one_of(1, 2), "y": one_of(5, 6, name="x")})),
    "x = 5 is not allowed; allowed are \\[1, 2\\]": lambda: replay({"x": one_of(1, 2)}, {"x": 5}),
    "x = True is not allowed": lambda: replay({"x": one_of(1, 2)}, {"x": True}),
    "x = \\[1\\] is not allowed": lambda: replay({"x": one_of(1, 2)}, {"x": [1]}),  # type: ignore[dict-item]
    "x: no value given; allowed are": lambda: replay({"x": one_of(1, 2)}, {}),
    "\\['z'\\]": lambda: replay({"x": one_of(1, 2)}, {"x": 1, "z": 3}),
    "x: no value given": lambda: next(mutants({"x": one_of(1, 2)}, {}, random.Random(0))),
    "nothing to mutate": lambda: next(mutants({"x": one_of(1)}, {"x": 1}, random.Random(0))),
    "'w' .*another": lambda: size({"x": one_of(one_of(1, 2, name="v"), 3, name="w")}),
}


@pytest.mark.parametrize("message", ERRORS)
def test_errors_say_what_and_where(message: str) -> None:
    with pytest.raises(SpecError, match=message):
        ERRORS[message]()


def test_the_language_needs_no_torch() -> None:
    heavy = "{'torch', 'timm', 'optuna', 'mlflow', 'pydantic', 'numpy'}"
    program = f"import sys, hadnas.space; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


def test_many_named_choices_are_counted_at_once() -> None:
    names = [f"n{i}" for i in range(40)]
    shared = [one_of(1, 2, 3, name=name) for name in names]
    depth = one_of(1, 2, name="depth")
    space = {"a": shared, "b": shared, "c": repeat({"x": one_of(*range(5))}, depth), "d": depth}
    assert size(space) == 3**40 * (5 + 25)


def test_a_slot_may_be_called_as_a_choice_is() -> None:
    space = {"op": "mine", "repeat": one_of(1, 2), "one_of": 3, "int_range": repeat(4, 2)}
    assert from_data(as_data(space)) == space
