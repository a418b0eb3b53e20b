"""What a teacher enters into the table of marks, carried over when it is written anew.

What was computed when the table was last written is kept beside it: what differs from that in the
table was entered, and stays an entry until its cell is changed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dualdiff.teaching.matching import Matching, Past, Row, same
from dualdiff.teaching.sheet import KEY, Sheet, folded

CHECK = "check"  # the column that says where an entry stands for what the tests gave
# Never an entry. A spreadsheet program makes dates of numbers.
COMPUTED = (KEY, "status", "seconds", "memory_mib")
GONE = "gone"  # the status of a row whose submission is no longer there
Total = Callable[[dict[str, str], dict[str, str]], None]


@dataclass
class Merged:
    """A table with what was entered.

    Attributes
    ----------
    past : Past
        It, as the next call will need it.
    notes : list of str
        What was carried over in a way that should be looked at.
    changed : bool
        Whether entries of the table as it was last written are not in it now.
    lost : list of str
        Those of them that nobody has changed by hand, as far as one can tell: a row or a column is
        missing, or somebody has saved an older table.
    """

    past: Past
    notes: list[str]
    changed: bool
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
        self.rows_of = Matching(columns, rows, sheet, past)
        self.notes = self.rows_of.notes
        own = set(range(len(sheet.columns))) - set(self.rows_of.places.values())
        self.own = [
            n for n in sorted(own) if any(r[n].strip() for r in [sheet.columns, *sheet.rows])
        ]

    def merged(self) -> Merged:
        sheet, past, known = self.sheet, Past(), self.rows_of
        # What was computed once and is no more: kept where somebody has corrected it.
        old = [c for c in known.places if c not in self.columns and self._entered_into(c)]
        past.columns = [*self.columns, *old]
        table = [[*past.columns, *(sheet.columns[n] for n in self.own)]]
        of = {m: n for n, m in known.now.items()}
        for m, row in enumerate(self.rows):
            line, entries = self._line(row, of.get(m), past.columns)
            shown = line | entries | {CHECK: _joined(entries.get(CHECK, ""), line[CHECK])}
            own = [sheet.rows[of[m]][n] if m in of else "" for n in self.own]
            self._write(past, Row(line, row.lab, row.digest, entries | self._named(own)), of.get(m))
            table.append([shown.get(c, "") for c in past.columns] + own)
        for n, cells in enumerate(sheet.rows):
            if n not in known.now:
                self._keep(n, cells, past, table)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(table)
        past.text = text.getvalue()
        changed, lost = self._lost(past)
        return Merged(past, self.notes, changed, lost)

    def _write(self, past: Past, row: Row, n: int | None) -> None:
        """Write down a row, and what of it is entered anew: where, and what was there before."""
        past.rows.append(row)
        was = self.rows_of.was.get(-1 if n is None else n)
        for column, entry in row.entries.items():
            if column != CHECK and (was is None or not same(entry, was.entries.get(column, ""))):
                before = "" if was is None else (was.cells | was.entries).get(column, "")
                past.fresh.append([*row.key, column, before])

    def _entry(self, n: int, column: str, row: Row | None) -> str:
        """What was entered into a cell; empty if it is what was computed."""
        if column not in self.rows_of.places or column in COMPUTED:
            return ""
        text, was = self.rows_of.cell(n, column), self.rows_of.was.get(n)
        known = [] if row is None else [row]
        if was is not None:
            known += [was, *self.before.get(was.label, ())]
            if column == CHECK:
                text = text.replace(was.cells.get(CHECK) or "\0", "").strip("; ")
            if same(text, was.entries.get(column, "")):
                return text.strip() and text
        elif column == CHECK:
            return ""
        computed = any(same(text, r.cells.get(column, "")) for r in known)
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
        differ = {c for c, e in entries.items() if not same(e, line.get(c, ""))}
        # One that is computed too stays an entry: what is computed may change again.
        was = self.rows_of.was.get(-1 if n is None else n)
        stays = differ if was is None else differ | was.entries.keys()
        entries = {c: e for c, e in entries.items() if c in stays}
        line[CHECK] = "; ".join(
            f"{column}: {entry} was entered, {line[column]} is computed"
            for column, entry in entries.items()
            if column in differ and line.get(column)
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
        known = self.rows_of
        was, label = known.was.get(n), known.cell(n, KEY)
        own = [cells[i] for i in self.own]
        shown = {c: cells[i] for c, i in known.places.items()}
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
            self._write(past, Row(was.cells | {"status": GONE}, was.lab, was.digest, entries), n)
            table.append([shown.get(c, "") for c in past.columns] + own)
            return
        twins = [k for k in known.now if label.strip() and known.cell(k, KEY) == label]
        if any(
            all(not c.strip() or c == self.sheet.rows[k][i] for i, c in enumerate(cells))
            for k in twins
        ):
            return  # the same again
        line = [shown.get(c, "") for c in past.columns] + own
        past.added.append(line)
        table.append(line)
        if _sign(table[0], line) not in self._added():
            name = label.strip() or "without a name"
            what = "is there twice and differs" if twins else "is of no submission"
            self.notes.append(f"the row {name} {what}; it stays as it is")

    def _added(self) -> dict[str | frozenset[str], list[str]]:
        """The rows that were added when the table was last written."""
        head = next(csv.reader(io.StringIO(self.past.text)), [])
        return {_sign(head, line): line for line in self.past.added}

    def _lost(self, past: Past) -> tuple[bool, list[str]]:
        """Whether entries as the table was last written have changed, and which are lost."""
        known, lost, changed = self.rows_of, [], False
        at = {(known.name(n), known.lab(n)): n for n in range(len(self.sheet.rows))}
        new = {key: self.rows[known.now[n]].key for key, n in at.items() if n in known.now}

        def cell(label: str, lab: str, column: str) -> str | None:
            """What stands in the table now; nothing if it has no such row or column."""
            if (n := at.get((label, lab))) is None:
                return None
            cells = self.sheet.rows[n]
            there = {c: cells[i] for c, i in known.places.items()}
            there |= dict.fromkeys((f"column {self.sheet.columns[i]}" for i in self.own), "")
            return (there | self._named([cells[i] for i in self.own])).get(column)

        for row in self.past.rows:
            for column, entry in row.entries.items():
                now = None if column == CHECK else cell(*row.key, column)
                changed |= column != CHECK and now != entry
                if now is None and column != CHECK:
                    lost.append(f"{row.label} {column}: {entry}, now nothing")
        # Who has saved an older table over it has not seen the last entries: all of them are as
        # before. A single one may have been taken back, if that is all that was done.
        fresh = self.past.fresh
        done = {tuple(where) for *where, _ in past.fresh} - {tuple(where) for *where, _ in fresh}
        if (len(fresh) > 1 or (fresh and done)) and all(
            (now := cell(label, lab, column)) is not None and same(now, before)
            for label, lab, column, before in fresh
        ):
            entries = {row.key: row.entries for row in self.past.rows}
            for label, lab, column, before in fresh:
                entry = entries.get((label, lab), {}).get(column, "")
                lost.append(f"{label} {column}: {entry}, now {before or 'nothing'}")
        past.fresh = past.fresh or [[*new.get((a, b), (a, b)), *rest] for a, b, *rest in fresh]
        head, *_ = csv.reader(io.StringIO(past.text))
        kept = [_sign(head, line) for line in past.added]
        lost += [
            f"a row: {' '.join(line)}" for sign, line in self._added().items() if sign not in kept
        ]
        return changed or past.added != self.past.added, lost


def _sign(head: list[str], line: Iterable[str]) -> str | frozenset[str]:
    """What an added row is known by: its name, or else what stands in which column."""
    cells = [(folded(c), text.strip()) for c, text in zip(head, line, strict=True) if text.strip()]
    return next((folded(t) for c, t in cells if c == KEY), frozenset(f"{c}\0{t}" for c, t in cells))


def _joined(*texts: str) -> str:
    return "; ".join(filter(None, texts))
