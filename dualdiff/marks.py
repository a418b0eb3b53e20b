"""What is written about marked submissions: the table, pages for authors, the leaderboard."""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from dualdiff import arena
from dualdiff.entries import CHECK
from dualdiff.matching import Row
from dualdiff.submission import Lab, Marked, plain

_HEAD = ["submission", "lab", "status", "marks", "of", "seconds", "memory_mib", "remarks", CHECK]
_SHORT = 160  # bytes of the name of a page: with an end and a hash it is short enough for all disks


def status(result: Marked) -> str:
    """In words: ``marked``, ``stopped`` before its last test, ``unreadable``, ``not marked``."""
    if result.complete:
        return "marked"
    if result.skipped:
        return "not marked"
    return "stopped" if result.lab else "unreadable"


def total(result: Marked, labs: dict[str, Lab]) -> tuple[float, float]:
    """Points, and points that there are."""
    points = labs[result.lab].points if result.lab else {}
    return sum(result.marks(question) for question in points), sum(points.values())


def summary(result: Marked, labs: dict[str, Lab]) -> str:
    """A submission in a line."""
    got, of = total(result, labs)
    words = f"{plain(result.file)}: {got:g} of {of:g}" if result.lab else f"{plain(result.file)}"
    more = "" if status(result) == "marked" else f", {status(result)}: {result.remarks[-1]}"
    return words + more


def table(results: list[Marked], labs: dict[str, Lab]) -> tuple[list[str], list[Row]]:
    """What is known of all: a row per submission, a column per question.

    Questions that are answered in words have a column for the marker.
    """
    used = [lab for name, lab in labs.items() if any(result.lab == name for result in results)]
    questions = sorted({question for lab in used for question in lab.points}, key=_natural)
    words = sorted({name for result in results for name in result.open_answers}, key=_natural)
    rows = []
    for result in results:
        got, of = total(result, labs)
        points = labs[result.lab].points if result.lab else {}
        cells = {q: f"{result.marks(q):g}" for q in questions if q in points}
        cells |= {"submission": _cell(result.file), "lab": result.lab, "status": status(result)}
        cells |= {"marks": f"{got:g}", "of": f"{of:g}", "seconds": f"{result.seconds:.1f}"}
        cells |= {"memory_mib": f"{result.memory / 2**20:.0f}"}
        cells |= {"remarks": _cell("; ".join(result.remarks))}
        # As every file can hold it: nothing of it changes when it is read again.
        cells = {
            name: re.sub(r"[\x00-\x1f]", " ", text.encode("utf-8", "replace").decode())
            for name, text in cells.items()
        }
        rows.append(Row(cells, result.lab, "" if result.untouched else result.digest))
    return [*_HEAD, *questions, *words], rows


def corrected(questions: Collection[str], line: dict[str, str], entries: dict[str, str]) -> None:
    """Put into a row of the table the sum of its marks, of which a teacher has entered some.

    What could not be marked had no points before.
    """
    for question in entries.keys() & questions:
        with suppress(ValueError):
            entry = float(entries[question].replace(",", "."))
            more = entry - float(line.get(question) or 0)
            if math.isfinite(more):
                line["marks"] = f"{float(line['marks']) + more:g}"


def _natural(name: str) -> tuple[str, int]:
    letters = name.rstrip("0123456789")
    return letters, int(name[len(letters) :] or 0)


def _cell(text: str) -> str:
    """Text that a spreadsheet shows and does not compute; different for every text."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "'")) else text


def feedback(result: Marked, labs: dict[str, Lab]) -> str:
    """A page for the author: the marks, what failed and the hint of each failed test."""
    got, of = total(result, labs)
    lines = [f"# {plain(result.file)}", ""]
    if result.lab:
        lines += [f"{result.lab}: **{got:g} of {of:g} points** (without the open question)", ""]
    lines += [f"- {remark}" for remark in result.remarks]
    for question, points in (labs[result.lab].points if result.lab else {}).items():
        lines += ["", f"## {question}: {result.marks(question):g} of {points:g}"]
        if question not in result.questions:
            lines.append("Its tests were not run.")
        for test in result.questions.get(question, ()):
            if not test.passed:
                lines.append(f"- {test.hint} ({test.points:g}): `{test.reason.replace('`', ' ')}`")
    if result.printed and not result.complete:
        printed = result.printed.replace("```", "'''")
        lines += ["", "The last that it printed:", "", "```", printed, "```"]
    return "\n".join(lines) + "\n"


def answers_page(results: list[Marked]) -> str:
    """What was answered in words, question by question, to be read in one go."""
    lines = ["# Open questions", "", "The rubric is in the notebook with the solutions."]
    labs = sorted({(result.lab, name) for result in results for name in result.open_answers})
    for lab, name in labs:
        lines += ["", f"## {lab}, {name}"]
        for result in results:
            if result.lab == lab and name in result.open_answers:
                text = result.open_answers[name].strip() or "(nothing)"
                quoted = "\n".join(f"> {line}" for line in text.splitlines())
                lines += ["", f"### {plain(result.file)}", ""]
                unsure = [r for r in result.remarks if r.startswith(f"{name}: ")]
                lines += [*(f"*{remark}*\n" for remark in unsure), quoted]
    return "\n".join(lines) + "\n"


def leaderboard(results: list[Marked], board: Path) -> str:
    """Who achieved what in the competition, as CSV, the best first.

    Whoever chose no name, or one that is taken, is known by the file.
    """
    board.unlink(missing_ok=True)
    taken = {"", "me"}  # nobody, and what the lab begins with
    shown = arena.leaderboard(board)
    for result in results:
        if result.entry:
            name = known_as(result.entry.get("name"))
            if _alike(name) in taken:
                name = known_as(flat(result.file)) or "?"
            first, number = name, 1
            while _alike(name) in taken:
                number += 1
                name = f"{first[: arena.LONGEST - 10]} ({number})"
            taken.add(_alike(name))
            try:
                shown = arena.enter(board, name, result.entry)
            except ValueError as error:  # of another game, such as one with another seed
                result.remarks.append(f"not in the leaderboard: {plain(error)}")
    return shown.to_csv(index=False, float_format="%.4f", lineterminator="\n")


def known_as(name: object) -> str:
    """What a student wants to be called, of whatever type that is: empty if it is no name."""
    with suppress(ValueError):  # of an integer with thousands of digits
        return _cell(plain(name, arena.LONGEST - 5)) if isinstance(name, str | int | float) else ""
    return ""


def _alike(name: str) -> str:
    """Names that a reader or a disk takes for the same have the same."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def flat(file: str) -> str:
    """The label of a submission as one word."""
    return file.removesuffix(".ipynb").strip("/").replace("/", "__")


def pages(files: Iterable[str]) -> dict[str, str]:
    """The name of a page for each submission, without its end.

    It is the label, where every disk can have that as a name and no other is too much alike; else
    a hash follows.
    """
    found = {}
    names = {file: re.sub(r'[\\/:*?"<>|\x00-\x1f]|^\.', "_", flat(file)) for file in files}
    count = Counter(map(_alike, names.values()))
    for file, name in names.items():
        short = name.encode("utf-8", "replace")[:_SHORT].decode("utf-8", "ignore")
        if short != flat(file) or count[_alike(name)] > 1:
            short += f"-{hashlib.sha256(file.encode('utf-8', 'replace')).hexdigest()[:12]}"
        found[file] = short
    return found
