"""Optuna's samplers."""

from optuna.samplers import BruteForceSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from hadnas.samplers.sampler import sampler

# without `group` conditional parameters are sampled apart
sampler("tpe", multivariate=True, group=True, constant_liar=True, n_startup_trials=10, n_ei_candidates=24)(TPESampler)
sampler("random", adaptive=False)(RandomSampler)
sampler("exhaustive", adaptive=False)(BruteForceSampler)


@sampler("nsga2", population_size=50, crossover_prob=0.9, swapping_prob=0.5, mutation_prob=None)
class OrderedNSGA2(NSGAIISampler):
    """NSGA-II whose parents come in the order of their trials, whichever trial asks for them."""

    def get_parent_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        return sorted(super().get_parent_population(study, generation), key=lambda trial: trial.number)
