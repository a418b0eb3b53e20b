"""Spaces and stages: diffusion in latents of an autoencoder, and in a cascade of resolutions."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from dualdiff.experiments.members import Rows
from dualdiff.experiments.store import Store
from dualdiff.experiments.trial import known
from dualdiff.images import judge, members
from dualdiff.images.autoencoder import Autoencoder, autoencoder, fresh
from dualdiff.images.data import GLYPH
from dualdiff.images.shots import PROFILED
from dualdiff.process import spread
from dualdiff.randomness import one_thread, stream
from dualdiff.samplers import sample

PER_EPOCH = 100  # steps of an autoencoder for each epoch of a network
SIZES = {
    "smoke": dict(zip(PROFILED, (500, 1, 100, 1, 1, 2), strict=True)),
    "quick": dict(zip(PROFILED, (20_000, 10, 1000, 1, 1, 2), strict=True)),
    "full": dict(zip(PROFILED, (20_000, 20, 1000, 3, 1, 2), strict=True)),
}
# Numbers of a picture, by space, for networks 384 wide; and other widths for some of them.
NUMBERS = {"learned": (8, 16, 32, 64), "components": (8, 16, 32, 64, 96), "pixels": (GLYPH**2,)}
WIDTHS = {("learned", 16): (96, 192), ("components", 64): (96, 192), ("pixels", 256): (192, 768)}
SIDES = (4, 8, 16)
# Recipe of glyphs with narrower layers: a cascade is many networks.
NARROW = replace(members.GLYPHS.architecture, width=256)
STAGES = replace(members.GLYPHS, name="stages", architecture=NARROW)
STRENGTHS = {"noise": (0.0, 0.1, 0.2, 0.4, 0.6, 0.8), "blur": (0.4, 0.7, 1.0, 1.5)}


def against(images: Tensor, seed: int, part: str = "models") -> judge.Scored:
    """``frechet``, ``precision`` and ``recall`` of images ``[n, 256]`` in the judge's features,
    against as many fresh pictures of a part."""
    seen, true = judge.encoder("judge"), fresh(len(images), stream(seed, "true", part), part)
    found = judge.compared(seen(images), seen(true), torch.zeros(len(images)), 10)
    return {name: found[name] for name in ("frechet", "precision", "recall")}


def pooled(images: Tensor, side: int) -> Tensor:
    """Square images ``[n, k^2]`` as ``[n, side^2]``: means of square blocks."""
    whole = math.isqrt(images.shape[1])
    return functional.avg_pool2d(images.view(-1, 1, whole, whole), whole // side).flatten(1)


def blurred(images: Tensor, deviation: float) -> Tensor:
    """Square images ``[n, k^2]`` under a Gaussian filter, its standard deviation in pixels; what
    lies outside is paper. 0: as they are."""
    side, place = math.isqrt(images.shape[1]), torch.arange(-3.0, 4.0)
    line = torch.exp(-0.5 * (place / max(deviation, 1e-6)) ** 2)
    kernel = torch.outer(line, line)[None, None] / line.sum() ** 2
    ink = (images + 1).view(-1, 1, side, side)
    return functional.conv2d(ink, kernel, padding=3).flatten(1) - 1


@lru_cache(maxsize=8)
def frame(side: int, rotated: bool = True) -> judge.Space:
    """Principal components of the models' characters at a side, all of them below 16; or pixels."""
    if rotated and side == GLYPH:
        return judge.space()
    images = pooled(fresh(5000, stream(0, "frames")), side)
    mean = images.mean(0)
    if not rotated:
        return judge.Space(mean, torch.eye(side**2), spread(images))
    with one_thread():
        _, size, basis = torch.linalg.svd(images - mean, full_matrices=False)
    return judge.Space(mean, basis, size / len(images) ** 0.5)


