"""The formulas of docstrings are arithmetic and nothing else."""

import re

import pytest

from hadnas.contract.formula import compute, degree
from hadnas.errors import SpecError


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("3*C**2 + 2", 50),
        ("C//3 if on and mode == 'a' else 0", 1),
        ("sum(C//2**k for k in range(3))", 7),
        ("weights('layernorm2d', C) + weights(None, C) + weights('star_relu', C)", 10),
        ("products('star_relu', 7) + products('gelu', 7)", 7),
        ("5 if mode in ('b', 'c') else max(C, 3)", 4),
    ],
)
def test_formulas(formula: str, value: int) -> None:
    assert compute(formula, {"C": 4, "on": True, "mode": "a"}) == value


@pytest.mark.parametrize(
    "formula",
    [
        "__import__('os')", "C.real", "C.__class__", "(lambda: 1)()", "[k for k in (1,)]", "open('x')", "D + 1", "C +",
        "weights[0]", "f'{C}'", "C/0", "C + mode", "(C := 3)", "print", "sum(*C)",
    ],
)  # fmt: skip
def test_whatever_is_no_formula_is_refused(formula: str) -> None:
    with pytest.raises(SpecError, match=re.escape(repr(formula))):
        compute(formula, {"C": 4, "mode": "a"})


def test_degrees() -> None:
    assert degree("2 if on else 1", {"on": True}) == (2, False)
    assert degree("4 if on else 3 (nominal)", {"on": False}) == (3, True)
    assert degree("4 if on else 3 (nominal)", {"on": True}) == (4, False)
    assert degree("(4 if on else 2*k + 1) (nominal)", {"on": False, "k": 2}) == (5, True)
