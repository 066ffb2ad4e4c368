"""Names of many sites at once: `layer3.*`, `blocks.{8-11}.mlp`, `kind:mlp`.

`*` is any part of a name between two dots, `**` any part with dots, `{8-11}` a range of numbers, `{a,b}` one of
several; `kind:mlp` are all sites of a kind.
"""

import re
from collections.abc import Sequence
from difflib import get_close_matches

from hadnas.errors import SpecError, cut, unknown
from hadnas.hosts.graft.sites import SITE_KINDS, Site, Sites

_TOKEN = re.compile(r"\*\*|\*|\{(\d+)-(\d+)\}|\{([\w,]+)\}|[\w.]+")
_KIND = "kind:"


def matching(sites: Sites, pattern: str) -> list[Site]:
    """The sites that a pattern names, in the order of the network.

    Raises UnknownName for an unknown kind, SpecError for a malformed pattern and for one that names no site: for a
    module that is none with the reason, else with the nearest sites.
    """
    if pattern.startswith(_KIND):
        if (kind := pattern.removeprefix(_KIND)) not in SITE_KINDS:
            raise unknown("kind of site", kind, SITE_KINDS)
        found = [site for site in sites.found.values() if site.kind == kind]
    else:
        expression = re.compile(_expression(pattern))
        found = [site for path, site in sites.found.items() if expression.fullmatch(path)]
        if not found and (no_site := next(filter(expression.fullmatch, sites.others), None)):
            raise SpecError(f"sites: {pattern!r} names no site of {sites.model}: {no_site} {sites.others[no_site]}")
    if not found:
        allowed = _some(sites, pattern)
        raise SpecError(f"sites: {pattern!r} names no site of {sites.model}; allowed are its sites, such as {allowed}")
    return found


def _expression(pattern: str) -> str:
    """A regular expression for whole paths."""
    parts, place = [], 0
    while place < len(pattern):
        if (token := _TOKEN.match(pattern, place)) is None:
            raise SpecError(
                f"sites: the pattern {cut(pattern)} is not allowed; allowed are names of modules with *, **, "
                "{8-11} or {a,b}, and kind:NAME"
            )
        low, high, several = token.groups()
        if low is not None:
            parts.append(f"(?:{'|'.join(map(str, range(int(low), int(high) + 1)))})")
        elif several is not None:
            parts.append(f"(?:{several.replace(',', '|')})")
        else:
            parts.append({"**": ".*", "*": "[^.]*"}.get(token[0]) or re.escape(token[0]))
        place = token.end()
    return "".join(parts)


def _some(sites: Sites, pattern: str) -> str:
    """The sites nearest to a pattern, or the first of the largest kind."""
    names: Sequence[str] = get_close_matches(pattern, sites.found, n=3) or list(sites.found)[:3]
    kinds = dict.fromkeys(site.kind for site in sites.found.values())
    return f"{', '.join(names)}, or {', '.join(f'{_KIND}{kind}' for kind in kinds)}" if names else "none: it has none"
