"""The decision of the chapter that helps to choose, drawn as a flow of questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from dualdiff.pages.names import label, style
from dualdiff.readings.advice import Advice

WIDTH, SPLIT, ROW = 4.9, 1.52, 0.68  # inches: readable on a phone
ARROW = {"arrowstyle": "-|>", "color": "#555555", "lw": 1.3}


def flow(
    questions: Sequence[Mapping[str, Any]],
    pieces: Mapping[str, Advice],
    found: Mapping[str, pd.DataFrame],
) -> Figure:
    """The questions from top to bottom; each answer with what to take and its main number.

    A method has the colour of its configuration.

    Parameters
    ----------
    questions, pieces
        Of :func:`dualdiff.readings.advice.read`.
    found : mapping of keys to DataFrame
        Of :func:`dualdiff.readings.advice.look_up`.
    """
    rows = sum(len(question["answers"]) for question in questions)
    height = ROW * rows + 1.0 * len(questions) - 0.4
    figure = plt.figure(figsize=(WIDTH, height), layout="none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.05, WIDTH + 0.05), ylim=(-height, 0.05))
    axes.axis("off")
    y = 0.0
    for question in questions:
        box = "round,pad=0,rounding_size=0.1"
        shape = FancyBboxPatch((0, y - 0.5), WIDTH, 0.5, boxstyle=box, fc="#e4e4e4", ec="none")
        axes.add_patch(shape)
        axes.text(0.14, y - 0.26, question["text"], va="center", weight="bold", size=11)
        y -= 0.58
        for answer in question["answers"]:
            key = answer["advice"]
            _answer(axes, y, fill(answer["answer"], 20), pieces[key], found[key])
            y -= ROW
        if "otherwise" in question:
            axes.annotate("", (0.3, y - 0.36), (0.3, y + 0.02), arrowprops=ARROW)
            axes.text(0.46, y - 0.15, question["otherwise"], va="center", style="italic")
        y -= 0.42
    return figure


def _answer(axes: Axes, y: float, answer: str, piece: Advice, found: pd.DataFrame) -> None:
    """One answer: the condition, an arrow, the method and the number behind it."""
    middle, right = y - (ROW - 0.1) / 2, SPLIT + 0.34
    axes.text(SPLIT - 0.06, middle, answer, va="center", ha="right", size=9.5, style="italic")
    axes.annotate("", (right - 0.02, middle), (SPLIT, middle), arrowprops=ARROW)
    main = piece.evidence[0]
    colour = style(main.ours)["color"]
    axes.add_patch(Rectangle((right, y - ROW + 0.1), WIDTH - right, ROW - 0.1, fc=f"{colour}2e"))
    axes.add_patch(Rectangle((right, y - ROW + 0.1), 0.07, ROW - 0.1, fc=colour))
    taken = f"{piece.short} (open)" if piece.still else piece.short
    axes.text(right + 0.18, y - 0.19, taken, va="center", size=10, weight="bold")
    if found.empty:
        return
    scores = [found["scores"].iloc[0].value(side) for side in ("ours", "theirs")]
    ours, theirs = (f"{value:.2f}" if value >= 0.01 else f"{value:.3f}" for value in scores)
    score = str(found["score"].iloc[0]).replace("total variation", "TV")
    words = f"{score} {ours}, {label(main.theirs)} {theirs}"
    axes.text(right + 0.18, y - 0.43, words, va="center", size=8.5)
