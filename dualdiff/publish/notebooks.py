"""Reading notebooks: their cells, in any form that nbformat reads, and the code that they run."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from dualdiff.experiments.provenance import parse


def nbformat() -> Any:
    """The library, loaded when it is needed."""
    # On import jsonschema builds a grammar of internationalised addresses: four seconds for each
    # process that reads a notebook. Where such a package is missing it leaves out this one check;
    # notebooks hold no addresses and no spans of time.
    for name in ("rfc3987_syntax", "rfc3986_validator", "isoduration"):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    import nbformat

    return nbformat


def read(notebook: Path) -> Any:
    """A notebook of any version in the form of version 4, as one that this Python runs.

    Raises
    ------
    ValueError
        If it is no notebook, or one in another language.
    """
    library = nbformat()
    try:
        # Not `nbformat.read`, which complains about what is put right here or by papermill.
        known = json.loads(notebook.read_text("utf-8-sig"))
        known.setdefault("metadata", {})
        node = library.convert(library.reader.reads(json.dumps(known)), 4)
        cells = [(cell.cell_type, cell.source, cell.metadata) for cell in node.cells]
        assert all(isinstance(source, str) for _, source, _ in cells)
        meta = node.metadata
        own = [meta.get("kernelspec") or {}, meta.get("language_info") or {}]
        languages = [own[0].get("language"), own[1].get("name")]
    except Exception as error:  # whatever a file can be that is none
        words = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{notebook} cannot be read as a notebook: {words}") from error
    for language in languages:
        if language and "python" not in str(language).lower():
            raise ValueError(f"{notebook} is in the language {language!r}; it must be in Python")
    # Editors lose these; the kernel is always the one of this Python.
    meta["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    meta["language_info"] = {**own[1], "name": "python"}
    for cell in node.cells:
        tags = cell.metadata.get("tags")
        cell.metadata["tags"] = [*tags] if isinstance(tags, list) else []
    return node


def seconds(notebook: Path) -> float:
    """How long its author says that it runs, ``seconds`` of its metadata ``dualdiff``; 0: no word.

    Only the order of the chapters depends on it, so that what is no number is no error.
    """
    said = read(notebook).metadata.get("dualdiff")
    found = said.get("seconds") if isinstance(said, dict) else None
    return found if isinstance(found, int | float) else 0


def parsed(source: str) -> ast.Module:
    try:
        return parse(source)
    except SyntaxError:
        from IPython.core.inputtransformer2 import TransformerManager

        return parse(TransformerManager().transform_cell(source))


def code_cells(node: Any) -> Iterator[ast.Module]:
    """The cells of code, parsed; what is not Python fails when it runs, not here."""
    for cell in node.cells:
        if cell.cell_type == "code":
            try:
                yield parsed(cell.source)
            except (SyntaxError, ValueError):
                continue


def code(notebook: Path) -> ast.Module:
    """All that a notebook and its :func:`modules` run, as one module."""
    beside = [notebook.resolve().parent / name for name in modules(notebook)]
    trees = [tree for path in (notebook, *beside) for tree in _trees(path)]
    return ast.Module([line for tree in trees for line in tree.body], [])


def modules(notebook: Path) -> dict[str, bytes]:
    """The files beside a notebook that it imports or, notebooks, names; also through one another.

    By their names.
    """
    folder = notebook.resolve().parent
    found: dict[str, bytes] = {}
    todo: list[tuple[ast.Module, tuple[str, ...]]] = [(tree, ()) for tree in _trees(notebook)]
    while todo:
        tree, package = todo.pop()
        imported = [
            "/".join(p[: end + 1]) for p in _imported(tree, package) for end in range(len(p))
        ]
        names = [path + end for path in imported for end in (".py", "/__init__.py")]
        texts = {x.value for x in ast.walk(tree) if isinstance(x, ast.Constant)}
        short = [
            text for text in texts if isinstance(text, str) and re.fullmatch(r"[\w.-]{1,99}", text)
        ]
        names += [f"{text.removesuffix('.ipynb')}.ipynb" for text in short]
        for name in names:
            path = folder / name
            if name not in found and path.is_file() and path != notebook.resolve():
                found[name] = path.read_bytes()
                todo += [(one, Path(name).parent.parts) for one in _trees(path)]
    return found


def _trees(path: Path) -> list[ast.Module]:
    """What a notebook or a module runs, parsed; what is not Python fails when it is run."""
    with suppress(SyntaxError, ValueError):
        return [*code_cells(read(path))] if path.suffix == ".ipynb" else [parse(path.read_bytes())]
    return []


def _imported(tree: ast.Module, package: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """What a module of this package imports, `dualdiff` apart, which is known."""
    for part in ast.walk(tree):
        if isinstance(part, ast.Import):
            names = [tuple(alias.name.split(".")) for alias in part.names]
        elif isinstance(part, ast.ImportFrom) and part.level <= len(package) + 1:
            base = package[: len(package) + 1 - part.level] if part.level else ()
            base += tuple(part.module.split(".")) if part.module else ()
            names = [(*base, alias.name) for alias in part.names]
        else:
            continue
        yield from (name for name in names if name[0] != "dualdiff")
