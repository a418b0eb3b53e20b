"""What a teacher enters is there after the table was written anew, whatever happened to both."""

import csv
import io
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualdiff.teaching import sheet
from dualdiff.teaching.entries import GONE, merged
from dualdiff.teaching.matching import Past, Row
from dualdiff.teaching.sheet import Known, folded, parsed

COLUMNS = ["submission", "lab", "status", "marks", "of", "seconds", "memory_mib", "remarks"]
COLUMNS += ["check", "q1", "q2", "open1"]


def row(label: str, lab: str = "lab1", **cells: str) -> Row:
    known = {"marks": "3", "of": "4", "seconds": "1.5", "memory_mib": "99", "remarks": ""}
    known |= {"submission": label, "lab": lab, "status": "marked", "q1": "2", "q2": "1"}
    return Row(known | cells, lab, f"digest of {label}")


def cells_of(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="\n")))


def by_label(text: str) -> dict[str, dict[str, str]]:
    head, *rows = cells_of(text)
    assert len({line[0] for line in rows}) == len(rows)
    return {line[0]: dict(zip(head, line, strict=True)) for line in rows}


@dataclass
class Saved:
    """How a spreadsheet program saves."""

    encoding: str = "utf-8"
    separator: str = ","
    end: str = "\r\n"
    quoting: int = csv.QUOTE_MINIMAL
    says: bool = False  # sep=; in its first line

    def __call__(self, table: list[list[str]]) -> bytes:
        text = io.StringIO()
        text.write(f"sep={self.separator}{self.end}" if self.says else "")
        quoting = csv.QUOTE_ALL if self.end == "\r" else self.quoting  # else it forgets "\n"
        options = {"delimiter": self.separator, "quoting": quoting}
        csv.writer(text, lineterminator=self.end, **options).writerows(table)
        return text.getvalue().encode(self.encoding, "replace")


saved = st.builds(
    Saved,
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"]),
    st.sampled_from(",;\t"),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.booleans(),
)
# What can be in a cell: no halves of characters, and of what controls only the end of a line.
printed = st.characters(exclude_categories=["Cs", "Cc"])
anything = st.text(printed | st.sampled_from(',;\t"\n='), max_size=12)
written = anything.filter(str.strip)
plain = st.characters(exclude_categories=["Cs", "C", "Z"], exclude_characters="/")
name = st.text(plain, min_size=1)
marks = st.sampled_from(["0", "4", "3,5", "2.5", "½", "fehlt", "-", "?", "1e3"])


@st.composite
def history(draw):
    """A table, what was entered into it, how it was saved, and what is computed afterwards."""
    authors = draw(st.lists(name, min_size=1, max_size=5, unique_by=folded))
    rows = [
        row(f"{author}/{lab}.ipynb", lab, q1=draw(st.sampled_from(["0", "1", "2"])))
        for author in authors
        for lab in draw(st.sampled_from([["lab1"], ["lab1", "lab2"]]))
    ]
    first = merged(COLUMNS, rows, None, Past())
    head, *table = cells_of(first.past.text)
    entered: dict[str, dict[str, str]] = {}
    new = written.filter(lambda t: folded(t) not in COLUMNS)
    for column in draw(st.lists(new, max_size=2, unique_by=folded)):
        at = draw(st.integers(1, len(head)))
        head.insert(at, column)
        for line in table:
            line.insert(at, draw(anything))
            if line[at].strip():
                entered.setdefault(line[0], {})[column] = line[at]
    for line in table:
        for column, values in {"open1": marks | written, "q2": marks.map("7{}".format)}.items():
            if draw(st.booleans()):
                line[head.index(column)] = value = draw(values)
                entered.setdefault(line[0], {})[column] = value
    for label in draw(st.lists(name, max_size=2, unique=True)):
        line = [draw(anything) for _ in head]
        line[0] = f"added {label}"
        table.append(line)
        entered[line[0]] = {c: t for c, t in zip(head, line, strict=True) if t.strip()}
    table = draw(st.permutations(table))
    after, moved = [], {}
    for old in rows:
        fate = draw(st.sampled_from(["same", "marked anew", "renamed", "gone"]))
        label = old.label.replace(".ipynb", " (1).ipynb") if fate == "renamed" else old.label
        moved[old.label] = label
        if fate != "gone":
            more = {"q1": "9", "q2": "9"} if fate == "marked anew" else {}
            after.append(replace(old, cells={**old.cells, **more, "submission": label}))
    after += [row(f"new {n}/lab1.ipynb") for n in range(draw(st.integers(0, 2)))]
    return first.past, [head, *table], draw(saved), draw(st.permutations(after)), entered, moved


