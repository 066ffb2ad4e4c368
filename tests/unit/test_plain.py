"""What comes in as data: JSON, NumPy's numbers, and whatever an architecture may be mistaken for."""

import copy
import json
import os
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hadnas
from hadnas.arch.node import stored_arch
from hadnas.arch.read import complete
from hadnas.arch.task import Task
from hadnas.errors import HadnasError, SpecError
from hadnas.library import load, load_arch
from hadnas.plain import DEPTH, FILE_BYTES, plain
from hadnas.space import Distribution, every, int_range, one_of, op, repeat, size
from hadnas.space import sample as draw
from hadnas.space.data import as_data, from_data
from hadnas.store.study import Study
from hadnas.train.data.spec import DataSpec
from hadnas.train.recipe import Policy, Recipe
from tests.networks import TINY_SPACE, pyramid, residual
from tests.shell import hadnas as run

TASK = Task.image(1, 8, 8, classes=4)
GOOD = json.loads(hadnas.sample(TINY_SPACE, TASK, seed=0).json)
TEXT = json.dumps(GOOD)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe\x00\x01", "UTF-8 at byte 0"),
        (TEXT.encode("utf-16"), "UTF-8 at byte 0"),
        (TEXT + "\0", "not JSON"),
        (TEXT[:-1] + ', "x": "\0"}', "not JSON"),
        (TEXT[:-1] + ', "x": NaN}', "found NaN; allowed are finite numbers"),
        (TEXT[:-1] + ', "x": -Infinity}', "found -Infinity; allowed are finite numbers"),
        (TEXT[:-1] + ', "x": 1e999}', "x: found inf; allowed: a finite number"),
        (TEXT[:-1] + ', "op": "timm"}', "'op' .*twice"),
        (TEXT[:-1] + ', "x": "\\ud800"}', r"x: found '\\ud800'; allowed: text of whole Unicode characters"),
        (TEXT[:-1] + ', "\\ud800": 1}', "allowed: a key of whole Unicode characters"),
        (TEXT[:-1] + f', "x": {"9" * 5000}}}', "5000 digits; allowed .*64 bits"),
        (TEXT[:-1] + f', "x": {2**63}}}', "x: .*64 bits; allowed are 63"),
        ("[" * 1000 + "]" * 1000, "deeper than 100 levels"),
        ("[" * 100_000, "deeper than 100 levels"),
        ('{"op":' * 100_000, "deeper than 100 levels"),
    ],
)
def test_a_text_that_is_no_plain_json_is_refused(text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message):
        load_arch(text)
    (tmp_path / "faulty.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    done = run("show", tmp_path / "faulty.json")
    assert done.exit_code == 2 and len(done.output.strip().splitlines()) == 1, done.output


def test_what_is_no_file_of_an_architecture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "large.json").write_text(" " * FILE_BYTES + TEXT)
    with pytest.raises(SpecError, match="4 MiB"):
        load(tmp_path / "large.json")
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")  # reading it would wait for ever
    for name in ("folder.json", "pipe.json", "nothing.json"):
        with pytest.raises(HadnasError, match=f"no file .*{name}"):
            load(tmp_path / name)
    (tmp_path / "good.json").write_text(" " * (FILE_BYTES - len(TEXT)) + TEXT)
    assert load(tmp_path / "good.json") == load_arch(TEXT)


JUNK = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=4),
        st.sampled_from(["mlp", "add", "star", "op", "one_of", "batchnorm2d", 10**6, 10**400, "\ud800"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["op", "dim", "blocks", "one_of", "name", "repeat", "times"]), inner, max_size=3
        ),
    ),
    max_leaves=4,
)


def first(name: str, distribution: Distribution) -> Any:
    return distribution.values[0]


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container of a tree with a key of it."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_changed_architecture_or_space_is_read_or_refused(data: st.DataObject) -> None:
    for whole in (copy.deepcopy(GOOD), as_data(TINY_SPACE)):
        inside, key = data.draw(st.sampled_from(places(whole)))
        inside[key] = data.draw(JUNK)
        try:
            space = from_data(plain(whole))
            read = load_arch(json.dumps(whole)) if "format" in whole else complete(draw(space, first), TASK)
            assert read == load_arch(read.json)
        except HadnasError as error:
            assert "\n" not in str(error)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(0, len(TEXT) - 1), st.binary(max_size=3))
def test_a_damaged_text_is_read_or_refused(place: int, put: bytes) -> None:
    text = TEXT.encode()
    try:
        load_arch(text[:place] + put + text[place + 1 :])
    except HadnasError as error:
        assert "\n" not in str(error)


class Width(int, Enum):
    WIDE = 16


def test_numbers_of_numpy_count_as_pythons() -> None:
    """In a space, an architecture and a recipe: the same draws, and the same fingerprint."""
    block = op("mlp", expand=one_of(*np.arange(2, 5)))
    numpy = pyramid((np.int64(8), [repeat(residual(block), int_range(np.int32(1), np.uint8(2)))]))
    block = op("mlp", expand=one_of(2, 3, 4))
    python = pyramid((8, [repeat(residual(block), int_range(1, 2))]))
    assert size(numpy) == size(python) == 12
    assert [params for params, _ in every(numpy)] == [params for params, _ in every(python)]
    assert Study(space=numpy) == Study(space=python)
    for seed in range(4):
        left, right = (hadnas.sample(space, TASK, seed=seed) for space in (numpy, python))
        assert left == right and left.json == right.json
    lr = Recipe(lr=np.float64(0.25), epochs=np.int64(3), augment=Policy(hflip=np.float32(0.5)))
    assert lr == Recipe(lr=0.25, epochs=3, augment=Policy(hflip=0.5)) and type(lr.lr) is float
    assert DataSpec(source="digits", split_seed=np.uint32(7)) == DataSpec(source="digits", split_seed=7)
    assert plain((np.True_, np.float32(0.5), np.str_("a"), Width.WIDE)) == [True, 0.5, "a", 16]
    assert list(map(type, plain((np.True_, np.float64(0.5), np.str_("a"), Width.WIDE)))) == [bool, float, str, int]


@pytest.mark.parametrize("value", [np.arange(2), np.array(1), np.datetime64(1, "s"), np.longdouble(1), 1j, {1}, b"x"])
def test_what_is_no_plain_data_is_refused(value: Any) -> None:
    for read in (complete, lambda space: Study(space=space)):
        with pytest.raises(ValueError, match=r"stages\.0\.dim: found .*; allowed: dicts, lists, strings, numbers"):
            read(pyramid((value, [])))


def test_data_may_be_so_deep_and_no_deeper() -> None:
    def nested(levels: int) -> Any:
        value: Any = 1
        for _ in range(levels):
            value = [value]
        return value

    assert plain(nested(DEPTH)) == nested(DEPTH)
    with pytest.raises(SpecError, match="deeper than 100 levels"):
        plain(nested(DEPTH + 1))


def test_a_stored_architecture_is_taken_by_its_fingerprint_only() -> None:
    arch = load_arch(TEXT)
    assert stored_arch(arch.json, arch.fingerprint) == arch
    for text in (arch.json + " ", arch.json.replace("mlp", "se"), "", None, 5, b"x"):
        with pytest.raises(SpecError, match=f"architecture {arch.fingerprint}: .*damaged"):
            stored_arch(text, arch.fingerprint)  # type: ignore[arg-type]
