"""A box for a process that nobody trusts: what it sees of this machine, and how much it may take.

Bubblewrap (``bwrap``, Linux) gives the process its own view of the files, without network and
without other processes: Python, its packages and this package can be read, a small folder in memory
can be written, and nothing else is there. What it takes is watched from outside.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import psutil

import dualdiff

DISK = 256 * 2**20  # bytes of the folder in memory
PROCESSES = 32
_SYSTEM = ("/bin", "/lib", "/lib32", "/lib64", "/sbin", "/usr", "/etc/fonts", "/etc/ld.so.cache")
_HELP = (
    "Submissions run in a box that only Linux has: install bubblewrap (`apt install bubblewrap`, "
    "and allow user namespaces where the system forbids them), on other systems use a virtual "
    "machine or JupyterHub. With --unconfined they run without a box: then they can read and "
    "change whatever you can, the hidden tests included"
)


@dataclass(frozen=True)
class Limits:
    """What one submission may take.

    Attributes
    ----------
    seconds : float
        Wall-clock time for the notebook and its tests.
    memory : int
        Bytes of resident memory, over all of its processes.
    output : int
        Bytes that it prints.
    """

    seconds: float = 600.0
    memory: int = 2 * 2**30
    output: int = 10 * 2**20

    def __post_init__(self) -> None:
        for name, least in (("seconds", 1), ("memory", 256 * 2**20), ("output", 1000)):
            value = getattr(self, name)
            if not value >= least:
                raise ValueError(f"{name} must be at least {least}, not {value}")


def check() -> None:
    """Try the box.

    Raises
    ------
    RuntimeError
        If there is none on this machine: how to get one.
    """
    if shutil.which("bwrap") is None:
        raise RuntimeError(f"bwrap is not installed. {_HELP}.")
    command = [*_box(), sys.executable, "-c", "import dualdiff"]
    result = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if result.returncode:
        raise RuntimeError(f"bwrap does not work here: {result.stderr.strip()}. {_HELP}.")


def command(arguments: list[str], *, confined: bool) -> list[str]:
    """The command line that runs Python in the box, or without one."""
    python = [sys.executable, "-P", *arguments]
    return [*_box(), *python] if confined else python


def environment(home: str, **more: str) -> dict[str, str]:
    """The environment variables of the process: none of those that we have, but for PATH."""
    return {
        # Arrow's own allocator reserves a gigabyte, which would count as taken.
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        "HOME": home,
        "IPYTHONDIR": f"{home}/.ipython",
        "LANG": "C.UTF-8",
        "MPLBACKEND": "agg",
        "MKL_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PATH": os.defpath,
        # Where this package is found: the folder around it stays out of sight.
        "PYTHONPATH": str(_package().parent),
        "TMPDIR": home,
        "USER": "student",
    } | more


def _package() -> Path:
    return Path(dualdiff.__file__).resolve().parent


def _box() -> list[str]:
    box = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    # First, because what follows may lie in it.
    box += ["--proc", "/proc", "--dev", "/dev", "--size", str(DISK), "--tmpfs", "/tmp"]
    for name in _SYSTEM:
        path = Path(name)
        if path.is_symlink():
            box += ["--symlink", os.readlink(path), name]
        elif path.exists():
            box += ["--ro-bind", name, name]
    seen = {sys.prefix, sys.base_prefix, str(_package())}
    seen |= {str(Path(folder).resolve()) for folder in seen}
    for folder in sorted(seen):  # an outer folder before what lies in it
        box += ["--ro-bind", folder, folder]
    # Looking for all fonts of a machine takes a while: the list that we have will do.
    for path in Path(matplotlib.get_cachedir()).glob("fontlist-*.json"):
        box += ["--ro-bind", str(path), f"/tmp/.cache/matplotlib/{path.name}"]
    return [*box, "--chdir", "/tmp"]


def kill(processes: list[psutil.Process]) -> None:
    """End processes. Bubblewrap's own end takes all that are in the box with it."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


class Watch:
    """Ends a process with all that it has started, as soon as it exceeds a limit.

    Parameters
    ----------
    process : subprocess.Popen
        In a session of its own, with its output in a pipe.
    limits : Limits
    """

    def __init__(self, process: subprocess.Popen[bytes], limits: Limits) -> None:
        self.process, self.limits = process, limits
        self.exceeded = ""  # which limit, in words
        self.peak = 0  # bytes of memory
        self.printed = b""  # what came last
        self._started = time.monotonic()
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._look, self._read)
        ]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """End it, if it has not ended, and wait for what it printed."""
        self._ended.set()
        self._kill()
        for thread in self._threads:
            thread.join(2)  # without a box a lost process may hold the pipe

    def _look(self) -> None:
        while not self._ended.wait(0.1):
            memory, processes = self._taken()
            self.peak = max(self.peak, memory)
            if time.monotonic() - self._started > self.limits.seconds:
                self._stop(f"it took longer than {self.limits.seconds:g} s")
            elif memory > self.limits.memory:
                self._stop(f"it took more than {self.limits.memory / 2**30:.3g} GiB of memory")
            elif processes > PROCESSES:
                self._stop(f"it started more than {PROCESSES} processes")

    def _read(self) -> None:
        assert self.process.stdout is not None
        size = 0
        while part := os.read(self.process.stdout.fileno(), 2**16):
            size += len(part)
            self.printed = (self.printed + part)[-2000:]
            if size > self.limits.output and not self.exceeded:
                self._stop(f"it printed more than {self.limits.output / 2**20:.3g} MiB")

    def _stop(self, reason: str) -> None:
        self.exceeded = self.exceeded or reason
        self._kill()

    def _tree(self) -> list[psutil.Process]:
        try:
            process = psutil.Process(self.process.pid)
            return [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _taken(self) -> tuple[int, int]:
        tree = self._tree()
        memory = 0
        for process in tree:
            with suppress(psutil.NoSuchProcess):
                memory += process.memory_info().rss
        return memory, len(tree)

    def _kill(self) -> None:
        kill(self._tree())
        self.process.wait()
