"""Figures of the book: one style, and one colour per configuration on every page."""

from dualdiff.pages.names import CONFIGURATIONS
from dualdiff.pages.start import STYLE, use_style

COLOURS = {name: known.colour for name, known in CONFIGURATIONS.items()}
LABELS = {name: known.label for name, known in CONFIGURATIONS.items()}
MARKERS = {name: known.marker for name, known in CONFIGURATIONS.items()}

__all__ = ["COLOURS", "LABELS", "MARKERS", "STYLE", "use_style"]
