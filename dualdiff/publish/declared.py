"""The parameters that a notebook declares.

The cell tagged ``parameters`` says what may be given to a run: names, defaults and annotations.
A notebook that calls ``dualdiff.pages.begin`` (as every chapter that computes) or
``dualdiff.experiments.profiles.check`` has the names in that call checked as the book does, before
it starts.
"""

from __future__ import annotations

import ast
import difflib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dualdiff.experiments import profiles
from dualdiff.experiments.profiles import PARAMETERS, Parameter
from dualdiff.publish.notebooks import code_cells, parsed, read

_WORDS = {
    "int": "an integer",
    "float": "a number",
    "str": "text",
    "bool": "True or False",
    "list": 'a list, as ["a", "b"]',
    "dict": 'names with values, as {"a": "log"}',
    "tuple": "a tuple",
    "None": "None",
}
_BOOLS = {"true": True, "yes": True, "false": False, "no": False}


@dataclass(frozen=True)
class Declared:
    """A parameter as its notebook declares it.

    Parameters
    ----------
    name : str
    default : object
        Its default, or the source of it where that is computed or JSON cannot carry it.
    known : bool
        Whether it is the default itself.
    kinds : tuple of str
        What its values may be, names of types. A tuple is handed over as the list that JSON makes
        of it; of what JSON cannot carry, such as a set, no value is allowed.
    choices : tuple
        Values that are allowed besides, as the annotation lists them. Without kinds and choices
        all that JSON can say is allowed.
    book : Parameter, optional
        What the book says of it, where the notebook asks the book to check it.
    """

    name: str
    default: Any
    known: bool
    kinds: tuple[str, ...] = ()
    choices: tuple[Any, ...] = ()
    book: Parameter | None = None

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        if self.book:
            return self.book.allowed
        listed = ["one of " + ", ".join(map(repr, self.choices))] if self.choices else []
        kinds = [kind for kind in self.kinds if kind != "int" or "float" not in self.kinds]
        words = [_WORDS.get(kind, f"left to it, as JSON carries no {kind}") for kind in kinds]
        return " or ".join(listed + words) or "what JSON can say"

    @property
    def _asked(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*map(_kind, self.choices), *self.kinds)))

    def settle(self, value: Any) -> Any:
        """The value in the type that the notebook asks for.

        Raises
        ------
        ValueError
            With the parameter, the value and what is allowed.
        """
        if self.book:
            return self.book.type(self.book.check(value))  # 3 and 3.0 are one point of a sweep
        return self._first(value, [(kind, value) for kind in self._asked or ("",)])

    def parse(self, text: str) -> Any:
        """The value that `text` spells on a command line, settled."""
        if self.book:
            return self.book.parse(text)
        spelt = []
        for kind in self._asked or ("", "str"):
            try:
                spelt.append((kind, _spelt(kind, text)))
            except (ValueError, SyntaxError):
                continue
        return self._first(text, spelt)

    def from_yaml(self, value: Any) -> Any:
        """A value of a YAML file, settled: YAML takes 1e-3 for text."""
        asks_for_text = "str" in self._asked or not self._asked
        text = isinstance(value, str) and (self.book or not asks_for_text)
        return self.parse(value) if text else self.settle(value)

    def _first(self, given: Any, tried: list[tuple[str, Any]]) -> Any:
        for kind, value in tried:
            if kind == "float" and type(value) is int and abs(value) <= sys.float_info.max:
                value = float(value)
            if kind == "tuple" and isinstance(value, list | tuple):
                kind, value = "", _listed(value)
            right = kind == "" or (kind == _kind(value) and self._open(kind, value))
            if right and _plain(value):
                return value
        raise ValueError(f"parameter {self.name!r} is {given!r}; it must be {self.allowed}")

    def _open(self, kind: str, value: Any) -> bool:
        return kind in self.kinds or any(value == c for c in self.choices if kind == _kind(c))


def _listed(value: Any) -> Any:
    """Lists in the place of tuples, at every depth."""
    return [*map(_listed, value)] if isinstance(value, list | tuple) else value


def _plain(value: Any) -> bool:
    """Whether JSON carries a value unchanged."""
    try:
        return repr(json.loads(json.dumps(value))) == repr(value)
    except (TypeError, ValueError):
        return False


def _spelt(kind: str, text: str) -> Any:
    if kind == "bool":
        return _BOOLS.get(text.lower(), text)
    plain = {"str": str, "int": int, "float": float}
    return plain[kind](text) if kind in plain else ast.literal_eval(text)


def _kind(value: Any) -> str:
    return "None" if value is None else type(value).__name__


def _alternatives(annotation: ast.expr) -> Iterator[ast.expr]:
    """The parts of a union, however it is written."""
    match annotation:
        case ast.Constant(value=str(text)):
            yield from _alternatives(ast.parse(text, mode="eval").body)
        case ast.BinOp(op=ast.BitOr()):
            yield from _alternatives(annotation.left)
            yield from _alternatives(annotation.right)
        case ast.Subscript() if _name(annotation) in ("optional", "union"):
            for part in _elements(annotation):
                yield from _alternatives(part)
            if _name(annotation) == "optional":
                yield ast.Constant(None)
        case _:
            yield annotation


