"""The kinds of targets that a task may have: every room that treats them differently names them by these words."""

from typing import Literal, get_args

TargetKind = Literal["classes", "labels", "values"]
"""One of N classes, any of N labels (each present or absent), or one or several values (numbers)."""

TARGET_KINDS: tuple[TargetKind, ...] = get_args(TargetKind)

ONE_OF: dict[TargetKind, str] = {"classes": "class", "labels": "label", "values": "value"}
"""The word for one of them."""
