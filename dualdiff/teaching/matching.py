"""Which row of a saved table of marks is which submission's.

Rows are recognised by the submission's label and lab, then by its author's folder and lab, then by
its content, at last by the folder alone. A row that may be another author's is nobody's.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar

from dualdiff.teaching.sheet import KEY, Known, Sheet, folded

Sign = TypeVar("Sign", bound=Hashable)


@dataclass
class Row:
    """A submission's row: what was computed for it.

    Attributes
    ----------
    cells : dict
        By column; ``submission`` is its label.
    lab : str
        Empty if nobody knows.
    digest : str
        Of what was handed in; empty for what others have handed in too, such as nothing.
    entries : dict
        What was entered, in the table as it was last written.
    """

    cells: dict[str, str]
    lab: str = ""
    digest: str = ""
    entries: dict[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return self.cells[KEY]

    @property
    def key(self) -> tuple[str, str]:
        """What no other row has."""
        return self.label, self.lab


@dataclass
class Past:
    """The table as it was last written."""

    columns: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    added: list[list[str]] = field(default_factory=list)  # rows that are no submission's
    text: str = ""
    fresh: list[list[str]] = field(default_factory=list)  # the last entries: see `entries`
    before: Past | None = None  # the one before, until the table is in its place

    @classmethod
    def load(cls, path: Path) -> Past:
        """Read it; empty if it is not there or damaged."""
        try:
            return cls._of(json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, KeyError, TypeError):
            return cls()

    @classmethod
    def _of(cls, values: dict[str, Any]) -> Past:
        rows = [Row(**row) for row in values["rows"]]
        before = cls._of(values["before"]) if values["before"] else None
        return cls(**values | {"rows": rows, "before": before})

    def dump(self) -> str:
        return json.dumps(asdict(self))

    def known(self, columns: Iterable[str] = (), rows: Iterable[Row] = ()) -> Known:
        """What may be in the table, with columns and rows that are computed now."""
        entries = {text for row in self.rows for text in row.entries.values()}
        labels = {row.label for row in (*self.rows, *rows)}
        return Known({*self.columns, *columns}, labels, entries)


class Matching:
    """What is known of the rows of a sheet.

    Attributes
    ----------
    places : dict
        The number of each column that is computed, or was.
    was : dict
        By row of the sheet, what was last written into it.
    now : dict
        By row of the sheet, the number of the submission that it is.
    notes : list of str
        What should be looked at.
    """

    def __init__(self, columns: list[str], rows: list[Row], sheet: Sheet, past: Past) -> None:
        self.rows, self.sheet, self.past = rows, sheet, past
        self.places: dict[str, int] = {}
        self.was: dict[int, Row] = {}
        self.now: dict[int, int] = {}
        self.notes: list[str] = []
        self._taken: set[int] = set()
        for column in dict.fromkeys([KEY, *columns, *past.columns]):
            self._find(column)
        folders = [row.label.split("/")[:-1] for row in (*past.rows, *rows)]
        same = takewhile(lambda steps: len(set(steps)) == 1, zip(*folders, strict=False))
        self._wrapper = "".join(f"{step}/" for step, *_ in same)
        self._recognise()
        self._match()

    def cell(self, n: int, column: str) -> str:
        return self.sheet.rows[n][self.places[column]]

    def name(self, n: int) -> str:
        """The label that a row of the sheet had when it was written."""
        return self.was[n].label if n in self.was else self.cell(n, KEY)

    def lab(self, n: int) -> str:
        return self.was[n].lab if n in self.was else self._said_lab(n)

    def _said_lab(self, n: int) -> str:
        return self.cell(n, "lab").strip() if "lab" in self.places else ""

    def _find(self, column: str) -> None:
        """Find a column: of several with its name, that which holds what was written there."""
        names = [folded(name) for name in self.sheet.columns]
        found = [n for n, name in enumerate(names) if name == folded(column)]
        texts: dict[str, set[str]] = {}
        for row in (*self.past.rows, *self.rows):
            known = texts.setdefault("" if column == KEY else folded(row.label), set())
            known |= {folded(cells.get(column, "")) for cells in (row.cells, row.entries)}

        def fits(n: int) -> tuple[int, int]:
            written = [
                cells[n].strip()
                for cells in self.sheet.rows
                if folded(cells[n])
                in texts.get("" if column == KEY else folded(cells[self.places[KEY]]), ())
            ]
            return sum(map(bool, written)), len(written)

        if found:
            self.places[column] = max(found, key=fits)

    def _recognise(self) -> None:
        """Find out what was last written into which row of the sheet."""
        free = list(self.past.rows)
        # The lab too, as far as it is there: one file may have been handed in for two.
        for lab in (True, False):
            for spelling in (str, folded):
                places = _grouped((spelling(row.label), row.lab if lab else "") for row in free)
                gone = set()
                for n in range(len(self.sheet.rows)):
                    sign = (spelling(self.cell(n, KEY)), self._said_lab(n) if lab else "")
                    if n not in self.was and (found := places.get(sign)):
                        gone.add(found[0])
                        self.was[n] = free[found.pop(0)]
                free = [row for m, row in enumerate(free) if m not in gone]
        for n, m in self._alike(free):
            self.was[n] = free[m]

    def _alike(self, rows: list[Row]) -> Iterator[tuple[int, int]]:
        """Pairs of unknown rows of the sheet and of `rows` that are alike as no others are.

        Their labels are, but for what a program could not save; if several are, what was measured.
        """
        odd = [n for n in range(len(self.sheet.rows)) if n not in self.was and n not in self.now]
        fits = {
            (n, m) for n in odd for m, r in enumerate(rows) if damaged(self.cell(n, KEY), r.label)
        }
        for _ in range(2):
            ours, theirs = Counter(n for n, _ in fits), Counter(m for _, m in fits)
            found = {(n, m) for n, m in fits if ours[n] == theirs[m] == 1}
            yield from found
            measured = [c for c in ("seconds", "memory_mib") if c in self.places]
            fits = {
                (n, m)
                for n, m in fits - found
                if all(same(self.cell(n, c), rows[m].cells.get(c, "")) for c in measured)
            }

    def _match(self) -> None:
        """Find out which row of the sheet is which submission's."""
        every = range(len(self.sheet.rows))
        for spelling in (str, folded):
            places = _grouped(spelling(row.label) for row in self.rows)
            for n in every:
                for m in places.get(spelling(self.name(n)), ()):
                    self._pair(n, m)
        ours = [(self.name(n), self.lab(n)) for n in every]
        theirs = [row.key for row in self.rows]
        folders = (self._parent, self._top)
        for of in folders:
            self._pair_unique(
                [(of(*key), key[1]) for key in ours], [(of(*key), key[1]) for key in theirs]
            )
        digests = [(self.was[n].digest if n in self.was else "", "") for n in every]
        for n, m in _unique(digests, [(row.digest, "") for row in self.rows]):
            # One that lies in nobody's folder may be anybody's.
            parents = {self._parent(*ours[n]), self._parent(*theirs[m])}
            if len(parents) == 1 or "" in parents:
                self._pair(n, m)
        for of in folders:  # what was nothing may be a notebook of some lab now
            self._pair_unique([(of(*key), "") for key in ours], [(of(*key), "") for key in theirs])
        if not self.past.rows:
            for n, m in self._alike(self.rows):
                self._pair(n, m)
        for n, m in self.now.items():
            old, new = self.name(n), self.rows[m].label
            if folded(old) != folded(new) and not damaged(old, new):
                self.notes.append(f"the row of {old} is now that of {new}")

    def _parent(self, label: str, lab: str) -> str:
        """The folder that a submission lies in, if it is an author's; not the archive around it."""
        folder = label.rpartition("/")[0]
        packed = folder.casefold().endswith(".zip")
        return self._author(folder.rpartition("/")[0] if packed else folder, lab)

    def _top(self, label: str, lab: str) -> str:
        """The uppermost folder that not all submissions lie in, if it is an author's."""
        first, _, inside = label.removeprefix(self._wrapper).partition("/")
        return self._author(f"{self._wrapper}{first}", lab) if inside else ""

    def _author(self, folder: str, lab: str) -> str:
        """A folder that is an author's; nothing if all lie in it, or if it is named for the lab."""
        last = folded(folder.rpartition("/")[2])
        named = lab and (lab.casefold().startswith(last) or last.startswith(lab.casefold()))
        return "" if named or self._wrapper.startswith(f"{folder}/") else folder

    def _pair(self, n: int, m: int) -> None:
        labs = {self.lab(n), self.rows[m].lab} - {""}
        if n not in self.now and m not in self._taken and len(labs) < 2:
            self.now[n] = m
            self._taken.add(m)

    def _pair_unique(self, ours: list[tuple[str, str]], theirs: list[tuple[str, str]]) -> None:
        """Match rows by a sign that one row and one submission alone have."""
        for n, m in _unique(ours, theirs):
            self._pair(n, m)


