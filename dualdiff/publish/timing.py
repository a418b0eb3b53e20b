"""How long the chapters run, as the page on running shows it: what they say, what they took."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

PAGE = "book/running"
MARKER = "% chapter times"
"""The line of :data:`PAGE` that the table stands for: a comment to whatever else reads it."""
CLAIMS = "% what the chapters say"
"""The line of :data:`PAGE` for what the chapters say of themselves, which is written only there."""


def seconds_of(notebook: Path) -> float | None:
    """How long an executed notebook took, where it says so."""
    known = json.loads(notebook.read_text("utf-8"))["metadata"].get("dualdiff", {})
    return known.get("seconds")


def words(seconds: float) -> str:
    """``0.4`` is less than a second, ``75`` is 1 min 15 s."""
    if seconds < 1:
        return "less than 1 s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def table(executed: Mapping[str, Path], profile: str) -> str:
    """The chapters of a book with their times, as Markdown; a sentence if none is known.

    Parameters
    ----------
    executed : mapping from a document's name to its executed notebook
    profile : str
    """
    known = {name: seconds_of(path) for name, path in executed.items()}
    times = {name: seconds for name, seconds in known.items() if seconds is not None}
    if not times:
        return "How long the chapters of this book took was not recorded."
    lines = [f"| chapter | this book, profile `{profile}` |", "|---|---|"]
    lines += [f"| {{doc}}`/{name}` | {words(seconds)} |" for name, seconds in times.items()]
    lines.append(f"| all, one after the other | {words(sum(times.values()))} |")
    return "\n".join(lines)


def claim_of(notebook: Path) -> str | None:
    """What a chapter says about how long it runs, its links as they are from anywhere."""
    for cell in json.loads(notebook.read_text("utf-8"))["cells"]:
        text = "".join(cell["source"])
        found = re.search(r"\*\*How long it runs\*\*:?(.*?)(?=\n\s*\n|\Z)", text, re.S)
        if found and cell["cell_type"] == "markdown":
            words = " ".join(found[1].split())
            words = words[: words.rfind(".") + 1]  # the rest announces what stands below it
            return re.sub(r"\{doc\}`([\w-]+)`", r"{doc}`/notebooks/\1`", words)
    return None


def claims(executed: Mapping[str, Path]) -> str:
    """What the chapters say about how long they run, as a list in Markdown."""
    said = {name: claim_of(path) for name, path in executed.items()}
    return "\n".join(f"- {{doc}}`/{name}`: {words}" for name, words in said.items() if words)


def filled(content: str, executed: Mapping[str, Path], profile: str) -> str:
    """The source of :data:`PAGE` with what :data:`MARKER` and :data:`CLAIMS` stand for."""
    return content.replace(MARKER, table(executed, profile)).replace(CLAIMS, claims(executed))
