"""Figures of the book: one style, and one colour per configuration on every page."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt

# Okabe and Ito's colour-blind-safe palette; a configuration keeps its colour in the whole book.
COLOURS = {
    "general": "#0072B2",
    "specialised": "#D55E00",
    "finetuned": "#E69F00",
    "joint": "#009E73",
    "finetuned_joint": "#CC79A7",
    "truth": "#333333",
}
LABELS = {
    "general": "general",
    "specialised": "specialised",
    "finetuned": "fine-tuned",
    "joint": "joint",
    "finetuned_joint": "fine-tuned joint",
    "truth": "truth",
}
MARKERS = {
    "general": "o",
    "specialised": "s",
    "finetuned": "^",
    "joint": "D",
    "finetuned_joint": "P",
    "truth": "x",
}


def use_style() -> None:
    """Switch matplotlib to the book's style sheet."""
    plt.style.use(Path(__file__).with_name("dualdiff.mplstyle"))
