"""The weights of a study's network, refused if later edits of its code changed the network."""

from pathlib import Path

from torch import nn

from hadnas.errors import SpecError, StudyError, at
from hadnas.hosts.build import trained
from hadnas.results.candidate import Found
from hadnas.results.table import StudyResults
from hadnas.source.trace import hash_of
from hadnas.store.records import Training
from hadnas.store.study_store import edited_ops
from hadnas.track.weights import fetched_weights
from hadnas.train.device import chosen_device
from hadnas.train.score import score_module


def current_weights(results: StudyResults, found: Found) -> Path:
    """The file of the weights of a trial or baseline. Raises StudyError as `fetched_weights` and `check_code` do."""
    results.check_blocks()
    training = results.training(found)
    if training is None:
        raise StudyError(f"{found.name} has no weights in the ledger: it is {found.state}")
    with at(found.name):
        path = fetched_weights(training, results.home)
    check_code(results, found, training, path)
    return path


def network_of(results: StudyResults, found: Found) -> nn.Module:
    """A trial or baseline with its trained weights, in eval mode. Raises StudyError as `current_weights` does."""
    _ = found.trained  # raises if it is not
    weights = current_weights(results, found)
    return trained(results.plan(found), weights)


def check_code(results: StudyResults, found: Found, training: Training, weights: Path) -> None:
    """Raise StudyError if the code of `found` has changed since its training and so has its validation loss.

    An edit that leaves the validation loss unchanged passes.
    """
    plan = results.plan(found)
    if training.key.code == hash_of(plan.classes):
        return
    batch, device = results.study.recipe.evaluation_batch, chosen_device("auto")
    recorded = found.figures["val/loss"]
    try:
        network = trained(plan, weights)
        loss = score_module(network, results.data(), batch=batch, device=device).loss
        if abs(loss - recorded) <= 1e-3 * recorded:  # the pixels and weights are the same, so only rounding may differ
            return
        reason = f"their validation loss is {loss:.6g}, not {recorded:.6g}"
    except SpecError:
        reason = "they do not fit"
    edited = edited_ops(results.stored)
    whose = f"the blocks {edited} of {results.study.source}" if edited else "hadnas's own blocks"
    raise StudyError(
        f"{found.name}: the code of {whose} has changed since it was trained, and its weights are of another "
        f"network ({reason}); undo the change, or run the study again under another name"
    )
