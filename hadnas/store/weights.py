"""The weights that the ledger keeps, as files of a home: none is used that is not as its training wrote it."""

from pathlib import Path

from hadnas.errors import StudyError
from hadnas.hosts.build import sha256_of
from hadnas.store.home import Home
from hadnas.store.records import Training


def weights_of(training: Training, home: Home) -> Path:
    """The file of a training's weights; whatever is built from the ledger's weights asks here for them.

    Raises StudyError where the file is gone, or is another than was written: by its SHA-256, which the ledger knows of
    every file since version 5.
    """
    if training.weights is None:
        raise StudyError(f"the training of {training.key.fingerprint} has no weights: it is {training.state}")
    path = home.path / training.weights
    if not path.is_file():
        raise StudyError(f"the weights {path} are not there; they lie beside the home they were trained in")
    found, written = sha256_of(path), training.weights_sha256
    if written is not None and found != written:
        raise StudyError(
            f"the weights {path} have changed since they were trained: SHA-256 {found[:12]}..., recorded was "
            f"{written[:12]}...; bring the file back from a copy, or train in another home"
        )
    return path