def _unique(
    ours: list[tuple[str, str]], theirs: list[tuple[str, str]]
) -> Iterator[tuple[int, int]]:
    """The places of signs that are there once each; the first part of a sign is not empty."""
    news = _grouped(theirs)
    for sign, found in _grouped(ours).items():
        if sign[0] and len(found) == 1 and len(news.get(sign, ())) == 1:
            yield found[0], news[sign][0]


def _grouped(signs: Iterable[Sign]) -> dict[Sign, list[int]]:
    """The places of each sign."""
    places: dict[Sign, list[int]] = {}
    for n, sign in enumerate(signs):
        places.setdefault(sign, []).append(n)
    return places


def damaged(text: str, label: str) -> bool:
    """Whether a text is a label in which a program has replaced characters that it cannot save."""
    if "?" not in text and "\ufffd" not in text:
        return False
    parts = re.split(r"([?\ufffd]+)", text.strip())
    # One for each character, or for each half of one.
    odd = (
        rf"[^\x00-\x7f]{{{(len(part) + 1) // 2},{len(part)}}}" if n % 2 else re.escape(part)
        for n, part in enumerate(parts)
    )
    return re.fullmatch("".join(odd), label.strip(), re.I) is not None


def same(text: str, computed: str) -> bool:
    """Whether a cell is what was computed, as a spreadsheet program may have written it."""
    if folded(text) == folded(computed) or damaged(folded(text), folded(computed)):
        return True
    try:
        return float(text.replace(",", ".")) == float(computed.replace(",", "."))
    except ValueError:
        return False
