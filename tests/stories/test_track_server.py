"""The MLflow server as `hadnas ui` runs it: its address, a taken port, a study it does not hold, and a clean end."""

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
