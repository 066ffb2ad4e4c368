"""Makes the home of a version that every later one opens: `python -m tests.kept.make` writes home-VERSION.tar.xz.

A study of three trials and a baseline, with its runs in MLflow; names of the machine and the user are replaced.
"""

import os
import platform
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

import hadnas.store.ledger
import hadnas.store.worker
from hadnas.search.run import run_study
from hadnas.space import op
from hadnas.store.database import close_engines
from hadnas.store.home import Home
from hadnas.store.study import Study
from tests.homes import study
from tests.networks import pyramid, residual

KEPT = Path(__file__).parent
HOST = "machine 0 pid:[0]"


def kept_study(trials: int) -> Study:
    return study(trials=trials, baselines={"net": pyramid((8, [residual(op("basic"))]))})


def main() -> None:
    os.environ["LOGNAME"] = "someone"
    platform.node = lambda: "machine"
    hadnas.store.worker.this_host = hadnas.store.ledger.this_host = lambda: HOST
    with tempfile.TemporaryDirectory(prefix="hadnas-home-") as folder:
        run_study(kept_study(3), Home(folder), device="cpu")
        close_engines()
        with tarfile.open(KEPT / f"home-{version('hadnas')}.tar.xz", "w:xz", preset=9) as archive:
            for path in sorted(Path(folder).iterdir()):
                if not path.name.startswith("."):
                    archive.add(path, path.name, filter=_nobody)


def _nobody(file: tarfile.TarInfo) -> tarfile.TarInfo | None:
    file.uname = file.gname = ""
    file.uid = file.gid = 0
    return None if file.name.rpartition("/")[2].startswith(".") else file


if __name__ == "__main__":
    main()
