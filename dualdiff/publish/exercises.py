"""The exercises of all chapters on one page, read from the notebooks when the book is built."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

PAGE = "book/exercises"
MARKER = "% all exercises"
"""The line of :data:`PAGE` that the list stands for: a comment to whatever else reads it."""


class Exercise(NamedTuple):
    """One exercise: its number, its first sentence, and whether a solution unfolds."""

    number: int
    sentence: str
    solved: bool


def of(notebook: Path) -> tuple[str, list[Exercise]]:
    """The title of a chapter and its exercises, in its order; none without such a section."""
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    text = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    title = text.partition("\n")[0].removeprefix("# ")
    section = re.search(r"^## Exercises\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    bare = re.sub(r"(?ms)(:class: dropdown)$.*?^:::$", r"\1", section[1] if section else "")
    tasks = re.split(r"^(\*\*)?(\d+)\. ", bare, flags=re.M)[1:]  # those of solutions are none
    found = []
    for bold, number, task in zip(tasks[::3], tasks[1::3], tasks[2::3], strict=True):
        words = (bold or "") + " ".join(task.split("\n\n")[0].split())
        # A title in bold is no sentence; a full stop within a number or a formula ends none.
        first = re.match(r"(\*\*.+?\*\* )?.+?[.?!](?=\s|$)", words)
        sentence = re.sub(r"(\{doc\}`|\]\()(?=\w+[`.])", r"\1/notebooks/", (first or [words])[0])
        solved = (
            f"Solution to {number}\n:class: dropdown" in text
            or "Solution\n:class: dropdown" in task
        )
        found.append(Exercise(int(number), sentence, solved))
    return title, found


def listed(notebooks: Mapping[str, Path]) -> str:
    """The exercises of documents and their notebooks, as Markdown; a link leads to each section."""
    lines = []
    for name, notebook in notebooks.items():
        title, exercises = of(notebook)
        if exercises:
            lines.append(f"\n**[{title}](/{name}.ipynb#exercises)**\n")
        lines += [f"{n}. {sentence}{' ✓' * solved}" for n, sentence, solved in exercises]
    return "\n".join(lines)


def filled(content: str, notebooks: Mapping[str, Path]) -> str:
    """The source of :data:`PAGE` with what :data:`MARKER` stands for."""
    return content.replace(MARKER, listed(notebooks))
