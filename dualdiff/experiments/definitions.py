"""Code as a part of a key: a digest of a value that changes with every definition it reaches."""

from __future__ import annotations

import builtins
import copyreg
import dis
import functools
import hashlib
import importlib
import importlib.util
import sys
import sysconfig
import types
from collections.abc import Iterator
from dataclasses import fields
from importlib import metadata
from pathlib import Path
from typing import Any

from torch import Tensor, uint8

from dualdiff.experiments.provenance import PACKAGE, version_of

PLAIN = (type(None), bool, int, float, complex, str, bytes, range, type(...), type(NotImplemented))
UNTOLD = {"eval", "exec", "compile", "globals", "open", "__import__", "import_module"}
"""Names whose use can bring in what no definition shows."""
BY_NAME = {"getattr", "vars", "attrgetter", "__dict__"}
UNSAID = set(
    "__dict__ __weakref__ __module__ __doc__ __qualname__ __firstlineno__ __static_attributes__ "
    "__annotations__ __annotate__ __annotate_func__ __annotations_cache__ __abstractmethods__ "
    "_abc_impl".split()
)
"""Attributes of a class that say where it stands or how it reads, not what it does."""


def digest(value: object) -> str:
    """SHA-256 of what a value is and does, the same in every process, 64 hexadecimal digits.

    Data count by value. Functions and classes of the user's own count by their compiled code (not
    by comments or their place), with all that it reaches: bases, defaults, closures, globals,
    helpers in other modules. Definitions of libraries count by name and installed version, those of
    this package by the definitions that they reach (:mod:`dualdiff.experiments.provenance`).

    An object with a method ``store_key()`` counts by the class's name and what that returns. What
    code reads while it runs (files, the clock) is not seen: let ``store_key`` tell of it.

    Raises
    ------
    ValueError
        If something reached cannot be told apart from another of its kind, such as an open file.
    """
    walk = _Walk()
    try:
        return walk(value)
    except Exception as error:  # objects of others raise what they like when they are taken apart
        where = " -> ".join([type(value).__name__, *walk.where])
        raise ValueError(
            f"what {where} stands for cannot be told ({type(error).__name__}: {error}), so a "
            "stored result could be another's; do without it, or give its class a method "
            "store_key() that returns all that decides a result as plain data, such as a version"
        ) from error


def ours(*values: object) -> bool:
    """Whether no class among values, or of one of them, is the user's own."""
    classes = [value if isinstance(value, type) else type(value) for value in values]
    return None not in map(_library, classes)


def own(*values: object) -> dict[str, str]:
    """An entry for a key: the digest of values unless they are :func:`ours`."""
    return {} if ours(*values) else {"definition": digest(values)}


def added(value: object, base: type) -> dict[str, str]:
    """An entry for a key if the class of a value is the user's own: it, and what it adds to a base.

    ``base`` is the dataclass of ours whose fields the key already has.
    """
    known = {named.name for named in fields(base)} | _remembered(type(value))
    return own(type(value), {k: v for k, v in vars(value).items() if k not in known})


