"""Advice follows its tables: evidence that does not hold, budgets, and the drawn decision."""

from dataclasses import replace

import matplotlib.pyplot as plt
import pytest

from dualdiff.experiments.shifted import shifted_table
from dualdiff.pages import contrast, select, style, use_style
from dualdiff.plots import decision
from dualdiff.readings.advice import Evidence, look_up, read
from dualdiff.results import committed as results

QUESTIONS, PIECES = read()
AWAY = {"scenario": shifted_table(7.0).name}
CABINET = {"scenario": "cabinet", "n_specialised": 128, "finetune_epochs": 200}


@pytest.fixture(autouse=True)
def closed():
    use_style()
    yield
    plt.close("all")


@pytest.mark.parametrize("key", PIECES)
def test_every_piece_of_evidence_is_borne_out_by_its_table(key):
    found = look_up(PIECES[key].evidence)
    assert len(found) == len(PIECES[key].evidence) > 0
    assert found["holds"].all()


def test_evidence_is_the_contrast_of_its_rows():
    one = Evidence("", "cabinet_tuned", "accuracy", "joint", "specialised", 1)
    line = look_up([one]).iloc[0]
    table = select(results.load("cabinet_tuned")[0], target="specialised")
    same = contrast(table, "joint", "specialised", "accuracy").iloc[0]
    assert line["better"] == same["better"] == 1 and line["holds"]
    assert not look_up([replace(one, better=-1)])["holds"].any()
    assert look_up([replace(one, ours=one.theirs, theirs=one.ours)])["better"].eq(-1).all()


def test_only_seeds_that_both_tables_have_count():
    one = Evidence("", "cabinet_tuned", "total_variation", "joint", "joint", 0)
    other = replace(one, theirs_part="cabinet", theirs_where={"recipe": "plain"})
    (line,) = look_up([other]).itertuples()
    assert line.scores.scores["ours"].value != line.scores.scores["theirs"].value
    assert "floors" in line.score  # of other numbers of samples


def test_tables_that_are_not_there_are_left_out(tmp_path):
    for piece in PIECES.values():
        assert look_up(piece.evidence, tmp_path).empty


def test_evidence_about_rows_that_are_not_there_is_refused():
    with pytest.raises(ValueError, match="no accuracy of 'magic'"):
        look_up([Evidence("", "cabinet", "accuracy", "magic", "joint", 1)])


def test_no_win_of_a_longer_training_is_settled():
    """Budgets are compared: a win at a larger one says what has not been run."""
    for piece in PIECES.values():
        for one, line in zip(piece.evidence, look_up(piece.evidence).itertuples(), strict=True):
            assert piece.still or one.better != 1 or line.favoured != 1, piece.key


def test_budgets_are_those_of_the_rows():
    def line(ours, theirs, **where):
        one = Evidence("", "adaptation_tuned", "total_variation", ours, theirs, 1, CABINET, where)
        return look_up([one]).iloc[0]

    long = results.load("adaptation_tuned")[1]["specialised_epochs"]
    unequal = line("specialised", "finetuned", finetune_epochs=500)
    assert unequal["favoured"] == 1
    assert f"{long:,} epochs" in unequal["ours"] and "500 epochs" in unequal["theirs"]
    for same in (line("finetuned", "lora_joint"), line("joint", "specialised")):
        assert same["favoured"] == 0 and "epochs" not in same["ours"] + same["theirs"]
    assert line("lora", "specialised")["favoured"] == -1
    exact = {**AWAY, "recipe": "exact"}
    (same,) = look_up(
        [Evidence("", "sweep", "accuracy", "joint", "specialised", -1, exact)]
    ).itertuples()
    assert same.favoured == 0 and same.holds


def test_every_answer_leads_to_advice_and_no_advice_twice():
    keys = [answer["advice"] for question in QUESTIONS for answer in question["answers"]]
    assert set(keys) <= set(PIECES) and len(keys) == len(set(keys))
    ends = ["otherwise" in question for question in QUESTIONS]
    assert all(ends[:-1]) and not ends[-1]


@pytest.mark.parametrize("there", [True, False])
def test_the_flow_stays_inside_its_figure_and_has_the_colours_of_the_book(tmp_path, there):
    folder = results.FOLDER if there else tmp_path
    found = {key: look_up(piece.evidence, folder) for key, piece in PIECES.items()}
    figure = decision.flow(QUESTIONS, PIECES, found)
    figure.canvas.draw()
    width, height = figure.canvas.get_width_height()
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height, text
    drawn = {patch.get_facecolor()[:3] for patch in figure.axes[0].patches}
    for question in QUESTIONS:
        for answer in question["answers"]:
            colour = style(PIECES[answer["advice"]].evidence[0].ours)["color"]
            assert plt.matplotlib.colors.to_rgb(colour) in drawn
