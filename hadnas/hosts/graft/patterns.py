"""Names of many sites at once: `layer3.*`, `blocks.{8-11}.mlp`, `kind:mlp`.

`*` is any part of a name between two dots, `**` any part with dots, `{8-11}` a range of numbers, `{a,b}` one of
several; `kind:mlp` are all sites of a kind.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches

from hadnas.errors import SpecError, cut, unknown
from hadnas.hosts.graft.sites import SITE_KINDS, Site, Sites

_TOKEN = re.compile(r"\*{2,}|\*|\{(\d+)-(\d+)\}|\{([\w,]+)\}|[\w.]+")
_NUMBER = re.compile("0|[1-9][0-9]*")
_KIND = "kind:"
_LONGEST = 200
"""The most characters of a pattern; names of modules have at most 100."""


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
        tokens = _tokens(pattern)
        found = [site for path, site in sites.found.items() if _fits(tokens, path)]
        if not found and (no_site := next((path for path in sites.others if _fits(tokens, path)), None)):
            raise SpecError(f"sites: {pattern!r} names no site of {sites.model}: {no_site} {sites.others[no_site]}")
    if not found:
        allowed = _some(sites, pattern)
        raise SpecError(f"sites: {pattern!r} names no site of {sites.model}; allowed are its sites, such as {allowed}")
    return found


def _tokens(pattern: str) -> list[re.Match[str]]:
    found = [*_TOKEN.finditer(pattern)]
    if len(pattern) > _LONGEST or "".join(token[0] for token in found) != pattern:
        raise SpecError(
            f"sites: the pattern {cut(pattern)} is not allowed; allowed are names of modules with *, **, {{8-11}} or "
            f"{{a,b}}, and kind:NAME, of at most {_LONGEST} characters"
        )
    return found


def _fits(tokens: Iterable[re.Match[str]], path: str) -> bool:
    """Whether the tokens name the whole path; the time is their number times the square of its length.

    With a regular expression it may be exponential: `************z`.
    """
    places = {0}
    for token in tokens:
        places = {end for place in places for end in _ends(token, path, place)}
    return len(path) in places


def _ends(token: re.Match[str], path: str, place: int) -> Iterator[int]:
    """The ends of all parts of a path that begin at a place and that a token names."""
    low, high, several = token.groups()
    if low is not None:
        ends = range(place + 1, min(place + len(high), len(path)) + 1)
        numbers = ((end, path[place:end]) for end in ends)
        yield from (e for e, text in numbers if _NUMBER.fullmatch(text) and int(low) <= int(text) <= int(high))
    elif several is not None or token[0][0] != "*":
        names = (token[0] if several is None else several).split(",")
        yield from (place + len(name) for name in names if path.startswith(name, place))
    else:
        dot = len(path) if token[0] != "*" else path.find(".", place)
        yield from range(place, (len(path) if dot < 0 else dot) + 1)


def _some(sites: Sites, pattern: str) -> str:
    """The sites nearest to a pattern, or the first of the largest kind."""
    names: Sequence[str] = get_close_matches(pattern, sites.found, n=3) or list(sites.found)[:3]
    kinds = dict.fromkeys(site.kind for site in sites.found.values())
    return f"{', '.join(names)}, or {', '.join(f'{_KIND}{kind}' for kind in kinds)}" if names else "none: it has none"
