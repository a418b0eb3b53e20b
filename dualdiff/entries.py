"""What a teacher enters into the table of marks, carried over when it is written anew.

What was computed when the table was last written is kept beside it: what differs from that in the
table was entered. Rows are recognised by the submission's label and lab, then by its author's
folder and lab, then by its content.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from dualdiff.sheet import KEY, Sheet, folded

CHECK = "check"  # the column that says where an entry stands for what the tests gave
MEASURED = ("status", "seconds", "memory_mib", CHECK)  # never an entry, as far as nobody knows
Sign = TypeVar("Sign", bound=Hashable)
GONE = "gone"  # the status of a row whose submission is no longer there
Total = Callable[[dict[str, str], dict[str, str]], None]
_ARCHIVE = re.compile(r"\.zip(/|$)", re.I)


@dataclass
class Row:
    """A submission's row: what was computed for it.

    Attributes
    ----------
    cells : dict
        By column; ``submission`` is its label.
    lab, digest : str
        What its notebook is.
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


@dataclass
class Past:
    """The table as it was last written."""

    columns: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    added: list[list[str]] = field(default_factory=list)  # rows that are no submission's
    text: str = ""
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
        return cls(values["columns"], rows, values["added"], values["text"], before)

    def dump(self) -> str:
        return json.dumps(asdict(self))

    def known(self) -> set[str]:
        """Names and words that may be in the table."""
        words = {text for row in self.rows for text in row.entries.values()}
        return {*self.columns, *words, *(row.label for row in self.rows)}


@dataclass
class Merged:
    """A table with what was entered.

    Attributes
    ----------
    past : Past
        It, as the next call will need it.
    notes : list of str
        What was carried over in a way that should be looked at.
    lost : list of str
        What was entered before and is not in it now: somebody has changed the table.
    """

    past: Past
    notes: list[str]
    lost: list[str]


def merged(
    columns: list[str], rows: list[Row], sheet: Sheet | None, past: Past, total: Total | None = None
) -> Merged:
    """A table of what was computed and of what was entered into its last version.

    Parameters
    ----------
    columns : list of str
        That are computed or wait for entries.
    rows : list of Row
    sheet : Sheet or None
        The table as it is now.
    past : Past
        As it was last written.
    total : callable, optional
        Puts into a row what follows from other cells, which may be entries.
    """
    return _Merging(columns, rows, sheet or Sheet([KEY]), past, total or (lambda *_: None)).merged()


