"""A supervisor and its workers as processes: what dies is replaced, what hangs is stopped, and nobody is left behind.

The workers here train nothing: each script is a worker that takes items of a study in a real database.
"""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hadnas.errors import StudyError
from hadnas.shell.workers.cluster import LOCAL, cluster, on_cluster, room
from hadnas.shell.workers.process import Failure, Messages, on_this_machine
from hadnas.shell.workers.supervisor import Supervisor
from hadnas.store.home import Home
from hadnas.store.ledger import Ledger
from hadnas.store.worker import is_dead, this_host

WORKER = """
import os, sys, time
from pathlib import Path
from hadnas.search.progress import Progress
from hadnas.shell.workers.link import this_link
from hadnas.store.home import Home
from hadnas.store.ledger import Ledger

home, log = Home(sys.argv[1]), Path(sys.argv[1]) / "log"
link, ledger, done = this_link(), Ledger(home.url), Path(sys.argv[1]) / "done"
now = Progress("s", 9, worker=ledger.worker.id)

def note(*said):
    with log.open("a") as file:
        print(*said, file=file)

note("worker", link.place, os.getpid(), link.timeout is None or round(link.timeout))
while True:
    known = done.read_text().split() if done.exists() else []
    if len(known) == now.budget:
        break
    held = ledger.claims.take("s", [f"draw {n}" for n in range(now.budget) if str(n) not in known])
    if held is None:
        now.ended = "the rest is elsewhere"
        break
    now.item = now.label = held.item
    link.watch(now)
    if held.is_hopeless:
        note("refused", held.item, held.reason)
    else:
        exec(sys.argv[2])
    with done.open("a") as file:
        print(held.item.removeprefix("draw "), file=file)
    ledger.claims.end(held)
    now.item = ""
    link.watch(now)
reason = link.end(now.ended or "the budget is met")
if reason:
    print("results:", reason)
"""


def command(home: Path, code: str) -> list[str]:
    """The arguments of a worker that runs `code` for each item, such as "os.abort()"."""
    return ["-c", WORKER, str(home), code]


def supervise(home: Path, code: str, workers: int = 1, time_limit: float | None = None, timeout: float = 999) -> None:
    start = on_this_machine(command(home, code), workers)
    Supervisor(start, workers, time_limit=time_limit, timeout=timeout, home=str(home)).run()


def log(home: Path, kind: str) -> list[str]:
    path = home / "log"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.removeprefix(f"{kind} ") for line in lines if line.startswith(f"{kind} ")]


def pids(home: Path) -> list[int]:
    return [int(line.split()[1]) for line in log(home, "worker")]


def wait_for(check: object, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not check():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.05)


def test_what_dies_twice_or_hangs_is_refused_with_the_reason_and_the_others_go_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = "{'draw 2': os.abort, 'draw 5': lambda: time.sleep(99)}.get(held.item, int)(); note('tried', held.item)"
    supervise(tmp_path, code, time_limit=1.5)
    assert sorted(log(tmp_path, "refused")) == [
        "draw 2 2 workers died at it, the last one by SIGABRT",
        "draw 5 it exceeded the time limit of 0:02 (--time-limit)",
    ]
    assert log(tmp_path, "tried") == [f"draw {n}" for n in range(9) if n not in (2, 5)]
    assert len(pids(tmp_path)) == 4  # two deaths, one of them by the limit, which gives no second try
    told = capfd.readouterr()
    assert told.out == "results: the budget is met\n" and "worker 0 died at draw 2 by SIGABRT" in told.err
    ledger = Ledger(Home(tmp_path).url)
    assert ledger.claims.activities("s") == []
    ledger.close()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning")  # Ray's own
def test_workers_on_ray_are_supervised_in_the_same_way(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """As above, and a node of the cluster, as far as a worker sees it, is lost."""
    code = (
        "{'draw 2': os.abort, 'draw 5': lambda: time.sleep(99)}.get(held.item, int)()\n"
        "if (held.item, held.attempt) == ('draw 7', 1): time.sleep(1); os.kill(os.getppid(), 9); time.sleep(99)\n"
        "note('tried', held.item)"
    )
    with cluster(LOCAL):
        with pytest.raises(StudyError, match=r"99 GPU, and the Ray cluster has .* 0 GPU"):
            room(0.5, 99)
        assert room(0.5, 0.0) % 2 == 0
        waiting = on_cluster(command(tmp_path, code), str(tmp_path), cpus=512, gpus=0.0)({"place": 0}, Messages())
        assert waiting.is_alive
        waiting.interrupt()  # though no node has room for it
        wait_for(lambda: not waiting.is_alive)
        waiting.close()
        start = on_cluster(command(tmp_path, code), str(tmp_path), cpus=0.5, gpus=0.0)
        Supervisor(start, 2, time_limit=3.0, timeout=999, home=str(tmp_path)).run()
    died, late = sorted(log(tmp_path, "refused"))
    assert died.startswith("draw 2 2 workers died at it")  # how, if noted before the other refuses it
    assert late == "draw 5 it exceeded the time limit of 0:03 (--time-limit)"
    assert sorted(log(tmp_path, "tried")) == [f"draw {n}" for n in range(9) if n not in (2, 5)]
    assert len(pids(tmp_path)) == 6
    told = capfd.readouterr()
    assert "results: the budget is met\n" in told.out and "died at draw 7 by the loss of its Ray node" in told.err
    wait_for(lambda: all(is_dead(this_host(), pid) for pid in pids(tmp_path)), 90)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "nowhere:one", "ray://127.0.0.1:1"])
def test_a_cluster_that_is_not_there_is_said_to_be_missing(address: str) -> None:
    with pytest.raises(StudyError, match=f"no Ray cluster at '{address}'"), cluster(address):
        pass


@pytest.mark.slow
def test_several_workers_do_everything_once_and_one_prints(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    supervise(tmp_path, "note('did', held.item); time.sleep(0.3)", workers=3)
    assert sorted(log(tmp_path, "did")) == [f"draw {n}" for n in range(9)]
    started = [line.split() for line in log(tmp_path, "worker")]
    assert sorted(place for place, _, _ in started) == ["0", "1", "2"]
    assert all(990 < int(left) <= 999 for _, _, left in started)
    assert capfd.readouterr().out == "results: the budget is met\n"


@pytest.mark.slow
def test_workers_that_die_one_after_the_other_end_the_search(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"3 workers in a row died, the last one by exit status 7") as failed:
        start = on_this_machine(["-c", "import os; os._exit(7)"], 1)
        Supervisor(start, 1, time_limit=None, timeout=None, home=None).run()
    assert failed.value.status == 2


SUPERVISOR = """
import sys
from hadnas.shell.workers.process import Failure, on_this_machine
from hadnas.shell.workers.supervisor import Supervisor
home, *command = sys.argv[1:]
try:
    Supervisor(on_this_machine(command, 2), 2, time_limit=None, timeout=None, home=home).run()
except Failure as failure:
    sys.exit(failure.status)
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_no_worker_outlives_its_supervisor(tmp_path: Path, end: signal.Signals) -> None:
    hanging = command(tmp_path, "time.sleep(600)")
    process = subprocess.Popen([sys.executable, "-c", SUPERVISOR, str(tmp_path), *hanging])
    wait_for(lambda: len(pids(tmp_path)) == 2)
    time.sleep(1)
    process.send_signal(end)
    assert process.wait(60) == (-end if end == signal.SIGKILL else 130)
    wait_for(lambda: all(is_dead(this_host(), pid) for pid in pids(tmp_path)), 90)
