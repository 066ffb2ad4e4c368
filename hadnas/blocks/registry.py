"""The registry: an op is a class with a name and a role; its constructor is its schema.

Positional parameters (`dim`, `in_dim`, `left_dim`, `right_dim`, `classes`) and `resolution` come from the node's
parent; every keyword-only parameter is a slot of the node: a plain value, or a child if the decorator's `children`
names it.
"""

import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.metadata import entry_points
from typing import Any, Literal, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import nn

from hadnas.errors import SpecError, cut, first_line, unknown
from hadnas.shipped import import_all

Family = Literal["hadamard", "additive", "convolution", "attention"]
FAMILIES: tuple[str, ...] = typing.get_args(Family)
ROLES = ("host", "stem", "down", "cell", "residual", "block", "masked", "merge", "head", "fusion", "graft")

Rule = Callable[[Mapping[str, Any]], str | None]
"""(values of a node, with dim, height and width) -> None, or a message with the broken value and what is allowed."""

GIVEN = frozenset(
    {"dim", "in_dim", "left_dim", "right_dim", "classes", "resolution", "in_chans", "num_classes", "global_pool"}
    | {"parent", "axis", "device", "dtype"}
)
"""Constructor parameters that the parent of a node, or timm, supplies, never the node."""

GIVEN_TO_HOSTS = frozenset({"drop_rate", "drop_path_rate"})
"""Those that timm supplies to hosts only; in a space they are slots of a host's parts."""

REQUIRED = inspect.Parameter.empty

Reads = Literal["map", "vector", "tokens"]
READS: tuple[Reads, ...] = typing.get_args(Reads)
"""What an op reads: maps (B, C, H, W), vectors (B, K) or tokens (B, N), whole numbers below the vocabulary."""

T = TypeVar("T", bound=Callable[..., nn.Module])


@dataclass(frozen=True)
class Slot:
    """A keyword-only constructor parameter, as a node may set it."""

    name: str
    type: Any
    default: Any
    roles: tuple[str, ...] = ()  # of the child; empty for a plain value
    many: bool = False  # a list of children

    def check(self, value: Any) -> Any:
        """`value`, checked against the slot's type. Raises SpecError with what is allowed."""
        try:
            found = self._validator.validate_python(value)
            return 0.0 if type(found) is float and found == 0 else found  # -0.0 would give another fingerprint
        except ValidationError as error:
            reason = error.errors(include_url=False)[0]["msg"]
            raise SpecError(f"{self.name} = {cut(value)} is not allowed: {reason[0].lower()}{reason[1:]}") from None

    @cached_property
    def _validator(self) -> TypeAdapter[Any]:
        """pydantic's validator, cached: making one takes longer than reading a node."""
        return TypeAdapter(self.type, config=ConfigDict(strict=True, allow_inf_nan=False))


@dataclass(frozen=True)
class Op:
    """A registered class with its roles, the slots that a node may set, and its rules. See `register`."""

    name: str
    cls: Any  # a class or, for a host, a function that returns a module
    roles: tuple[str, ...]
    family: str | None = None
    rules: tuple[Rule, ...] = ()
    slots: dict[str, Slot] = field(default_factory=dict)
    given: tuple[str, ...] = ()
    unused: Callable[[Mapping[str, Any]], tuple[str, ...]] | None = None
    resize: Callable[[int, Mapping[str, Any]], int] | None = None
    twin: tuple[str, Any, Any] | None = None
    host: Any = None  # of hosts: the hadnas.hosts.host.Host that reads and builds it
    symmetric: tuple[str, ...] = ()
    idle: Callable[[Mapping[str, Any]], tuple[str, ...]] | None = None
    kinds: tuple[str, ...] = ()
    reads: Reads = "map"

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return (inspect.getdoc(self.cls) or "").partition("\n")[0]

    def multiplies(self, values: Mapping[str, Any]) -> bool | None:
        """Whether a node of these values is the product, not its additive twin; None if it has no twin."""
        if self.twin is None or (self.unused is not None and self.twin[0] in self.unused(values)):
            return None
        slot, product, _ = self.twin
        # an architecture stored before the op had a twin lacks the slot
        return bool(values.get(slot, self.slots[slot].default) == product)


