"""Which code made a result: hashes of the definitions that it reaches, wherever they stand.

A definition counts by its syntax, without docstrings, annotations of place and formatting. From the
definitions that a result starts with the names are followed through the imports of this package;
what a file is called, what else it holds and in which order plays no part.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import re
import subprocess
import symtable
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).resolve().parents[1]
"""Of the package."""
COPY = FOLDER / "project"
"""Notebooks, pages and committed tables in a wheel: what ``dualdiff init`` copies."""
STAMP = "dualdiff.json"
"""In a folder that ``dualdiff init`` has written: which version and revision it is of."""


def _project() -> Path:
    if not COPY.is_dir():
        return FOLDER.parent
    here = Path.cwd()
    return next((at for at in (here, *here.parents) if (at / STAMP).is_file()), COPY)


PROJECT = _project()
"""Where notebooks and committed tables are: the checkout that the package is installed from; else
the folder of ``dualdiff init`` in which we stand; else what the package brings along."""
PACKAGE = FOLDER.name
LEFT_OUT = {"files", "experiments.store", "experiments.definitions", "experiments.provenance"}
"""Modules that keep results and make their keys: they decide no result."""
MODULE = rf"{PACKAGE}(\.\w+)+"
"""A module that is started or loaded by its name."""
_PARSING = threading.Lock()
Place = tuple[str, str]
"""A module of the package, as ``robot.study``, and a definition at its top; "" stands for all."""
Chain = tuple[str, ...]
"""A name with the attributes that are asked of it: ``dd.robot.study`` as its three parts."""


class Definition:
    """What a name at the top of a module means: all statements that give it a meaning."""

    def __init__(self) -> None:
        self.nodes: list[ast.stmt] = []

    @functools.cached_property
    def hash(self) -> str:
        """Of its syntax."""
        return _hash([*map(_syntax, self.nodes)])

    @functools.cached_property
    def asked(self) -> list[Chain]:
        """The names of its module that it uses, with what it asks of them."""
        return [chain for node in self.nodes for chain in _asked(node)]


class Source(NamedTuple):
    """A source taken apart: its definitions, and the names that it imports from the package."""

    own: dict[str, Definition]
    taken: dict[str, Chain]


def parse(source: str | bytes) -> ast.Module:
    """:func:`ast.parse`, in one thread at a time: in Python 3.11 two of them disturb each other."""
    with _PARSING:
        return ast.parse(source)


def revision(project: Path = PROJECT) -> str:
    """The git revision of a checkout, marked if files of the package differ from it.

    Of a folder of ``dualdiff init``, and of a wheel, that of the checkout that it was made from.
    """
    if (project / STAMP).is_file():
        return str(json.loads((project / STAMP).read_text("utf-8"))["revision"])

    def git(*words: str) -> str:
        command = ["git", "-C", str(project), *words]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()

    try:
        mark = " with changes" if git("status", "--porcelain", "--", PACKAGE) else ""
        return (git("rev-parse", "HEAD") or "unknown") + mark
    except OSError:
        return "unknown"


def definitions_of(*roots: object) -> dict[str, str]:
    """Name and hash (16 hexadecimal digits) of every definition of the package that roots reach.

    Parameters
    ----------
    roots : classes or functions
        Those of other packages count by the classes of ours that they inherit from. Names
        of modules (``dualdiff.robot.study``) stand for all their definitions.

    Returns
    -------
    dict
        Sorted by name. Definitions of the same name share an entry, their hashes in order.
    """
    return _gathered(place for root in roots for place in _places(root))


def missing(needed: dict[str, str], known: dict[str, str]) -> list[str]:
    """Names of the definitions among those that are needed which are not known, or edited."""
    return [n for n in needed if not {*needed[n].split()} <= {*known.get(n, "").split()}]


def version_of(*roots: object) -> str:
    """One hash, 16 hexadecimal digits, of :func:`definitions_of`."""
    return _hash(definitions_of(*roots))


def reached_by(tree: ast.Module) -> dict[str, str]:
    """:func:`definitions_of` for what a parsed source outside of the package imports and names.

    Files of the package that are no Python (styles, scripts, tables of advice) count with the
    folders of the modules that are reached.
    """
    source = _taken_apart(tree)
    chains = [chain for definition in source.own.values() for chain in definition.asked]
    starts = [place for chain in chains for place in _resolved(source, "", chain)]
    places = _closure(starts)
    folders = {_file(module).parent for module, _ in places} - {FOLDER}
    data = {
        path.relative_to(FOLDER).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    return {**_gathered(starts), **data}


def _hash(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def _state() -> str:
    """The files of the package as they are: what is kept below is kept for as long as they stay."""
    return _hash([(path, *_stamp(path)) for path in sorted(FOLDER.rglob("*.py"))])


def _gathered(starts: Iterable[Place]) -> dict[str, str]:
    return dict(_gathered_once(frozenset(starts), _state()))


@functools.lru_cache(maxsize=64)
def _gathered_once(starts: frozenset[Place], _: str) -> dict[str, str]:
    named: dict[str, set[str]] = {}
    for module, name in _closure(starts):
        named.setdefault(name, set()).add(_source(module).own[name].hash)
    return {name: " ".join(sorted(some)) for name, some in sorted(named.items())}


def _places(root: object) -> Iterator[Place]:
    if isinstance(root, str):
        yield root.removeprefix(PACKAGE).strip("."), ""
    for one in getattr(root, "__mro__", [root]):
        module, _, inside = getattr(one, "__module__", "").partition(".")
        if module == PACKAGE:
            yield inside, one.__qualname__.partition(".")[0]


def _closure(starts: Iterable[Place]) -> set[Place]:
    todo, seen, state = [*starts], set[Place](), _state()
    while todo:
        place = todo.pop()
        if place[0] not in LEFT_OUT and place not in seen:
            seen.add(place)
            todo += _following(*place, state)
    return {(module, name) for module, name in seen if name in _source(module).own}


@functools.lru_cache(maxsize=16_384)
def _following(module: str, name: str, _: str) -> list[Place]:
    """What a definition asks for; of a module, all of its definitions."""
    source = _source(module)
    if not name:
        return [(module, each) for each in source.own]
    known = source.own.get(name, Definition())
    return [place for chain in known.asked for place in _resolved(source, module, chain)]


def _resolved(source: Source, module: str, chain: Chain) -> Iterator[Place]:
    """The definitions that a name with its attributes stands for in a source."""
    if not chain[0]:
        yield from _places(chain[1])
    elif chain[0] in source.own:
        yield module, chain[0]
    elif chain[0] in source.taken:
        yield from _followed((*source.taken[chain[0]], *chain[1:]))


def _followed(way: Chain) -> Iterator[Place]:
    """The definitions at the end of a dotted way that begins with the package."""
    depth = 1
    while depth < len(way) and _file(".".join(way[1 : depth + 1])).is_file():
        depth += 1
    module, rest = ".".join(way[1:depth]), way[depth:]
    if not rest:
        yield module, ""
    elif rest[0] in (source := _source(module)).own:
        yield module, rest[0]
    elif rest[0] in source.taken:
        yield from _followed((*source.taken[rest[0]], *rest[1:]))
    elif not module and rest[0] in (homes := _homes()):
        yield homes[rest[0]], rest[0]


def _homes() -> dict[str, str]:
    """Public names of the package and the module of each: they are loaded when asked for."""
    import dualdiff

    return dualdiff._HOMES


def _file(module: str) -> Path:
    path = FOLDER.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _source(module: str) -> Source:
    path = _file(module)
    return _read(path, *_stamp(path)) if path.is_file() else Source({}, {})


def _stamp(path: Path) -> tuple[int, int]:
    now = path.stat()
    return now.st_mtime_ns, now.st_size


@functools.lru_cache(maxsize=512)
def _read(path: Path, *_: int) -> Source:
    """A file, taken apart once for as long as it stays the same."""
    return _taken_apart(parse(path.read_text("utf-8")))


def _taken_apart(tree: ast.Module) -> Source:
    own: dict[str, Definition] = {}
    for node in tree.body:
        for name in _defined(node):
            own.setdefault(name, Definition()).nodes.append(node)
    taken: dict[str, Chain] = {}
    for part in ast.walk(tree):
        if isinstance(part, ast.ImportFrom) and f"{part.module}.".startswith(f"{PACKAGE}."):
            way = (part.module or "").split(".")
            taken |= {alias.asname or alias.name: (*way, alias.name) for alias in part.names}
        elif isinstance(part, ast.Import):
            for alias in part.names:
                if f"{alias.name}.".startswith(f"{PACKAGE}."):
                    way = alias.name.split(".")
                    taken[alias.asname or way[0]] = (*way,) if alias.asname else (way[0],)
    return Source(own, taken)


def _defined(node: ast.stmt) -> list[str]:
    """The names that a statement at the top of a module gives a meaning; "*" for what runs."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom) or _is_text(node):
        return []
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        inside = [part for target in targets for part in ast.walk(target)]
        return [part.id for part in inside if isinstance(part, ast.Name)] or ["*"]
    return ["*"]


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _syntax(node: Any) -> Any:
    """A definition as nested lists, the same for every version of Python."""
    if isinstance(node, ast.AST):
        parts = []
        for name, value in ast.iter_fields(node):
            if name == "body" and isinstance(value, list):  # without docstrings and imports
                unsaid = ast.Import | ast.ImportFrom
                value = [x for x in value if not _is_text(x) and not isinstance(x, unsaid)]
            if value not in (None, []) and name not in ("kind", "type_comment"):
                parts.append([name, _syntax(value)])
        return [type(node).__name__, *parts]
    return [_syntax(one) for one in node] if isinstance(node, list) else repr(node)


def _asked(node: ast.stmt) -> Iterator[Chain]:
    """What a definition asks of the names around it, and modules that it names in texts."""
    free = _free(symtable.symtable(ast.unparse(node), "", "exec"))
    todo: list[ast.AST] = [node]
    while todo:
        part = todo.pop()
        chain: list[str] = []
        inner = part
        while isinstance(inner, ast.Attribute):
            chain, inner = [inner.attr, *chain], inner.value
        if isinstance(inner, ast.Name):
            if inner.id in free:
                yield (inner.id, *chain)
        elif isinstance(part, ast.Constant):
            if isinstance(part.value, str) and re.fullmatch(MODULE, part.value):
                yield ("", part.value)
        else:
            todo += ast.iter_child_nodes(inner if chain else part)


def _free(table: symtable.SymbolTable) -> set[str]:
    """Names that a definition takes from its module: no variables or arguments of its own."""
    top = table.get_type() == "module"
    found = {
        s.get_name() for s in table.get_symbols() if s.is_referenced() and (top or s.is_global())
    }
    return found.union(*map(_free, table.get_children()))
