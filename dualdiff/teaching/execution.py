"""The process in which a submission runs: ``python -m dualdiff.teaching.execution FD MEMORY``.

It executes the cells of a notebook that comes over the socket, and then hands over what the
notebook has defined: values, and functions to call. It holds no tests. Whatever it says is
believed by nobody: limits are kept from outside.
"""

from __future__ import annotations

import importlib
import os
import resource
import signal
import socket
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from dualdiff.teaching.frontend import without_front_end
from dualdiff.teaching.interpreter import Interpreter
from dualdiff.teaching.protocol import Closed, Line, Message, described

# Our own, because a cell can change those of the module, and builtins.
_handle, _set_timer, _Everything = signal.signal, signal.setitimer, BaseException

_READING = ("cleanup_transforms", "line_transforms", "token_transformers")


class _Late(BaseException):
    """A cell or a function took too long. No ``except Exception`` of a submission catches it."""


class Player:
    """Executes cells and answers questions about the names that they define."""

    def __init__(self, connection: socket.socket) -> None:
        self.line = Line(connection, self.answer, around=self.context)
        self.call_seconds = 1.0
        self.notes: list[str] = []
        self.shell = InteractiveShell.instance()
        without_front_end(self.shell, self.notes.append)
        if self.shell.history_manager is not None:
            self.shell.history_manager.enabled = False
        self.names = self.shell.user_ns
        # What the first cell, error and await load is ours, and not taken from the notebook's
        # folder: that joins the path afterwards, in the place which it has in a kernel.
        for cell in ("pass", "raise ValueError", "import asyncio\nawait asyncio.sleep(0)"):
            self.shell.run_cell(cell, store_history=False)
        del self.names["asyncio"]
        sys.path.insert(_site(), "")
        self.interpreter = Interpreter(self.names)
        reading = self.shell.input_transformer_manager
        self.reading = {name: list(getattr(reading, name)) for name in _READING}

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
    def context(self, message: Message) -> Iterator[None]:
        """The context in which the submission's values are looked at and its functions called."""
        if "play" in message:
            yield
            return
        try:
            with _at_most(self.call_seconds):
                yield
        except _Late as late:
            raise TimeoutError(str(late)) from None
        except SystemExit:
            raise RuntimeError("it asked to exit") from None
        except Closed:
            raise
        except BaseException as error:  # a submission may raise whatever it likes
            raise RuntimeError(described(error)) from None
        finally:
            self.interpreter.put_back(quick=True)

    def play(self, cells: list[str], seconds: float) -> list[tuple[int, str]]:
        """Execute the cells; what is to be said of them: the number of a cell, and words."""
        said = []
        for number, cell in enumerate(cells, 1):
            self.line.ask({"cell": number})
            if words := self.cell(cell, seconds):
                said.append((number, words))
        return said

    def cell(self, cell: str, seconds: float) -> str:
        """Execute a cell, and leave an interpreter in which the next can be executed."""
        self.notes.clear()
        error: BaseException | None = None
        broken = False
        try:
            with _at_most(seconds):
                result = self.shell.run_cell(cell, store_history=False)
            error = result.error_before_exec
            error = result.error_in_exec if error is None else error
        except _Everything as caught:
            # No builtin is asked here: it may be what the cell has spoilt.
            error, broken = caught, caught.__class__ is not _Late
        changed = [*self.interpreter.put_back(streams=broken), *self._read_as_before()]
        words = [] if error is None else [_words(error)]
        if words:
            print(words[0], flush=True)
        if changed:
            more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
            words.append(f"it spoilt {', '.join(changed[:5])}{more}, which was put back")
        _close_figures()
        importlib.invalidate_caches()  # it may have written a module
        return "; ".join([*words, *dict.fromkeys(self.notes)])

    def _read_as_before(self) -> Iterator[str]:
        """Undo what a cell does to how the text of the next is read."""
        for name, before in self.reading.items():
            if getattr(self.shell.input_transformer_manager, name) != before:
                setattr(self.shell.input_transformer_manager, name, list(before))
                yield f"IPython's {name}"


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Interrupt what takes longer, as far as Python can: the rest is left to the outer limit."""
    at_work = True

    def late(*_: object) -> None:
        if at_work:
            raise _Late(f"stopped after {seconds:g} s")

    before = _handle(signal.SIGALRM, late)
    interrupted = _handle(signal.SIGINT, signal.default_int_handler)
    # And again every few seconds, for a loop that goes on whatever happens in it.
    remaining, _ = _set_timer(signal.ITIMER_REAL, seconds, 5)
    try:
        try:
            yield
        finally:
            at_work = False
    finally:
        _set_timer(signal.ITIMER_REAL, remaining, 5)
        _handle(signal.SIGALRM, before)
        _handle(signal.SIGINT, interrupted)


def _words(error: BaseException) -> str:
    if type(error) is _Late:
        return str(error)
    try:
        with _at_most(1):
            return described(error)[:500]
    except BaseException:  # of an exception that takes its time, or raises another kind
        return "an exception that cannot be printed"


def _close_figures() -> None:
    try:
        if "matplotlib.pyplot" in sys.modules:
            sys.modules["matplotlib.pyplot"].close("all")
    except Exception:  # a module of that name may be the submission's
        pass


def _site() -> int:
    """Where the working directory stands in a kernel's path: before the installed packages."""
    kinds = ("site-packages", "dist-packages")
    places = (n for n, path in enumerate(sys.path) if os.path.basename(path) in kinds)
    return next(places, len(sys.path))


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
    _handle(signal.SIGINT, signal.SIG_IGN)  # but where a cell is at work
    Player(socket.socket(fileno=descriptor)).line.serve()
    os._exit(0)  # threads and exit handlers of the submission do not matter any more


if __name__ == "__main__":
    main()