_OPS: dict[str, Op] = {}


def register(
    *roles: str,
    name: str | None = None,
    family: Family | None = None,
    rules: tuple[Rule, ...] = (),
    children: Mapping[str, str | tuple[str, ...]] | None = None,
    unused: Callable[[Mapping[str, Any]], tuple[str, ...]] | None = None,
    resize: Callable[[int, Mapping[str, Any]], int] | None = None,
    twin: tuple[str, Any, Any] | None = None,
    host: Any = None,
    symmetric: tuple[str, ...] = (),
    idle: Callable[[Mapping[str, Any]], tuple[str, ...]] | None = None,
    kinds: tuple[str, ...] = (),
    reads: Reads = "map",
) -> Callable[[T], T]:
    """Register a class as an op.

    roles     its places in a network, of ROLES; "masked": a stem, down or block, from (map, mask) to (map, mask)
    name      the op's name; by default the class name in snake case
    rules     conditions on its values; a broken one makes a draw infeasible
    children  slot -> role or roles of its child node
    unused    values -> slots without effect under them (reset in the canonical form), and "resolution" if not needed
    resize    (height or width, values) -> the same after the op; None if the op preserves the resolution
    twin      (slot, value of the product, value of the sum) if the op has an additive twin
    host      for the role "host": the hadnas.hosts.host.Host that reads and builds it
    symmetric slots of one kind that may be swapped without changing the function (sorted in the canonical form, by
              their JSON)
    idle      values -> names in the state dict of parameters without effect under these values, which exist because
              published weights have them: a bias that a later softmax or norm cancels
    kinds     for the role "graft": the kinds of sites at which it may stand (`hadnas.hosts.graft.sites`); by default
              all whose module preserves the shape, without activations
    reads     of a stem or fusion, what it reads (`Reads`); a fusion of vectors gets the mean of each map

    Raises UnknownName for a role, family, kind of input or symmetric slot that does not exist, and SpecError if another
    class has the name, if the constructor has a parameter that is neither given nor a keyword-only slot, or if a host
    has no `host`.
    """
    for role in roles:
        if role not in ROLES:
            raise unknown("role", role, ROLES)
    if family is not None and family not in FAMILIES:
        raise unknown("family", family, FAMILIES)
    if reads not in READS:
        raise unknown("kind of input", reads, READS)

    def decorate(cls: T) -> T:
        key = name or _snake_case(_identity(cls)[0].rpartition(".")[2])
        # The same definition may be registered again (a file loaded twice, a module reloaded).
        if (old := _OPS.get(key)) and _identity(old.cls) != _identity(cls):
            raise SpecError(f"the op name {key!r} is taken by {old.cls.__module__}.{old.cls.__qualname__}; rename one")
        if ("host" in roles) != (host is not None):
            raise SpecError(
                f"{key}: host = {host!r} with the roles {roles}; the role 'host' needs a Host, no other does"
            )
        slots, given = _schema(cls, dict(children or {}), GIVEN | GIVEN_TO_HOSTS if "host" in roles else GIVEN)
        for slot in symmetric:
            if slot not in slots:
                raise unknown(f"parameter of {key}", slot, slots)
        _OPS[key] = Op(
            key, cls, roles, family, rules, slots, given, unused, resize, twin, host, symmetric, idle, kinds, reads
        )
        return cls

    return decorate


def block(*, family: Family, **options: Any) -> Callable[[T], T]:
    """Register a block, (B, C, H, W) -> (B, C, H, W) at stride 1, of one of the four families.

    The options are those of `register`.
    """
    return register("block", family=family, **options)


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _identity(cls: Any) -> tuple[str, str]:
    return cls.__qualname__, getattr(inspect.getmodule(cls), "__file__", None) or cls.__module__


