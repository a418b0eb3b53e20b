"""What all code of an interpreter shares, put back after a cell has spoilt it.

The process that plays a notebook is the notebook's own: a careless cell can close the output,
change a builtin or empty the path of imports, and what breaks is the code that plays the cells
after it. Put back is what that code needs, no more. What a later cell may rely on as in a notebook
stays as it was set: the working directory, variables of the environment, default types, warnings,
rules for rounding and errors, redirected output that works, and whatever is added.
"""

from __future__ import annotations

import builtins
import fcntl
import os
import signal
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

_getpid, _exit = os.getpid, os._exit
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, type)
_OTHER = frozenset({"asyncio", "multiprocessing", "warnings"})  # their users do change them
_OURS = frozenset(sys.stdlib_module_names) | {"IPython", "safetensors", "traitlets"}
_STREAMS = {"stdout": 1, "stderr": 2}
_ABOVE = 200  # the lowest number of our own descriptors


class Interpreter:
    """A picture of the interpreter as it is now, to return to.

    Parameters
    ----------
    names : dict
        The variables of the notebook, before its first cell.
    """

    def __init__(self, names: dict[str, Any]) -> None:
        self._pid = os.getpid()
        self._home = os.getcwd()
        self._names = names, {k: v for k, v in names.items() if k not in ("__builtins__", "_")}
        self._here = vars(builtins)
        self._builtins = {k: v for k, v in vars(builtins).items() if k != "_"}
        self._modules = {k: v for k, v in sys.modules.items() if k != "__main__"}
        self._functions = [
            (name, vars(module), _functions(module))
            for name, module in self._modules.items()
            if name.partition(".")[0] in _OURS - _OTHER and isinstance(module, types.ModuleType)
        ]
        self._lists = {name: (v := getattr(sys, name), list(v)) for name in _LISTS}
        self._all = sys.modules
        self._environment = os.environ, dict(os.environ)
        self._recursion = sys.getrecursionlimit()
        self._traces = sys.gettrace(), sys.getprofile()
        self._blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._descriptors = {
            number: (fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _ABOVE), _same(number))
            for number in (0, 1, 2)
        }
        self._spoilt_streams = False

    def put_back(self, *, quick: bool = False, streams: bool = False) -> list[str]:
        """Put back what has been spoilt.

        Parameters
        ----------
        quick : bool
            Leave out what takes milliseconds: the functions of modules.
        streams : bool
            New streams for output, even if those that are there seem to work.

        Returns
        -------
        list of str
            The names of what it was.
        """
        # First of all, and with nothing that could be spoilt.
        found = _update("", self._here, self._builtins)
        if _getpid() != self._pid:
            _exit(0)  # a copy that a cell made of this process: only one goes on
        self._spoilt_streams = streams
        steps: list[Callable[[], Iterator[str]]] = [
            self._imports,
            self._plumbing,
            self._output,
            self._place,
            self._variables,
        ]
        if not quick:
            for name, now, functions in self._functions:
                found += _update(f"{name}.", now, functions)
        for step in steps:
            try:
                for name in step():
                    found.append(name)
            except BaseException:  # of an object that a cell has left there: the others go on
                found.append(step.__name__[1:])
        return found

    def _imports(self) -> Iterator[str]:
        if sys.modules is not self._all:
            sys.modules = self._all
            yield "sys.modules"
        for name in _update("", sys.modules, self._modules)[:3]:
            yield f"sys.modules[{name!r}]"
        for name, (own, before) in self._lists.items():
            missing = [item for item in before if item not in own]
            if getattr(sys, name, None) is not own or missing:
                own.extend(missing)
                added = getattr(sys, name, None)
                if isinstance(added, list) and added is not own:
                    own[:] = [*(item for item in added if item not in own), *own]
                setattr(sys, name, own)
                if missing or not isinstance(added, list):
                    yield f"sys.{name}"

    def _plumbing(self) -> Iterator[str]:
        if sys.getrecursionlimit() < self._recursion:
            sys.setrecursionlimit(self._recursion)
            yield "sys.setrecursionlimit"
        if (sys.gettrace(), sys.getprofile()) != self._traces:
            sys.settrace(self._traces[0])
            sys.setprofile(self._traces[1])
            yield "sys.settrace"
        if signal.pthread_sigmask(signal.SIG_BLOCK, ()) != self._blocked:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._blocked)
            yield "signal.pthread_sigmask"

    def _output(self) -> Iterator[str]:
        for number, (kept, same) in self._descriptors.items():
            if _same(number) != same:
                os.dup2(kept, number)
                yield f"the file descriptor {number}"
        for name, number in _STREAMS.items():
            for attribute in (name, f"__{name}__"):
                if self._spoilt_streams or not _works(getattr(sys, attribute, None)):
                    setattr(sys, attribute, _stream(number))
                    yield f"sys.{attribute}"

    def _place(self) -> Iterator[str]:
        try:
            os.getcwd()
        except OSError:
            os.makedirs(self._home, exist_ok=True)
            os.chdir(self._home)
            yield "the working directory"

    def _variables(self) -> Iterator[str]:
        environment, before = self._environment
        if os.environ is not environment:
            os.environ = environment  # noqa: B003
            yield "os.environ"
        for name in before.keys() - environment.keys():
            environment[name] = before[name]
            yield f"os.environ[{name!r}]"
        names, first = self._names
        for name in first.keys() - names.keys():
            names[name] = first[name]
            yield name
        found = names.get("__builtins__")
        if found is not builtins and found is not vars(builtins):
            names["__builtins__"] = builtins
            yield "__builtins__"


_LISTS = ("path", "meta_path", "path_hooks")


def _functions(module: types.ModuleType) -> dict[str, Any]:
    return {k: v for k, v in vars(module).items() if isinstance(v, _FUNCTIONS)}


def _update(prefix: str, now: dict[str, Any], before: dict[str, Any]) -> list[str]:
    """Put back what has changed; its names. It uses no builtin, which may be what has changed."""
    changed = [name for name, value in before.items() if now.get(name, before) is not value]
    for name in changed:
        now[name] = before[name]
    return [prefix + name for name in changed]


def _same(descriptor: int) -> tuple[int, int] | None:
    """What a descriptor leads to; None if it is closed."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _works(stream: Any) -> bool:
    try:
        stream.write("")
        stream.flush()
        return True
    except BaseException:  # whatever a cell has put there
        return False


def _stream(descriptor: int) -> Any:
    return open(descriptor, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
