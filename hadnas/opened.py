"""The stored study as a public object: its results, and its networks to build, export and register."""

from pathlib import Path

from torch import nn

from hadnas.errors import check_kind
from hadnas.exporter.deliver import deliver, register_export
from hadnas.results.candidate import Found
from hadnas.results.table import StudyResults
from hadnas.results.weights import current_weights, network_of
from hadnas.store.home import Home


class OpenStudy(StudyResults):
    """A stored study: its results, and its networks to build, export and register."""

    def weights(self, found: Found) -> Path:
        """The file of the trained weights of a trial or baseline.

        Raises StudyError if the file is missing or has changed, or if the code of the blocks has changed since the
        training and the weights no longer give the recorded validation loss.
        """
        return current_weights(self, found)

    def network(self, found: Found) -> nn.Module:
        """A trial or baseline as a module with its trained weights, in eval mode. Raises as `weights` does."""
        return network_of(self, found)

    def export(self, found: Found, out: str | Path, *, onnx: bool = False, force: bool = False) -> Path:
        """Write a trial or baseline as `hadnas.export` does, with its weights and the study's figures in its card.

        Raises StudyError if its training is not finished, and as `hadnas.export` and `weights` do.
        """
        return deliver(self, found, out, onnx=onnx, force=force)

    def register(self, found: Found, folder: str | Path) -> str:
        """Register an exported folder in MLflow and return its URI. Raises as `register_export`."""
        return register_export(self, found, Path(folder))


def open_study(name: str, home: str | Path | None = None) -> OpenStudy:
    """The stored study `name` of a home. Raises UnknownName if there is none, StudyError if it cannot be read."""
    check_kind(name, str, "name", "the name of a stored study: study.name")
    return OpenStudy(name, Home(home, reading=True))
