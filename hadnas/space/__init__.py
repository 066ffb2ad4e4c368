"""Search spaces: plain data with choices in it, and the one function that draws from them."""

from hadnas.space.choices import int_range, one_of, op, repeat
from hadnas.space.count import size
from hadnas.space.decision import Categorical, Distribution, Integer, Scalar
from hadnas.space.draw import (
    Params,
    Pick,
    draws,
    every,
    meanings,
    mutants,
    random_pick,
    replay,
    resolve,
)

__all__ = [
    "Categorical",
    "Distribution",
    "Integer",
    "Params",
    "Pick",
    "Scalar",
    "draws",
    "every",
    "int_range",
    "meanings",
    "mutants",
    "one_of",
    "op",
    "random_pick",
    "repeat",
    "replay",
    "resolve",
    "size",
]
