"""The figures of the chapter that helps to choose show what was measured."""

import matplotlib.pyplot as plt
import pytest

from dualdiff.plots import COLOURS, LABELS, MARKERS, use_style
from dualdiff.plots import decision as figures
from dualdiff.report_advice import ADVICE
from dualdiff.report_decision import gather


@pytest.fixture(autouse=True)
def close():
    use_style()
    yield
    plt.close("all")
    plt.rcdefaults()


def test_every_answer_leads_to_advice_and_no_advice_twice() -> None:
    keys = [key for question in figures.QUESTIONS for _, key in question.answers]
    assert set(keys) <= {piece.key for piece in ADVICE} and len(keys) == len(set(keys))
    ends = [question.otherwise for question in figures.QUESTIONS]
    assert all(ends[:-1]) and not ends[-1]


def test_flow_shows_questions_methods_and_numbers_inside_the_figure() -> None:
    found = gather(ADVICE)
    figure = figures.flow_figure(ADVICE, found)
    texts = [text.get_text() for text in figure.axes[0].texts]
    for question in figures.QUESTIONS:
        assert question.text in texts
        for condition, key in question.answers:
            piece = next(piece for piece in ADVICE if piece.key == key)
            assert condition in texts and piece.answer in texts
    assert "TV 0.68, specialised alone 0.94" in texts
    figure.canvas.draw()
    width, height = figure.canvas.get_width_height()
    for text in figure.axes[0].texts:  # nothing runs over the edge
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height, text


def test_flow_without_tables_still_shows_the_way() -> None:
    figure = figures.flow_figure(ADVICE, {piece.key: () for piece in ADVICE})
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert "joint sampling" in texts and not any(text.startswith("TV") for text in texts)


def test_evidence_draws_both_scores_of_every_claim() -> None:
    found = gather(ADVICE)
    figure = figures.evidence_figure(ADVICE, found)
    axes = figure.axes[0]
    drawn = [
        next(m for m in found[p.key] if m.claim.metric == "total_variation")
        for p in ADVICE
        if p.key not in ("target",)
        and any(m.claim.metric == "total_variation" for m in found[p.key])
    ]
    values = [round(float(x), 6) for line in axes.lines for x in line.get_xdata()]
    for measured in drawn:
        assert round(measured.ours[0], 6) in values and round(measured.theirs[0], 6) in values
    assert axes.get_xlim() == (0, 1)
    figure.canvas.draw()
    width, _ = figure.canvas.get_width_height()
    assert all(text.get_window_extent().x1 <= width for text in axes.texts)


def test_looks_are_those_of_the_book() -> None:
    assert set(figures.LOOKS.values()) <= set(COLOURS)
    names = {c.ours for p in ADVICE for c in p.claims} | {
        c.theirs for p in ADVICE for c in p.claims
    }
    for name in names - set(figures.LOOKS):
        assert name in COLOURS and name in MARKERS and name in LABELS
