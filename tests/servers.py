"""Servers of the tests: a PostgreSQL of installed binaries, which can be stopped and started."""

import os
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class PostgresServer:
    """A server in a folder of its own; `url` is that of its first database."""

    def __init__(self, binaries: Path) -> None:
        self.binaries = binaries
        self.user = "postgres" if os.geteuid() == 0 else None  # the server refuses to run as root
        self.home = Path(f"/var/tmp/hadnas-postgres-{uuid.uuid4().hex}")  # short, for the socket, and open to that user
        self.home.mkdir()
        if self.user:
            shutil.chown(self.home, self.user)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._run("initdb", "-U", "hadnas", "-A", "trust", "-N")

    @property
    def url(self) -> str:
        return f"postgresql://hadnas@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        own = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories={self.home} -c fsync=off"
        self._run("pg_ctl", "-w", "-t", "120", "-l", self.home / "log", "-o", own, "start")

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-w", "-m", mode, "stop")

    def _run(self, program: str, *arguments: str | Path) -> None:
        command = [self.binaries / program, "-D", self.home / "data", *arguments]
        subprocess.run(command, check=True, user=self.user, cwd=self.home, stdout=subprocess.DEVNULL)


def installed_postgres() -> Path | None:
    """The folder of PostgreSQL's programs; None if it is not installed."""
    found = shutil.which("initdb") or max(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), default="")
    return Path(found).parent if found else None


@contextmanager
def running_postgres(binaries: Path) -> Iterator[PostgresServer]:
    """A new server that runs; in the end it is stopped, if it runs, and its folder removed."""
    server = PostgresServer(binaries)
    try:
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(server.home)
