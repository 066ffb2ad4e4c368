"""Which process did it, and whether it still lives."""

import os
import platform
from contextlib import suppress
from pathlib import Path


def this_host() -> str:
    """This machine, on Linux since it was started, and the process namespace: a process id means something only there.

    The name alone would not do: cloned machines share it.
    """
    with suppress(OSError):
        started = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{platform.node()} {started} {os.readlink('/proc/self/ns/pid')}"
    return platform.node()


def is_dead(host: str, pid: int) -> bool:
    """Whether process `pid` of `host` is known to be gone; False for another host, where nothing is known."""
    if host != this_host() or os.name != "posix":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    with suppress(OSError):  # killed, and not yet waited for by who started it: `pid (command) state ...`
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")
    return False
