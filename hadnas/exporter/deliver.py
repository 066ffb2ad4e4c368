"""Exports a study's network: the facts of its model card, its folder, and its entry in MLflow's registry."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hadnas.errors import StudyError
from hadnas.exporter.card import Facts, Repeated, Single
from hadnas.exporter.folder import export
from hadnas.hosts.build import save_weights, trained
from hadnas.inputs import Inputs
from hadnas.measure.cost import cost
from hadnas.measure.figures import TABLE, VAL, metric_words
from hadnas.results.candidate import Found
from hadnas.results.finals.finals import read_finals
from hadnas.results.table import StudyResults
from hadnas.results.weights import current_weights, network_of
from hadnas.search.stress import changed
from hadnas.source.module import needed
from hadnas.train.score import score_module
from hadnas.train.stress.stress import Stress

UNTESTED = "No figure here is of the test split."
TESTED = (
    "The test {} is that of this architecture, trained with other seeds in the finals of the study; these "
    "weights were not scored on the test split."
)


def facts(results: StudyResults, found: Found) -> Facts:
    """Figures, data, recipe and limits of a finished trial or baseline; of the test split if the finals measured it."""
    study = results.study
    timed = results.latency(found)
    tested = _tested(results, found)
    metric, name = found.metric.removeprefix(VAL), metric_words(found.metric)
    limits = _limits(results, found, UNTESTED if tested is None else TESTED.format(name))
    if found.notes.get("latency_noisy"):
        limits.append("The machine was busy while the latency was measured: its ratio varied by more than 5 %.")
    return Facts(
        origin={"study": study.name, "baseline" if found.number is None else "trial": found.name},
        scores={"validation": Single(metric, found.value, found.standard_error, found.notes["val_n"])}
        | ({} if tested is None else {"test": tested}),
        figures=found.figures,
        protocol=timed.protocol if timed is not None else {},
        data={
            **_named(study.data.model_dump(include={"source", "size"}, exclude_none=True)),
            **results.stored.get("parts", {}),
        },
        recipe=_named({name: value for name, value in study.training.items() if value is not None}),
        limits=tuple(limits),
    )


def deliver(
    results: StudyResults, found: Found, out: str | Path, *, onnx: bool, force: bool, prune: Stress | None = None
) -> Path:
    """Write a trial or baseline as `hadnas.export` does, with its weights and the study's figures in its card.

    With `prune` its smallest weights are 0, or its channels removed, and the card has the figures of the network that
    remains. Raises StudyError if its training is not finished, SpecError if it has no channels that can be removed, and
    as `hadnas.export` and `current_weights` do.
    """
    _ = found.trained  # raises if it is not
    with tempfile.TemporaryDirectory() as scratch:
        plan, weights, known = results.plan(found), current_weights(results, found), facts(results, found)
        if prune is not None:
            plan, network = changed(prune, plan, trained(plan, weights))
            weights = Path(scratch) / "model.safetensors"
            save_weights(network, weights)
            known = _pruned(results, found, known, prune, network)
        return export(
            plan,
            results.task(),
            out,
            weights,
            facts=known,
            moments=results.moments(),
            class_names=results.class_names(),
            onnx=onnx,
            force=force,
        )


def _limits(results: StudyResults, found: Found, test: str) -> list[str]:
    """Limits of what the figures of a network say, with the sentence on its test figure."""
    name = metric_words(found.metric)
    limits = [
        f"These weights are of one training with one seed: another seed gives another {name}.",
        test,
        f"{name.capitalize()} holds for images like those of {results.study.data.source}, at this size; others were "
        "not tried.",
        *(f"{note}." for note in results.stored.get("notes", [])),
    ]
    if found.number is not None:
        rank = "the best" if found.arch == results.best.arch else "one"
        within = f" within {results.study.limits}" if results.study.limits else ""
        limits.insert(
            0,
            f"It is {rank} of {results.num_met} architectures{within} compared on the validation images, so its {name} "
            "there is optimistic.",
        )
    return limits


def _pruned(results: StudyResults, found: Found, known: Facts, prune: Stress, network: nn.Module) -> Facts:
    """The facts of a network that was pruned after its training: scored again on the validation split."""
    metric, before = found.metric.removeprefix(VAL), known.scores["validation"]
    score = score_module(network, results.data(), batch=results.study.recipe.evaluation_batch)
    after = Single(metric, score.metrics[metric], score.standard_error(metric), score.n)
    costs = cost(network, *results.task().shapes)
    figures = {name: figure.of(costs) for name, figure in TABLE.items() if figure.source == "cost"}
    zeros = sum(parameter.numel() - int(torch.count_nonzero(parameter)) for parameter in network.parameters())
    limits = (
        *_limits(results, found, UNTESTED),
        f"It was pruned after its training ({prune}), and not trained since: before, its validation "
        f"{metric_words(metric)} was {before}. {zeros:,} of its parameters are 0.",
    )
    return replace(known, scores={"validation": after}, figures=figures, protocol={}, limits=limits)


def example(results: StudyResults, found: Found) -> Inputs:
    """The inputs of two validation images, normalised as in training: the input example of a trial's model in MLflow.

    Writes nothing. Raises StudyError if the trial has no MLflow run, DataError if the study's data are missing.
    """
    from hadnas.track.registry import check_run  # imports MLflow, which an export into a folder does not need

    check_run(results.home.tracking_uri, _run_of(results, found))
    return next(results.data().val.batches(2))[0]


def register_export(results: StudyResults, found: Found, folder: Path) -> str:
    """Log an exported folder to the run of its trial and register it as `hadnas-<study>`; returns the model's URI.

    Raises as `example` does, and StudyError if MLflow cannot store the model.
    """
    from hadnas.track import keys
    from hadnas.track.registry import register_network

    inputs, task = example(results, found), results.task()
    assert found.arch is not None
    with torch.inference_mode():
        logits = network_of(results, found)(*inputs)
    named = {name: one.numpy() for (name, _), one in zip(task.inputs, inputs, strict=True)}
    known = {keys.FINGERPRINT: found.arch.fingerprint, keys.STUDY: results.name, keys.TRIAL: found.name}
    uri, name = results.home.tracking_uri, f"hadnas-{results.name}"
    return register_network(
        uri,
        _run_of(results, found),
        name,
        folder,
        named if len(named) > 1 else inputs[0].numpy(),
        logits.numpy(),
        known,
        needed(results.plan(found)),
        results.task().target,
    )


def _run_of(results: StudyResults, found: Found) -> str:
    """The run of a trial or baseline, rewritten if MLflow lacks it. Raises StudyError if it never had one."""
    from hadnas.search.mirror.restore import restore

    restore(results.name, results.home)
    now = StudyResults(results.name, results.home)
    for known in (*now.found, *now.baselines):
        if known.name == found.name and known.run_id is not None:
            return known.run_id
    raise StudyError(f"{found.name} has no run in MLflow to which its model could be logged")


def _tested(results: StudyResults, found: Found) -> Repeated | None:
    """The test metric of this architecture in the study's finals; None if they did not run or did not include it."""
    for final in read_finals(results):
        if found.arch is not None and final.fingerprint == found.arch.fingerprint and final.estimate is not None:
            test = final.estimate
            return Repeated(found.metric.removeprefix(VAL), test.mean, test.low, test.high, test.seeds, test.n)
    return None


def _named(settings: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("_", " "): value for name, value in settings.items()}
