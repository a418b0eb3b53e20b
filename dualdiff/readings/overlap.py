"""Whether held-out pairs tell what adding two models does, over the settings of overlap."""

from __future__ import annotations

import numpy as np
import pandas as pd

NEAR = 0.01
"""Gains in energy distance up to this size count as near the border, units of y."""


def sign_counts(gains: pd.DataFrame) -> pd.DataFrame:
    """How often the sign of the energy score gain tells whether joint sampling helps.

    Parameters
    ----------
    gains : DataFrame
        Of :func:`dualdiff.overlap.benefits`.

    Returns
    -------
    DataFrame
        ``recipe, settings``; ``helps, right``: in how many settings joint sampling has the lower
        energy distance to the setting's own distribution, and in how many the sign says so
        correctly; ``constant``, in how many one and the same answer for the whole recipe would be
        right; ``near, near_right``, of the settings within :data:`NEAR` of the border.
    """
    gain = gains["energy_distance_gain"]
    helps, right = gain > 0, (gain > 0) == (gains["energy_score_gain"] > 0)
    near = gain.abs() <= NEAR
    each = gains[["recipe"]].assign(
        settings=1, helps=helps, right=right, near=near, near_right=near & right
    )
    found = each.groupby("recipe").sum()
    found["constant"] = np.maximum(found["helps"], found["settings"] - found["helps"])
    return found.reset_index()