class _Walk:
    """Digests of values, those inside them included; ``where`` is the way to the current one."""

    def __init__(self) -> None:
        self.where: list[str] = []
        self.begun: list[int] = []
        self.done: dict[tuple[int, frozenset[str]], tuple[str, object]] = {}

    def __call__(self, x: Any, names: frozenset[str] = frozenset()) -> str:
        """``names``: what the code that reached x may ask of it, if it is a module."""
        if type(x) in PLAIN:
            return _hash([type(x).__name__, repr(x)])
        if id(x) in self.begun:
            return _hash(["outer", str(len(self.begun) - self.begun.index(id(x)))])
        key = (id(x), names if isinstance(x, types.ModuleType) else frozenset())
        if key not in self.done:
            self.begun.append(id(x))
            found = _hash([type(x).__name__, *self._parts(x, names)])
            self.begun.pop()
            self.done[key] = found, x  # x is kept: ids of what is gone are used again
        return self.done[key][0]

    def _named(self, items: dict[str, Any], names: frozenset[str] = frozenset()) -> Iterator[str]:
        for name, item in items.items():
            self.where.append(name)
            yield from (name, self(item, names))
            self.where.pop()

    def _parts(self, x: Any, names: frozenset[str]) -> Iterator[str]:
        if (place := _place(x)) is not None:
            yield place
        elif isinstance(x, types.ModuleType):
            yield from self._module(x, names)
        elif isinstance(x, type):
            yield from (x.__name__, self(x.__bases__), self(type(x)))
            yield from self._named({k: v for k, v in sorted(vars(x).items()) if k not in UNSAID})
        elif isinstance(x, types.FunctionType):
            yield from self._function(x)
        elif isinstance(x, types.CodeType):
            counts = (x.co_argcount, x.co_posonlyargcount, x.co_kwonlyargcount, x.co_flags)
            told = (x.co_code, x.co_names, x.co_varnames, x.co_freevars, x.co_cellvars)
            yield repr((counts, told, getattr(x, "co_exceptiontable", b"")))
            yield from map(self, x.co_consts)
        elif isinstance(x, types.MethodType):
            yield from (self(x.__func__), self(x.__self__))
        elif isinstance(x, types.BuiltinFunctionType):
            of = x.__self__
            static = of is None or isinstance(of, type | types.ModuleType)
            yield from (f"{x.__module__} {x.__qualname__}", "" if static else self(of))
        elif isinstance(x, types.MemberDescriptorType | types.GetSetDescriptorType):
            yield x.__qualname__
        elif isinstance(x, property):
            yield from map(self, (x.fget, x.fset, x.fdel))
        elif isinstance(x, staticmethod | classmethod | functools._lru_cache_wrapper):
            yield self(x.__wrapped__)
        elif isinstance(x, functools.cached_property):
            yield self(x.func)
        elif hasattr(type(x), "store_key"):
            yield from (type(x).__name__, self(x.store_key()))
        elif isinstance(x, Tensor):
            flat = x.detach().cpu().resolve_conj().resolve_neg().reshape(-1).view(uint8)
            yield from (self(type(x)), str(x.dtype), str([*x.shape]), flat.numpy().tobytes().hex())
        elif isinstance(x, set | frozenset):
            yield from (self(type(x)), *sorted(map(self, x)))
        elif type(x) in (tuple, list):
            yield from map(self, x)
        elif type(x) in (dict, types.MappingProxyType):
            for k, v in x.items():
                yield from (self(k), *self._named({str(k): v}))
        else:
            yield from self._object(x)

    def _object(self, x: Any) -> Iterator[str]:
        """Taken apart as for copying, without what it only remembers."""
        reduce: Any = copyreg.dispatch_table.get(type(x))
        whole = reduce(x) if reduce else x.__reduce_ex__(2)
        if isinstance(whole, str):  # the name of the only one of its kind
            modules = [m for m in [*sys.modules.values()] if isinstance(m, types.ModuleType)]
            if not any(vars(m).get(whole) is x for m in modules):
                raise ValueError(f"{whole} is in no module")
            yield whole
            return
        make, given, state, items, pairs = (*whole, None, None, None)[:5]
        if isinstance(state, dict):
            state = {k: v for k, v in sorted(state.items()) if k not in _remembered(type(x))}
        yield from (self(make), self(given), self(state))
        yield from (self([*(items or ())]), self([*(pairs or ())]))

    def _function(self, f: types.FunctionType) -> Iterator[str]:
        yield from map(self, (f.__code__, f.__defaults__, f.__kwdefaults__, vars(f)))
        loaded, names, imported = _mentioned(f.__code__)
        cells = dict(zip(f.__code__.co_freevars, map(_content, f.__closure__ or ()), strict=True))
        yield from self._named(cells, names)
        module = sys.modules.get(f.__module__ or "")
        if module and vars(module) is f.__globals__ and _version(module.__name__):
            return  # the library's own names are told by its version
        package = f.__globals__.get("__package__") or f.__globals__.get("__name__") or ""
        for name in sorted(imported):
            target = importlib.util.resolve_name(name, package)
            yield from self._named({name: importlib.import_module(target)}, names)
        for name in sorted(loaded):
            if name in f.__globals__:
                yield from self._named({name: f.__globals__[name]}, names)
            elif name in UNTOLD and hasattr(builtins, name):
                raise ValueError(f"{f.__qualname__} uses {name}")
        if unseen := names & {"__import__", "import_module"}:
            raise ValueError(f"{f.__qualname__} uses {', '.join(unseen)}")

    def _module(self, module: types.ModuleType, names: frozenset[str]) -> Iterator[str]:
        """A module of the user's: what may be asked of it, or all if that cannot be told."""
        inside = {k: v for k, v in sorted(vars(module).items()) if not k.startswith("__")}
        if names and not names & BY_NAME:
            inside = {k: v for k, v in inside.items() if k in names}
        yield from self._named(inside, names)


