"""Workers on a Ray cluster: Ray places each on a node that has what it needs, and the supervisor here watches it."""

import logging
import os
import socket
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from queue import Empty
from typing import Any

from hadnas.errors import StudyError
from hadnas.shell.workers.process import LocalProcess, Messages, Starter, WorkerProcess
from hadnas.store.home import Home

LOCAL = "local"
"""The address of a Ray of this command's own, on this machine."""

CONNECT_SECONDS = 10.0

LISTEN_SECONDS = 0.2
"""Seconds for which a node waits for messages of its worker, before it answers that there are none."""


@contextmanager
def cluster(address: str) -> Iterator[None]:
    """Connect to a Ray cluster, or start one on this machine; inside, `room` and `on_cluster` may be used.

    Raises StudyError if Ray is not installed or there is no cluster at the address.
    """
    try:
        import ray
    except ImportError as error:
        raise StudyError("--ray needs Ray, which is not installed: pip install 'hadnas[ray]'") from error
    own: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {}
    try:
        if address not in (LOCAL, "auto") and "://" not in address:
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), CONNECT_SECONDS).close()  # Ray would try for minutes
        ray.init(address, logging_level=logging.ERROR, log_to_driver=False, **own)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise StudyError(f"no Ray cluster at {address!r} ({str(error).splitlines()[0]})") from error
    try:
        yield
    finally:
        ray.shutdown()


def gpu_count() -> int:
    """GPUs of the cluster."""
    import ray

    return int(ray.cluster_resources().get("GPU", 0))


def room(cpus: float, gpus: float) -> int:
    """Workers for which the cluster has room, each with so many processors and GPUs. Raises StudyError if none."""
    import ray

    found = ray.cluster_resources()
    needs = {"CPU": cpus, "GPU": gpus}
    count = min(int(found.get(name, 0) / need) for name, need in needs.items() if need)
    if not count:
        has = ", ".join(f"{found.get(name, 0):g} {name}" for name in needs)
        raise StudyError(f"a worker needs {cpus:g} CPU, {gpus:g} GPU, and the Ray cluster has {has}: --cpus, --gpus")
    return count


def on_cluster(arguments: Sequence[str], home: str | None, *, cpus: float, gpus: float) -> Starter:
    """Starts workers with these arguments of Python where Ray has room; one that finds none waits for it.

    They have the folder and the variables HADNAS_* of this process, and the other variables of their node. Raises
    StudyError if the study is in a file to which the other nodes have no safe access.
    """
    import ray

    nodes = sum(node["Alive"] for node in ray.nodes())
    if nodes > 1 and Home(home).url.startswith("sqlite"):
        raise StudyError(
            f"the Ray cluster has {nodes} nodes, which cannot share a SQLite file: set HADNAS_STORAGE to a PostgreSQL "
            "address"
        )
    variables = {name: text for name, text in os.environ.items() if name.startswith("HADNAS_")}
    relay = ray.remote(Relay).options(num_cpus=cpus, num_gpus=gpus, max_concurrency=2)

    def start(link: Mapping[str, Any], messages: Messages) -> WorkerProcess:
        # Ray gives it its devices: for the link it is the only worker.
        return _RayProcess(link, messages, relay.remote({**link, "workers": 1}, arguments, os.getcwd(), variables))

    return start


class Relay:
    """A Ray actor: it starts a worker on its node and passes on what it sends."""

    def __init__(self, link: Mapping[str, Any], arguments: Sequence[str], folder: str, variables: dict[str, str]):
        os.chdir(folder)
        self.messages = Messages()
        command, environment = [sys.executable, *arguments], {**os.environ, **variables}
        self.process = LocalProcess(link, self.messages, command, environment, captured=True)

    def listen(self) -> tuple[list[dict[str, Any]], int | None]:
        """What the worker has sent, and its exit status after its end."""
        status = self.process.status
        if status is not None:
            self.process.close()
        found = []
        with suppress(Empty):
            found.append(self.messages.get(timeout=LISTEN_SECONDS)[1])
            while True:
                found.append(self.messages.get_nowait()[1])
        return found, status

    def call(self, name: str, *said: str) -> None:
        """Answer, interrupt or kill the worker."""
        getattr(self.process, name)(*said)


class _RayProcess(WorkerProcess):
    """A worker on a node of the cluster, once Ray has placed it."""

    def __init__(self, link: Mapping[str, Any], messages: Messages, relay: Any) -> None:
        super().__init__(link, messages)
        self._relay, self._status, self._lost, self._placed = relay, None, False, False
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    @property
    def status(self) -> int | None:
        return self._status

    @property
    def how(self) -> str:
        return "the loss of its Ray node" if self._lost else super().how

    def answer(self, said: str) -> None:
        self._relay.call.remote("answer", said)

    def interrupt(self) -> None:
        import ray

        if self._placed:
            self._relay.call.remote("interrupt")
        else:
            ray.kill(self._relay)  # it would answer only after it is placed

    def kill(self) -> None:
        self._relay.call.remote("kill")

    def close(self) -> None:
        import ray

        self._reader.join()
        ray.kill(self._relay)  # its processors are free for the next

    def _listen(self) -> None:
        import ray

        status = None
        while status is None:
            try:
                found, status = ray.get(self._relay.listen.remote())
                self._placed = True
            except ray.exceptions.RayError:
                found, status, self._lost = [], 1, True
            for message in found:
                self._messages.put((self, message))
        self._status = status