class _Merging:
    def __init__(
        self, columns: list[str], rows: list[Row], sheet: Sheet, past: Past, total: Total
    ) -> None:
        self.columns, self.rows, self.total = columns, rows, total
        self.sheet, self.past = sheet, past
        self.before: dict[str, list[Row]] = {}  # what the table may hold if writing it was cut
        older = past.before
        while older is not None:
            for row in older.rows:
                self.before.setdefault(row.label, []).append(row)
            older = older.before
        self.notes: list[str] = []
        self.was: dict[int, Row] = {}  # what was known of a row of the sheet
        self.now: dict[int, int] = {}  # ... and which submission it is
        self.taken: set[int] = set()
        known = [*columns, *(c for c in past.columns if c not in columns)]
        self.computed = {c: n for c in known if (n := sheet.at(c)) is not None}
        own = set(range(len(sheet.columns))) - set(self.computed.values())
        self.own = [
            n for n in sorted(own) if any(r[n].strip() for r in [sheet.columns, *sheet.rows])
        ]

    def merged(self) -> Merged:
        self._recognise()
        self._match()
        sheet, past = self.sheet, Past()
        # What was computed once and is no more: kept where somebody has corrected it.
        old = [c for c in self.computed if c not in self.columns and self._entered_into(c)]
        past.columns = [*self.columns, *old]
        table = [[*past.columns, *(sheet.columns[n] for n in self.own)]]
        of = {m: n for n, m in self.now.items()}
        for m, row in enumerate(self.rows):
            line, entries = self._line(row, of.get(m), past.columns)
            shown = line | entries | {CHECK: _joined(entries.get(CHECK, ""), line[CHECK])}
            own = [sheet.rows[of[m]][n] if m in of else "" for n in self.own]
            past.rows.append(Row(line, row.lab, row.digest, entries | self._named(own)))
            table.append([shown.get(c, "") for c in past.columns] + own)
        for n, cells in enumerate(sheet.rows):
            if n not in self.now:
                self._keep(n, cells, past, table)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(table)
        past.text = text.getvalue()
        return Merged(past, self.notes, self._lost(past))

    def _label(self, n: int) -> str:
        return self._cell(n, KEY)

    def _cell(self, n: int, column: str) -> str:
        return self.sheet.rows[n][self.computed[column]]

    def _name(self, n: int) -> str:
        return self.was[n].label if n in self.was else self._label(n)

    def _lab(self, n: int) -> str:
        return self.was[n].lab if n in self.was else self._said_lab(n)

    def _said_lab(self, n: int) -> str:
        return self._cell(n, "lab").strip() if "lab" in self.computed else ""

    def _recognise(self) -> None:
        """Find out what was last written into which row of the sheet."""
        free = list(self.past.rows)
        # The lab too, as far as it is there: one file may have been handed in for two.
        for lab in (True, False):
            for spelling in (str, folded):
                places = _grouped((spelling(row.label), row.lab if lab else "") for row in free)
                gone = set()
                for n in range(len(self.sheet.rows)):
                    sign = (spelling(self._label(n)), self._said_lab(n) if lab else "")
                    if n not in self.was and (found := places.get(sign)):
                        gone.add(found[0])
                        self.was[n] = free[found.pop(0)]
                free = [row for m, row in enumerate(free) if m not in gone]
        for n, m in self._damaged(free):
            self.was[n] = free[m]

    def _damaged(self, rows: list[Row]) -> Iterator[tuple[int, int]]:
        """Pairs of unknown rows of the sheet and of `rows` that are alike as no others are.

        Their labels are, but for what a program could not save; if several are, what was measured.
        """
        odd = [n for n in range(len(self.sheet.rows)) if n not in self.was and n not in self.now]
        fits = {
            (n, m) for n in odd for m, r in enumerate(rows) if _damaged(self._label(n), r.label)
        }
        for _ in range(2):
            ours, theirs = Counter(n for n, _ in fits), Counter(m for _, m in fits)
            found = {(n, m) for n, m in fits if ours[n] == theirs[m] == 1}
            yield from found
            measured = [c for c in ("seconds", "memory_mib") if c in self.computed]
            fits = {
                (n, m)
                for n, m in fits - found
                if all(_same(self._cell(n, c), rows[m].cells.get(c, "")) for c in measured)
            }

    def _match(self) -> None:
        """Find out which row of the sheet is which submission's."""
        every = range(len(self.sheet.rows))
        for spelling in (str, folded):
            places = _grouped(spelling(row.label) for row in self.rows)
            for n in every:
                for m in places.get(spelling(self._name(n)), ()):
                    self._pair(n, m)
        for sign in (_parent, _first):
            self._pair_unique(
                [(sign(self._name(n)), self._lab(n)) for n in every],
                [(sign(row.label), row.lab) for row in self.rows],
            )
        self._pair_unique(
            [(self.was[n].digest if n in self.was else "", "") for n in every],
            [(row.digest, "") for row in self.rows],
        )
        if not self.past.rows:
            for n, m in self._damaged(self.rows):
                self._pair(n, m)
        for n, m in self.now.items():
            old, new = self._name(n), self.rows[m].label
            if folded(old) != folded(new) and not _damaged(old, new):
                self.notes.append(f"the row of {old} is now that of {new}")

    def _pair(self, n: int, m: int) -> None:
        labs = {self._lab(n), self.rows[m].lab} - {""}
        if n not in self.now and m not in self.taken and len(labs) < 2:
            self.now[n] = m
            self.taken.add(m)

    def _pair_unique(self, ours: list[tuple[str, str]], theirs: list[tuple[str, str]]) -> None:
        """Match rows by a sign that one row and one submission alone have."""
        places, news = _grouped(ours), _grouped(theirs)
        for sign, found in places.items():
            if sign[0] and len(found) == 1 and len(news.get(sign, ())) == 1:
                self._pair(found[0], news[sign][0])

    def _entry(self, n: int, column: str, row: Row | None) -> str:
        """What was entered into a cell; empty if it is what was computed."""
        if column not in self.computed or column == KEY:
            return ""
        text = self._cell(n, column)
        known = [] if row is None else [row]
        if was := self.was.get(n):
            known += [was, *self.before.get(was.label, ())]
            if column == CHECK:
                text = text.replace(was.cells.get(CHECK) or "\0", "").strip("; ")
        elif column in MEASURED:
            return ""
        computed = any(_same(text, r.cells.get(column, "")) for r in known)
        return text if text.strip() and not computed else ""

    def _entered_into(self, column: str) -> bool:
        return any(self._entry(n, column, None) for n in range(len(self.sheet.rows)))

    def _line(
        self, row: Row, n: int | None, columns: list[str]
    ) -> tuple[dict[str, str], dict[str, str]]:
        """What is computed for a row now, and what was entered into it."""
        line = {**row.cells, CHECK: ""}
        entries = {c: e for c in columns if n is not None and (e := self._entry(n, c, row))}
        self.total(line, entries)
        entries = {c: e for c, e in entries.items() if not _same(e, line.get(c, ""))}
        line[CHECK] = "; ".join(
            f"{column}: {entry} was entered, {line[column]} is computed"
            for column, entry in entries.items()
            if line.get(column)
        )
        return line, entries

    def _named(self, own: list[str]) -> dict[str, str]:
        """What stands in the columns that nobody knows, which may have the same name."""
        named: dict[str, str] = {}
        for n, cell in zip(self.own, own, strict=True):
            name = f"column {self.sheet.columns[n]}"
            named[name] = _joined(named.get(name, ""), cell)
        return {name: text for name, text in named.items() if text}

    def _keep(self, n: int, cells: list[str], past: Past, table: list[list[str]]) -> None:
        """A row that is no submission's: added, there twice, or of one that is gone."""
        was, label = self.was.get(n), self._label(n)
        own = [cells[i] for i in self.own]
        shown = {c: cells[i] for c, i in self.computed.items()}
        if was is not None:
            entries = {c: e for c in past.columns if (e := self._entry(n, c, was))}
            if not entries and not any(map(str.strip, own)):
                return  # nothing was entered
            shown |= {KEY: was.label, "status": GONE}
            if was.cells.get("status") != GONE:
                self.notes.append(
                    f"{was.label} is gone; its row stays, for what was entered into it"
                )
            entries |= self._named(own)
            past.rows.append(Row(was.cells | {"status": GONE}, was.lab, was.digest, entries))
            table.append([shown.get(c, "") for c in past.columns] + own)
            return
        twins = [k for k in self.now if label.strip() and self._label(k) == label]
        if any(
            all(not c.strip() or c == self.sheet.rows[k][i] for i, c in enumerate(cells))
            for k in twins
        ):
            return  # the same again
        line = [shown.get(c, "") for c in past.columns] + own
        past.added.append(line)
        table.append(line)
        if line not in self.past.added:
            name = label.strip() or "without a name"
            what = "is there twice and differs" if twins else "is of no submission"
            self.notes.append(f"the row {name} {what}; it stays as it is")

    def _lost(self, past: Past) -> list[str]:
        """Entries of the table as it was last written that are not in it now, and what is."""
        place = {self._name(n): self.rows[m].label for n, m in self.now.items()}
        lines = {row.label: row.entries for row in past.rows}
        lost = []
        for row in self.past.rows:
            now = lines.get(place.get(row.label, row.label), {})
            for column, entry in row.entries.items():
                if now.get(column, "") != entry and column != CHECK:
                    instead = now.get(column) or "nothing"
                    lost.append(f"{row.label} {column}: {entry}, now {instead}")
        lost += [f"a row: {' '.join(row)}" for row in self.past.added if row not in past.added]
        return lost


def _grouped(signs: Iterable[Sign]) -> dict[Sign, list[int]]:
    """The places of each sign."""
    places: dict[Sign, list[int]] = {}
    for n, sign in enumerate(signs):
        places.setdefault(sign, []).append(n)
    return places


def _joined(*texts: str) -> str:
    return "; ".join(filter(None, texts))


def _parent(label: str) -> str:
    """The folder of a submission; not the archive that it was packed in."""
    return _ARCHIVE.split(label)[0].rpartition("/")[0]


def _first(label: str) -> str:
    return label.partition("/")[0] if "/" in label else ""


def _damaged(text: str, label: str) -> bool:
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


def _same(text: str, computed: str) -> bool:
    """Whether a cell is what was computed, as a spreadsheet program may have written it."""
    if folded(text) == folded(computed) or _damaged(folded(text), folded(computed)):
        return True
    try:
        return float(text.replace(",", ".")) == float(computed.replace(",", "."))
    except ValueError:
        return False
