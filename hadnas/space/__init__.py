"""Search spaces: plain data with choices in it, and the one function that draws from them."""

from hadnas.space.choices import int_range, one_of, op, repeat
from hadnas.space.count import size
from hadnas.space.draw import (
    Categorical,
    Distribution,
    Integer,
    Params,
    Pick,
    every,
    meanings,
    mutate,
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
    "every",
    "int_range",
    "meanings",
    "mutate",
    "one_of",
    "op",
    "random_pick",
    "repeat",
    "replay",
    "resolve",
    "size",
]
