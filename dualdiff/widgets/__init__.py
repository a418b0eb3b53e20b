"""Widgets of the book: live in JupyterLab, and on its pages without a kernel and a network."""

from dualdiff.widgets import stages
from dualdiff.widgets.composition import Composition
from dualdiff.widgets.trajectory import Trajectory, trajectory_scrubber
from dualdiff.widgets.weight_map import WeightMap, weight_map

__all__ = [
    "Composition",
    "Trajectory",
    "WeightMap",
    "stages",
    "trajectory_scrubber",
    "weight_map",
]
