"""Figures of the chapter that helps to choose: the questions in their order, and the evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch, Rectangle

from dualdiff.plots import COLOURS, MARKERS
from dualdiff.report_decision import Advice, Measured, metric_name, name


class Question(NamedTuple):
    """A question, the answers that end it (with the key of the advice), and the one that does not.

    ``otherwise`` leads to the next question; empty for the last.
    """

    text: str
    answers: tuple[tuple[str, str], ...]
    otherwise: str = ""


QUESTIONS = (
    Question(
        "What do the two laws share?",
        (("nothing", "apart"), ("a part", "partly")),
        "all of the special cases",
    ),
    Question("Must one network serve all homes?", (("yes", "both"),), "no"),
    Question(
        "Does the specialist do well on held-out cases?",
        (
            ("no, and it\nmust stay so", "weak"),
            ("no, and the general\nmodel does better", "general"),
            ("no, with eight\ncases or so", "handful"),
            ("no, with a few\ndozen cases", "dozens"),
            ("no, with a hundred\ncases or more", "hundreds"),
        ),
        "yes",
    ),
    Question(
        "What do you need from it?",
        (
            ("one good sample", "target"),
            ("its whole law", "strong"),
            ("its law, and you\ncan correct", "corrector"),
            ("its law, which both\nmodels estimate", "same"),
        ),
    ),
)
WIDTH, SPLIT, ROW = 4.9, 1.52, 0.68  # inches: readable on a phone
ARROW = {"arrowstyle": "-|>", "color": "#555555", "lw": 1.3}
LOOKS = {
    "finetuned: learned smc": "finetuned_smc",
    "finetuned: learned constant": "finetuned_weighted",
    "oracle constant": "weighted",
    "learned constant": "weighted",
}
"""Configurations that are drawn like another one."""


def _look(configuration: str) -> str:
    return LOOKS.get(configuration, configuration)


def _box(axes: Axes, x: float, y: float, width: float, height: float, colour: str) -> None:
    """A rounded box with its left upper corner at (x, y)."""
    style = "round,pad=0,rounding_size=0.1"
    shape = FancyBboxPatch((x, y - height), width, height, boxstyle=style, fc=colour, ec="none")
    axes.add_patch(shape)


def flow_figure(advice: Iterable[Advice], found: Mapping[str, Sequence[Measured]]) -> Figure:
    """The questions from top to bottom; each answer with what to take and its main number.

    A method has the colour of the configuration that the book draws it with.
    """
    known = {piece.key: piece for piece in advice}
    rows = sum(len(question.answers) for question in QUESTIONS)
    height = ROW * rows + 1.0 * len(QUESTIONS) - 0.4
    figure = plt.figure(figsize=(WIDTH, height), layout="none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.05, WIDTH + 0.05), ylim=(-height, 0.05))
    axes.axis("off")
    y = 0.0
    for question in QUESTIONS:
        _box(axes, 0, y, WIDTH, 0.5, "#e4e4e4")
        axes.text(0.14, y - 0.26, question.text, va="center", weight="bold", size=11)
        y -= 0.58
        for condition, key in question.answers:
            _answer(axes, y, condition, known[key], found[key])
            y -= ROW
        if question.otherwise:
            axes.annotate("", (0.3, y - 0.36), (0.3, y + 0.02), arrowprops=ARROW)
            axes.text(0.46, y - 0.15, question.otherwise, va="center", style="italic")
        y -= 0.42
    return figure


def _answer(
    axes: Axes, y: float, condition: str, piece: Advice, measured: Sequence[Measured]
) -> None:
    """One answer: the condition, an arrow, the method and the number behind it."""
    middle, right = y - (ROW - 0.1) / 2, SPLIT + 0.34
    axes.text(SPLIT - 0.06, middle, condition, va="center", ha="right", size=9.5, style="italic")
    axes.annotate("", (right - 0.02, middle), (SPLIT, middle), arrowprops=ARROW)
    main = measured[0] if measured else None
    colour = COLOURS[_look(main.claim.ours)] if main else COLOURS["data"]
    axes.add_patch(Rectangle((right, y - ROW + 0.1), WIDTH - right, ROW - 0.1, fc=f"{colour}2e"))
    axes.add_patch(Rectangle((right, y - ROW + 0.1), 0.07, ROW - 0.1, fc=colour))
    axes.text(right + 0.18, y - 0.19, piece.answer, va="center", size=10, weight="bold")
    if main is None:
        return
    ours, theirs = (f"{v:.2f}" if v >= 0.01 else f"{v:.3f}" for v, *_ in (main.ours, main.theirs))
    rival = name(main.claim.theirs, main.claim.theirs_part or main.claim.part)
    score = metric_name(main.claim).replace("total variation", "TV")
    words = f"{score} {ours}, {rival} {theirs}"
    axes.text(right + 0.18, y - 0.43, words, va="center", size=8.5)


def evidence_figure(
    advice: Iterable[Advice],
    found: Mapping[str, Sequence[Measured]],
    metric: str = "total_variation",
) -> Figure:
    """What was taken against its rival, a line per piece of advice that has a claim in the metric.

    Of several claims of a piece the first that speaks for it is drawn; bars are 95 % intervals.
    """
    drawn = []
    for piece in advice:
        some = [m for m in found[piece.key] if m.claim.metric == metric and m.claim.expected >= 0]
        drawn += [(piece, measured) for measured in some[:1]]
    figure, axes = plt.subplots(figsize=(5.6, 0.62 * len(drawn) + 1.0))
    for place, (piece, measured) in enumerate(drawn):
        ends = [measured.theirs[0], measured.ours[0]]
        axes.plot(ends, [place, place], color="#999999", lw=1.2, zorder=1)
        for side, own, size in (("theirs", measured.theirs, 6), ("ours", measured.ours, 9)):
            look = _look(getattr(measured.claim, side))
            value, low, high = own
            bars = [[max(value - low, 0)], [max(high - value, 0)]]
            style: dict[str, Any] = {
                "marker": MARKERS[look],
                "color": COLOURS[look],
                "ms": size,
                "lw": 1.1,
            }
            hollow: Any = "full" if side == "ours" else "none"
            axes.errorbar(value, place, xerr=bars, fillstyle=hollow, ls="", capsize=2, **style)
        _label(axes, place, piece, measured)
    axes.set_yticks([])
    axes.set_ylim(len(drawn) - 0.5, -0.7)
    axes.set(xlabel=metric.replace("_", " "), xlim=(0, 1))
    grey: dict[str, Any] = {"color": "grey", "ls": "", "marker": "o"}
    handles = [
        Line2D([], [], ms=9, label="taken", **grey),
        Line2D([], [], ms=6, fillstyle="none", label="its rival", **grey),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _label(axes: Axes, place: int, piece: Advice, measured: Measured) -> None:
    """What is taken, in bold, its rival and where that was, above the line."""
    claim = measured.claim
    rival = name(claim.theirs, claim.theirs_part or claim.part)
    where = f"{claim.place[0].lower()}{claim.place[1:]}".replace("recipe ", "")
    if claim.where.get("target") == "general":
        where += ", general law"
    bold = axes.text(0.012, place - 0.32, piece.answer, va="center", size=9, weight="bold")
    words = f" or {rival}: {where}"
    rest = axes.annotate(words, (1, 0.5), xycoords=bold, va="center", size=8.5)
    for text in (bold, rest):
        text.set_in_layout(False)
