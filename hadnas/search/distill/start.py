"""The file that a search starts from: the tensors of the parent, and beside them those of every distilled option."""

import hashlib
from collections.abc import Mapping
from math import isfinite
from pathlib import Path

from torch import Tensor, nn

from hadnas.hosts.build import save_weights
from hadnas.hosts.graft.weights import at_site, described
from hadnas.hosts.host import Plan
from hadnas.search.distill.divergence import Divergence
from hadnas.search.distill.options import Option


def write_start(
    network: nn.Module, parent: Plan, scored: Mapping[Path, tuple[Option, Divergence]], folder: Path
) -> Path:
    """Write the tensors of the parent network, and of each scored option that has finite outputs, into one file.

    scored  by the file of the score, which names all that the tensors depend on. The file of the start is named after
            these, and stays as it is once it is written: architectures name it with the hash of its content.

    Raises StudyError if it cannot be written.
    """
    names = " ".join(sorted(path.name for path in scored))
    path = folder / f"start_{hashlib.sha256(names.encode()).hexdigest()[:16]}.safetensors"
    if not path.is_file():
        beside: dict[str, Tensor] = {}
        for option, divergence in scored.values():
            for site in option.replaced if isfinite(divergence.mean) else ():
                name, own = at_site(site, option.sites[site]), f"{site}."
                state = {key.removeprefix(own): value for key, value in divergence.state.items() if key.startswith(own)}
                beside |= {f"{name}.{key}": value for key, value in state.items()}
        known = described(parent.arch.node["model"], parent.arch.node["weights"])
        images = {"mean": known.images.mean, "std": known.images.std, "shape": known.images.shape}
        save_weights(network, path, known.class_names, images, beside)
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