@given(history())
def test_what_was_entered_stays_in_its_row(drawn):
    past, table, save, rows, entered, moved = drawn
    found = parsed(save(table), past.known())
    new = merged(COLUMNS, rows, found, past)
    now = by_label(new.past.text)
    assert new.lost == []
    for label, cells in entered.items():
        for column, text in cells.items():
            assert now[moved.get(label, label)][column] == text
    for label, line in now.items():  # and nothing that nobody entered
        if (old := next((r for r in rows if r.label == label), None)) is not None:
            was = next((k for k, v in moved.items() if v == label), label)
            for column in ("q1", "q2", "open1"):
                expected = entered.get(was, {}).get(column, old.cells.get(column, ""))
                assert line[column] == expected
    # Another call changes nothing and has nothing to say.
    same = merged(COLUMNS, rows, parsed(new.past.text.encode()), new.past)
    assert (same.past.text, same.notes, same.lost) == (new.past.text, [], [])


@given(history(), st.sampled_from(["cp1252", "cp1251", "ascii", "cp932"]))
def test_what_a_program_cannot_save_moves_no_entry_to_another(drawn, encoding):
    """Names with question marks: an entry is in its row, or in a row that stays as it is."""
    past, table, save, rows, _, moved = drawn
    head = table[0]
    entered = {}
    for n, line in enumerate(table[1:]):
        line[head.index("open1")] = entered[line[0]] = f"mark {n}"
    found = parsed(replace(save, encoding=encoding)(table), past.known())
    lines = cells_of(merged(COLUMNS, rows, found, past).past.text)
    at = lines[0].index("open1")
    for label, text in entered.items():
        (line,) = [line for line in lines if line[at] == text]
        if line[0] in {r.label for r in rows}:
            assert line[0] == moved[label]


TEXTS = {"cp1252": "größer, ça, señor", "cp1250": "žluťoučký kůň", "cp1251": "отлично"}
TEXTS |= {"cp1253": "πολύ καλά", "cp932": "とても良い", "gb18030": "很好", "cp949": "아주 좋아"}
TEXTS |= {"big5": "做得很好"}


@pytest.mark.parametrize("page", TEXTS)
def test_a_code_page_is_told_by_the_names_that_are_known(page):
    text = TEXTS[page]
    past = merged(COLUMNS, [row(f"{text}/a.ipynb")], None, Past()).past
    table = cells_of(past.text)
    table[1][-1] = text[:-1]
    found = parsed(Saved(page)(table), past.known())
    new = merged(COLUMNS, [row(f"{text}/a.ipynb")], found, past)
    assert by_label(new.past.text)[f"{text}/a.ipynb"]["open1"] == text[:-1]
    assert any(page in note for note in found.notes)


def test_utf8_that_a_program_took_for_a_code_page():
    """It shows Ã¼ for ü and saves it as it was; what is entered beside it is in the code page."""
    past = merged(COLUMNS, [row("Müller/a.ipynb")], None, Past()).past
    data = past.text.encode().rstrip(b"\n") + "größer\n".encode("cp1252")
    new = merged(COLUMNS, [row("Müller/a.ipynb")], parsed(data), past)
    assert by_label(new.past.text)["Müller/a.ipynb"]["open1"] == "größer"


ADA, BEN = "ada/a.ipynb", "ben/b.ipynb"


