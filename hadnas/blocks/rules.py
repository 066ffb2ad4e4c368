"""Rules that ops declare: each returns None, or a message with the broken value and what is allowed."""

from collections.abc import Callable, Mapping
from typing import Any

from hadnas.blocks.registry import Rule


def require(holds: Callable[[Mapping[str, Any]], bool], text: str) -> Rule:
    """A rule from a predicate; `text` may name values in braces."""
    return lambda values: None if holds(values) else text.format_map(dict(values))


def at_least(slot: str, low: float) -> Rule:
    """slot >= low, or None."""
    return require(lambda v: v[slot] is None or v[slot] >= low, f"{slot} = {{{slot}}} must be at least {low}")


def some_channels(slot: str) -> Rule:
    """slot * dim, rounded down, is a channel at least."""
    return require(lambda v: int(v[slot] * v["dim"]) >= 1, f"{slot} = {{{slot}}} leaves no channel of dim = {{dim}}")


def odd(slot: str, low: int = 1) -> Rule:
    """An odd number >= low, so that same padding preserves the resolution, or None."""
    return require(
        lambda v: v[slot] is None or (v[slot] % 2 == 1 and v[slot] >= low),
        f"{slot} = {{{slot}}} must be odd and at least {low}",
    )


def within(slot: str, low: float, high: float) -> Rule:
    """low <= slot <= high."""
    return require(lambda v: low <= v[slot] <= high, f"{slot} = {{{slot}}} must be between {low} and {high}")


def divides(divisor: str) -> Rule:
    """divisor >= 1 and dim % divisor == 0."""
    return require(
        lambda v: v[divisor] >= 1 and v["dim"] % v[divisor] == 0,
        f"{divisor} = {{{divisor}}} must divide dim = {{dim}}",
    )


def on_map(slot: str) -> Rule:
    """2 <= slot <= the sides of the map: a grid of several cells, each of a position at least."""
    return require(
        lambda v: 2 <= v[slot] <= min(v["height"], v["width"]),
        f"{slot} = {{{slot}}} must be at least 2 and at most the sides of the map, {{height}} x {{width}}",
    )
