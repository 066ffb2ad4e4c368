"""The thread that writes to MLflow: order, pauses, a lost connection, too many candidates, and its end."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from hadnas.search.mirror import writer
from hadnas.search.mirror.restore import OpenMirror
from hadnas.search.mirror.writer import Writer

NOWHERE: Any = object()
MIRROR = OpenMirror(NOWHERE, NOWHERE, NOWHERE, "me")


class Made:
    """A writer to a store that is `away` or not; what it wrote, and what it stored with the study."""

    def __init__(self) -> None:
        self.away, self.opened = False, 0
        self.written: list[str] = []
        self.behind: list[bool] = []
        self.writer = Writer(self.connect, self.behind.append, "MLflow is away")

    def connect(self, breathe: Callable[[str], None]) -> OpenMirror:
        if self.away:
            raise ConnectionRefusedError(111, "Connection refused")
        self.opened += 1
        return MIRROR

    def write(self, what: str) -> Callable[[OpenMirror], None]:
        def written(mirror: OpenMirror) -> None:
            if self.away:
                raise ConnectionRefusedError(111, "Connection refused")
            self.written.append(what)

        return written


def test_writes_are_done_in_order_while_the_caller_goes_on() -> None:
    made, gate = Made(), threading.Event()
    made.writer.open(None)
    made.writer.add(lambda mirror: gate.wait(10) and None)
    for number in range(20):
        made.writer.add(made.write(str(number)))
    assert made.written == []
    gate.set()
    assert made.writer.wait(10) and made.written == [str(number) for number in range(20)]


def test_nothing_is_written_while_a_timing_runs() -> None:
    made = Made()
    made.writer.open(None)
    with made.writer.paused():
        made.writer.add(made.write("later"))
        time.sleep(0.1)
        assert made.written == []
    assert made.writer.wait(10) and made.written == ["later"]


def test_a_timing_waits_for_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    made, hangs, gate = Made(), threading.Event(), threading.Event()
    made.writer.open(None)
    monkeypatch.setattr(writer, "QUIET_SECONDS", 0.1)

    def hang(mirror: OpenMirror) -> None:
        hangs.set()
        gate.wait(10)

    made.writer.add(hang)
    assert hangs.wait(10)
    began = time.monotonic()
    with made.writer.paused():
        assert time.monotonic() - began < 5
        made.writer.add(made.write("after"))
        gate.set()
        time.sleep(0.1)
        assert made.written == []  # the next write waits all the same
    assert made.writer.wait(10) and made.written == ["after"]


def test_a_lost_connection_is_said_once_and_tried_again_at_the_start_of_a_candidate(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = Made()
    made.writer.open(None)
    made.away = True
    with caplog.at_level(logging.WARNING):
        for write in ("lost", "also lost"):
            made.writer.add(made.write(write))
        assert made.writer.begin(made.write("a candidate")) and made.writer.wait(10)  # tried at once, in vain
        made.away = False
        made.writer.add(made.write("no candidate"))
        assert made.writer.begin(made.write("too early")) and made.writer.wait(10)
    assert made.written == [] and made.opened == 1 and made.writer.is_behind and made.behind == [True, True]
    assert [record.getMessage() for record in caplog.records] == ["MLflow is away (Connection refused)"]
    made.writer.add(made.write("the end"), opens=True, now=True)
    assert made.writer.wait(10) and made.written == ["the end"] and made.opened == 2 and not made.writer.is_behind


def test_candidates_beyond_the_backlog_are_left_out_and_written_by_the_next_repair(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, gate = Made(), threading.Event()
    made.writer.open(None)
    made.writer.add(lambda mirror: gate.wait(10) and None)
    begun = [made.writer.begin(made.write(str(number))) for number in range(writer.BACKLOG + 2)]
    assert begun == [True] * writer.BACKLOG + [False] * 2
    gate.set()
    assert made.writer.wait(10) and made.behind == [True]
    for _ in range(writer.BACKLOG):
        made.writer.ended()
    made.writer.add(made.write("the end"), opens=True, now=True)
    assert made.writer.wait(10) and made.opened == 2 and made.writer.begin(made.write("there is room"))


def test_the_wait_at_the_end_is_bounded_and_what_is_left_is_dropped() -> None:
    made, gate = Made(), threading.Event()
    made.writer.open(None)
    made.writer.add(lambda mirror: gate.wait(10) and None)
    made.writer.add(made.write("never"))
    began = time.monotonic()
    made.writer.close("FINISHED", 0.2)
    assert time.monotonic() - began < 5 and made.writer.is_behind and made.behind == [True]
    gate.set()
    time.sleep(0.1)
    assert made.written == []


def test_an_error_of_hadnas_is_raised_to_the_search() -> None:
    made = Made()
    made.writer.open(None)
    made.writer.add(lambda mirror: [][0])
    assert made.writer.wait(10)
    with pytest.raises(IndexError):
        made.writer.add(made.write("more"))
    with pytest.raises(IndexError):
        made.writer.close("FAILED", 1.0)
