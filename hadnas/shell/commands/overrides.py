"""A study changed from the command line: the common options, checked like the study itself."""

import re
from typing import Any

from pydantic import ValidationError

from hadnas.errors import SpecError, cut
from hadnas.limits import WIDTH
from hadnas.store.study import Study, one_sentence

_SUFFIXES = {"k": 1e3, "m": 1e6, "g": 1e9}


def changed(
    study: Study,
    *,
    trials: int | None = None,
    data: str | None = None,
    size: int | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    seed: int | None = None,
    sampler: str | None = None,
    name: str | None = None,
    max_macs: str | None = None,
    max_params: str | None = None,
    max_latency: str | None = None,
    backends: str | None = None,
) -> Study:
    """`study` with what is given put in its place. Raises SpecError, or UnknownName, as the study itself would.

    A study on other data than its own is another study: unless named, it is called `<study>-<data>`.
    """
    fields: dict[str, Any] = {key: getattr(study, key) for key in Study.model_fields}
    given = {"trials": trials, "seed": seed, "sampler": sampler, "name": name}
    fields |= {key: value for key, value in given.items() if value is not None}
    if data is not None and not data.strip():
        raise SpecError("--data is empty; allowed are digits, an .npz file, a folder of images or torch/NAME:DIR")
    if data is not None or size is not None:
        own = study.data.model_dump()
        fields["data"] = {**own, "source": data or own["source"], "size": size if size is not None else own["size"]}
        if name is None and data is not None and data != study.data.source:
            stem = data.rstrip("/").rpartition("/")[2].removesuffix(".npz")
            fields["name"] = f"{study.name}-{''.join(c if c.isalnum() or c in '_-.' else '_' for c in stem)}"
    if backends is not None:
        fields["backends"] = [part.strip() for part in backends.split(",") if part.strip()]
    chosen = {"epochs": epochs, "batch": batch}
    fields["recipe"] = study.recipe.model_dump() | {key: value for key, value in chosen.items() if value is not None}
    limits = {
        "macs": _number(max_macs, "--max-macs"),
        "params": _number(max_params, "--max-params"),
        "latency_ms": _number(max_latency, "--max-latency", "ms"),
    }
    fields["constraints"] = study.constraints | {key: value for key, value in limits.items() if value is not None}
    try:
        return Study(**fields)
    except ValidationError as error:
        raise one_sentence(error) from None


def sides(text: str) -> tuple[int, int, int]:
    """`3x224x224` as (3, 224, 224). Raises SpecError for anything else."""
    found = re.fullmatch(r"([0-9]{1,7})x([0-9]{1,7})x([0-9]{1,7})", text.lower())
    channels, height, width = map(int, found.groups()) if found else (0, 0, 0)
    if not all(1 <= side <= WIDTH for side in (channels, height, width)):
        allowed = f"channels, height and width from 1 to {WIDTH:,}, such as 3x224x224"
        raise SpecError(f"--size {cut(text)} is not allowed; allowed is {allowed}")
    return channels, height, width


def _number(text: str | None, option: str, unit: str = "") -> float | None:
    """`50M` as 50e6, `5ms` as 5; what has a unit has no k, M or G."""
    if text is None:
        return None
    plain = text.strip().lower().removesuffix(unit)
    suffix = plain[-1:] if plain[-1:] in _SUFFIXES and not unit else ""
    try:
        value = float(plain.removesuffix(suffix)) * _SUFFIXES.get(suffix, 1.0)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        allowed = (
            "a number of milliseconds, such as 5 or 5ms" if unit else "a number above 0, such as 500k, 50M or 1.5G"
        )
        raise SpecError(f"{option} {cut(text)} is not allowed; allowed is {allowed}")
    return value