def edited(past: Past, *changes: tuple[str, str, str]) -> sheet.Sheet:
    """The table with other cells: label, column, text."""
    found = parsed(past.text.encode(), past.known())
    for label, column, text in changes:
        at = next(line for line in found.rows if line[0] == label)
        at[found.at(column)] = text
    return found


@pytest.fixture
def past() -> Past:
    return merged(COLUMNS, [row(ADA), row(BEN)], None, Past()).past


def again(past: Past, rows: list[Row], *changes: tuple[str, str, str]):
    """The table written anew, after cells of it were changed."""
    return merged(COLUMNS, rows, edited(past, *changes), past)


def test_a_correction_stays_and_both_are_shown(past):
    computed = [row(ADA, q1="0"), row(BEN, remarks="a cell failed")]
    new = again(past, computed, (ADA, "q1", "1,5"), (BEN, "remarks", "came late"))
    now = by_label(new.past.text)
    assert now[ADA]["q1"] == "1,5" and now[BEN]["remarks"] == "came late"
    assert "1,5" in now[ADA]["check"] and "0" in now[ADA]["check"]
    assert "a cell failed" in now[BEN]["check"]
    back = again(new.past, [row(ADA, q1="0"), row(BEN)], (ADA, "q1", ""))
    assert by_label(back.past.text)[ADA]["q1"] == "0" and back.changed and not back.lost


def test_what_was_computed_before_is_no_correction_in_any_notation(past):
    before = merged(COLUMNS, [row(ADA, marks="2.5", q1="2.50")], None, Past()).past
    anew = [row(ADA, marks="3", q1="1", of="5", remarks="x")]
    new = again(before, anew, (ADA, "marks", "2,50"), (ADA, "q1", "2,5"), (ADA, "of", "4.0"))
    expected = {"marks": "3", "q1": "1", "of": "5", "check": "", "remarks": "x"}
    now = by_label(new.past.text)[ADA]
    assert now | expected == now


def test_without_a_record_nothing_that_stands_there_is_lost(past):
    found = edited(past, (ADA, "q1", "1"), (ADA, "open1", "4"))
    now = by_label(merged(COLUMNS, [row(ADA), row(BEN)], found, Past()).past.text)
    assert (now[ADA]["q1"], now[ADA]["open1"], now[BEN]["q1"]) == ("1", "4", "2")


def test_an_interruption_between_the_record_and_the_table_makes_no_corrections(past):
    """The record is of the new table, the table is still the one before."""
    rows = [row(ADA, q1="0"), row(BEN)]
    cut = Past(**vars(again(past, rows).past) | {"before": past})
    now = by_label(merged(COLUMNS, rows, edited(past, (BEN, "open1", "4")), cut).past.text)
    assert now[ADA]["q1"] == "0" and now[BEN]["open1"] == "4"


def test_a_row_twice_that_differs_stays_twice(past):
    found = edited(past, (ADA, "open1", "4"))
    twin = [*found.rows[0]]
    twin[found.at("open1")] = "2"
    found.rows += [twin, [*found.rows[1]]]  # and one that is the same again
    new = merged(COLUMNS, [row(ADA), row(BEN)], found, past)
    entries = [(line[0], line[-1]) for line in cells_of(new.past.text)[1:]]
    assert sorted(entries) == [(ADA, "2"), (ADA, "4"), (BEN, "")]
    assert any(ADA in note for note in new.notes)


def test_the_table_of_somebody_who_has_not_seen_the_last_entries_is_noticed(past):
    anna = again(past, [row(ADA), row(BEN)], (ADA, "open1", "4")).past
    bens = edited(past, (BEN, "open1", "3"))  # begun before Anna's entry was in
    new = merged(COLUMNS, [row(ADA), row(BEN)], bens, anna)
    assert by_label(new.past.text)[BEN]["open1"] == "3"
    assert new.lost == [f"{ADA} open1: 4, now nothing"]