def _hash(words: list[str]) -> str:
    return hashlib.sha256(repr(words).encode()).hexdigest()


def _remembered(cls: type) -> set[str]:
    """Attributes that an object of the class makes of the others when they are first asked for."""
    cached = functools.cached_property
    return {k for base in cls.__mro__ for k, v in vars(base).items() if isinstance(v, cached)}


def _content(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return ("an empty cell",)


def _mentioned(code: types.CodeType) -> tuple[set[str], frozenset[str], set[str]]:
    """Names that code loads from outside, all it mentions as names or texts, and its imports."""
    loaded, names, imported = set(), set(code.co_names), set()
    before: list[Any] = [0, 0]
    for step in dis.get_instructions(code):
        if step.opname == "LOAD_NAME" or "GLOBAL" in step.opname:
            loaded.add(step.argval)
        elif step.opname == "IMPORT_NAME":  # after its level and its list of names
            imported.add("." * before[-2] + step.argval)
        before = [before[-1], step.argval]
    for constant in code.co_consts:
        if isinstance(constant, str):
            names.add(constant)
        elif isinstance(constant, types.CodeType):
            for mine, theirs in zip((loaded, names, imported), _mentioned(constant), strict=True):
                mine |= theirs
    return loaded, frozenset(names), imported


def _place(x: Any) -> str | None:
    """Module, name and version of a definition or module of a library; None for all else."""
    version = _library(x)
    if version == PACKAGE:
        named = x.__name__ if isinstance(x, types.ModuleType) else x.__qualname__
        return f"{named} {version_of(named if isinstance(x, types.ModuleType) else x)}"
    if isinstance(x, types.ModuleType):
        return version and f"{x.__name__} {version}"
    return version and f"{x.__module__} {x.__qualname__} {version}"


def _library(x: Any) -> str | None:
    """The version of the library in which a definition or module stands by its name."""
    if isinstance(x, types.ModuleType):
        return _version(x.__name__)
    if not isinstance(x, type | types.FunctionType):
        return None
    found: Any = sys.modules.get(x.__module__ or "")
    version = found and _version(x.__module__)
    for part in x.__qualname__.split("."):
        found = getattr(found, part, None)
    return version if found is x else None


@functools.cache
def _version(name: str) -> str | None:
    """The version of the library to which a module belongs; None if it is the user's own."""
    root = name.partition(".")[0]
    if root == PACKAGE:
        return PACKAGE
    top = sys.modules.get(root)
    file = getattr(sys.modules.get(name), "__file__", None) or getattr(top, "__file__", None)
    if name == "__main__" or top is None:
        return None
    if file is None:
        return "python" if root in sys.stdlib_module_names else None
    path = Path(file).resolve()
    if {"site-packages", "dist-packages"} & set(path.parts):
        # The list of installed files tells of a package that was edited and installed again.
        found = map(metadata.distribution, _distributions().get(root, ()))
        return _hash([x for d in found for x in (d.version, d.read_text("RECORD") or "")])
    standard = {sysconfig.get_path(place) for place in ("stdlib", "platstdlib")}
    return "python" if any(path.is_relative_to(Path(p).resolve()) for p in standard) else None


_distributions = functools.cache(metadata.packages_distributions)
