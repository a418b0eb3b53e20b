"""IPython's shell without a terminal, a window or a browser: what asks for one does no harm.

A student's notebook is full of what only its front end needs: interactive figures, extensions,
questions, packages to install. It worked for the student, and nothing of it matters to marking: it
does nothing here, and the rest of its cell runs.
"""

from __future__ import annotations

import builtins
import getpass
import importlib
import pdb
from collections.abc import Callable
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from matplotlib.backends.registry import BackendRegistry

PASSED_OVER = {"autosave", "conda", "debug", "gui", "mamba", "pdb", "pip", "uv"}
"""Magics that are not tried: they ask a person or a network, and define no names."""
CLEARING = {"reset", "reset_selective"}
"""Magics that forget names, as one does to tidy up: the names are what is marked."""
RUNNING = {"prun", "run", "time", "timeit"}
"""Magics that execute what a student wrote: an error is the student's."""
PLAIN = {"debug", "time"}
"""Cell magics whose body is executed as if they were not there."""


def without_front_end(shell: InteractiveShell, note: Callable[[str], None]) -> None:
    """Make a shell (and pyplot) forgiving.

    Parameters
    ----------
    shell : InteractiveShell
    note : callable
        Gets in words what was left out, where that may matter to a reader.
    """
    line_magic: Callable[..., Any] = shell.run_line_magic
    cell_magic: Callable[..., Any] = shell.run_cell_magic

    # The parameters are IPython's: notebooks call these by their names too.
    def run_line(magic_name: str, line: str, _stack_depth: int = 1) -> Any:
        name = magic_name
        if name in CLEARING:
            return note(f"%{name} was left out")
        if name in PASSED_OVER:
            return None
        try:
            return line_magic(name, line, _stack_depth=_stack_depth + 1)
        except Exception as error:
            if name in RUNNING:
                raise
            return note(f"%{name} did nothing here ({type(error).__name__})")

    def run_cell(magic_name: str, line: str, cell: str) -> Any:
        name = magic_name
        known = shell.magics_manager.magics["cell"]
        if name in PLAIN or name not in known:
            try:
                code = compile(shell.transform_cell(cell), f"<%%{name}>", "exec")
            except SyntaxError:
                if name in PLAIN:
                    raise
                return note(f"%%{name} did nothing here")
            exec(code, shell.user_ns)
            return None
        try:
            result = cell_magic(name, line, cell)
        except Exception as error:
            if name in RUNNING:
                raise
            return note(f"%%{name} did nothing here ({type(error).__name__})")
        inside = shell.last_execution_result
        if name == "capture" and inside is not None:
            inside.raise_error()
        return result

    def asked(prompt: object = "", *_: object) -> str:
        note("it asked for input and got an empty line")
        return ""

    own: dict[str, Any] = {
        "run_line_magic": run_line,
        "run_cell_magic": run_cell,
        "ask_exit": lambda: None,
        "enable_gui": lambda *_: None,
        "enable_matplotlib": lambda gui=None: (gui or "inline", "agg"),
        "colors": "nocolor",
    }
    # What went wrong is said by the process, in words that no exception can spoil.
    shows = ("showtraceback", "showsyntaxerror", "showindentationerror", "show_usage_error")
    own |= dict.fromkeys(shows, lambda *_, **__: None)
    for name, value in own.items():
        setattr(shell, name, value)
    for module, name, function in (
        (builtins, "input", asked),
        (getpass, "getpass", asked),
        (pdb, "set_trace", lambda **_: None),
    ):
        setattr(module, name, function)
    _figures_without_a_window()


def _figures_without_a_window() -> None:
    """Every backend of matplotlib is the one that draws into memory."""
    agg = "matplotlib.backends.backend_agg"
    own: dict[str, Any] = {
        "is_valid_backend": lambda _, backend: True,
        "load_backend_module": lambda _, backend: importlib.import_module(agg),
        "resolve_backend": lambda _, backend: ("agg", None),
    }
    for name, value in own.items():
        setattr(BackendRegistry, name, value)