def test_entries_follow_neither_into_another_lab_nor_to_another_author(past):
    other = [row(ADA, "lab2"), row("ada/c/d.ipynb", "lab2"), row("eve/a.ipynb")]
    new = again(past, other, (ADA, "open1", "4"))
    rows = [(line[0], line[2], line[-1]) for line in cells_of(new.past.text)[1:]]
    assert (ADA, GONE, "4") in rows and [r for r in rows if r[2]] == [(ADA, GONE, "4")]
    turned = edited(new.past)
    turned.rows.reverse()  # the same, whatever the order of the rows
    same = merged(COLUMNS, other, turned, new.past)
    assert same.past.text == new.past.text and same.lost == []


def test_the_only_other_file_of_a_shared_folder_is_not_the_same_author():
    rows = [row(f"group/{n}.ipynb") for n in ("ada", "ben")]
    past = merged(COLUMNS, rows, None, Past()).past
    new = again(past, [rows[1], row("group/eve.ipynb")], ("group/ada.ipynb", "open1", "4"))
    now = by_label(new.past.text)
    assert now["group/eve.ipynb"]["open1"] == "" and now["group/ada.ipynb"]["open1"] == "4"


def test_a_renamed_file_that_is_the_same_keeps_its_entry(past):
    rows = [replace(row("x.ipynb"), digest=row(ADA).digest), row(BEN)]
    new = again(past, rows, (ADA, "open1", "4"))
    assert by_label(new.past.text)["x.ipynb"]["open1"] == "4" and new.notes


@given(st.integers(0, 14), st.data())
def test_columns_of_ones_own_are_never_taken_for_the_names_of_columns(count, data):
    """Whatever stands in them, and how many there are: what was entered may be a name too."""
    rows = [row(ADA), row(BEN)]
    past = merged(COLUMNS, rows, None, Past()).past
    table = cells_of(past.text)
    cell = st.sampled_from(["0", "1", "q1", "ada", "lab"])
    for line in table[1:]:
        line += [data.draw(cell) for _ in range(count)]
    table[0] += [f"criterion {n}" for n in range(count)]
    for save in (Saved(), data.draw(saved)):
        new = merged(COLUMNS, rows, parsed(save(table), past.known()), past)
        assert cells_of(new.past.text) == table and new.lost == []
        past = new.past


@given(st.lists(st.sampled_from(["0", "1", "2"]), min_size=1, max_size=6), st.booleans())
def test_an_entry_stays_until_its_cell_is_changed(computed, own):
    """Also where the tests give the same for once."""
    past = merged(COLUMNS, [row(ADA, q1="3")], None, Past()).past
    new = again(past, [row(ADA, q1="3")], (ADA, "q1", "1"))
    for value in computed:
        new = again(new.past, [row(ADA, q1=value)])
        now = by_label(new.past.text)[ADA]
        assert now["q1"] == "1" and bool(now["check"]) == (value != "1")
        assert (new.notes, new.changed, new.lost) == ([], False, [])
    back = by_label(again(new.past, [row(ADA, q1="0")], (ADA, "q1", "")).past.text)[ADA]
    assert back["q1"] == "0" and back["check"] == ""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["ada/l.ipynb"], ["bob/x.ipynb", "ada/v2.ipynb", "ada/v3.ipynb"]),
        (["c/ada/l.ipynb"], ["c/bob/x.ipynb", "c/ada/v2.ipynb", "c/ada/v3.ipynb"]),
        (["all.zip/ada/l.ipynb", "all.zip/eve/l.ipynb"], ["all.zip/bob/l.ipynb"]),
        (["lab1/ada.ipynb"], ["lab1/bob.ipynb"]),
        (["lab1/ada.ipynb", "lab2/eve.ipynb"], ["lab1/bob.ipynb", "lab2/eve.ipynb"]),
        (["w/lab1/ada.ipynb"], ["w/lab1/bob.ipynb"]),
    ],
)
def test_an_entry_goes_to_no_other_author(before, after):
    """By a copy of another's file, or by a folder that is nobody's."""
    old = [row(label) for label in before]
    first = before[0]
    copies = "/ada/" in f"/{first}" and "bob" in after[0]
    rows = [row(label) for label in after]
    if copies:
        rows[0].digest = old[0].digest
    new = again(merged(COLUMNS, old, None, Past()).past, rows, (first, "open1", "5"))
    now = by_label(new.past.text)
    assert {label for label, line in now.items() if line["open1"]} == {first}
    assert now[first]["status"] == GONE and new.notes


