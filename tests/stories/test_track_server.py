"""The MLflow server as `hadnas ui` runs it: its address, a taken port, a study it does not hold, and a clean end."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from hadnas.errors import StudyError, UnknownName
from hadnas.track import server
from hadnas.track.runs import Tracker
from hadnas.track.view import set_view, view_path
from tests.homes import new_home
from tests.shell import hadnas

SERVE = """
import sys
from pathlib import Path
from hadnas.track.server import serve

uri, artifacts, port = sys.argv[1:]
serve(uri, Path(artifacts), "digits", int(port), on_ready=lambda address: print(address, flush=True))
"""


def processes(session: int | None = None, parent: int | None = None) -> list[int]:
    """The living processes of a session, or those a process has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # ended meanwhile
            state, ppid, _, sid, *_ = stat.read_text().rpartition(")")[2].split()
            if state != "Z" and (int(sid) == session or int(ppid) == parent):
                found.append(int(stat.parent.name))
    return found


@pytest.mark.slow
def test_serves_the_view_on_a_free_port_and_stops_whole(tmp_path: Path) -> None:
    home = new_home(tmp_path / "a?b #1")
    uri = home.tracking_uri
    study = Tracker(uri, home.artifacts, "digits")
    set_view(study, ["val/accuracy", "macs"])
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = int(other.getsockname()[1])
        (tmp_path / "random.py").write_text("raise SystemExit('a file of the user ran')")
        command = [sys.executable, "-P", "-c", SERVE, uri, str(home.artifacts), str(taken)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as ui:
            assert ui.stdout is not None
            address = ui.stdout.readline().strip()
            port = urlsplit(address).port
            assert port is not None and port != taken
            assert address == f"http://127.0.0.1:{port}/{view_path(study.experiment_id)}"
            assert server.get(port, "/health")[0] == 200
            with pytest.raises(UnknownName, match="'digitz'"):
                server.experiment_id(port, "digitz")
            [leader] = processes(parent=ui.pid)
            assert len(processes(session=leader)) >= 2
            os.kill(ui.pid, signal.SIGTERM)
            assert ui.wait(300) == 0
    assert processes(session=leader) == []
    with pytest.raises(ConnectionRefusedError):
        server.get(port, "/health")
    assert not (tmp_path / "mlartifacts").exists()


@pytest.mark.slow
def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"port \d+ .*status [1-9]"):
        server.serve("nonsense://", tmp_path / "artifacts", port=server.free_port(0))


def test_a_free_port_is_kept_and_a_taken_one_is_not() -> None:
    port = server.free_port(0)
    assert server.free_port(port) == port
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        assert server.free_port(port) not in (0, port)


def test_an_address_needs_no_mlflow() -> None:
    program = "import sys, hadnas.track.server; print('mlflow' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


def answer(host: str, port: int, named: str, *, method: str = "GET", origin: str = "") -> int:
    """The status of an answer to a browser that names the server so, from a page of `origin`."""
    connection = http.client.HTTPConnection(host, port, timeout=60)
    query = "max_results=1" if method == "GET" else ""
    body = None if method == "GET" else json.dumps({"max_results": 1})
    headers = {"Host": named, "Content-Type": "application/json", **({"Origin": origin} if origin else {})}
    connection.request(method, f"/api/2.0/mlflow/experiments/search?{query}", body, headers)
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.slow
@pytest.mark.parametrize("host", [server.HOST, server.ANY_ADDRESS])
def test_only_known_names_and_pages_are_answered(host: str, tmp_path: Path) -> None:
    home = new_home(tmp_path / "home")
    with server.server(home.tracking_uri, home.artifacts, server.free_port(0), host) as (_, port):
        for known in (f"127.0.0.1:{port}", *(f"{name}:{port}" for name in server.names(host))):
            assert answer(server.HOST, port, known) == 200
            assert answer(server.HOST, port, known, method="POST", origin=f"http://{known}") == 200
            assert answer(server.HOST, port, known, method="POST", origin="http://evil.example") == 403
        assert answer(server.HOST, port, "evil.example") == 403  # a name that its owner made point here
        if host == server.HOST:
            with pytest.raises(ConnectionRefusedError):
                answer("127.0.0.2", port, "127.0.0.1")
        else:
            assert answer("127.0.0.2", port, f"127.0.0.1:{port}") == 200


def test_other_machines_are_let_in_with_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[object] = []
    monkeypatch.setattr(server, "serve", lambda *arguments: given.append(arguments[-1]))
    for host, warned in ((), False), (("--host", "0.0.0.0"), True), (("--host", "127.0.0.1"), False):
        done = hadnas("ui", "--home", tmp_path, *host)
        assert done.exit_code == 0 and ("MLflow asks for no password" in done.output) == warned
    assert given == ["127.0.0.1", "0.0.0.0", "127.0.0.1"]


@pytest.mark.parametrize("host", ["203.0.113.7", "no such name", "x" * 300])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(StudyError, match=r"no port of .* can be bound; allowed is an address of this machine"):
        server.free_port(0, host)
