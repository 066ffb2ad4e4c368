"""The docstring of an op as data: its lines (Shapes, Degree, Params, MACs, Products, Source, timm) and their values.

A formula is arithmetic in the slots of the op and in C, H, W, N = H*W, and for a fusion in left_dim, right_dim and M,
the positions of its second map:

    Params: 3*expand*C**2 + 2*kernel**2*C + weights(norm, C)
    Degree: 2 if interact == "mul" else 1
    Degree: 2 (nominal) if grn else 1

`weights(name, n)` is the number of parameters of a norm or an activation over n channels (0 for None),
`weights(name, n, N)` that of a norm that may be by position;
`products(name, n)` is the number of products of an activation over n elements: n for those that square, else 0.

The line `timm` has the class of timm that computes the same; an op that timm lacks has no such line.
"""

import ast
import inspect
import math
import re
import typing
from collections.abc import Mapping
from typing import Any

from torch import nn

from hadnas.blocks.layers import Act, Norm, PlacedNorm, activation, normalisation
from hadnas.errors import SpecError

LINES = ("Shapes", "Degree", "Params", "MACs", "Products", "Source", "timm")

_ALLOWED = (
    ast.Expression, ast.Constant, ast.Name, ast.Load, ast.Store, ast.Tuple, ast.List,
    ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow,
    ast.UnaryOp, ast.USub, ast.UAdd, ast.Not, ast.BoolOp, ast.And, ast.Or, ast.IfExp,
    ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Is, ast.IsNot, ast.In, ast.NotIn,
    ast.Call, ast.GeneratorExp, ast.comprehension,
)  # fmt: skip


def weights(name: Act | PlacedNorm | None, n: float, places: int = 0) -> int:
    """The number of parameters of the norm or activation `name` over `n` channels of `places` positions."""
    if name is None:
        return 0
    if name == "position_norm":
        return int(n) + places
    known = name in typing.get_args(Norm)
    module = normalisation(name, int(n), device="meta") if known else activation(name, device="meta")  # type: ignore[arg-type]
    return sum(p.numel() for p in module.parameters())


def activation_products(name: Act | None, n: int) -> int:
    """The number of products of two activations in the activation function `name` over `n` elements."""
    return n if name in ("star_relu", "squared_relu") else 0


FUNCTIONS: dict[str, Any] = {
    "weights": weights, "products": activation_products, "sum": sum, "min": min, "max": max, "abs": abs, "len": len,
    "range": range, "int": int, "round": round, "ceil": math.ceil, "floor": math.floor, "log2": math.log2,
}  # fmt: skip


def lines(cls: type[nn.Module]) -> dict[str, str]:
    """The keyed lines of a docstring, each with its continuation up to the next key or empty line."""
    found: dict[str, str] = {}
    key = None
    for line in (inspect.getdoc(cls) or "").splitlines():
        if match := re.match(rf"({'|'.join(LINES)}):\s*(.*)", line):
            key = match[1]
            found[key] = match[2].strip()
        elif not line.strip():
            key = None
        elif key:
            found[key] += " " + line.strip()
    return found


def degree(text: str, names: Mapping[str, Any]) -> tuple[int, bool]:
    """The stated degree, and whether it is nominal (of a softmax, a normalised or a rational form).

    `(nominal)` follows the number, or the parenthesis, that it qualifies.
    """
    value = complex(compute(text.replace("(nominal)", "+ 1j"), names))  # the imaginary part marks its own branch only
    return int(value.real), bool(value.imag)


def compute(text: str, names: Mapping[str, Any]) -> Any:
    """The value of a formula with `names`.

    Raises SpecError for anything but arithmetic, comparisons and conditionals over `names` and FUNCTIONS.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError:
        raise SpecError(f"{text!r} is not a formula; allowed is one Python expression") from None
    known = {**FUNCTIONS, **names}
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in ast.walk(tree):
        called = node.func if isinstance(node, ast.Call) else None
        if not isinstance(node, _ALLOWED) or (called and getattr(called, "id", None) not in FUNCTIONS):
            raise SpecError(
                f"{text!r} contains {ast.unparse(node)!r}; allowed are arithmetic, comparisons, conditionals and calls "
                f"of {', '.join(sorted(FUNCTIONS))}"
            )
        if isinstance(node, ast.Name) and node.id not in known and node.id not in bound:
            raise SpecError(f"{text!r} names {node.id!r}; known are {', '.join(sorted(known))}")
    try:
        # Checked above: no attribute, no subscript, no call outside FUNCTIONS, and no builtins to reach.
        return eval(compile(tree, "<formula>", "eval"), {"__builtins__": {}, **known})
    except (ArithmeticError, TypeError, ValueError) as error:
        raise SpecError(f"{text!r} cannot be computed: {error}") from None
