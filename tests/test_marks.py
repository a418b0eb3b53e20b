import pandas as pd

from dualdiff import marks
from dualdiff.submission import Lab, Marked, Outcome

NAME = "lab0_small"


def result(**more) -> Marked:
    outcomes = [Outcome(1, True, False, "", ""), Outcome(2, False, True, "a hint", "`x`")]
    return Marked("a.ipynb", NAME, {"q1": outcomes}, complete=True, **more)


LABS = {NAME: Lab({}, {"q1": 3.0, "q2": 1.0, "q10": 1.0})}


def test_columns_are_in_the_order_of_the_questions():
    head = marks.table([result()], LABS).splitlines()[0].split(",")
    assert head[-3:] == ["q1", "q2", "q10"]


def test_a_quotation_in_the_feedback_stays_inside():
    page = marks.feedback(result(printed="```\nx"), LABS)
    assert "- a hint (2): ` x `" in page and "Its tests were not run." in page


def test_a_table_is_the_same_after_it_was_read(tmp_path):
    text = marks.table([result(remarks=['a "b", c', "+1"])], LABS)
    (tmp_path / "t.csv").write_text(text)
    read = pd.read_csv(tmp_path / "t.csv")
    assert read.loc[0, "remarks"] == 'a "b", c; +1' and read.loc[0, "marks"] == 1
