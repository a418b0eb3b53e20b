"""What is written about marked submissions: the table, pages for authors, the leaderboard."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

from dualdiff import arena
from dualdiff.submission import Lab, Marked, plain


def status(result: Marked) -> str:
    """In a word: ``marked``, ``stopped`` before its last test, ``unreadable``."""
    if result.complete:
        return "marked"
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


def entered_in(path: Path) -> dict[str, dict[str, str]]:
    """What the marker has put into a table, by submission and column; a foreign table is kept."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        found = csv.DictReader(file)
        if "submission" in (found.fieldnames or ()):
            return {row["submission"]: {k: v or "" for k, v in row.items() if k} for row in found}
    os.replace(path, path.with_name("marks-before.csv"))
    return {}


def table(
    results: list[Marked], labs: dict[str, Lab], entered: dict[str, dict[str, str]] | None = None
) -> str:
    """The marks of all as CSV: a row per submission, a column per question.

    Questions that are answered in words have a column for the marker, with what was `entered` into
    it before.
    """
    used = [lab for name, lab in labs.items() if any(result.lab == name for result in results)]
    questions = sorted({question for lab in used for question in lab.points}, key=_natural)
    words = sorted({name for result in results for name in result.open_answers})
    head = ["submission", "lab", "status", "marks", "of", "seconds", "memory_mib", "remarks"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*head, *questions, *words])
    for result in results:
        got, of = total(result, labs)
        points = labs[result.lab].points if result.lab else {}
        marks = [f"{result.marks(q):g}" if q in points else "" for q in questions]
        measured = [f"{result.seconds:.1f}", f"{result.memory / 2**20:.0f}"]
        about = [_cell(result.file), result.lab, status(result), f"{got:g}", f"{of:g}", *measured]
        remarks = _cell("; ".join(result.remarks))
        before = (entered or {}).get(_cell(result.file), {})
        writer.writerow([*about, remarks, *marks, *[before.get(name, "") for name in words]])
    return text.getvalue()


def _natural(name: str) -> tuple[str, int]:
    letters = name.rstrip("0123456789")
    return letters, int(name[len(letters) :] or 0)


def _cell(text: str) -> str:
    """Text that a spreadsheet shows and does not compute."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


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
                lines += ["", f"### {plain(result.file)}", "", quoted]
    return "\n".join(lines) + "\n"


def leaderboard(results: list[Marked], board: Path) -> str:
    """Who achieved what in the competition, as CSV, the best first.

    Whoever chose no name, or one that is taken, is known by the file.
    """
    board.unlink(missing_ok=True)
    taken = {"", "me"}  # nobody, and what the lab begins with
    for result in results:
        if result.entry:
            name = _cell(plain(result.entry.get("name") or "", arena.LONGEST - 5))
            if name in taken:
                name = _cell(plain(flat(result.file), arena.LONGEST - 5))
            taken.add(name)
            shown = arena.enter(board, name, result.entry)
    return shown.to_csv(index=False, float_format="%.4f", lineterminator="\n")


def flat(file: str) -> str:
    """The path of a submission as one word."""
    return file.removesuffix(".ipynb").replace(os.sep, "__")
