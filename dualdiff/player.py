"""The process in which a submission runs: ``python -m dualdiff.player FD``.

It executes the cells of a notebook that comes over the socket, and then hands over what the
notebook has defined: values, and functions to call. It holds no tests. Whatever it says is
believed by nobody: limits are kept from outside.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dualdiff.handover import Line, Message


class _Late(BaseException):
    """A cell or a function took too long. No ``except Exception`` of a submission catches it."""


class Player:
    """Executes cells and answers questions about the names that they define."""

    def __init__(self, connection: socket.socket) -> None:
        from IPython.core.interactiveshell import InteractiveShell

        self.line = Line(connection, self.answer, around=self.call)
        self.call_seconds = 1.0
        self.shell = InteractiveShell.instance()
        # What a shell without a terminal and without a window lacks.
        self.shell.ask_exit = lambda: None  # type: ignore[attr-defined]
        self.shell.enable_gui = lambda *_: None  # type: ignore[method-assign]
        self.shell.colors = "nocolor"
        self.names = self.shell.user_ns

    def answer(self, message: Message) -> Any:
        """Play a notebook, or give the value of a name."""
        if "play" in message:
            self.call_seconds = message["call_seconds"]
            return self.play(message["play"], message["cell_seconds"])
        name = message["get"]
        if name not in self.names:
            raise NameError(name)
        return self.names[name]

    @contextmanager
    def call(self) -> Iterator[None]:
        """The context of a function of the submission that is called from outside."""
        try:
            with _at_most(self.call_seconds):
                yield
        except _Late as late:
            raise TimeoutError(str(late)) from None
        except SystemExit:
            raise RuntimeError("it asked to exit") from None

    def play(self, cells: list[str], seconds: float) -> list[tuple[int, str]]:
        """Execute the cells; the numbers of those that failed, with the reason of each."""
        failed = []
        for number, cell in enumerate(cells, 1):
            self.line.ask({"cell": number})
            error: BaseException | None
            try:
                with _at_most(seconds):
                    result = self.shell.run_cell(cell, store_history=False)
                error = result.error_before_exec or result.error_in_exec
            except _Late as late:
                error = late
            if error is not None:
                failed.append((number, _words(error)))
            _close_figures()
            sys.stdout.flush()
        return failed


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Interrupt what takes longer, as far as Python can: the rest is left to the outer limit."""

    def late(*_: object) -> None:
        raise _Late(f"stopped after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, late)
    # And again every few seconds, for a loop that goes on whatever happens in it.
    remaining, _ = signal.setitimer(signal.ITIMER_REAL, seconds, 5)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, remaining, 5)
        signal.signal(signal.SIGALRM, before)


def _words(error: BaseException) -> str:
    kind = type(error).__name__
    return str(error) if isinstance(error, _Late) else f"{kind}: {error}"[:500]


def _close_figures() -> None:
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


def _without_otter() -> None:
    """Otter's cells do nothing: its visible tests are run from outside, with all others."""

    class Notebook:
        def __init__(self, *_: object, **__: object) -> None: ...

        def __getattr__(self, _: str) -> Any:
            return lambda *_, **__: None

    otter = types.ModuleType("otter")
    otter.Notebook = Notebook  # type: ignore[attr-defined]
    sys.modules["otter"] = otter


def main() -> None:
    """Serve the socket whose number is the first argument, within the bytes of the second."""
    descriptor, memory = int(sys.argv[1]), int(sys.argv[2])
    # So that a tensor too large is an error in its cell. What all takes is watched from outside.
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _without_otter()
    Player(socket.socket(fileno=descriptor)).line.serve()
    os._exit(0)  # threads and exit handlers of the submission do not matter any more


if __name__ == "__main__":
    main()
