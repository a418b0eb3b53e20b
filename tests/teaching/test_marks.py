import csv
import io
import unicodedata

import pandas as pd
from hypothesis import example, given
from hypothesis import strategies as st

from dualdiff.teaching import competition, marks
from dualdiff.teaching.entries import merged
from dualdiff.teaching.matching import Past
from dualdiff.teaching.submission import Lab, Marked, Outcome

NAME = "lab0_small"


def result(file="a.ipynb", **more) -> Marked:
    outcomes = [Outcome(1, True, False, "", ""), Outcome(2, False, True, "a hint", "`x`")]
    return Marked(file, NAME, {"q1": outcomes}, complete=True, **more)


LABS = {NAME: Lab({}, {"q1": 3.0, "q2": 1.0, "q10": 1.0})}


def written(*results: Marked) -> str:
    return merged(*marks.table(list(results), LABS), None, Past()).past.text


def test_columns_are_in_the_order_of_the_questions():
    answers = {f"open{n}": "" for n in (10, 2)}
    head = written(result(open_answers=answers)).splitlines()[0].split(",")
    assert head[-5:] == ["q1", "q2", "q10", "open2", "open10"]


@given(
    st.dictionaries(st.sampled_from(["q1", "q2", "q10"]), st.sampled_from(["0", "0,5", "2.5"])),
    st.booleans(),
)
def test_marks_are_the_sum_of_what_stands_in_the_questions(entries, unreadable):
    """Also of what could not be marked; what is no question of a lab counts nothing."""
    made = Marked("a.ipynb", remarks=["x"]) if unreadable else result()
    _, (row,) = marks.table([made], LABS)
    shown = {q: "0" for q in LABS[NAME].points} | row.cells | entries
    line = dict(row.cells)
    marks.corrected(LABS[NAME].points, line, entries | {"open1": "5", "remarks": "3", "of": "7"})
    expected = sum(float(shown[q].replace(",", ".")) for q in LABS[NAME].points)
    assert float(line["marks"]) == expected


def test_a_quotation_in_the_feedback_stays_inside():
    page = marks.feedback(result(printed="```\nx"), LABS)
    assert "- a hint (2): ` x `" in page and "Its tests were not run." in page


def test_a_table_is_the_same_after_it_was_read(tmp_path):
    (tmp_path / "t.csv").write_text(written(result(remarks=['a "b", c', "+1"])))
    read = pd.read_csv(tmp_path / "t.csv")
    assert read.loc[0, "remarks"] == 'a "b", c; +1' and read.loc[0, "marks"] == 1


anything = st.text(st.characters())  # halves of characters too


@given(st.lists(anything, max_size=3), st.dictionaries(st.sampled_from(["open1"]), anything))
def test_whatever_a_submission_says_can_be_written(remarks, answers):
    made = result(remarks=remarks, open_answers=answers, printed="".join(remarks))
    lines = list(csv.reader(io.StringIO(written(made), newline="\n")))
    assert len(lines) == 2 and len(lines[1]) == len(lines[0])
    written(made).encode("utf-8")
    for page in (marks.feedback(made, LABS), marks.answers_page([made])):
        assert page.startswith("# ")


labels = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)
PARTS = "ada Ada ADA __ _ / é e\u0301 ﬁ fi ß ss".split()
alike = st.lists(st.sampled_from([*PARTS, "Ж" * 200]), min_size=1, max_size=4).map("".join)


@given(st.lists(labels | alike, unique=True, max_size=12))
def test_no_two_submissions_share_a_page_on_any_disk(files):
    names = marks.pages(files)
    assert set(names) == set(files)
    for form in ("NFC", "NFKD"):
        seen = {unicodedata.normalize(form, name.casefold()) for name in names.values()}
        assert len(seen) == len(files)
    for name in names.values():
        assert len(f"{name}.md".encode()) <= 255 and not set(name) & set('/\\:*?"<>|\0')


no_text = st.none() | st.floats() | st.integers() | st.lists(st.integers())
values = anything | no_text | st.just("x" * 10**6)
ENTRY = dict.fromkeys(competition.SHARES, 0.5) | {"error": 0.1, "rows": 9, "tasks": 3, "game": "a"}


@given(st.lists(st.tuples(labels | alike, values), max_size=6, unique_by=lambda pair: pair[0]))
def test_every_competitor_has_a_row_whatever_the_names_are(chosen):
    results = [result(file, entry=ENTRY | {"name": name}) for file, name in chosen]
    text = marks.leaderboard(results)
    names = [line[1] for line in csv.reader(io.StringIO(text))][1:]
    assert len(names) == len(chosen) == len({name.casefold() for name in names})


def test_an_entry_of_another_game_is_remarked_and_the_others_stand():
    results = [result(f"{n}.ipynb", entry=ENTRY | {"game": game}) for n, game in enumerate("aba")]
    text = marks.leaderboard(results)
    assert len(text.splitlines()) == 3 and "not in the leaderboard" in results[1].remarks[-1]


@given(st.text(st.characters(exclude_categories=["Cs"])))
@example("-Ada-")
def test_what_somebody_wants_to_be_called_is_found_out_and_made_harmless_once(name):
    known = marks.known_as(name)
    assert marks.known_as(known) == known
    board = marks.leaderboard([result(entry=ENTRY | {"name": known})])
    (line,) = csv.DictReader(io.StringIO(board))
    assert name != "-Ada-" or line["name"] == "'-Ada-"
