"""Many workers on one ledger: each training happens once, and a dead worker's is taken over."""

import os
import platform
import signal
import subprocess
import sys
import threading
import time

import pytest
from sqlalchemy import text

from hadnas.errors import LostClaim, StudyError
from hadnas.store.database import open_engine
from hadnas.store.ledger import Ledger
from hadnas.store.records import TrainingKey
from hadnas.store.worker import STALE, Activity, Held, began, condemn, is_dead, note_death, this_host

KEYS = [TrainingKey(f"f{i}", "t", "d", "r", 2, 0, "c") for i in range(8)]

WORKER = """
import sys, time
from hadnas.store.ledger import Ledger
from hadnas.store.records import TrainingKey
url, name, start = sys.argv[1], sys.argv[2], float(sys.argv[3])
while time.time() < start: pass
ledger = Ledger(url)
for i in range(8):
    key = TrainingKey(f"f{i}", "t", "d", "r", 2, 0, "c")
    ledger.measured.put_architecture(key.fingerprint, "{}")
    claim = ledger.claim(key, name, wait=60)
    if claim.status == "mine":
        for epoch in (1, 2):
            ledger.add_epoch(claim, epoch, metrics={"accuracy": 0.5})
            time.sleep(0.01)
        ledger.finish(claim, metrics={"accuracy": 0.5}, val_loss=1.0, val_n=10, seconds=0.02)
    print(i, claim.status, flush=True)
"""

SLEEPER = """
import sys, time
from hadnas.store.ledger import Ledger
from hadnas.store.records import TrainingKey
ledger = Ledger(sys.argv[1])
ledger.measured.put_architecture("f0", "{}")
claim = ledger.claim(TrainingKey("f0", "t", "d", "r", 2, 0, "c"), "doomed")
ledger.add_epoch(claim, 1, metrics={"accuracy": 0.1})
print(claim.status, flush=True)
time.sleep(600)
"""


def start(code, *args):
    return subprocess.Popen([sys.executable, "-c", code, *args], stdout=subprocess.PIPE, text=True)


@pytest.fixture
def ledger(url):
    opened = Ledger(url)
    opened.measured.put_architecture("f0", "{}")
    yield opened
    opened.close()


def change(url, what):
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.execute(text(f"update hadnas_worker set {what}"))
    engine.dispose()


def elsewhere(url):
    """Pretend that all workers are on another machine, where process ids say nothing."""
    change(url, "host = 'another machine'")


def silence(url):
    """Pretend that no worker has beaten for longer than a claim lasts: no test depends on how fast this machine is."""
    change(url, f"heartbeat = heartbeat - {2 * STALE}")


def rows(url):
    engine = open_engine(url)
    with engine.connect() as connection:
        found = connection.execute(text("select count(*) from hadnas_worker")).scalar_one()
    engine.dispose()
    return found


def is_alive(ledger, other):
    with ledger.database.read() as session:
        return ledger.worker.is_alive(session, other.worker.id)


