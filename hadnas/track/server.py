"""MLflow's own server, for this machine only: start, wait until it answers, stop with its children.

One worker and no job queue: it starts in half the time and a quarter of the memory of a plain `mlflow ui`.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlencode

from hadnas.errors import StudyError, UnknownName
from hadnas.signals import interrupted_by
from hadnas.track import store
from hadnas.track.keys import CURRENT, WHOLE
from hadnas.track.names import experiment_name
from hadnas.track.view import view_url

HOST = "127.0.0.1"
START_SECONDS = 300.0  # for a cold disk and a busy machine; usually five
STOP_SECONDS = 10.0
MAX_EXPERIMENTS = 10_000


def serve(
    tracking_uri: str,
    artifact_root: Path,
    study: str | None = None,
    port: int = 5000,
    on_ready: Callable[[str], None] = print,
    restore: Callable[[str], None] = lambda study: None,
) -> None:
    """Serve MLflow until interrupted (Ctrl-C, SIGTERM or SIGHUP).

    on_ready:  called once with the address to open: the study's view, or MLflow's home page if no study is named
    restore:   called before, for every study with missing runs or a moved home

    Uses another free port if `port` is in use; the address has it. Raises `StudyError` if the server does not start,
    `UnknownName` for a study that it does not have.
    """
    with suppress(KeyboardInterrupt), server(tracking_uri, artifact_root, port) as (process, taken):
        for name, experiment in experiments(taken).items():
            whole = any(tag["key"] == WHOLE and tag["value"] == CURRENT for tag in experiment.get("tags", []))
            here = store.place(artifact_root, name)
            if not whole or store.is_elsewhere(tracking_uri, experiment["artifact_location"], here):
                restore(name)
        on_ready(f"http://{HOST}:{taken}/" if study is None else view_url(taken, experiment_id(taken, study)))
        status = process.wait()
        raise StudyError(f"the MLflow server on port {taken} ended by itself with status {status}")


@contextmanager
def server(tracking_uri: str, artifact_root: Path, port: int = 5000) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A running server that answers, as its process and port; it is stopped with its children in the end."""
    taken = free_port(port)
    with tempfile.TemporaryFile() as log, interrupted_by(signal.SIGTERM, signal.SIGHUP):
        process = start(tracking_uri, artifact_root, taken, log)
        try:
            wait_until_ready(process, taken, log)
            yield process, taken
        finally:
            stop(process)


def start(tracking_uri: str, artifact_root: Path, port: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
    artifact_root.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--uvicorn-opts", "--log-level warning", "--artifacts-destination", artifact_root.resolve().as_uri()]
    environment = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": tracking_uri,  # no argument: it may contain a password, and arguments are public
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONSAFEPATH": "1",  # a random.py in the user's folder must not replace Python's
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    # A session of its own: the server is stopped with its children, and Ctrl-C does not reach them directly.
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )


def wait_until_ready(process: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError, http.client.HTTPException):
            if get(port, "/health")[0] == 200:
                return
        time.sleep(0.1)
    log.seek(0)
    last = log.read().decode(errors="replace").strip().splitlines()[-5:]
    what = "did not answer" if process.poll() is None else f"ended with status {process.returncode}"
    raise StudyError(f"the MLflow server on port {port} {what}; its last words:\n" + "\n".join(last))


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the server and its children: with SIGTERM first, then with SIGKILL."""
    for ask in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):  # the whole group has ended
            os.killpg(process.pid, ask)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)


def experiments(port: int) -> dict[str, dict[str, Any]]:
    """The experiments by study, from a running server, so that this process need not import MLflow."""
    prefix = experiment_name("")
    query = urlencode({"max_results": MAX_EXPERIMENTS, "filter": f"name LIKE '{prefix}%'"})
    status, answer = get(port, f"/api/2.0/mlflow/experiments/search?{query}")
    if status != 200:
        raise StudyError(f"the MLflow server on port {port} lists no experiments: {answer.decode(errors='replace')}")
    found = json.loads(answer).get("experiments", [])
    return {experiment["name"].removeprefix(prefix): experiment for experiment in found}


def experiment_id(port: int, study: str) -> str:
    """The experiment of a study."""
    known = experiments(port).get(study)
    if known is None:
        raise UnknownName(f"no runs of a study {study!r} in MLflow; run `hadnas search {study}` first")
    return str(known["experiment_id"])


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(HOST, port, timeout=START_SECONDS)  # its first answer opens the store
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def free_port(wanted: int) -> int:
    """`wanted` if it is free, else a port that the system chooses."""
    for port in (wanted, 0):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return int(probe.getsockname()[1])
    raise StudyError(f"no port of {HOST} can be bound")