def _schema(
    cls: Any, children: dict[str, str | tuple[str, ...]], known: frozenset[str]
) -> tuple[dict[str, Slot], tuple[str, ...]]:
    """The slots and, of those `known`, the given parameters of a constructor.

    Raises SpecError for a parameter that is neither, for one without an allowed type, and without device and dtype.
    """
    hints = typing.get_type_hints(cls.__init__ if isinstance(cls, type) else cls)  # type: ignore[misc]
    slots: dict[str, Slot] = {}
    given: list[str] = []
    for parameter in inspect.signature(cls).parameters.values():
        key = parameter.name
        if key in known:
            given.append(key)
        elif parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            raise SpecError(
                f"{cls.__name__}: the parameter {key!r} must be keyword-only; positional ones are {sorted(known)}"
            )
        elif key in children:
            roles = children[key]
            many = typing.get_origin(hints[key]) is not None and hints[key] != (nn.Module | None)
            slots[key] = Slot(key, None, parameter.default, (roles,) if isinstance(roles, str) else roles, many)
        elif key not in hints:
            raise SpecError(f"{cls.__name__}: the parameter {key!r} has no type annotation")
        elif not _plain(hints[key]):
            raise SpecError(
                f"{cls.__name__}: the parameter {key!r} is {parameter.annotation}; allowed are bool, int, float, str, "
                "None, Literal and unions of them, since an architecture is stored as JSON"
            )
        else:
            slots[key] = Slot(key, hints[key], parameter.default)
    missing = {"device", "dtype"} - set(given)
    if missing:
        raise SpecError(
            f"{cls.__name__}: the constructor lacks {sorted(missing)}; every op has device=None, dtype=None"
        )
    return slots, tuple(given)


def _plain(kind: Any) -> bool:
    """Whether values of this type survive JSON unchanged."""
    if typing.get_origin(kind) in (Literal, typing.Union, types.UnionType):
        return all(_plain(type(arg) if typing.get_origin(kind) is Literal else arg) for arg in typing.get_args(kind))
    return kind in (bool, int, float, str, types.NoneType, Any)


SHIPPED = ("hadnas.blocks", "hadnas.fusions", "hadnas.hosts")
"""The packages whose files register the shipped ops."""

ENTRY_POINTS = "hadnas.blocks"
"""The group of entry points by which an installed package names its modules that register ops."""


def _load_shipped() -> None:
    for package in SHIPPED:
        import_all(package)
    _load_installed()


@cache
def _load_installed() -> None:
    """Import what installed packages name. Raises SpecError, with the package, for a module that fails."""
    for point in entry_points(group=ENTRY_POINTS):
        try:
            point.load()
        except Exception as error:
            package = point.dist.name if point.dist else point.value
            raise SpecError(
                f"the package {package} has the entry point {point.name} = {point.value} in {ENTRY_POINTS}, which "
                f"cannot be imported: {type(error).__name__}: {first_line(error)}; repair or uninstall it"
            ) from error


def ops(role: str | None = None) -> dict[str, Op]:
    """Every registered op, or those of one role, by name."""
    _load_shipped()
    return {name: op for name, op in sorted(_OPS.items()) if role is None or role in op.roles}


def op_of(node: Mapping[str, Any]) -> Op | None:
    """The op of a node; None if it is not a node or its op is not registered."""
    _load_shipped()
    return _OPS.get(node.get("op", ""))


@contextmanager
def isolated() -> Iterator[None]:
    """Registrations in the body end with it: for tests, and for trying a block of a name that is taken later."""
    _load_shipped()
    before = dict(_OPS)
    try:
        yield
    finally:
        _OPS.clear()
        _OPS.update(before)


def find_op(name: object, roles: tuple[str, ...] = ()) -> Op:
    """The op of this name. Raises UnknownName, or SpecError if it has none of `roles`."""
    _load_shipped()
    found = _OPS.get(name) if isinstance(name, str) else None
    if found is not None and (not roles or not set(roles).isdisjoint(found.roles)):
        return found
    allowed = [key for key, op in _OPS.items() if not roles or set(op.roles) & set(roles)]
    if found is None:
        raise unknown("op", name, allowed)
    raise SpecError(f"{name!r} has the role {' or '.join(found.roles)}; allowed here: {', '.join(sorted(allowed))}")
