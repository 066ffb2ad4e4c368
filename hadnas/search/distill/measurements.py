"""What is measured of the options of a parent network, each taken from the home if it is there."""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import nn

from hadnas.arch.task import Task
from hadnas.errors import StudyError
from hadnas.hosts.build import build_plan, build_seeded
from hadnas.hosts.host import Plan
from hadnas.measure.cost import cost
from hadnas.measure.figures import TABLE
from hadnas.search.distill.divergence import SCORED_IMAGES, Divergence, Outputs, diverged, load_divergence, outputs
from hadnas.search.distill.imitation import RECIPE, imitate
from hadnas.search.distill.options import Option, SiteChoice
from hadnas.search.latency.timing import timed
from hadnas.source.trace import hash_of
from hadnas.store.home import Home, checkpoint_of
from hadnas.store.ledger import Ledger
from hadnas.store.records import Costs, TrainingKey
from hadnas.store.study import Study
from hadnas.train.data.spec import Data
from hadnas.train.device import machine_errors

SayDone = Callable[[str, int, int], None]
"""Called with the decision at work, the updates done, and their number in all."""


class Measurements:
    """The measurements of one call, each taken from the home if it is there."""

    def __init__(
        self, study: Study, home: Home, ledger: Ledger, data: Data, task: Task, parent: Plan, device: str, steps: int
    ) -> None:
        self.study, self.home, self.ledger, self.data, self.task = study, home, ledger, data, task
        self.device, self.steps = device, steps
        self.network = build_seeded(parent, study.seed).to(device).eval()
        self.parent = self._outputs(self.network)
        if not self.parent.is_trained:
            share = float(self.parent.hits.double().mean())
            raise StudyError(
                f"{parent.arch.node['model']} from {parent.arch.node['weights']} classifies {share:.3f} of "
                f"{len(self.parent.labels)} validation images correctly, hardly more than the most frequent class "
                "alone would; allowed are weights trained on these classes"
            )

    def figure(self, name: str, plan: Plan) -> float:
        """A cost or latency of a network."""
        if TABLE[name].source == "cost":
            return TABLE[name].of(Costs.of(cost(build_plan(plan, device="meta"), *self.task.shapes)))
        assert self.study.latency is not None
        self.ledger.measured.put_architecture(plan.arch.fingerprint, plan.arch.json)
        fresh, code = partial(build_seeded, plan, self.study.seed), hash_of(plan.classes)
        how: dict[str, Any] = {"device": self.device, "backend": self.study.latency}
        return TABLE[name].of(timed(plan.arch, self.task, code, fresh, self.ledger, **how).figures)

    def scores(self, choices: Sequence[SiteChoice], say: SayDone) -> dict[str, Divergence]:
        """The divergence of every option, by the fingerprint of its architecture; new ones are stored."""
        nothing = torch.zeros(len(self.parent.labels), dtype=torch.float64)
        found: dict[str, Divergence] = {}
        for place, choice in enumerate(choices):
            missing = []
            for option in choice.options:
                if not option.sites:
                    found[option.plan.arch.fingerprint] = Divergence(nothing, nothing)
                elif (path := self.path(option.plan)).is_file():
                    found[option.plan.arch.fingerprint] = load_divergence(path)
                else:
                    missing.append(option)
            before, total = place * self.steps, len(choices) * self.steps
            tick = partial(_say_from, say, choice.name, before, total)
            for option, divergence in zip(missing, self._new(missing, tick) if missing else (), strict=True):
                divergence.save(self.path(option.plan))
                found[option.plan.arch.fingerprint] = divergence
            tick(self.steps)
        return found

    def _new(self, options: Sequence[Option], say: Callable[[int], None]) -> Iterator[Divergence]:
        """The divergence of each option of a decision, its new modules trained."""
        device, seed = torch.device(self.device), self.study.seed
        networks = [build_seeded(option.plan, seed).to(device) for option in options]
        pupils = {
            (place, path): network.get_submodule(path)
            for place, (option, network) in enumerate(zip(options, networks, strict=True))
            for path in option.replaced
            if any(True for _ in network.get_submodule(path).parameters())
        }
        trained = [(path, module) for (_, path), module in pupils.items()]
        how: dict[str, Any] = {"steps": self.steps, "seed": seed, "device": device, "say": say}
        losses = dict(zip(pupils, imitate(self.network, trained, self.data.train, **how), strict=True))
        for place, network in enumerate(networks):
            own = [loss for (number, _), loss in losses.items() if number == place]
            state = {
                f"{path}.{name}": tensor
                for (number, path), module in pupils.items()
                if number == place
                for name, tensor in module.state_dict().items()
            }
            kl, lost = diverged(self.parent, self._outputs(network))
            yield Divergence(kl, lost, fmean(own) if own else None, state)

    def _outputs(self, network: nn.Module) -> Outputs:
        with machine_errors():
            return outputs(network, self.data, torch.device(self.device), self.study.recipe.evaluation_batch)

    def path(self, plan: Plan) -> Path:
        """The file of an option's score: of this architecture on these images, trained so, whatever the study."""
        how = json.dumps({"imitation": RECIPE.model_dump(mode="json"), "steps": self.steps, "images": SCORED_IMAGES})
        key = TrainingKey(
            plan.arch.fingerprint,
            str(self.task),
            self.data.digest,
            how,
            RECIPE.epochs,
            self.study.seed,
            hash_of(plan.classes),
        )
        return checkpoint_of(key, self.home).with_suffix(".safetensors")


def _say_from(say: SayDone, label: str, before: int, total: int, done: int) -> None:
    say(label, before + done, total)
