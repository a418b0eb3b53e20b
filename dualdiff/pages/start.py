"""How chapters begin: parameters checked, style set, size and store at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd

from dualdiff.experiments.profiles import PROFILES, Profile, check, resolve_device
from dualdiff.experiments.store import Store

STYLE = Path(__file__).with_name("dualdiff.mplstyle")
"""The book's style sheet."""


def use_style() -> None:
    """Switch matplotlib to the book's style sheet; pandas shows the cells of tables whole."""
    plt.style.use(STYLE)
    # Found out now: where the first figure is drawn under a style of its own, as those of widgets
    # are, a notebook would show none of the later ones.
    plt.switch_backend(plt.get_backend())
    pd.set_option("display.max_colwidth", None)


def begin(
    *, profile: str, seed: int, device: str, quiet: bool, **more: Any
) -> tuple[Profile, dict[str, Any]]:
    """Check the parameters of a chapter that computes and set the book's style.

    One that only reads committed tables has no parameters and calls :func:`use_style`.

    Parameters
    ----------
    profile, seed, device, quiet
        What every chapter that computes has.
    more
        Its other parameters, as :data:`dualdiff.experiments.profiles.PARAMETERS` knows them.

    Returns
    -------
    Profile
        How much is trained and sampled.
    dict
        ``store``, ``device`` and ``quiet``: what whatever trains and samples takes.

    Raises
    ------
    ValueError
        Names the parameter, its value and what is allowed.
    """
    check(profile=profile, seed=seed, device=device, quiet=quiet, **more)
    use_style()
    return PROFILES[profile], {"store": Store(), "device": resolve_device(device), "quiet": quiet}
