"""What is written about marked submissions: the table, pages for authors, the leaderboard."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import threading
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from dualdiff.teaching import competition, sheet
from dualdiff.teaching.entries import CHECK, merged
from dualdiff.teaching.matching import Past, Row
from dualdiff.teaching.submission import Lab, Marked, plain

_HEAD = ["submission", "lab", "status", "marks", "of", "seconds", "memory_mib", "remarks", CHECK]
_NAME = 35  # characters of a competitor's name
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


def leaderboard(results: list[Marked]) -> str:
    """Who achieved what in the competition, as CSV, the best first.

    Whoever chose no name, or one that is taken, is known by the file.
    """
    taken = {"", "me"}  # nobody, and what the lab begins with
    entries: dict[str, dict[str, Any]] = {}
    for result in results:
        if result.entry is None:
            continue
        game = next((entry["game"] for entry in entries.values()), result.entry["game"])
        if result.entry["game"] != game:  # such as one with another seed
            result.remarks.append("not in the leaderboard: it has played another game")
            continue
        name = known_as(result.entry.get("name"))
        if _alike(name) in taken:
            name = known_as(flat(result.file)) or "?"
        first, number = name, 1
        while _alike(name) in taken:
            number += 1
            name = f"{first[: _NAME - 5]} ({number})"
        taken.add(_alike(name))
        entries[_cell(name)] = result.entry
    shown = competition.leaderboard(entries)
    return shown.to_csv(index=False, float_format="%.4f", lineterminator="\n")


def known_as(name: object) -> str:
    """What a student wants to be called, of whatever type that is: empty if it is no name."""
    with suppress(ValueError):  # of an integer with thousands of digits
        return plain(name, _NAME) if isinstance(name, str | int | float) else ""
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


def write(
    results: list[Marked],
    labs: dict[str, Lab],
    ignored: list[str],
    out: Path,
    say: Callable[[str], None],
) -> list[str]:
    """Write all that is known; what could not be written, and why."""
    failed: list[str] = []

    def attempt(path: Path, write: Callable[[], None]) -> None:
        try:
            write()
        except Exception as error:  # whatever it is: the others are written
            failed.append(f"{path.name} ({plain(f'{type(error).__name__}: {error}')})")

    def page(path: Path, text: Callable[[], str], there: bool = True) -> None:
        attempt(path, lambda: write_text(path, text()) if there else path.unlink(missing_ok=True))

    competed = any(result.entry for result in results)
    page(out / "leaderboard.csv", lambda: leaderboard(results), competed)
    page(out / "open_answers.md", lambda: answers_page(results))
    page(out / "ignored.txt", lambda: "".join(f"{name}\n" for name in ignored), bool(ignored))
    names = pages(result.file for result in results)
    attempt(out / "feedback", lambda: _only(out, set(names.values())))
    for result in results:
        path = out / "feedback" / f"{names[result.file]}.md"
        page(path, lambda result=result: feedback(result, labs))  # type: ignore[misc]
    attempt(out / "marks.csv", lambda: _write_table(results, labs, out / "marks.csv", say))
    return failed


def _only(out: Path, names: set[str]) -> None:
    """Remove the pages that an earlier call has written, of submissions that are gone."""
    record = out / ".done" / "pages.json"
    with suppress(FileNotFoundError, ValueError):  # of the first call, or damaged
        for name in {*json.loads(record.read_text("utf-8"))} - names:
            (out / "feedback" / f"{name}.md").unlink(missing_ok=True)
    write_text(record, json.dumps(sorted(names)))


def _write_table(
    results: list[Marked], labs: dict[str, Lab], path: Path, say: Callable[[str], None]
) -> None:
    """Write the marks with what was entered, once every other version is safe."""
    record = path.parent / ".done" / "table.json"
    past = Past.load(record)
    columns, rows = table(results, labs)
    found = sheet.load(path, past.known(columns, rows))
    questions = {question for lab in labs.values() for question in lab.points}
    new = merged(columns, rows, found, past, partial(corrected, questions))
    text, kept = new.past.text.encode(), []
    if found is not None and (before := path.read_bytes()) != text:
        kept.append(sheet.numbered(path, before))
    if new.changed and past.text.encode() != text:
        last = sheet.numbered(path, past.text.encode())
        if new.lost:
            say(
                f"{path.name}: entries are not as they were when it was last written, which is now "
                f"{last.name}: {_some(new.lost)}"
            )
    for note in [*(found.notes if found is not None else ()), *new.notes]:
        say(f"{path.name}: {note}" + (f" (as it was: {kept[0].name})" if kept else ""))
    for other in sorted(path.parent.glob(f"{path.stem}*")):
        if other != path and not re.fullmatch(rf"{path.stem}-\d+{path.suffix}", other.name):
            say(f"{plain(other.name)} is not read: what was entered into it belongs in {path.name}")
    # Whenever this ends, one of the two records fits the table that is there.
    write_text(record, Past(**vars(new.past) | {"before": past}).dump())
    write_text(path, new.past.text)
    write_text(record, new.past.dump())


def counted(results: list[Marked], ignored: list[str]) -> str:
    """How many are marked, and which are not."""
    words = []
    for state in ("marked", "stopped", "unreadable", "not marked"):
        files = [plain(result.file) for result in results if status(result) == state]
        named = f" ({_some(files)})" if state != "marked" else ""
        words += [f"{len(files)} {state}{named}"] if files or state == "marked" else []
    left = f"; ignored: {_some(ignored)} (ignored.txt)" if ignored else ""
    return f"{len(results)} handed in: {', '.join(words)}{left}"


def _some(words: list[str], most: int = 10) -> str:
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def write_text(path: Path, text: str) -> None:
    """Write a file as a whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.getpid()}-{threading.get_ident()}.partial")
    try:
        partial.write_text(text, "utf-8", errors="replace")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)  # of an interruption