def _elements(annotation: ast.Subscript) -> list[ast.expr]:
    inner = annotation.slice
    return inner.elts if isinstance(inner, ast.Tuple) else [inner]


def _name(annotation: ast.expr) -> str:
    """Of a type, without its parameters and without ``typing``."""
    outer = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    return ast.unparse(outer).removeprefix("typing.").lower()


def _annotated(annotation: ast.expr) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """The kinds and the choices that an annotation allows."""
    kinds: list[str] = []
    choices: list[Any] = []
    try:
        for part in _alternatives(annotation):
            name = _name(part)
            if name == "literal" and isinstance(part, ast.Subscript):
                choices += map(ast.literal_eval, _elements(part))
            else:
                kinds.append("None" if name == "none" else name)
    except (SyntaxError, ValueError):  # constants alone are choices
        return (), ()
    return (tuple(kinds), tuple(choices)) if set(kinds) <= set(_WORDS) else ((), ())


_NOT_FINITE = re.compile(r"""-?(float\(['"][+-]?(inf|infinity|nan)['"]\)|\w+\.(inf|nan))""", re.I)


def _declared(name: str, annotation: ast.expr | None, default: ast.expr | None) -> Declared:
    source = ast.unparse(default) if default else ""
    try:
        value = ast.literal_eval(source)
    except (ValueError, SyntaxError):
        value = ...
    known = _plain(value)
    kinds, choices = _annotated(annotation) if annotation else ((), ())
    if annotation is None and value not in (None, ...):
        # A default alone says text, number, list and so on.
        kinds = ("int", "float") if type(value) is int else (_kind(value),)
    elif annotation is None and _NOT_FINITE.fullmatch(source):
        kinds = ("float",)
    return Declared(name, value if known else source, known, kinds, choices)


def parameters(notebook: Path) -> dict[str, Declared]:
    """What may be given to a notebook.

    Raises
    ------
    ValueError
        If it is no notebook, or its cell of parameters is not Python.
    """
    node = read(notebook)
    # The first cell with the tag, as for papermill, which puts the given values behind it.
    cell = next((cell for cell in node.cells if "parameters" in cell.metadata.tags), None)
    if cell is None or cell.cell_type != "code":
        return {}
    try:
        lines = parsed(cell.source).body
    except (SyntaxError, ValueError) as error:
        words = f"{notebook}: the cell tagged 'parameters' is not Python: {error}"
        raise ValueError(words) from error
    found: dict[str, Declared] = {}
    for line in lines:
        if isinstance(line, ast.AnnAssign | ast.Assign):
            targets = line.targets if isinstance(line, ast.Assign) else [line.target]
            annotation = None if isinstance(line, ast.Assign) else line.annotation
            for name in [target.id for target in targets if isinstance(target, ast.Name)]:
                found[name] = _declared(name, annotation, line.value)
    of_book = {name: PARAMETERS[name] for name in found.keys() & PARAMETERS & _checked(node)}
    return {name: replace(known, book=of_book.get(name)) for name, known in found.items()}


CHECKS = {("dualdiff.experiments.profiles", "check"), ("dualdiff.pages", "begin")}
"""Functions that ask the book to check what they are given by name."""


def _checked(node: Any) -> set[str]:
    """The names that a notebook hands to one of :data:`CHECKS`."""
    parts = [part for module in code_cells(node) for part in ast.walk(module)]
    froms = [part for part in parts if isinstance(part, ast.ImportFrom)]
    imported = {name.name for part in froms for name in part.names}
    imported &= {name for module, name in CHECKS if module in {part.module for part in froms}}
    calls = [part for part in parts if isinstance(part, ast.Call)]
    called = [c for c in calls if isinstance(c.func, ast.Name) and c.func.id in imported]
    return {word.arg for call in called for word in call.keywords if word.arg}


def validate(notebook: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """The full parameter set of a run, refused before any kernel starts if it is not allowed.

    Parameters
    ----------
    notebook : Path
    given : mapping
        Those that differ from the notebook's own values.

    Returns
    -------
    dict
        Values in the types that the notebook asks for. A default that is computed, or that JSON
        cannot carry, is left to the notebook.

    Raises
    ------
    ValueError
        If the notebook has no such parameter, or a value is not allowed.
    """
    known = parameters(notebook)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            allowed = f"it must be one of: {', '.join(known)}{hint}"
            if not known:
                allowed = "it takes none, as no cell of code is tagged 'parameters'"
            raise ValueError(f"unknown parameter {name!r} for {notebook.name}; {allowed}")
    full = {name: rule.default for name, rule in known.items() if rule.known}
    full |= {name: known[name].settle(value) for name, value in given.items()}
    profiles.check(**{name: value for name, value in full.items() if known[name].book})
    return full


def variants(root: Path) -> dict[str, Any]:
    """What ``_config.yml`` says about pages: ``source``, ``parameters`` and ``title`` of each."""
    import yaml

    config = yaml.safe_load((root / "_config.yml").read_text("utf-8"))
    entries: dict[str, Any] = config.get("sphinx", {}).get("config", {}).get("dualdiff_pages", {})
    return entries