@dataclass(frozen=True)
class Characters(members.Pictures):
    """The models' characters as numbers of a space, told nothing."""

    side: ClassVar[int] = GLYPH

    @property
    def name(self) -> str:
        """What progress bars call it."""
        return f"glyphs, {self.side} x {self.side}"

    @property
    def space(self) -> judge.Space | Autoencoder:
        """Encodes and decodes."""
        return judge.space()

    @property
    def units(self) -> members.Units:
        """Of the space."""
        return members.one_unit(self.space.spread)

    def told(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Conditions ``[n, dc]`` for pictures, of any side."""
        return torch.zeros(len(images), 0)

    def pairs(self, which: str, n: int, generator: torch.Generator) -> Rows:
        """Numbers of n pictures, and what is told of them."""
        images = fresh(n, generator)
        return self.space.encode(pooled(images, self.side)), self.told(images, generator)

    def described(self, which: str) -> dict[str, Any]:
        """What these rows depend on, as JSON."""
        return dict(vars(self))

    def sampled(self, networks: members.PictureNetworks, images: Tensor) -> Tensor:
        """Images ``[n, side^2]`` of its network, told of n images; the same noise at a side."""
        c = self.told(images, stream(networks.seed, "told", self.side))
        network = replace(networks, scenario=self).general.network
        noise = stream(networks.seed, "stage", self.side)
        return self.space.decode(sample(network, c, noise).squeeze(1))


@dataclass(frozen=True)
class Latents(Characters):
    """Pictures in a space in which diffusion runs.

    Parameters
    ----------
    kind : str
        ``learned``, latents of an :class:`Autoencoder`; ``components``, principal; ``pixels``.
    size : int
        Numbers of a picture: 256 pixels, or at most 96.
    width : int
        Of the network.
    seed, steps : int
        Of the autoencoder, and its training steps.
    """

    kind: str
    size: int
    width: int = 384
    seed: int = 0
    steps: int = 2000

    def __post_init__(self) -> None:
        sizes = (GLYPH**2,) if self.kind == "pixels" else range(1, judge.KEPT + 1)
        if self.kind not in NUMBERS or self.size not in sizes or self.width < 1:
            raise ValueError(
                f"kind must be one of {', '.join(NUMBERS)}, size from 1 to {judge.KEPT} (pixels: "
                f"{GLYPH**2}) and width at least 1, not {self}"
            )

    @property
    def name(self) -> str:
        """What progress bars call it."""
        return f"{self.size} numbers, width {self.width}"

    @property
    def space(self) -> judge.Space | Autoencoder:
        """Encodes and decodes."""
        if self.kind == "learned":
            return autoencoder(self.size, self.seed, self.steps)
        whole = frame(GLYPH, self.kind != "pixels")
        return judge.Space(whole.mean, whole.basis[: self.size], whole.spread[: self.size])


@dataclass(frozen=True)
class Stage(Characters):
    r"""Pictures of a side of :data:`SIDES`, told nothing, or those of half the side.

    Parameters
    ----------
    side : int
    how : str
        ``noise`` or ``blur`` corrupts what is told; empty: nothing is told.
    strength : float
        Of noise the share s of the standard deviation, from 0 to below 1, in
        :math:`\sqrt{1 - s^2}\, z + s\, \varepsilon`; of blur its standard deviation in pixels of
        the told picture.
    """

    side: int  # type: ignore[misc]
    how: str = ""
    strength: float = 0.0

    def __post_init__(self) -> None:
        allowed = ("", *STRENGTHS) if self.side > SIDES[0] else ("",)
        right = self.side in SIDES and self.how in allowed
        if not right or not 0 <= self.strength < (10 if self.how == "blur" else 1):
            raise ValueError(
                f"side must be 4, 8 or 16, how empty or, above side 4, noise (of a strength from 0 "
                f"to below 1) or blur (0 to below 10), not {self}"
            )

    @property
    def dc(self) -> int:
        """Numbers of a condition."""
        return (self.side // 2) ** 2 if self.how else 0

    @property
    def space(self) -> judge.Space:
        """Principal components of this side."""
        return frame(self.side)

    def told(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Conditions ``[n, dc]``: pictures of half the side, corrupted, in components and their
        unit."""
        if not self.how:
            return super().told(images, generator)
        below, low = pooled(images, self.side // 2), Stage(self.side // 2)
        below = blurred(below, self.strength) if self.how == "blur" else below
        z, s = low.space.encode(below) / low.units[1], self.strength * (self.how == "noise")
        return math.sqrt(1 - s**2) * z + s * torch.empty_like(z).normal_(generator=generator)


class StageTrial(members.ImageTrial):
    """Glyphs drawn in some way, against true ones."""

    recipe = members.GLYPHS

    def drawn(self, networks: members.PictureNetworks, true: Tensor) -> dict[str, Tensor]:
        """Images ``[n, 256]`` by target, ``samples`` among them, beside n true ones."""
        return {"samples": true}

    def found(self, networks: members.PictureNetworks) -> dict[str, judge.Scored]:
        """:func:`against` other pictures of the characters that were learned; ``unseen``, of the
        samples: against test characters."""
        images = self.drawn(networks, fresh(self.profile.conditions, stream(self.seed, "truth")))
        found = {target: against(some, self.seed) for target, some in images.items()}
        return {**found, "unseen": against(images["samples"], self.seed, "test")}


class SpaceTrial(StageTrial):
    """Samples in one space, and what its decoder makes of true pictures (``decoded``), the best
    that diffusion in it can do. ``truth``: fresh pictures in the place of samples."""

    world: Latents
    store_kind = "spaces"
    ways: ClassVar = (*NUMBERS, "truth")

    def networks(self, store: Store, quiet: bool = True) -> members.PictureNetworks:
        """Where its network comes from, of the width that the world says."""
        shape = replace(self.recipe.architecture, width=self.world.width)
        recipe = replace(self.recipe, architecture=shape)
        return replace(super().networks(store, quiet), recipe=recipe)

    def drawn(self, networks: members.PictureNetworks, true: Tensor) -> dict[str, Tensor]:
        """Samples, and true pictures encoded and decoded."""
        if self.configuration == "truth":
            return super().drawn(networks, true)
        decoded = self.world.space.decode(self.world.space.encode(true))
        return {"samples": self.world.sampled(networks, true), "decoded": decoded}

    def found(self, networks: members.PictureNetworks) -> dict[str, judge.Scored]:
        """And the ``error`` per pixel of test characters that are encoded and decoded."""
        test = fresh(self.profile.conditions, stream(self.seed, "test"), "test")
        space, found = self.world.space, super().found(networks)
        off = float((space.decode(space.encode(test)) - test).square().mean().sqrt())
        return {**found, "decoded": {**found.get("decoded", {}), "error": known(off)}}


class CascadeTrial(StageTrial):
    """Samples of a cascade whose conditions are corrupted in training and in sampling alike.

    ``"noise at S"``, ``"blur at S"``; ``single``: one network, no cascade; ``longer``: one trained
    three times as long, as a cascade in all. Targets ``from 4`` and ``from 8``: the last stages,
    told true pictures of these sides.
    """

    world: Stage
    store_kind = "cascade"
    recipe = STAGES
    ways: ClassVar = (*(f"{how} at W" for how in STRENGTHS), "single", "longer")

    def drawn(self, networks: members.PictureNetworks, true: Tensor) -> dict[str, Tensor]:
        """Samples of all stages, and of the last ones only."""
        how, strengths = self.parts()
        if not strengths:
            epochs = networks.profile.general_epochs * (1 if how == "single" else len(SIDES))
            networks = replace(networks, profile=replace(networks.profile, general_epochs=epochs))
            return {"samples": self.world.sampled(networks, true)}
        found = dict.fromkeys(("samples", "from 4", "from 8"), true)
        for first, target in enumerate(found):
            for side in SIDES[first:]:
                stage = Stage(side, how, strengths[0]) if side > SIDES[0] else Stage(side)
                found[target] = stage.sampled(networks, found[target])
        return found


def space_trials(profile: str, seed: int) -> list[SpaceTrial]:
    """Every space over its numbers, some over the width of the network, and the truth."""
    size, found = members.sized(SIZES, profile), list[SpaceTrial]()
    for s in range(seed, seed + size.seeds):
        found.append(SpaceTrial(Latents("pixels", GLYPH**2), size, s, "truth"))
        for kind, k in [(kind, k) for kind, numbers in NUMBERS.items() for k in numbers]:
            for width in (384, *WIDTHS.get((kind, k), ())):
                world = Latents(kind, k, width, s, PER_EPOCH * size.general_epochs)
                found.append(SpaceTrial(world, size, s, kind))
    return found


def cascade_trials(profile: str, seed: int) -> list[CascadeTrial]:
    """Both corruptions over their strengths, and one network."""
    size, ways = members.sized(SIZES, profile), ["single", "longer"]
    ways += [f"{how} at {s:g}" for how, strengths in STRENGTHS.items() for s in strengths]
    seeds = range(seed, seed + size.seeds)
    return [CascadeTrial(Stage(SIDES[-1]), size, s, way) for s in seeds for way in ways]
