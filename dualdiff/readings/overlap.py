"""Where joint samples lie, and what a sign tells: readings of the study of overlap."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dualdiff.experiments.scenarios import Scenario
from dualdiff.pages.numbers import select

NEAR = 0.01
"""A gain in energy distance of no more than this, in units of y, is near the border."""


def places(clouds: Mapping[str, Tensor], worlds: Mapping[str, Scenario]) -> pd.DataFrame:
    r"""Where joint samples are: shares by place, and how far they got from centre to centre.

    The way of the offsets u to a specialised centre m is the mean of :math:`u \cdot m /
    \lVert m \rVert^2`: 0 at the general centre, 1 at the specialised one, NaN where they coincide.
    Places are judged from above, whatever the height.

    Parameters
    ----------
    clouds : mapping of settings to Tensor [k, 3]
        Offsets ``y - c`` in original units.
    worlds : mapping of settings to Scenario
        Of discs.

    Returns
    -------
    DataFrame
        A row per setting; four shares that add up to 1, and ``way``.
    """
    rows = {}
    for name, world in worlds.items():
        u = clouds[name].clone()
        u[:, 2] = world.specialised.middle[2]
        origin = torch.zeros(1, 3)
        own, home = world.specialised.contains(u, origin), world.general.contains(u, origin)
        centre = u.new_tensor(world.specialised.middle[:2])
        length = float(centre.norm())
        rows[name] = {
            "in both": float((own & home).float().mean()),
            "in the general disc only": float((home & ~own).float().mean()),
            "in the specialised disc only": float((own & ~home).float().mean()),
            "in neither": float((~own & ~home).float().mean()),
            "way": float((u[:, :2] @ centre).mean()) / length**2 if length else float("nan"),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("setting").round(3)


def sign_counts(gains: pd.DataFrame) -> pd.DataFrame:
    """How often the sign of the energy score gain tells whether joint sampling helps.

    Parameters
    ----------
    gains : DataFrame
        Rows of :func:`dualdiff.experiments.overlap.benefits`.

    Returns
    -------
    DataFrame
        ``recipe, settings, helps, right``: in how many settings joint sampling has the lower energy
        distance to the setting's own distribution, and in how many the sign says so correctly;
        ``constant``, in how many one and the same answer for the whole recipe would be right; and
        ``near, near_right`` of the settings within :data:`NEAR` of the border.
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


def users(border: pd.DataFrame) -> pd.DataFrame:
    """What every user of the table ``border`` is told, and what is true.

    Parameters
    ----------
    border : DataFrame
        Tidy, of :func:`dualdiff.experiments.overlap.border_trials`.

    Returns
    -------
    DataFrame
        A row per recipe, distance, number of training pairs and seed. ``value, low, high``: the
        energy score gain on the pairs that were kept aside; ``gain``: of joint sampling in energy
        distance; ``helps``: whether that is positive; whether the ``sign`` says so, and whether the
        more frequent answer of the recipe, ``fixed``; ``sure``: the interval leaves out zero;
        ``wrong``: it does so on the wrong side.
    """
    keys = ["recipe", "distance", "n_specialised", "seed"]
    asked = select(border, target="held out", metric="energy_score_gain")
    found = asked.set_index(keys)[["value", "low", "high"]]
    truth = select(border, target="specialised", metric="energy_distance")
    truth = truth.pivot(index=keys, columns="configuration", values="value")
    gain = truth["specialised"] - truth["joint"]
    found = found.assign(gain=gain, helps=gain > 0)
    found["sign"] = (found["value"] > 0) == found["helps"]
    most = found.groupby("recipe")["helps"].transform("mean") > 0.5
    found["fixed"] = most == found["helps"]
    found["sure"] = (found["low"] > 0) | (found["high"] < 0)
    return found.assign(wrong=found["sure"] & ~found["sign"]).reset_index()
