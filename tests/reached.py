"""Which modules of the package hold what a definition reaches, read from their sources."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import dualdiff

ROOT = Path(dualdiff.__file__).parent
Named = tuple[str, str]


def _file(module: str) -> Path:
    return ROOT.joinpath(*module.split("/")).with_suffix(".py")


@functools.cache
def _names(module: str) -> tuple[dict[str, ast.stmt], dict[str, Named]]:
    """Definitions of a module, and the names it takes from others: module and name there."""
    tree, own, taken = ast.parse(_file(module).read_text("utf-8")), {}, {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            own[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            inside = [x for target in targets for x in ast.walk(target)]
            own |= {x.id: node for x in inside if isinstance(x, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith("dualdiff."):
            where = str(node.module).removeprefix("dualdiff").strip(".").replace(".", "/")
            taken |= {alias.asname or alias.name: (where, alias.name) for alias in node.names}
    return own, taken


def _resolved(module: str, name: str, attribute: str | None) -> Named | None:
    own, taken = _names(module)
    if name in own:
        return module, name
    if name not in taken:
        return None
    where, there = taken[name]
    if _file(f"{where}/{there}".strip("/")).is_file():  # a module: what is asked of it
        return _resolved(f"{where}/{there}".strip("/"), attribute, None) if attribute else None
    return _resolved(where, there, None) if where and _file(where).is_file() else None


def _asked(node: ast.AST, without: tuple[str, ...], hidden: frozenset[str]) -> Iterator[ast.expr]:
    """Names and attributes of names in a definition that no variable or argument hides."""
    if isinstance(node, ast.FunctionDef | ast.Lambda):
        if getattr(node, "name", "") in without:
            return
        inside = [*ast.walk(node)]
        hidden |= {x.arg for x in inside if isinstance(x, ast.arg)}
        hidden |= {x.id for x in inside if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Store)}
    name = node.value if isinstance(node, ast.Attribute) else node
    if isinstance(name, ast.Name) and name.id not in hidden:
        assert isinstance(node, ast.expr)
        yield node
    for child in ast.iter_child_nodes(node):
        yield from _asked(child, without, hidden)


def modules_of(module: str, name: str, *, without: tuple[str, ...] = ()) -> set[str]:
    """Modules of all that a definition reaches; methods ``without`` are not looked at."""
    todo: list[Named | None] = [(module, name)]
    seen: set[Named] = set()
    while todo:
        if (here := todo.pop()) is None or here in seen:
            continue
        seen.add(here)
        for x in _asked(_names(here[0])[0][here[1]], without, frozenset()):
            if isinstance(x, ast.Name):
                todo.append(_resolved(here[0], x.id, None))
            elif isinstance(x, ast.Attribute) and isinstance(x.value, ast.Name):
                todo.append(_resolved(here[0], x.value.id, x.attr))
    return {where for where, _ in seen}