def test_what_many_have_handed_in_is_nobodys_sign():
    rows = [replace(row("ada.ipynb"), digest="")]
    past = merged(COLUMNS, rows, None, Past()).past
    new = again(past, [replace(row("bob.ipynb"), digest="")], ("ada.ipynb", "open1", "5"))
    assert by_label(new.past.text)["bob.ipynb"]["open1"] == ""


@pytest.mark.parametrize("first", ["ada/", "ada/notes.pdf", "ada/x.zip"])
def test_who_hands_in_late_keeps_the_row(first):
    rows = [row(first, "", status="not marked"), row(BEN)]
    past = merged(COLUMNS, rows, None, Past()).past
    table = cells_of(past.text)
    for n, line in enumerate(table):
        line.append("number" if n == 0 else f"471{n}")
    past = merged(COLUMNS, rows, parsed(Saved()(table), past.known()), past).past
    now = by_label(again(past, [row(ADA), row(BEN)]).past.text)
    assert (now[ADA]["number"], now[BEN]["number"]) == ("4711", "4712") and len(now) == 2
    back = by_label(again(past, rows).past.text)  # and the other way
    assert back[first]["number"] == "4711" and len(back) == 2


def test_one_name_in_two_labs_is_two_rows_whose_entries_are_not_lost():
    past = merged(COLUMNS, [row(ADA)], None, Past()).past
    new = again(past, [row(ADA)], (ADA, "open1", "5"))
    for _ in range(3):
        new = again(new.past, [row(ADA, "lab2")])
        assert new.lost == [] and not new.changed
    rows = [(line[0], line[1], line[-1]) for line in cells_of(new.past.text)[1:]]
    assert sorted(rows) == [(ADA, "lab1", "5"), (ADA, "lab2", "")]


@given(st.lists(st.sampled_from(["", "1", "2", "fehlt"]), min_size=2, max_size=6))
def test_changing_ones_own_entries_is_no_loss(entries):
    """One after the other; the version before is kept all the same."""
    rows, before = [row(ADA), row(BEN)], ""
    past = again(merged(COLUMNS, rows, None, Past()).past, rows, (BEN, "open1", "4")).past
    for entry in entries:
        new = again(past, rows, (ADA, "open1", entry))
        assert by_label(new.past.text)[ADA]["open1"] == entry and new.lost == []
        assert new.changed == (before not in ("", entry))
        past, before = new.past, entry


def test_a_missing_row_column_or_older_table_is_a_loss(past):
    rows = [row(ADA), row(BEN)]
    table = cells_of(past.text)
    table = [[*line, text] for line, text in zip(table, ["mine", "a", "b"], strict=True)]
    table += [["mean", *[""] * (len(table[0]) - 2), "c"]]
    new = merged(COLUMNS, rows, parsed(Saved()(table), past.known()), past)
    assert new.lost == [] and len(cells_of(new.past.text)) == 4
    for without in (table[:3], [table[0], *table[2:]], [line[:-1] for line in table]):
        found = parsed(Saved()(without), new.past.known())
        assert merged(COLUMNS, rows, found, new.past).lost
    old = merged(COLUMNS, rows, parsed(past.text.encode(), past.known()), new.past)
    assert old.lost and old.changed


def test_an_added_row_is_the_same_when_there_is_another_column(past):
    table = [*cells_of(past.text), ["mean", "", "", "3"]]
    first = merged(COLUMNS, [row(ADA)], parsed(Saved()(table), past.known()), past).past
    found = parsed(first.text.encode(), first.known())
    new = merged([*COLUMNS, "open2"], [row(ADA)], found, first)
    assert (new.notes, new.lost) == ([], [])


