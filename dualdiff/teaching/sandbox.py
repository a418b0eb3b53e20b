"""A box for a process that nobody trusts: what it sees of this machine, and how much it may take.

Bubblewrap (``bwrap``, Linux) gives the process its own view of the files, without network and
without other processes: Python, its packages and this package can be read, a small folder in memory
can be written, and nothing else is there. What it takes is watched from outside.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import psutil

import dualdiff

DISK = 256 * 2**20  # bytes of the folder in memory
PROCESSES = 32
INTERRUPTED = "it was interrupted"
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
    memory : float
        Bytes of resident memory, over all of its processes.
    output : int
        Bytes that it prints.
    """

    seconds: float = 600.0
    memory: float = 2 * 2**30
    output: int = 10 * 2**20

    def __post_init__(self) -> None:
        for name, least, most in (
            ("seconds", 1, 10**6),
            ("memory", 256 * 2**20, 2**50),
            ("output", 1000, 2**50),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name} must be at least {least} and at most {most}, not {value}")


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
        "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.defpath]),
        # Without a network pip would try again and again.
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INDEX": "1",
        "PYTHONBREAKPOINT": "0",
        # Where this package is found: the folder around it stays out of sight.
        "PYTHONPATH": str(_package().parent),
        "TMPDIR": home,
        "USER": "student",
    } | more


def _package() -> Path:
    return Path(dualdiff.__file__).resolve().parent


def _box() -> list[str]:
    # By its path: what was tried is what runs, whatever the box's own PATH is.
    box = [
        shutil.which("bwrap") or "bwrap",
        "--unshare-all",
        "--die-with-parent",
        "--new-session",
        "--cap-drop",
        "ALL",
    ]
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
        self.late = False  # whether it is that of time
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

    def stop(self, reason: str) -> None:
        """End it for a reason: the first counts."""
        self.exceeded = self.exceeded or reason
        self._kill()

    def _look(self) -> None:
        while not self._ended.wait(0.1):
            memory, processes = self._taken()
            self.peak = max(self.peak, memory)
            if time.monotonic() - self._started > self.limits.seconds:
                self.late = True
                self.stop(f"it took longer than {self.limits.seconds:g} s")
            elif memory > self.limits.memory:
                self.stop(f"it took more than {self.limits.memory / 2**30:.3g} GiB of memory")
            elif processes > PROCESSES:
                self.stop(f"it started more than {PROCESSES} processes")

    def _read(self) -> None:
        assert self.process.stdout is not None
        size = 0
        while part := os.read(self.process.stdout.fileno(), 2**16):
            size += len(part)
            self.printed = (self.printed + part)[-2000:]
            if size > self.limits.output and not self.exceeded:
                self.stop(f"it printed more than {self.limits.output / 2**20:.3g} MiB")

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
        """End it and all that it has started.

        Bubblewrap's first process may have made the second, and not yet the link by which that
        dies with it: but both are in one group until a submission begins, and the end of the
        second takes all that are in the box with it.
        """
        tree = self._tree()
        if self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        for process in tree:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()


class Boxes:
    """All that are at work, so that they end together: closed, none starts any more."""

    def __init__(self) -> None:
        self.closed = False
        self._watches: set[Watch] = set()

    @contextmanager
    def hold(self, watch: Watch) -> Iterator[None]:
        """Keep one among them for a while."""
        self._watches.add(watch)
        try:
            if self.closed:  # it has started just then
                watch.stop(INTERRUPTED)
            yield
        finally:
            self._watches.discard(watch)

    def close(self) -> None:
        """End all."""
        self.closed = True
        for watch in list(self._watches):
            watch.stop(INTERRUPTED)
