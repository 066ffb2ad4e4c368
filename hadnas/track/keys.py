"""Every key of a tag or parameter of MLflow that hadnas uses, with its writers and readers.

The choices of a candidate are parameters, too, by their names in the search space; metrics are the figures of
`hadnas.measure.figures`.
"""

# Tags of runs. `track.runs` writes these and reads them to find the parent run, with `track.view` and `search.mirror`.
KIND = "hadnas.kind"  # study (the parent run), trial, baseline or final
STUDY = "hadnas.study"  # its name; of registered models, too
TRIAL_NUMBER = "optuna.trial"  # Optuna's number of a trial, by which `search.mirror` finds the run's trial
REASON = "hadnas.reason"  # why the candidate was refused, failed, stopped or was interrupted; for people
RUNG = "hadnas.rung"  # the epoch after which the training was stopped; `search.mirror` writes it, the view shows it

# Tags of parent runs: the settings that may change when a study continues, as MLflow changes no parameter.
GROWING = {name: f"hadnas.{name}" for name in ("trials", "patience", "backends")}

# Tags of runs that only people read. `search.mirror` writes them, `search.finals` the fingerprint and FINAL.
FINGERPRINT = (
    "hadnas.fingerprint"  # of models that `exporter.deliver` registers, too: `track.registry` names them by it
)
FINAL = "hadnas.final"  # finalist, additive twin, one branch, baseline or random
LATENCY = "hadnas.latency"  # the protocol as JSON; `hadnas.latency.<backend>` of a further backend
REUSED = "hadnas.reused"  # the study that trained the network

# Tags of registered models, from `exporter.deliver` and `track.registry`; for people.
TRIAL = "hadnas.trial"  # the name of the trial or baseline
MADE_BY = "hadnas"

# MLflow's own tags, which its UI reads.
PARENT = "mlflow.parentRunId"
COLOUR = "mlflow.runColor"  # of the run in lists and charts
CONTEXT = "mlflow.data.context"  # of a dataset of a run: training or validation
NOTE = "mlflow.note.content"  # Markdown, also of experiments; `track.runs` reads it back to put a reason before it
SOURCE_NAME, SOURCE_TYPE, USER = "mlflow.source.name", "mlflow.source.type", "mlflow.user"
SHARED_VIEW = "mlflow.sharedViewState"  # of an experiment, `mlflow.sharedViewState.<key>`; `track.view` writes it

# Tags of experiments.
WHOLE = "hadnas.whole"  # the store has all of the study; `track.runs` writes it, `track.server` reads it, too
CURRENT = "2"  # its value; in "True", of earlier versions, the parent run has no settings, curves or description

# Metrics of the parent run over the architectures done; `{}` is the study's metric. `track.parent` reads FRONT_SIZE.
BEST, FRONT_SIZE, HYPERVOLUME = "search/best_{}", "search/front_size", "search/hypervolume"

# Parameters of runs, from `search.mirror`; the view shows them.
BLOCKS, MERGES = WORDS = ("families", "merges")  # how many blocks and merges of each family there are, in words


def count_of(family: str) -> str:
    """The parameter that has the number of blocks of a family."""
    return f"num_{family}"
