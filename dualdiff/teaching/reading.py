"""The notebook that a file holds: which lab it is, and what was answered in words in it."""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from collections.abc import Iterable
from typing import Any

LARGEST = 20 * 2**20  # bytes of a notebook without its outputs
LONGEST = 50_000  # characters of an answer in words that are shown
_ANSWER = "otter_answer_cell"  # the tag that Otter gives to a cell for an answer
_NAMED = re.compile(r"""\botter\s*\.\s*Notebook\(\s*["']([^"'\n]+?)(?:\.ipynb)?["']""")

Notebook = dict[str, Any]


class Unreadable(ValueError):
    """Why a file is no submission."""


def notebook_in(data: bytes) -> Notebook:
    """The notebook in the bytes of a file, without its outputs.

    UTF-8 and UTF-16 are read, with a byte order mark or without.

    Raises
    ------
    Unreadable
        If there is none.
    """
    try:
        notebook = json.loads(data)
        for cell in notebook["cells"]:
            cell["source"] = "".join(cell.get("source") or ())
            cell["cell_type"] = str(cell["cell_type"])
            tags = (cell.get("metadata") or {}).get("tags") or ()
            cell["tags"] = [str(tag) for tag in tags]
            cell.pop("outputs", None)
            cell.pop("attachments", None)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unreadable(f"the file is not a notebook ({type(error).__name__}: {error})") from None
    size = sum(len(cell["source"]) for cell in notebook["cells"])
    if size > LARGEST:
        raise Unreadable(
            f"the notebook has {size / 2**20:.0f} MiB without its outputs, more than "
            f"{LARGEST / 2**20:.0f}"
        )
    return dict(notebook)


def looks_like_one(data: bytes) -> bool:
    """Whether a file with another name may be a notebook."""
    text = data.decode(json.detect_encoding(data), "replace")
    return text.lstrip("\ufeff \t\r\n").startswith("{") and '"cell_type"' in text


def lab_of(notebook: Notebook, handed_out: dict[str, Notebook | None] | None = None) -> str:
    """The lab that a student's copy is of; empty if nothing says it.

    Its metadata say it, its cell that starts Otter, or at least half of the text that was handed
    out with one of the labs.

    Parameters
    ----------
    notebook : dict
    handed_out : dict, optional
        The notebook that students got, by lab.
    """
    says = []
    try:
        says = [str(notebook["metadata"]["otter"]["assignment_name"])]
    except (KeyError, TypeError):
        pass
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code" and (named := _NAMED.search("".join(cell["source"]))):
            says.append(named[1])
    known = handed_out or {}
    shares = {name: _shared(notebook, lab) for name, lab in known.items() if lab is not None}
    if shares and max(shares.values()) >= 0.5:
        says.append(max(shares, key=lambda name: shares[name]))
    return next((name for name in says if name in known), (says or [""])[0])


def _shared(notebook: Notebook, handed_out: Notebook) -> float:
    """The share of a lab's text that is in a notebook."""
    texts = {_squeezed(c["source"]) for c in handed_out["cells"] if c["cell_type"] == "markdown"}
    return len(texts & {_squeezed(c["source"]) for c in notebook["cells"]}) / max(1, len(texts))


def _squeezed(text: str) -> str:
    return " ".join(text.split())


def open_answers(
    notebook: Notebook, handed_out: Notebook | None = None
) -> tuple[dict[str, str], list[str]]:
    """What was answered in words, and where that is unsure.

    An answer is what stands between the cells that were handed out before and after its place, in
    whatever cells; what is new beside them is shown too. Cells are recognised by their id, their
    text or their heading.

    Parameters
    ----------
    notebook : dict
    handed_out : dict, optional
        The notebook that students got. Without it only the tag of a cell tells that it is an
        answer.

    Returns
    -------
    dict
        The text of each question.
    list of str
        Remarks for the marker.
    """
    cells = notebook["cells"]
    if handed_out is None:
        tagged = [cell for cell in cells if _is_answer(cell)]
        return {f"open{n}": cell["source"] for n, cell in enumerate(tagged, 1)}, []
    given = handed_out["cells"]
    places = [n for n, cell in enumerate(given) if _is_answer(cell)]
    origin = _origins(cells, given, places)
    texts: list[list[str]] = [[] for _ in places]
    remarks: list[str] = []
    used: set[int] = set()
    for k, place in enumerate(places):
        name = f"open{k + 1}"
        inside = _between(origin, place, 1)
        there = False
        for n, cell in enumerate(cells):
            own = origin[n] == place or (origin[n] is None and n in inside)
            if own and (text := _shown(cell, given[place])):
                texts[k].append(text)
            if own:
                used.add(n)
                there = True
            if origin[n] == place and cell["cell_type"] != "markdown":
                remarks.append(f"{name}: its cell is of another type, {cell['cell_type']}")
        if not there:
            remarks.append(f"{name}: the cell for its answer is gone")
        if place - 1 not in origin and texts[k]:
            remarks.append(f"{name}: its question is gone, so what is shown may be more than it")
    empty = [not found for found in texts]
    near = [_between(origin, place, 2) for place in places]
    below = [_with_code_below(cells, origin, place) for place in places]
    for n, cell in enumerate(cells):
        code, before = cell["cell_type"] == "code", origin[n]
        # What is new anywhere may be an answer, or what is missing in a short one. Of code that is
        # its comments and texts, and only near to a place.
        likely = [k for k in range(len(places)) if not code or n in near[k] or n in below[k]]
        if n in used or not likely:
            continue
        k = min(likely, key=lambda k: (n not in near[k], not empty[k], abs(n - near[k].start)))
        old = "" if before is None else given[before]["source"]
        if before is None and (not code or (empty[k] and n in near[k])):
            new = _shown(cell, given[places[k]])
        else:
            new = _added(cell["source"], old) if not code else _prose(cell["source"], old)
        if new:
            texts[k].append(new)
            remarks.append(f"open{k + 1}: text in cell {n + 1}, beside the place for it")
    answers = {f"open{k + 1}": "\n\n".join(found) for k, found in enumerate(texts)}
    for name, text in answers.items():
        if "attachment:" in text or "<img" in text:
            remarks.append(f"{name}: it has a picture, which only the notebook shows")
        if len(text) > LONGEST:
            answers[name] = text[:LONGEST] + " ..."
            remarks.append(f"{name}: it has {len(text):,} characters, {LONGEST:,} are shown")
    return answers, list(dict.fromkeys(remarks))


