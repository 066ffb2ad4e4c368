"""Signals that end a command as Ctrl-C does."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


@contextmanager
def interrupted_by(*signals: signal.Signals) -> Iterator[None]:
    """Let these signals interrupt the block as Ctrl-C does, so that it stops what it started."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    ignored = {one for one in signals if signal.getsignal(one) is signal.SIG_IGN}  # as under nohup
    before = {one: signal.signal(one, interrupt) for one in signals if one not in ignored}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
