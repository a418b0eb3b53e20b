"""The table of marks as a spreadsheet program has saved it."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

SEPARATORS = ",;\t"
# Those that programs on Windows and macOS save in, the most frequent first.
CODE_PAGES = tuple(
    "cp1252 cp1250 cp1251 cp1253 cp1254 cp1257 cp1258 cp1255 cp1256 cp874 cp932 gb18030 big5 cp949 "
    "mac_roman cp850".split()
)
KEY = "submission"  # the column that says whose row it is


class Known(NamedTuple):
    """What may be in a table: names of columns, submissions, and what was entered."""

    columns: Collection[str] = ()
    labels: Collection[str] = ()
    entries: Collection[str] = ()


NOTHING = Known()


@dataclass
class Sheet:
    """What is in a table: the names of its columns, and its rows, all of the same length."""

    columns: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what its reader should know

    def at(self, name: str) -> int | None:
        """The number of the column of a name: the first, however it is written."""
        names = [folded(column) for column in self.columns]
        return names.index(folded(name)) if folded(name) in names else None


def folded(text: str) -> str:
    """Text without what programs change in passing: spaces at its ends, capitals, a quote."""
    return " ".join(text.split()).removeprefix("'").casefold()


def load(path: Path, known: Known = NOTHING) -> Sheet | None:
    """Read a table; nothing if there is none.

    Parameters
    ----------
    path : Path
    known : Known
        Its columns tell separators apart, all of it code pages.

    Raises
    ------
    ValueError
        If it is open in another program or cannot be read. Nothing is changed then.
    """
    for lock in (f".~lock.{path.name}#", f"~${path.name}"):
        if path.with_name(lock).exists():
            raise ValueError(
                f"{path} is open in another program: close it there and start again (or delete "
                f"{lock} beside it, which a program has left that did not end well)"
            )
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(
            f"{path} cannot be read ({error.strerror}): close the programs that have it open, and "
            "see that you may read it; or move it away"
        ) from error
    try:
        return parsed(data, known)
    except ValueError as error:
        raise ValueError(
            f"{path} is not a table as a spreadsheet program saves it ({error}): save it as CSV, "
            "or move it away"
        ) from error


def parsed(data: bytes, known: Known = NOTHING) -> Sheet:
    """A table of bytes.

    Raises
    ------
    ValueError
        If it is none.
    """
    notes: list[str] = []
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"%PDF")):
        raise ValueError("it is a document of another kind")
    text = _unicode(data)
    if text is None:
        # Byte by byte: what separates cells is the same in all code pages.
        sheet = _table(data.decode("latin-1"), known)
        page = _code_page([c for row in [sheet.columns, *sheet.rows] for c in row], known)
        sheet.columns = [_decoded(c, page) for c in sheet.columns]
        sheet.rows = [[_decoded(c, page) for c in row] for row in sheet.rows]
        notes.append(f"it is not in UTF-8, and was read in the code page {page}")
    else:
        sheet = _table(text, known)
    sheet.notes = notes + sheet.notes
    return sheet


def _unicode(data: bytes) -> str | None:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    if b"\0" in data:  # in UTF-16 half of the bytes of commas and digits
        return data.decode("utf-16-le" if data[1::2].count(0) > data[::2].count(0) else "utf-16-be")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _code_page(cells: list[str], known: Known) -> str:
    """The one in which the most of what is known is there; of equals, the most frequent."""
    foreign = {folded(text) for texts in known for text in texts if not text.isascii()}
    raw = [cell.encode("latin-1") for cell in cells if not cell.isascii()]

    def found(page: str) -> int:
        return sum(folded(cell.decode(page, "replace")) in foreign for cell in raw)

    return max(CODE_PAGES, key=found)


def _decoded(cell: str, page: str) -> str:
    """A cell of bytes. One program adds in its code page to what it did not know to be UTF-8."""
    raw = cell.encode("latin-1")
    for encoding in ("utf-8", page):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            pass
    return cell


def _table(text: str, known: Known) -> Sheet:
    """The rows under the row of column names, read with the separator that finds the most.

    That row has the column of the submissions, and the most names: what was entered may be names
    too, but hardly that one.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    named = re.match(r'"?sep=(.)"?\n', text)
    if named:
        text = text[named.end() :]
    names = {folded(name) for name in known.columns}
    candidates, wrong = [], ""
    for separator in named[1] if named else SEPARATORS:
        try:
            rows = list(_rows(text, separator))
        except csv.Error as error:
            wrong = str(error)
            continue
        cells = [[folded(cell) for cell in row] for row in rows[:20]]
        heads = [(KEY in row, sum(cell in names for cell in row)) for row in cells]
        width = max(map(len, rows), default=0)
        candidates.append((max(heads, default=(False, 0)), width, rows, heads))
    if not candidates:
        raise ValueError(wrong)
    most, width, rows, heads = max(candidates, key=lambda found: found[:2])
    rows = [row + [""] * (width - len(row)) for row in rows]
    if not rows:
        return Sheet()
    start = heads.index(most)
    sheet = Sheet(rows[start], [row for row in rows[start + 1 :] if any(map(str.strip, row))])
    if any(any(row) for row in rows[:start]):
        sheet.notes.append(f"the {start} rows above the names of its columns are left out")
    if sheet.at(KEY) is None:
        _find_key(sheet, {folded(label) for label in known.labels}, names)
    return sheet


def _find_key(sheet: Sheet, labels: set[str], names: set[str]) -> None:
    """The column of the submissions under another name: the one that holds the most of them."""
    counts = [
        sum(folded(row[n]) in labels for row in sheet.rows) for n in range(len(sheet.columns))
    ]
    best = counts.index(max(counts)) if any(counts) else None
    if best is None or folded(sheet.columns[best]) in labels | names:
        raise ValueError(f"the names of its columns are not in it, or {KEY} is not among them")
    sheet.notes.append(f"its column {sheet.columns[best]!r} was taken for {KEY}")
    sheet.columns[best] = KEY


def _rows(text: str, separator: str) -> Iterator[list[str]]:
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield from csv.reader(io.StringIO(text, newline="\n"), delimiter=separator, strict=True)
    finally:
        csv.field_size_limit(before)


def numbered(path: Path, data: bytes) -> Path:
    """Keep a version of a table beside it, under the next number, if it is not there already."""
    number = 1
    while True:
        kept = path.with_name(f"{path.stem}-{number}{path.suffix}")
        try:
            with kept.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            return kept
        except FileExistsError:
            if kept.is_file() and kept.read_bytes() == data:
                return kept
        number += 1
