"""Figures of the book: one style, and one colour per configuration on every page."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

# Okabe and Ito's colour-blind-safe palette, more that differ in lightness; a configuration
# keeps its colour in the whole book.
COLOURS = {
    "general": "#0072B2",
    "specialised": "#D55E00",
    "finetuned": "#E69F00",
    "joint": "#009E73",
    "finetuned_joint": "#CC79A7",
    "lora": "#56B4E9",
    "lora_joint": "#882255",
    "replay": "#8C6D1F",
    "generated": "#888888",
    "truth": "#333333",
    "smc": "#117733",
    "finetuned_smc": "#5E35B1",
    "weighted": "#8BC34A",
    "finetuned_weighted": "#7B1E1E",
    "told": "#FF8A80",
    "guided": "#00C5D4",
    "oracle": "#000000",
    "data": "#666666",
    "uniform": "#B8B8B8",
}
LABELS = {
    "general": "general",
    "specialised": "specialised",
    "finetuned": "fine-tuned",
    "joint": "joint",
    "finetuned_joint": "fine-tuned joint",
    "lora": "LoRA",
    "lora_joint": "LoRA joint",
    "replay": "prior preservation, replayed",
    "generated": "prior preservation, generated",
    "truth": "truth",
    "smc": "joint, SMC",
    "finetuned_smc": "fine-tuned joint, SMC",
    "weighted": "learned weights",
    "finetuned_weighted": "fine-tuned, learned weights",
    "told": "fine-tuned, told the type",
    "guided": "guided by task",
    "oracle": "oracle draw",
    "data": "test rows' own targets",
    "uniform": "uniform draw",
}
MARKERS = {
    "general": "o",
    "specialised": "s",
    "finetuned": "^",
    "joint": "D",
    "finetuned_joint": "P",
    "lora": "v",
    "lora_joint": "X",
    "replay": "<",
    "generated": ">",
    "truth": "x",
    "smc": "d",
    "finetuned_smc": "p",
    "weighted": "h",
    "finetuned_weighted": "*",
    "told": "H",
    "guided": "8",
    "oracle": "+",
    "data": "|",
    "uniform": "1",
}


STYLE = Path(__file__).with_name("dualdiff.mplstyle")
"""The book's style sheet."""


def use_style() -> None:
    """Switch matplotlib to the book's style sheet; pandas shows the cells of tables whole."""
    plt.style.use(STYLE)
    pd.set_option("display.max_colwidth", None)
