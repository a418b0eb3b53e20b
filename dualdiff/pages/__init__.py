"""What pages say: names, numbers in tables and sentences, comparisons and claims."""

from dualdiff.experiments.pooling import over_seeds
from dualdiff.pages.compare import MARKS, Claims, contrast, verdicts
from dualdiff.pages.names import axis, label, style
from dualdiff.pages.numbers import Numbers, grid, interval, say, select
from dualdiff.pages.special import recipes
from dualdiff.pages.start import begin, use_style
from dualdiff.pages.tables import committed, environment, show_table

__all__ = [
    "MARKS",
    "Claims",
    "Numbers",
    "axis",
    "begin",
    "committed",
    "contrast",
    "environment",
    "grid",
    "interval",
    "label",
    "over_seeds",
    "recipes",
    "say",
    "select",
    "show_table",
    "style",
    "use_style",
    "verdicts",
]
