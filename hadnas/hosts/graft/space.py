"""Search spaces of grafts: choices at the sites of a timm network."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import timm

from hadnas.blocks.registry import find_op
from hadnas.errors import SpecError, at, cut, unknown
from hadnas.hosts.graft.patterns import matching
from hadnas.hosts.graft.place import DROP, KEEP, ROLES_AT_SITES, dropped, misfit, read_at
from hadnas.hosts.graft.sites import Site, find_sites
from hadnas.hosts.graft.weights import named_weights
from hadnas.space.choices import Choice, one_of, op

_PRODUCT = op("input_product", interact=one_of("mul", "sum"))
_GATE = op("gate", block=op("se"))
_BRANCH = {"merge": op("add"), "layer_scale": 0.1}
"""Around a block in place of a residual one: near the identity at the start."""
_RESIDUAL = tuple(op("residual", block=block, **_BRANCH) for block in (op("star", expand=2), op("conv_next")))
_SECOND = op("second_order", interact=one_of("mul", "sum"))
DEFAULT_OPTIONS: dict[str, tuple[Any, ...]] = {
    "stage": (KEEP, _PRODUCT),
    "block": (KEEP, DROP, _PRODUCT, _GATE, *_RESIDUAL),
    "mixer": (KEEP, DROP, _PRODUCT, op("star", expand=1), op("conv_mod"), op("lka")),
    "attention": (KEEP, DROP, _PRODUCT, op("star", expand=1), op("conv_mod"), op("additive_attention")),
    "mlp": (KEEP, DROP, _PRODUCT, op("glu", interact=one_of("mul", "sum")), op("star", expand=2)),
    "gate": (KEEP, DROP, op("eca"), op("se")),
    "linear": (KEEP, _SECOND),
    "conv": (KEEP, _SECOND),
    "activation": (KEEP, DROP, op("act", act="star_relu")),
}
"""Kind of a site -> the options there if none are given: multiplying ones with their additive twins."""


def graft(
    model: str,
    sites: str | Iterable[str] | Mapping[str, Any],
    *,
    weights: str | None = None,
    tied: bool = False,
) -> dict[str, Any]:
    """A search space over what stands at sites of a timm network: `graft("resnet18", {"layer3.*": ["keep", ...]})`.

    sites    path or pattern -> options: "keep", "drop", blocks and grafts; or patterns alone, for the options of
             DEFAULT_OPTIONS that fit
    weights  None, "pretrained" (timm's own) or a file of weights of the model
    tied     the sites of a pattern have one choice; else each its own

    Raises UnknownName for an unknown model or op, SpecError for a pattern without a site, an option that cannot stand
    at one of its sites, two patterns for one site, and a file that does not exist.
    """
    if not isinstance(model, str) or not timm.is_model(model):
        raise unknown("timm model", model, timm.list_models())
    found, chosen = find_sites(model), dict[str, tuple[str, Any]]()
    if not isinstance(sites, Mapping):
        sites = dict.fromkeys([sites] if isinstance(sites, str) else sites)
    for pattern, options in sites.items():
        for site in matching(found, pattern):
            if site.path in chosen:
                raise SpecError(
                    f"sites: {chosen[site.path][0]!r} and {pattern!r} both name {site.path}; allowed is one of them"
                )
            with at(f"sites.{site.path}"):
                chosen[site.path] = pattern, _choice(site, options, pattern if tied else None)
    source = named_weights(model, weights)
    start = {} if source is None else {"weights": source}
    return op("timm", model=model, **start, sites={path: choice for path, (_, choice) in chosen.items()})


def _choice(site: Site, options: Any, pattern: str | None) -> Any:
    """The choice at a site; of the name of a pattern if it is given, and so shared."""
    if options is None:
        options = [option for option in DEFAULT_OPTIONS[site.kind] if _fits(site, option)]
    if isinstance(options, Choice):
        name, options = options.name, options.options
    else:
        name = pattern and f"sites_{re.sub(r'[^0-9a-zA-Z]+', '_', pattern)}"
        options = options if isinstance(options, list | tuple) else [options]
    for option in options:
        _check(site, option)
    return one_of(*(dropped(site) if option == DROP else option for option in options), name=name)


def _check(site: Site, option: Any) -> None:
    """Raise SpecError or UnknownName for an option that cannot stand at a site, whatever is chosen in it."""
    if isinstance(option, Choice):
        for inner in option.options:
            _check(site, inner)
    elif isinstance(option, dict) and isinstance(option.get("op"), str):
        if reason := misfit(site, found := find_op(option["op"], ROLES_AT_SITES)):
            raise SpecError(f"{found.name} cannot stand here: {reason}")
    elif option not in (KEEP, DROP):
        raise SpecError(f"found {cut(option)}; allowed are {KEEP!r}, {DROP!r} and nodes {{'op': name, ...}}")


def _fits(site: Site, option: Any) -> bool:
    """Whether a default option can stand at a site, its rules included."""
    if option == KEEP:
        return True
    node = (
        {key: value.options[0] if isinstance(value, Choice) else value for key, value in option.items()}
        if isinstance(option, dict)
        else option
    )
    try:
        read_at(site, node, sized=True, classes=1)
    except SpecError:
        return False
    return True