@pytest.mark.parametrize("column", ["status", "seconds", "memory_mib"])
def test_what_only_we_measure_is_never_an_entry(past, column):
    """A spreadsheet program makes a date of 12.3."""
    new = again(past, [row(ADA), row(BEN)], (ADA, column, "12. Mrz"), (BEN, column, "1.1.2026"))
    assert new.past.text == past.text
    assert "12. Mrz" not in again(past, [row(BEN)], (ADA, column, "12. Mrz")).past.text


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_of_ones_own_may_have_the_name_of_one_of_ours(past, name, left):
    table = cells_of(past.text)
    for line, text in zip(table, [name.upper(), "mine", "also mine"], strict=True):
        line.insert(0 if left else len(line), text)
    rows = [row(ADA, remarks="x"), row(BEN)]
    for _ in range(2):
        new = merged(COLUMNS, rows, parsed(Saved()(table), past.known()), past)
        table, past = cells_of(new.past.text), new.past
        assert table[0] == [*COLUMNS, name.upper()] and new.lost == []
        lines = {line[0]: line for line in table[1:]}
        assert lines[ADA][-1] == "mine" and lines[BEN][-1] == "also mine"
        assert lines[ADA][COLUMNS.index("remarks")] == "x"
        assert lines[ADA][3:7] == ["3", "4", "1.5", "99"]


def test_names_of_columns_may_stand_lower_or_be_another(past):
    found = parsed(b"Marks of 2026,,\n,,\n" + past.text.encode(), past.known())
    assert found.columns == COLUMNS and len(found.rows) == 2 and found.notes
    found = parsed(past.text.replace("submission", "Abgabe", 1).encode(), past.known())
    assert found.at("submission") == 0


NO_TABLES = [b"PK\x03\x04 a workbook", b"a,b\n1,2\n", b'submission,open1\n"ada,4\n', b"\xff\xfea"]


@pytest.mark.parametrize("data", [*NO_TABLES, f"{ADA},lab1\n{BEN},lab1\n".encode()])
def test_what_is_no_table_is_refused_and_left(tmp_path, data):
    path = tmp_path / "marks.csv"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="save it as CSV, or move it away"):
        sheet.load(path, Known(COLUMNS, {ADA, BEN}))
    assert path.read_bytes() == data


def test_a_table_that_is_open_elsewhere_is_refused(tmp_path):
    (tmp_path / "marks.csv").write_text("submission\n")
    (tmp_path / ".~lock.marks.csv#").write_text("")
    with pytest.raises(ValueError, match="open in another program"):
        sheet.load(tmp_path / "marks.csv")
    (tmp_path / ".~lock.marks.csv#").unlink()
    assert sheet.load(tmp_path / "marks.csv").rows == []
    (tmp_path / "marks.csv").unlink()
    (tmp_path / "marks.csv").mkdir()
    with pytest.raises(ValueError, match="cannot be read"):
        sheet.load(tmp_path / "marks.csv")
    assert sheet.load(tmp_path / "none.csv") is None


def test_versions_are_numbered_and_never_overwritten(tmp_path):
    path = tmp_path / "marks.csv"
    names = [sheet.numbered(path, data).name for data in (b"a", b"b", b"a", b"c")]
    assert names == ["marks-1.csv", "marks-2.csv", "marks-1.csv", "marks-3.csv"]
    assert [(tmp_path / f"marks-{n}.csv").read_bytes() for n in (1, 2, 3)] == [b"a", b"b", b"c"]


def test_a_record_is_read_as_it_was_written(past, tmp_path):
    (tmp_path / "a").write_text(replace(past, before=past).dump())
    assert Past.load(tmp_path / "a") == replace(past, before=past)
    (tmp_path / "a").write_text("{")
    assert Past.load(tmp_path / "a") == Past.load(tmp_path / "b") == Past()
