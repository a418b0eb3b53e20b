"""Pictures of a class in a style, sampled in the browser while the weights of both are dragged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor
from traitlets import Bytes, Dict, Float, Int, Unicode, validate

from dualdiff.compose import Weighted, guided
from dualdiff.images.data import CLASSES, one_hot
from dualdiff.images.members import Told
from dualdiff.networks import MLP
from dualdiff.plots import pictures
from dualdiff.samplers import DDPM, reverse
from dualdiff.widgets.base import Refused, Widget, one_of, within
from dualdiff.widgets.bundle import bundle
from dualdiff.widgets.mirror import HashNoise
from dualdiff.widgets.wire import Numbers, member_of, units

MOST = 300_000
"""Weights of all networks together."""


class Gallery(Widget):
    r"""Class of a general network, style of one that was fine-tuned: concept-centric guidance.

    .. math:: \varepsilon_u + W (\varepsilon_c - \varepsilon_u) + V (\varepsilon_s - \varepsilon_u)

    Parameters
    ----------
    general : MLP
        Told a class or nothing.
    styles : mapping of names to MLP
        Told the word of its style.
    **values
        Of the traits: ``digit`` ("0" to "9"), ``concept``, ``w_class`` and ``w_style`` from 0 to 5,
        ``seed``, ``count`` of pictures, ``steps``.

    Raises
    ------
    ValueError
        For no styles, more than 300,000 weights, and whenever a trait is set to what it does not
        take.
    """

    _esm = bundle("gallery.js")

    digit = Unicode("3").tag(sync=True)
    concept = Unicode().tag(sync=True)  # "style" is a word of Jupyter's own
    w_class = Float(1.0).tag(sync=True)
    w_style = Float(1.0).tag(sync=True)
    seed = Int(0).tag(sync=True)
    count = Int(24).tag(sync=True)
    steps = Int(50).tag(sync=True)
    digits = Dict().tag(sync=True)
    styles = Dict().tag(sync=True)
    stage = Dict().tag(sync=True)
    numbers = Bytes().tag(sync=True)

    def __init__(self, general: MLP, styles: Mapping[str, MLP], **values: Any) -> None:
        total = sum(p.numel() for net in (general, *styles.values()) for p in net.parameters())
        if not styles or total > MOST:
            raise Refused(f"there must be styles and at most {MOST:,} weights, not {total:,}")
        self.general, self.concepts, numbers = general, dict(styles), Numbers()
        known = member_of(general, numbers)
        members = {"untold": known, "class": known}
        members |= {name: member_of(net, numbers) for name, net in styles.items()}
        super().__init__(
            stage={"process": units(general.process), "members": members},
            numbers=numbers.sent(),
            digits={str(k): str(k) for k in range(CLASSES)},
            styles={name: name for name in styles},
            **{"concept": next(iter(styles))} | values,
        )

    @validate("w_class", "w_style", "seed", "count", "steps")
    def _number(self, proposal: Any) -> float:
        name = proposal["trait"].name
        ends = {"seed": (0, 999), "count": (1, 64), "steps": (2, 100)}.get(name, (0, 5))
        return within(name, proposal["value"], *ends)

    @validate("digit", "concept")
    def _choice(self, proposal: Any) -> str:
        name = proposal["trait"].name
        allowed = {"digit": [*map(str, range(CLASSES))], "concept": self.concepts}[name]
        return one_of(name, proposal["value"], allowed)

    def rule(self) -> Weighted:
        """What is sampled at the present weights."""
        style = Told(self.concepts[self.concept], classes=False, word=True)
        untold = Told(self.general, classes=False, word=False)
        weights = {"class": self.w_class, "style": self.w_style}
        return guided(untold, {"class": self.general, "style": style}, weights)

    def images(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The browser's pictures ``[count, 64]``, from the same noise."""
        c = one_hot(torch.full((self.count,), int(self.digit))).to(dtype)
        noise = HashNoise(self.seed, self.count, self.general.process.dy, dtype)
        with torch.no_grad():
            *_, last = reverse(self.rule(), c, DDPM(self.steps), noise)
        return self.general.process.decode_y(last.y)

    def describe(self) -> str:
        return (
            f"{self.count} pictures of the digit {self.digit} in style {self.concept}, with "
            f"weights {self.w_class:g} of the class and {self.w_style:g} of the style."
        )

    def picture(self) -> Figure:
        rows = [row for row in self.images().split(8) if len(row) == min(8, self.count)]
        return pictures.gallery({f"noise of row {k + 1}": row for k, row in enumerate(rows)})