def _is_answer(cell: dict[str, Any]) -> bool:
    return cell["cell_type"] == "markdown" and _ANSWER in cell["tags"]


def _origins(
    cells: list[dict[str, Any]], given: list[dict[str, Any]], places: list[int]
) -> list[int | None]:
    """For each cell the one handed out that it was, once each: by id, text, heading or tag."""
    origin: list[int | None] = [None] * len(cells)

    def match(ours: Iterable[Any], theirs: Iterable[Any]) -> None:
        free: dict[Any, list[int]] = {}
        for m, sign in enumerate(theirs):
            if sign and m not in origin:
                free.setdefault(sign, []).append(m)
        for n, sign in enumerate(ours):
            if sign and origin[n] is None and free.get(sign):
                origin[n] = free[sign].pop(0)

    match(map(_id, cells), map(_id, given))
    # Not the places: all of them have the same prompt.
    match(
        (_squeezed(c["source"]) for c in cells),
        ("" if m in places else _squeezed(c["source"]) for m, c in enumerate(given)),
    )
    match(map(_heading, cells), map(_heading, given))
    # Only where all are there: then their order tells which is which.
    tagged = [n for n, cell in enumerate(cells) if _is_answer(cell) and origin[n] is None]
    left = [place for place in places if place not in origin]
    if len(tagged) == len(left):
        for n, place in zip(tagged, left, strict=True):
            origin[n] = place
    return origin


def _id(cell: dict[str, Any]) -> str:
    return cell["id"] if isinstance(cell.get("id"), str) else ""


def _heading(cell: dict[str, Any]) -> str:
    found = re.search(r"^#+ .+", cell["source"], re.M) if cell["cell_type"] != "code" else None
    return found[0].strip() if found else ""


def _between(origin: list[int | None], place: int, count: int) -> range:
    """The cells between the `count`-th that were handed out before a place and after it."""
    at = {m: n for n, m in enumerate(origin) if m is not None}
    before = sorted((n for m, n in at.items() if m < place), key=lambda n: -(origin[n] or 0))
    after = sorted((n for m, n in at.items() if m > place), key=lambda n: origin[n] or 0)
    start = before[count - 1] + 1 if len(before) >= count else 0
    return range(start, after[count - 1] if len(after) >= count else len(origin))


def _with_code_below(cells: list[dict[str, Any]], origin: list[int | None], place: int) -> range:
    """The cells from a place to the first code that was handed out after it."""
    after = [n for n, m in enumerate(origin) if m is not None and m > place]
    stop = next((n + 1 for n in after if cells[n]["cell_type"] == "code"), len(cells))
    return range(_between(origin, place, 1).start, stop)


def _shown(cell: dict[str, Any], place: dict[str, Any]) -> str:
    """What was written into a cell, without the prompt that was handed out there."""
    text: str = cell["source"].replace(place["source"].strip(), "").strip()
    return f"```\n{text}\n```" if text and cell["cell_type"] == "code" else text


def _added(text: str, before: str) -> str:
    """The lines that are not in what was handed out."""
    known = {_squeezed(line) for line in before.splitlines()}
    new = (line for line in text.splitlines() if _squeezed(line) not in known)
    return "\n".join(new).strip()


def _prose(code: str, before: str) -> str:
    """Comments and texts of several words that are not in the code handed out."""
    words = _words(code)  # nothing where it is no code: it may be an answer as it is
    return _added(code, before) if words is None else _added(words, _words(before) or "")


def _words(code: str) -> str | None:
    plain = re.sub(r"^[ \t]*[%!].*$", "", code, flags=re.M)  # without IPython's own lines
    try:
        ast.parse(plain)
        tokens = list(tokenize.generate_tokens(io.StringIO(plain).readline))
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError):
        return None
    texts = []
    for token in tokens:
        text = token.string.strip("# \t'\"")
        long = len(text.split()) > 2 or not text.isascii()  # no mere key or label
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and long):
            texts.append(text)
    return "\n".join(texts)
