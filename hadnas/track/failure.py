"""Failures of MLflow: which errors they are, why, and in one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.exceptions import MlflowException

from hadnas.errors import StudyError, first_line
from hadnas.track.names import without_password

STORE_ERRORS = (MlflowException, StudyError, OSError)
"""Raised where MLflow cannot be reached or cannot store something."""


@contextmanager
def store_errors(tracking_uri: str) -> Iterator[None]:
    """Turn errors of MLflow, as of a locked, damaged or missing store, into a StudyError that names the store."""
    try:
        yield
    except MlflowException as error:
        raise lost(tracking_uri, error) from error


def lost(tracking_uri: str, error: Exception) -> StudyError:
    """The error for a store that failed in the middle of something."""
    return StudyError(
        f"{without_password(tracking_uri)}: MLflow cannot use it any more ({reason_of(error)}); all measurements "
        "are in the ledger, and the same command continues"
    )


def reason_of(error: BaseException) -> str:
    """Why MLflow cannot be used: the message of the database or the system, if one is the cause, else MLflow's own."""
    cause: BaseException | None = error
    while cause is not None:
        said = getattr(cause, "orig", None) or (cause.strerror if isinstance(cause, OSError) else None)
        if said:
            return first_line(said) if isinstance(said, BaseException) else str(said)
        cause = cause.__cause__ or cause.__context__
    return first_line(error) or type(error).__name__
