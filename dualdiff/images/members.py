"""Networks of pictures: one of all digits, told the class, and some of a concept, told its word."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dualdiff.denoisers import Denoiser, Predict
from dualdiff.experiments.members import RECIPES, Networks, Rows
from dualdiff.images.data import CLASSES, SIDE, digits, one_hot
from dualdiff.images.judge import styled
from dualdiff.networks import MLP
from dualdiff.process import Process
from dualdiff.randomness import stream
from dualdiff.steps import Optimisation

UNTOLD = 0.15
"""Share of the general rows whose class is withheld: zeros, which are no class."""
PICTURES = replace(
    RECIPES["tuned"],
    name="pictures",
    log_snr=(9.0, -6.0),
    general_batch=64,
    architecture=replace(RECIPES["tuned"].architecture, object_frame=False, fourier=0, width=256),
    optimisation=Optimisation("adamw", learning_rate=1e-3, decay="cosine", ema=0.05),
)
"""Recipe ``tuned`` in one unit for all pixels, with twice the width and without octaves."""


@dataclass(frozen=True)
class Digits:
    """Digits in a style as what networks are trained on: all of them told their class, few of the
    style told a word of its own and no class."""

    style: str = "plain"

    @property
    def name(self) -> str:
        """What progress bars call it."""
        return f"digits, {self.style}"

    @property
    def roots(self) -> tuple[type, ...]:
        """Classes whose code decides the rows."""
        return (Digits,)

    def pairs(self, which: str, n: int, generator: torch.Generator) -> Rows:
        """Rows of 'general': images with their classes, again and again until they are n. Of
        'specialised': n different ones in the style."""
        images, labels = digits("models")
        some = torch.randperm(len(images), generator=generator)
        if which != "general":
            if not 2 <= n <= len(images):
                raise ValueError(f"a concept has from 2 to {len(images)} images, not {n}")
            word = one_hot(torch.full((n,), -1))
            word[:, -1] = 1
            return styled(images[some[:n]], self.style), word
        some = some.repeat(-(-n // len(some)))[:n]
        told = torch.rand(n, 1, generator=generator, dtype=torch.float32) >= UNTOLD
        return images[some], one_hot(labels[some]) * told

    def described(self, which: str) -> dict[str, Any]:
        """What these rows depend on, as JSON."""
        return {"digits": self.style if which == "specialised" else "plain"}


@dataclass(frozen=True)
class PictureNetworks(Networks):
    """Networks of :class:`Digits`, in one unit for all pixels."""

    def _new(self, name: str) -> MLP:
        images, _ = digits("models")
        mean, std = (part.expand(SIDE**2).clone() for part in (images.mean(), images.std()))
        process = replace(
            Process.log_snr(self.recipe.steps, *self.recipe.log_snr, dy=SIDE**2, dc=CLASSES + 1),
            y_mean=mean,
            y_std=std,
        )
        return MLP(process, self.recipe.architecture, stream(self.seed, "weights", name))


class Told(Denoiser):
    """A network of digits that is told the class of the condition or none, and the concept's word
    or not."""

    def __init__(self, network: Denoiser, *, classes: bool, word: bool) -> None:
        super().__init__()
        self.process, self.network = network.process, network
        self.classes, self.word = classes, word

    def _condition(self, c: Tensor) -> Tensor:
        told = c.clone() if self.classes else torch.zeros_like(c)
        told[:, -1] = float(self.word)
        return told

    def forward(self, y: Tensor, t: int | Tensor, c: Tensor) -> Tensor:
        return self.network(y, t, self._condition(c))

    def _bind(self, c: Tensor) -> Predict:
        return self.network.bind(self._condition(c))
