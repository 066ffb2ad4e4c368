"""A study as a value: what is searched, on what data, for what, how long, and against which baselines."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer, field_validator, model_validator

from hadnas.arch.node import Arch
from hadnas.errors import HadnasError, SpecError, check_kind, cut, unknown
from hadnas.limits import COUNT, SEED
from hadnas.measure.figures import TABLE, VAL, Direction, constraints, objectives
from hadnas.measure.latency import backends
from hadnas.measure.metrics.metric import DEFAULT_METRIC, METRICS, find_metric
from hadnas.plain import plain_fields
from hadnas.space.choices import Choice
from hadnas.space.count import size
from hadnas.space.data import as_data, from_data
from hadnas.targets import TargetKind
from hadnas.train.data.spec import DataSpec
from hadnas.train.recipe import Recipe

OWN_NAMES = ("hadnas.db", "mlflow.db", "artifacts", "checkpoints")
"""Files and folders of a home beside the folders of its studies."""

NAME_BYTES = 255 - len("..runs.lock")
"""The longest name of a study: file systems allow 255 bytes, and the longest file name made of it is that of a lock."""


class Study(BaseModel):
    """What one experiment is: data, stored with its trials.

    space        the search space, `SPACE` of a file in `search_spaces/` or of a user's
    data         "digits", a path to a .npz or to an image folder, or a `DataSpec`
    objectives   figures to optimise, of `hadnas.measure.figures`; one or several
    metric       judges networks, one of `hadnas.measure.metrics`; by default that of the data's target: accuracy for
                 classes, mean average precision for labels, R2 for values. The default objectives follow it
    constraints  figure -> largest value allowed, of the costs and latencies, which are known before the training
    trials       the budget: distinct architectures met, trained, reused or stopped at a rung
    rungs        epochs after which a training may be stopped (`hadnas.samplers.rungs`); none by default
    evaluate     the mark of a function that trains in place of the recipe (`hadnas.train.own`); set by `run_study`
    patience     architectures in a row that hardly raise the hypervolume, after which the search ends; None: all trials
    baselines    name -> architecture (a node, an Arch as `hadnas.load` gives it, or a timm model name), trained by the
                 same recipe; None: chosen by cost when the study begins
    latency      the backend that times every candidate, or None for no latency
    backends     further backends, for the Pareto front and the baselines when the search ends: "compile" takes up to a
                 minute for each, "onnxruntime" and "int8" need the extra 'onnx'
    source       the user's file that defines its blocks; set when the study is loaded or run
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)
    _plain = model_validator(mode="before")(plain_fields)

    name: str = ""
    space: dict[str, Any]
    data: DataSpec = DataSpec(source="digits")
    recipe: Recipe = Recipe()
    metric: str | None = Field(default=None, exclude_if=lambda metric: metric is None)
    objectives: tuple[str, ...] = ("val/accuracy", "macs")
    constraints: dict[str, float] = Field(default_factory=dict)
    sampler: str = "surrogate"
    sampler_options: dict[str, Any] = Field(default_factory=dict)
    trials: int = Field(default=20, ge=1, le=COUNT)
    rungs: tuple[int, ...] = Field(default=(), exclude_if=lambda rungs: not rungs)
    evaluate: str = Field(default="", exclude_if=lambda evaluate: not evaluate)
    patience: int | None = Field(default=None, ge=1, le=COUNT, exclude_if=lambda patience: patience is None)
    seed: int = Field(default=0, ge=0, le=SEED)
    baselines: dict[str, dict[str, Any] | str] | None = Field(default_factory=dict)
    latency: str | None = "eager"
    backends: tuple[str, ...] = ()
    source: str = ""

    @model_validator(mode="before")
    @classmethod
    def _optimise_metric(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and isinstance(metric := fields.get("metric"), str) and "objectives" not in fields:
            return {**fields, "objectives": (f"{VAL}{metric}", "macs")}
        return fields

    @field_validator("metric")
    @classmethod
    def _known_metric(cls, metric: str | None) -> str | None:
        if metric is not None and metric not in METRICS:
            raise unknown("metric", metric, METRICS)
        return metric

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if name and not (all(c.isalnum() or c in "_-." for c in name) and name.strip(".")):
            raise SpecError(f"name = {name!r} is not allowed; allowed are letters, digits, '_', '-' and '.'")
        if (found := len(name.encode())) > NAME_BYTES:
            raise SpecError(f"name = {name[:20]!r}... takes {found} bytes; allowed are {NAME_BYTES}, as in file names")
        if name in OWN_NAMES:
            raise SpecError(f"name = {name!r} is not allowed: the home has a file or folder of that name")
        return name

    @field_validator("space", mode="before")
    @classmethod
    def _read_space(cls, space: Any) -> Any:
        check_kind(space, (dict, Choice), "space", "a search space; that of a study is study.space")
        return from_data(as_data(space))

    @field_serializer("space")
    def _write_space(self, space: dict[str, Any]) -> Any:
        return as_data(space)

    @field_validator("data", mode="before")
    @classmethod
    def _read_data(cls, data: Any) -> Any:
        return {"source": data} if isinstance(data, str) else data

    @field_validator("baselines", mode="before")
    @classmethod
    def _read_baselines(cls, baselines: Any) -> Any:
        if not isinstance(baselines, dict):
            return baselines
        return {name: found.node if isinstance(found, Arch) else found for name, found in baselines.items()}

    @field_validator("objectives")
    @classmethod
    def _known_objectives(cls, chosen: tuple[str, ...]) -> tuple[str, ...]:
        if not chosen or len(set(chosen)) < len(chosen):
            raise SpecError(f"objectives = {list(chosen)} is not allowed; name one or several, each once")
        for objective in chosen:
            if objective not in objectives():
                raise unknown("objective", objective, objectives())
        return chosen

    @field_validator("constraints")
    @classmethod
    def _known_constraints(cls, limits: dict[str, float]) -> dict[str, float]:
        allowed = [figure.name for figure in constraints()]
        for name, limit in limits.items():
            if name not in allowed:
                raise unknown("constraint", name, allowed)
            if not 0 < limit < float("inf"):
                raise SpecError(f"constraint {name} = {limit!r} is not allowed; allowed is a number above 0")
        return limits

    @field_validator("latency", "backends")
    @classmethod
    def _known_backends(cls, chosen: Any) -> Any:
        for backend in (chosen,) if isinstance(chosen, str) else chosen or ():
            backends.check_backend(backend)
        return chosen

    def model_post_init(self, _: Any) -> None:
        """Check what concerns several fields at once."""
        from hadnas.samplers.rungs import check_rungs
        from hadnas.samplers.sampler import check_sampler

        check_rungs(self.rungs, self.recipe.epochs)
        figure = self.metric_figure
        if figure not in self.objectives:
            found = f"objectives = {list(self.objectives)} with"
            if self.rungs:
                found = f"{found} rungs = {list(self.rungs)}"
                raise SpecError(f"{found}: rungs predict {figure}; allowed are objectives with it, or no rungs")
            if any(name.startswith(VAL) for name in self.objectives):
                raise SpecError(f"{found} metric = {self.metric!r}; allowed are objectives with {figure}")
        check_sampler(self.sampler, self.seed, self.sampler_options, len(self.objectives))
        if self.deciding_latencies and self.latency is None:
            asked = self.deciding_latencies[0]
            raise SpecError(f"{asked} is asked for but latency = None; name a backend, such as 'eager'")

    def __repr__(self) -> str:
        goals = ", ".join(self.objectives)
        limits = f", with {self.limits}" if self.limits else ""
        space = f"{size(self.space):,} assignments"
        return (
            f"Study({self.name!r} on {self.data.source}: {space}, {self.trials} architectures, "
            f"sampler {self.sampler}, {self.recipe.epochs} epochs, for {goals}{limits}; baselines "
            f"{'open' if self.baselines is None else ', '.join(self.baselines) or 'none'})"
        )

    @property
    def metric_figure(self) -> str:
        """The figure of the metric, such as "val/accuracy"."""
        return metric_figure(self.metric, self.objectives)

    @property
    def training(self) -> dict[str, Any]:
        """The settings of every training: those of the recipe, or a user's function and its epochs; and the seed."""
        own = {"evaluate": self.evaluate, "epochs": self.recipe.epochs}
        return {**(own if self.evaluate else self.recipe.model_dump(mode="json")), "seed": self.seed}

    def for_target(self, kind: TargetKind, outputs: int) -> "Study":
        """The study on data with such a target: where it names no metric, the default one is that of the target.

        Raises SpecError for a metric or an objective that does not fit the target.
        """
        old, new = self.metric_figure, self.metric_figure
        if self.metric is None and old == f"{VAL}{DEFAULT_METRIC['classes']}":
            new = f"{VAL}{DEFAULT_METRIC[kind]}"
        objectives = tuple(new if name == old else name for name in self.objectives)
        for name in (new, *objectives):
            if name.startswith(VAL):
                find_metric(name.removeprefix(VAL), kind, outputs)
        if new == old:
            return self
        return self.model_copy(update={"metric": new.removeprefix(VAL), "objectives": objectives})

    @property
    def deciding_latencies(self) -> list[str]:
        """Latencies among the objectives and constraints."""
        return [name for name in (*self.objectives, *self.constraints) if TABLE[name].source == "latency"]

    @property
    def limits(self) -> str:
        """The constraints in words, as "macs <= 50,000,000, latency_ms <= 5"; empty without any."""
        return ", ".join(f"{name} <= {limit:,.15g}" for name, limit in self.constraints.items())

    @property
    def directions(self) -> list[Direction]:
        """One direction per objective."""
        return [objectives()[objective] for objective in self.objectives]


def metric_figure(metric: str | None, objectives: Sequence[str]) -> str:
    """The figure of a study's metric; without a metric, the first that it optimises, else the accuracy."""
    named = f"{VAL}{metric or DEFAULT_METRIC['classes']}"
    return named if metric else next((name for name in objectives if name.startswith(VAL)), named)


def one_sentence(error: ValidationError, prefix: str = "study: ") -> HadnasError:
    """The first error of pydantic in a study, recipe or data spec, as one of hadnas: where, what, what is allowed."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or error.title
    if first["type"] == "extra_forbidden":
        models: dict[str, type[BaseModel]] = {
            "data": DataSpec,
            "recipe": Recipe,
            "DataSpec": DataSpec,
            "Recipe": Recipe,
        }
        inner = str(first["loc"][0]) if len(first["loc"]) > 1 else error.title
        model = models.get(inner, Study)
        return unknown("option", place, [".".join([*map(str, first["loc"][:-1]), name]) for name in model.model_fields])
    reason = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return SpecError(f"{prefix}{reason}")
    return SpecError(f"{prefix}{place} = {cut(first['input'])} is not allowed: {reason[0].lower()}{reason[1:]}")