def test_processes_that_begin_together_on_a_new_database_train_each_key_once(url):
    begin = str(time.time() + 1.0)
    workers = [start(WORKER, url, f"w{i}", begin) for i in range(4)]
    answers = [worker.communicate(timeout=600)[0].split("\n")[:-1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4
    told = sorted(line for lines in answers for line in lines)
    assert told == sorted([f"{i} mine" for i in range(8)] + [f"{i} done" for i in range(8)] * 3)
    ledger = Ledger(url)
    trainings = ledger.trainings()
    assert sorted(t.key.fingerprint for t in trainings) == [key.fingerprint for key in KEYS]
    assert all(t.state == "complete" and t.attempt == 1 and len(t.curve) == 2 for t in trainings)
    ledger.close()


def test_threads_that_ask_at_once_get_one_claim(ledger):
    gate, told = threading.Barrier(8), []

    def ask(number):
        gate.wait()
        told.append(ledger.claim(KEYS[0], f"w{number}").status)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == ["mine"] + ["running elsewhere"] * 7


def test_a_killed_worker_on_this_machine_is_taken_over_at_once(url):
    worker = start(SLEEPER, url)
    assert worker.stdout.readline() == "mine\n"
    ledger = Ledger(url)
    assert ledger.claim(KEYS[0]).status == "running elsewhere"
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    claim = ledger.claim(KEYS[0])
    assert (claim.status, claim.attempt) == ("mine", 2)
    assert [(point.attempt, point.metrics["accuracy"]) for point in claim.training.curve] == [(1, 0.1)]
    ledger.close()


def test_a_silent_worker_elsewhere_is_taken_over_and_can_no_longer_write(ledger, url):
    silent = Ledger(url)
    first = silent.claim(KEYS[0], "silent")
    elsewhere(url)
    assert ledger.claim(KEYS[0], "other").status == "running elsewhere"
    silence(url)
    second = ledger.claim(KEYS[0], "other")
    assert (second.status, second.attempt) == ("mine", 2)
    for write in (
        lambda: silent.add_epoch(first, 1, metrics={"accuracy": 0.9}),
        lambda: silent.finish(first, metrics={"accuracy": 0.9}, val_loss=1.0, val_n=10, seconds=1.0),
        lambda: silent.fail(first, "late"),
    ):
        with pytest.raises(StudyError, match=r"f0 .*running under other, attempt 2"):
            write()
    assert ledger.training(KEYS[0]).curve == ()
    ledger.finish(second, metrics={"accuracy": 0.5}, val_loss=1.0, val_n=10, seconds=1.0)
    with pytest.raises(StudyError, match="complete under other"):
        ledger.finish(second, metrics={"accuracy": 0.9}, val_loss=1.0, val_n=10, seconds=1.0)
    silent.close()


def test_a_worker_that_beats_keeps_its_claim_through_a_long_epoch(ledger, url):
    beating = Ledger(url, stale=0.4)  # beats every tenth of a second; the others ask by the usual bound
    beating.claim(KEYS[0], "slow")
    elsewhere(url)
    with beating.worker.alive():
        silence(url)
        until = time.monotonic() + 60
        while not is_alive(ledger, beating) and time.monotonic() < until:
            time.sleep(0.05)
        assert ledger.claim(KEYS[0], "other").status == "running elsewhere"
    silence(url)
    assert ledger.claim(KEYS[0], "other").status == "mine"
    beating.close()


def test_waiting_ends_when_the_other_worker_is_done(ledger):
    claim = ledger.claim(KEYS[0], "first")
    figures = {"metrics": {"accuracy": 0.5}, "val_loss": 1.0, "val_n": 10, "seconds": 1.0}
    timer = threading.Timer(0.1, lambda: ledger.finish(claim, **figures))
    timer.start()
    assert ledger.claim(KEYS[0], "second", wait=20).training.metrics["accuracy"] == 0.5
    timer.join()


def test_a_killed_worker_is_dead_before_its_parent_has_waited_for_it():
    worker = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert not is_dead(this_host(), worker.pid)
    worker.kill()
    deadline = time.monotonic() + 10
    while not is_dead(this_host(), worker.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert is_dead(this_host(), worker.pid) and not is_dead("elsewhere", worker.pid)
    worker.communicate()


def test_a_process_that_was_given_the_id_of_a_dead_one_is_another():
    assert not is_dead(this_host(), os.getpid(), began(os.getpid()))
    assert is_dead(this_host(), os.getpid(), "1")


def test_an_item_is_held_by_one_living_worker_and_its_deaths_are_counted(ledger, url):
    first, second = Ledger(url), Ledger(url)
    items = ["draw 0", "draw 1"]
    held = first.claims.take("s", items)
    assert (held.item, held.attempt) == ("draw 0", 1)
    assert second.claims.take("s", items).item == "draw 1" and second.claims.take("s", items) is None
    assert second.claims.at_work("s") == set(items) and second.claims.at_work("another") == set()
    first.claims.give_back(held)  # no death
    held = second.claims.take("s", items)
    assert (held.item, held.attempt) == ("draw 0", 1)
    for attempt in (2, 3):
        elsewhere(url)
        silence(url)
        third = Ledger(url)
        held = third.claims.take("s", items)
        third.close()
        assert held.attempt == attempt and held.is_hopeless == (attempt == 3)
    assert "2 workers died at it" in held.reason
    with pytest.raises(LostClaim, match=r"draw 0 of study 's' .*another worker"):
        second.claims.check(held)
    ledger.claims.end(held)
    held = ledger.claims.take("s", items)
    with pytest.raises(KeyboardInterrupt), ledger.claims.holding(held):
        raise KeyboardInterrupt
    assert ledger.claims.take("s", items).attempt == held.attempt == 1
    first.close()
    second.close()


def test_an_item_has_the_reason_that_a_supervisor_wrote(url):
    first, second = Ledger(url), Ledger(url)
    held = first.claims.take("s", ["draw 0"])
    assert not condemn(first.database, "s", "draw 0", second.worker.id, "too slow")  # it is not at it
    note_death(first.database, "s", "draw 0", first.worker.id, "SIGSEGV")
    silence(url)
    held = second.claims.take("s", ["draw 0"])
    assert (held.attempt, held.is_hopeless) == (2, False)
    assert condemn(first.database, "s", "draw 0", second.worker.id, "too slow")
    note_death(first.database, "s", "draw 0", second.worker.id, "SIGKILL")  # by its supervisor, which has said why
    silence(url)
    held = first.claims.take("s", ["draw 0"])
    assert held.is_hopeless and held.reason == "too slow"
    first.claims.give_back(held)  # interrupted before it was refused
    again = second.claims.take("s", ["draw 0"])
    assert again.is_hopeless and again.reason == "too slow"
    first.close()
    second.close()


def test_a_condemned_first_attempt_has_no_second(ledger):
    held = ledger.claims.take("s", ["draw 0"])
    assert condemn(ledger.database, "s", "draw 0", ledger.worker.id, "too slow")
    silence(ledger.database.url)
    held = Ledger(ledger.database.url).claims.take("s", ["draw 0"])
    assert held.is_hopeless and held.reason == "too slow"


def test_activities_say_who_is_at_what_since_when_and_what_was_left(ledger, url):
    other = Ledger(url)
    other.claims.take("s", ["draw 0"])
    other.claims.take("s", ["draw 1"])
    other.claims.take("elsewhere", ["draw 0"])
    claim = other.claim(KEYS[0], study="s")
    other.add_epoch(claim, 2, metrics={"accuracy": 0.5})
    first, second = ledger.claims.activities("s")
    assert (first.item, first.attempt, first.pid, first.epoch) == ("draw 0", 1, os.getpid(), 2)
    assert first.seconds >= second.seconds >= 0 and first.host == platform.node()
    silence(url)
    assert ledger.claims.activities("s") == [Activity("draw 0", 1), Activity("draw 1", 1)]
    other.close()


def test_rows_of_dead_workers_are_deleted_and_a_living_one_writes_its_again(ledger, url):
    others = [Ledger(url) for _ in range(3)]
    for number, other in enumerate(others):
        other.claims.take("s", [f"draw {number}"])
    silence(url)
    with others[0].worker.alive():
        assert [is_alive(ledger, other) for other in others] == [True, False, False]
        assert rows(url) == 1
        assert ledger.claims.take("s", ["draw 1"]).attempt == 2
        others[2].claims.check(Held("s", "draw 2", 1))  # its machine had slept
        assert is_alive(ledger, others[2])
    assert not is_alive(ledger, others[0])
    for other in others:
        other.close()
