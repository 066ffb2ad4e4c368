"""MLflow's own server, by default for this machine only: start, wait until it answers, stop with its children.

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
from hadnas.track.names import experiment_name, without_password
from hadnas.track.view import view_path

HOST, ANY_ADDRESS = "127.0.0.1", "0.0.0.0"
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
    host: str = HOST,
) -> None:
    """Serve MLflow until interrupted (Ctrl-C, SIGTERM or SIGHUP).

    on_ready:  called once with the address to open: the study's view, or MLflow's home page if no study is named
    restore:   called before, for every study with missing runs or a moved home
    host:      the address to listen at; 0.0.0.0 for all of this machine

    Uses another free port if `port` is in use; the address has it. Raises `StudyError` if the server does not start,
    `UnknownName` for a study that it does not have.
    """
    with suppress(KeyboardInterrupt), server(tracking_uri, artifact_root, port, host) as (process, taken):
        for name, experiment in experiments(taken, host).items():
            whole = any(tag["key"] == WHOLE and tag["value"] == CURRENT for tag in experiment.get("tags", []))
            here = store.place(artifact_root, name)
            if not whole or store.is_elsewhere(tracking_uri, experiment["artifact_location"], here):
                restore(name)
        opened = "" if study is None else view_path(experiment_id(taken, study, host))
        on_ready(f"http://{names(host)[0]}:{taken}/{opened}")
        status = process.wait()
        raise StudyError(f"the MLflow server on port {taken} ended by itself with status {status}")


@contextmanager
def server(
    tracking_uri: str, artifact_root: Path, port: int = 5000, host: str = HOST
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A running server that answers, as its process and port; it is stopped with its children in the end."""
    taken = free_port(port, host)
    with tempfile.TemporaryFile() as log, interrupted_by(signal.SIGTERM, signal.SIGHUP):
        process = start(tracking_uri, artifact_root, taken, log, host)
        try:
            wait_until_ready(process, taken, log, host)
            yield process, taken
        finally:
            stop(process)


def start(
    tracking_uri: str, artifact_root: Path, port: int, log: IO[bytes], host: str = HOST
) -> subprocess.Popen[bytes]:
    artifact_root.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"]
    command += ["--uvicorn-opts", "--log-level warning", "--artifacts-destination", artifact_root.resolve().as_uri()]
    if not is_local(host):  # else MLflow refuses every name and every page that is not of this machine
        allowed = [f"{name}:{port}" for name in (*names(host), HOST, "localhost")]
        command += ["--allowed-hosts", ",".join(allowed)]
        command += ["--cors-allowed-origins", ",".join(f"http://{name}" for name in allowed)]
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


def wait_until_ready(process: subprocess.Popen[bytes], port: int, log: IO[bytes], host: str = HOST) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError, http.client.HTTPException):
            if get(port, "/health", host)[0] == 200:
                return
        time.sleep(0.1)
    log.seek(0)
    last = [without_password(line) for line in log.read().decode(errors="replace").strip().splitlines()[-5:]]
    what = "did not answer" if process.poll() is None else f"ended with status {process.returncode}"
    raise StudyError(f"the MLflow server on port {port} {what}; its last words:\n" + "\n".join(last))


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the server and its children: with SIGTERM first, then with SIGKILL."""
    for ask in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):  # the whole group has ended
            os.killpg(process.pid, ask)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)


def experiments(port: int, host: str = HOST) -> dict[str, dict[str, Any]]:
    """The experiments by study, from a running server, so that this process need not import MLflow."""
    prefix = experiment_name("")
    query = urlencode({"max_results": MAX_EXPERIMENTS, "filter": f"name LIKE '{prefix}%'"})
    status, answer = get(port, f"/api/2.0/mlflow/experiments/search?{query}", host)
    if status != 200:
        raise StudyError(f"the MLflow server on port {port} lists no experiments: {answer.decode(errors='replace')}")
    found = json.loads(answer).get("experiments", [])
    return {experiment["name"].removeprefix(prefix): experiment for experiment in found}


def experiment_id(port: int, study: str, host: str = HOST) -> str:
    """The experiment of a study."""
    known = experiments(port, host).get(study)
    if known is None:
        raise UnknownName(f"no runs of a study {study!r} in MLflow; run `hadnas search {study}` first")
    return str(known["experiment_id"])


def is_local(host: str) -> bool:
    """Whether only this machine reaches a server that listens at `host`."""
    return host in (HOST, "localhost")


def names(host: str) -> list[str]:
    """The names and addresses by which browsers reach a server that listens at `host`."""
    if host != ANY_ADDRESS:
        return [host]
    name = socket.gethostname()
    with suppress(OSError):  # the name has no address
        return list(dict.fromkeys([name, socket.getfqdn(), *socket.gethostbyname_ex(name)[2]]))
    return [name]


def get(port: int, path: str, host: str = HOST) -> tuple[int, bytes]:
    here = HOST if host == ANY_ADDRESS else host
    connection = http.client.HTTPConnection(here, port, timeout=START_SECONDS)  # its first answer opens the store
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def free_port(wanted: int, host: str = HOST) -> int:
    """`wanted` if it is free, else a port that the system chooses."""
    for port in (wanted, 0):
        with socket.socket() as probe, suppress(OSError, UnicodeError):  # the latter for no name of a machine
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return int(probe.getsockname()[1])
    raise StudyError(
        f"no port of {host!r} can be bound; allowed is an address of this machine, or {ANY_ADDRESS} for all"
    )
