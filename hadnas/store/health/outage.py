"""A database server that stops and starts again: a connection that was open once is waited for, and work goes on."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from hadnas.store.database import shown

WAIT = 3600.0
"""Seconds for which a server that answered before is waited for."""

SERVER_PAUSE = 30.0

_AWAY = ("08", "57P")
"""Starts of PostgreSQL's codes for a lost connection and for a server that stops or starts (appendix A)."""

_waits, _given_up = threading.Event(), threading.Event()  # of all engines of this process


def wait_for_server(engine: Engine) -> Engine:
    """The engine of a server that has answered; from now on a new connection waits for the server, up to an hour.

    Says so once in the log. Ctrl-C ends the wait, also that of other threads. A SQLite file is never waited for.
    """
    if engine.dialect.name == "sqlite":
        return engine

    @event.listens_for(engine, "do_connect")
    def _connected(dialect: Dialect, entry: ConnectionPoolEntry, args: list[Any], options: dict[str, Any]) -> Any:
        until, pause = time.monotonic() + WAIT, 0.5
        while True:
            try:
                connection = dialect.connect(*args, **options)
            except Exception as error:
                if not _is_away(error) or _given_up.is_set() or time.monotonic() > until:
                    raise
            else:
                _waits.clear()
                _given_up.clear()
                return connection
            if not _waits.is_set():
                _waits.set()
                place = shown(engine.url.render_as_string(hide_password=False))
                logging.getLogger(__name__).warning("%s does not answer; waiting for up to an hour", place)
            try:
                _given_up.wait(pause)
            except BaseException:  # Ctrl-C: what is to be written in the end fails at once
                _given_up.set()
                raise
            pause = min(2 * pause, SERVER_PAUSE)

    return engine


def through_outages(work: Callable[[], None]) -> None:
    """Do `work`, and again after a transaction was lost with its server; it goes on where it was."""
    until = time.monotonic() + WAIT
    while True:
        try:
            return work()
        except Exception as error:
            if not is_lost(error) or time.monotonic() > until:
                raise
            logging.getLogger(__name__).warning("the database server ended a transaction; it is tried again")
            time.sleep(1.0)


def is_lost(error: BaseException) -> bool:
    """Whether an error comes of a lost connection to a server.

    Optuna raises errors of its own while it handles that of the driver, so the contexts of an error count, too.
    """
    found: BaseException | None = error
    while found is not None:
        driver = found.orig if isinstance(found, DBAPIError) else None
        if driver is not None and not isinstance(driver, sqlite3.Error) and _is_away(driver):
            return True
        found = found.__cause__ or found.__context__
    return False


def _is_away(error: BaseException) -> bool:
    """Whether a driver's error says that there is no connection: it has no code then, or one of `_AWAY`."""
    import psycopg

    code = getattr(error, "sqlstate", None)
    return isinstance(error, psycopg.OperationalError) and (code is None or code.startswith(_AWAY))
