"""A stored study as users have it: what it found, and its networks, to be built, exported and registered."""

from pathlib import Path

from torch import nn

from hadnas.exporter.deliver import deliver, register
from hadnas.results.candidate import Found
from hadnas.results.table import StudyResults
from hadnas.results.weights import current_weights, network_of
from hadnas.store.home import Home


class OpenStudy(StudyResults):
    """A stored study: what it found, and its networks on their way out."""

    def weights(self, found: Found) -> Path:
        """The file of the trained weights of a trial or baseline.

        Raises StudyError where it is gone or has changed, or where its blocks have other code now than when it was
        trained and the weights have another validation loss than was recorded.
        """
        return current_weights(self, found)

    def network(self, found: Found) -> nn.Module:
        """A trial or baseline as a module with its trained weights, in eval mode. Raises as `weights` does."""
        return network_of(self, found)

    def export(self, found: Found, out: str | Path, *, onnx: bool = False, force: bool = False) -> Path:
        """Write a trial or baseline as `hadnas.export` does, with its weights and all that the study knows of it.

        Raises StudyError for one that was not trained to its end, and what `hadnas.export` and `weights` raise.
        """
        return deliver(self, found, out, onnx=onnx, force=force)

    def register(self, found: Found, folder: str | Path) -> str:
        """Register an exported folder in MLflow and return its URI. Raises as `hadnas.exporter.deliver.register`."""
        return register(self, found, Path(folder))


def open_study(name: str, home: str | Path | None = None) -> OpenStudy:
    """The stored study `name` of a home. Raises UnknownName where there is none, StudyError where it cannot be read."""
    return OpenStudy(name, Home(home, reading=True))
