"""The surrogate sampler beside Optuna's TPE, on the constructed deep space of `tests/deep.py`.

PYTHONPATH=. python tests/bench/bench_samplers.py quality 20  # 20 seeds, at 50 and 100 trainings; set OMP_NUM_THREADS=1
PYTHONPATH=. python tests/bench/bench_samplers.py speed       # ask and tell after 100, 300 and 1,000 trials

Bars: not worse than TPE by more than two standard errors; at 1,000 trials not slower than TPE in the same run.
"""

import sys
import time
import tracemalloc

import numpy as np
import optuna
from optuna.trial import create_trial

from hadnas.replay.replay import contender, replays
from hadnas.replay.scores import summaries
from hadnas.samplers.draw import draw_from, optuna_pick
from hadnas.samplers.sampler import make_sampler
from hadnas.space import resolve
from tests.deep import Deep


def quality(seeds: int) -> None:
    for costly in (False, True):
        benchmark = Deep(costly=costly)
        contenders = [contender(name) for name in ("tpe", "surrogate", "random")]
        print("hypervolume share" if costly else "accuracy", f"{len(benchmark.hidden)} decisions, n = {seeds} seeds")
        for row in summaries(list(replays(benchmark, contenders, seeds, 100)), (50, 100)):
            lead = f"{row.lead:+.4f} ± {row.lead_error:.4f}"
            print(f"{row.budget:4} {row.label:10} {row.mean:.4f} ± {row.error:.4f}  {lead}")


def speed() -> None:
    """CPU seconds of ask and tell in a study in memory, and how much memory the sampler keeps."""
    benchmark = Deep(stages=4, depth=4, costly=True)
    problem = benchmark.problem
    history = []
    for draw in range(1000):
        drawn = draw_from(problem.space, make_sampler("random")(draw), problem.directions, [])
        values = benchmark.trained(problem.describe(drawn.answers, drawn.node).key, 0)
        history.append(create_trial(values=values, params=drawn.answers, distributions=drawn.distributions))
    print(f"{np.mean([len(trial.params) for trial in history]):.0f} decisions in a draw on average")
    for trials in (100, 300, 1000):
        for name in ("tpe", "surrogate"):
            study = optuna.create_study(directions=problem.directions)
            study.add_trials(history[:trials])
            fresh = benchmark.fresh()  # nothing is known from the sampler before
            seconds = [ask_and_tell(study, make_sampler(name, 0, {}, fresh)(draw), benchmark) for draw in range(8)]
            tracemalloc.start()
            ask_and_tell(study, make_sampler(name, 0, {}, fresh)(8), benchmark)
            peak = tracemalloc.get_traced_memory()[1] / 2**20
            tracemalloc.stop()
            median = np.median(seconds[1:])
            print(f"{trials:5} trials  {name:10} {median:.3f} s of CPU, the first {seconds[0]:.3f} s, {peak:.0f} MiB")


def ask_and_tell(study: optuna.Study, sampler: optuna.samplers.BaseSampler, benchmark: Deep) -> float:
    study.sampler = sampler
    start = time.process_time()
    trial = study.ask()
    node = resolve(benchmark.space, optuna_pick(trial, {}))
    seconds = time.process_time() - start
    values = benchmark.trained(benchmark.describe(trial.params, node).key, 0)
    start = time.process_time()
    study.tell(trial, values)
    return seconds + time.process_time() - start


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if sys.argv[1] == "quality":
        quality(int(sys.argv[2]))
    else:
        speed()
