"""Pages that are another notebook with other parameters: written before the book is built."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from dualdiff.publish import declared


def write_variants(root: Path, entries: dict[str, Any]) -> None:
    """Write the notebook of each variant, if what it would hold has changed.

    Raises
    ------
    ValueError
        If its source does not exist or has no such parameter.
    """
    for name, entry in entries.items():
        if not entry.get("source"):
            continue
        source = root / f"{entry['source']}.ipynb"
        if not source.is_file():
            raise ValueError(f"dualdiff_pages: the source of {name!r} is {source}, not a file")
        parameters = entry.get("parameters", {})
        declared.validate(source, parameters)
        notebook = json.loads(source.read_text("utf-8"))
        # What every variant would say in the same words is said once, on the page of the source.
        cells = notebook["cells"] = [
            cell for cell in notebook["cells"] if "once" not in _tags(cell)
        ]
        for cell in cells:
            text = "".join(cell["source"])
            if "parameters" in _tags(cell):
                text = _with_values(text, parameters)
            cell["source"] = text.splitlines(keepends=True)
        _retitle(cells, entry.get("title"))
        _rename_labels(cells, "-" + Path(name).name.replace("_", "-"))
        text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
        path = root / f"{name}.ipynb"
        if not path.exists() or path.read_bytes() != text.encode():
            path.write_text(text, "utf-8")


def _tags(cell: dict[str, Any]) -> list[str]:
    tags: list[str] = cell.get("metadata", {}).get("tags", [])
    return tags


def _with_values(source: str, parameters: dict[str, Any]) -> str:
    for name, value in parameters.items():
        line = re.compile(rf"^({name}\s*(?::[^=\n]*)?=[ \t]*)[^#\n]*?([ \t]*(?:#.*)?)$", re.M)
        source = line.sub(lambda found, value=value: f"{found[1]}{value!r}{found[2]}", source)  # type: ignore[misc]
    return source


def _markdown(cells: list[Any]) -> list[Any]:
    return [cell for cell in cells if cell["cell_type"] == "markdown"]


def _retitle(cells: list[Any], title: str | None) -> None:
    """Give the page its own title: the source's would appear twice in the contents."""
    for cell in _markdown(cells):
        for index, line in enumerate(cell["source"]):
            if title and line.startswith("# "):
                cell["source"][index] = f"# {title}\n" if line.endswith("\n") else f"# {title}"
                return


# Where labels of figures, equations and sections are defined ...
_DEFINED = r"""
    ^[ \t]*\( ([^()\s]+) \)=                  # (label)=
    | ^[ \t]*:(?:name|label):[ \t]* (\S+)      # :name: label
    | ^[ \t]*\$\$[ \t]*\( ([^()\s]+) \)        # $$ (label)
"""
# ... and used: between the brackets or quotes of a definition or a reference, not in prose.
_USED = r"(?<=[(`<#])(?:{names})(?=[)`>])|(?<=name: )(?:{names})$|(?<=label: )(?:{names})$"


def _rename_labels(cells: list[Any], suffix: str) -> None:
    """Give the page labels of its own: a label may exist once in a book."""
    texts = ["".join(cell["source"]) for cell in _markdown(cells)]
    defined = re.compile(_DEFINED, re.M | re.X)
    labels = {label for text in texts for found in defined.findall(text) for label in found}
    figures = [cell["metadata"].get("mystnb", {}).get("figure", {}) for cell in cells]
    labels |= {figure.get("name", "") for figure in figures}
    names = "|".join(re.escape(label) for label in labels if label)
    if not names:
        return
    used = re.compile(_USED.format(names=names), re.M)
    for cell, text in zip(_markdown(cells), texts, strict=True):
        cell["source"] = used.sub(lambda found: found[0] + suffix, text).splitlines(keepends=True)
    for figure in figures:
        if "caption" in figure:
            figure["caption"] = used.sub(lambda found: found[0] + suffix, figure["caption"])
        if "name" in figure:
            figure["name"] += suffix
