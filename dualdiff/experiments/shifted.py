"""The round table with its specialised disc moved out of the general one."""

from __future__ import annotations

import math

from scipy.optimize import brentq

from dualdiff.experiments.lens import lens_area
from dualdiff.experiments.scenarios import Scenario
from dualdiff.regions import Disc

GENERAL_RADIUS, RADIUS = 3.0, 1.0
SETTINGS = {
    "far": 14.0,
    "close": 7.0,
    "below half": 3.2,
    "above half": 2.6,
    "subset at the edge": 2.0,
    "concentric subset": 0.0,
}
"""Distance of the two centres in the thesis's six settings. It gives the gap of the first (10
between the edges) and the shares of overlap in words; the other distances are our choice."""


def shifted_table(distance: float, height_tolerance: float = 0.25) -> Scenario:
    """The round table with the centre of the specialised disc ``distance`` from the general one's.

    Raises
    ------
    ValueError
        If the distance is negative or not finite.
    """
    if not (distance >= 0 and math.isfinite(distance)):
        raise ValueError(f"distance must be at least 0 and finite, not {distance}")
    return Scenario(
        f"shifted by {distance:g}",
        general=Disc(GENERAL_RADIUS, height_tolerance=height_tolerance),
        specialised=Disc(RADIUS, (distance, 0.0), height_tolerance=height_tolerance),
    )


def overlap_fraction(distance: float) -> float:
    """Area of the intersection of the two discs over the area of the specialised one."""
    return lens_area(GENERAL_RADIUS, RADIUS, distance) / (math.pi * RADIUS**2)


def distance_for(fraction: float) -> float:
    """The distance of the centres at which the discs overlap by a fraction in (0, 1).

    By bisection of :func:`overlap_fraction`, to 1e-12.

    Raises
    ------
    ValueError
        If the fraction is not inside (0, 1).
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must be above 0 and below 1, not {fraction}")
    distance: float = brentq(
        lambda d: overlap_fraction(d) - fraction,
        GENERAL_RADIUS - RADIUS,
        GENERAL_RADIUS + RADIUS,
        xtol=1e-12,
    )
    return distance
