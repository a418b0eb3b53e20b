"""Spaces and stages: diffusion in latents of an autoencoder, and in a cascade of resolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from dualdiff.experiments.members import LORA_RANK, Rows
from dualdiff.experiments.store import Store
from dualdiff.experiments.trial import Scores, known
from dualdiff.images.data import GLYPH, glyphs
from dualdiff.images.judge import KEPT, Space, compared, encoder, space
from dualdiff.images.members import ImageTrial, PictureNetworks, sized
from dualdiff.images.shots import GLYPHS, PROFILED, pictured
from dualdiff.metrics import Estimate
from dualdiff.process import spread
from dualdiff.randomness import one_thread, stream
from dualdiff.samplers import sample

KL = 1e-6  # weight of the Kullback-Leibler term: Rombach et al. (2022), appendix G
HIDDEN = 256  # width of an autoencoder
SPACES = ("learned", "components", "pixels")
SIZES = {
    "smoke": dict(zip(PROFILED, (500, 1, 100, 1, 1, 2), strict=True)),
    "quick": dict(zip(PROFILED, (20_000, 10, 1000, 1, 1, 2), strict=True)),
    "full": dict(zip(PROFILED, (20_000, 20, 1000, 3, 1, 2), strict=True)),
}
PER_EPOCH = 100  # steps of an autoencoder for each epoch of a network
# Numbers of a picture, by space, for networks 384 wide; and other widths for some of them.
NUMBERS = {"learned": (8, 16, 32, 64), "components": (8, 16, 32, 64, 96), "pixels": (256,)}
WIDTHS = {("learned", 16): (96, 192), ("components", 64): (96, 192), ("pixels", 256): (192, 768)}


def fresh(n: int, generator: torch.Generator, part: str = "models") -> Tensor:
    """Images ``[n, 256]`` of random characters of a part, moved."""
    some = glyphs(part)
    return pictured(some, torch.randint(len(some.characters), (n,), generator=generator), generator)


def against(images: Tensor, seed: int, part: str = "models") -> dict[str, Estimate]:
    """``frechet``, ``precision`` and ``recall`` of images ``[n, 256]`` in the judge's features,
    against as many fresh pictures of a part."""
    seen, true = encoder("judge"), fresh(len(images), stream(seed, "true", part), part)
    found = compared(seen(images), seen(true), torch.zeros(len(images)), 10)
    return {name: found[name] for name in ("frechet", "precision", "recall")}


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence ``[n]`` of Gaussians ``[n, k]`` from the standard one."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)


def _layers(sizes: Sequence[int], generator: torch.Generator) -> nn.Sequential:
    """Linear layers with SiLU between them, the last zero: at first they add nothing."""
    layers = list[nn.Module]()
    for a, b in pairwise(sizes):
        layer = nn.utils.skip_init(nn.Linear, a, b)
        nn.init.kaiming_uniform_(layer.weight, generator=generator)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.SiLU()]
    nn.init.zeros_(layer.weight)
    return nn.Sequential(*layers[:-1])


class Autoencoder(nn.Module):
    r"""Variational autoencoder of glyphs, with a weight of the divergence of 1e-6.

    .. math:: E\,\lVert D(\mu + \sigma z) - x \rVert^2 + 10^{-6}\,
              \mathrm{KL}(N(\mu, \sigma^2) \,\Vert\, N(0, I)), \qquad \mu, \sigma = E(x)

    Both sides are linear maps, at first those of the principal components, and perceptrons beside
    them, at first zero: an untrained one is the linear autoencoder.

    Parameters
    ----------
    size : int
        Numbers of a latent, at most 96.
    generator : torch.Generator
        Source of the initial weights.

    Notes
    -----
    Rombach et al. (2022), sections 3.1 and 4.1.
    """

    def __init__(self, size: int, generator: torch.Generator) -> None:
        super().__init__()
        self.size, self.frame = size, space()
        self.encoder = _layers((KEPT, HIDDEN, HIDDEN, 2 * size), generator)
        self.decoder = _layers((size, HIDDEN, HIDDEN, GLYPH**2), generator)
        basis, unit = self.frame.basis[:size], self.frame.spread[:size, None]
        self.read, self.drawn = nn.Parameter(basis / unit), nn.Parameter(basis * unit)
        nn.init.constant_(self.encoder[-1].get_parameter("bias")[size:], -6.0)

    def moments(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log variances ``[n, k]`` of the latents of images ``[n, 256]``."""
        mean, log_variance = self.encoder(self.frame.encode(images)).chunk(2, 1)
        return mean + (images - self.frame.mean) @ self.read.T, log_variance

    def forward(self, z: Tensor) -> Tensor:
        """Images ``[n, 256]`` at latents ``[n, k]``, not yet cut to -1 .. 1."""
        return self.decoder(z) + z @ self.drawn + self.frame.mean

    def loss(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """What is trained, a scalar: mean over images ``[n, 256]``."""
        mean, log_variance = self.moments(images)
        noise = torch.empty_like(mean).normal_(generator=generator)
        error = (self(mean + (log_variance / 2).exp() * noise) - images).square().sum(1)
        return (error + KL * divergence(mean, log_variance)).mean()

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Latents ``[n, k]`` of images ``[n, 256]``: the means."""
        return self.moments(images)[0]

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Images ``[n, 256]`` from -1 to 1 at latents ``[n, k]``."""
        return self(z).clamp(-1, 1)


@lru_cache(maxsize=16)
def autoencoder(size: int, seed: int, steps: int) -> Autoencoder:
    """An autoencoder, trained for so many batches of 256 of the models' characters."""
    source = stream(seed, "autoencoder", size)
    made = Autoencoder(size, source)
    with one_thread(denormals=False):
        images = fresh(20_000, source)
        optimiser = torch.optim.Adam(made.parameters(), 2e-3)
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(steps):
            some = images[torch.randint(len(images), (256,), generator=source)]
            optimiser.zero_grad()
            made.loss(some, source).backward()
            optimiser.step()
            decay.step()
    return made.eval()


@dataclass(frozen=True)
class Characters:
    """Glyphs of the models' characters, of which networks learn something."""

    rank: ClassVar[int] = LORA_RANK

    @property
    def roots(self) -> tuple[type, ...]:
        """Classes whose code decides the rows."""
        return (type(self),)

    def described(self, which: str) -> dict[str, Any]:
        """What these rows depend on, as JSON."""
        return dict(vars(self))


@dataclass(frozen=True)
class Latents(Characters):
    """Pictures as numbers of a space in which diffusion runs.

    Parameters
    ----------
    kind : str
        Of :data:`SPACES`: latents of an :class:`Autoencoder`, principal components, the pixels.
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
    dc: ClassVar[int] = 0

    def __post_init__(self) -> None:
        most = KEPT if self.kind != "pixels" else GLYPH**2
        least = 1 if self.kind != "pixels" else GLYPH**2
        if self.kind not in SPACES or not least <= self.size <= most or self.width < 1:
            raise ValueError(
                f"kind must be one of {', '.join(SPACES)}, size from 1 to {KEPT} (pixels: "
                f"{GLYPH**2}) and width at least 1, not {self}"
            )

    @property
    def name(self) -> str:
        """What progress bars call it."""
        return f"{self.size} numbers, width {self.width}"

    @property
    def space(self) -> Space | Autoencoder:
        """Encodes and decodes."""
        if self.kind == "learned":
            return autoencoder(self.size, self.seed, self.steps)
        if self.kind == "pixels":
            return _pixels()
        return Space(space().mean, *(part[: self.size] for part in (space().basis, space().spread)))

    @property
    def units(self) -> tuple[Tensor, Tensor, Tensor]:
        """Latents by themselves; of components and pixels one unit for all."""
        found = self.space
        if isinstance(found, Space):
            return in_one_unit(found.spread)
        z = found.encode(fresh(5000, stream(self.seed, "units")))
        return z.mean(0), z.std(0), z.std(0)

    @property
    def decoding(self) -> int:
        """Multiply-adds of decoding a picture."""
        found = self.space
        if isinstance(found, Space):
            return found.basis.numel() * (self.kind != "pixels")
        return weights(found.decoder) + found.drawn.numel()

    def pairs(self, which: str, n: int, generator: torch.Generator) -> Rows:
        """Numbers of n pictures, told nothing."""
        return self.space.encode(fresh(n, generator)), torch.zeros(n, 0)


def in_one_unit(deviation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Units of numbers around zero that vary by ``deviation [k]``: one for all."""
    unit = deviation.square().mean().sqrt().expand(len(deviation)).clone()
    return torch.zeros_like(deviation), unit, deviation


def weights(module: nn.Module) -> int:
    """Multiply-adds of a pass through linear layers."""
    return sum(p.numel() for p in module.parameters() if p.ndim == 2)


@lru_cache(maxsize=1)
def _pixels() -> Space:
    images = fresh(5000, stream(0, "pixels"))
    return Space(images.mean(0), torch.eye(GLYPH**2), spread(images))


class SpaceTrial(ImageTrial):
    """Samples of one space, and what its decoder makes of true pictures: the best that diffusion
    in it can do. ``truth``: fresh pictures in the place of samples."""

    world: Latents
    store_kind = "spaces"
    recipe = GLYPHS
    ways: ClassVar = dict.fromkeys((*SPACES, "truth"), 0)

    def networks(self, store: Store, quiet: bool = True) -> PictureNetworks:
        """Where its network comes from, of the width that the world says."""
        shape = replace(self.recipe.architecture, width=self.world.width)
        recipe = replace(self.recipe, architecture=shape)
        return replace(super().networks(store, quiet), recipe=recipe)

    def scores(self, store: Store, device: torch.device | str, quiet: bool) -> Scores:
        """``samples``: against other pictures of the characters that were learned. ``unseen``:
        against test characters. ``decoded``: decoded true pictures, and their error per pixel on
        test characters. ``cost``: millions of multiply-adds for a picture."""
        n, world, way = self.profile.conditions, self.world, self.world.space
        images, found = fresh(n, stream(self.seed, "truth")), dict[str, dict[str, Estimate]]()
        if self.configuration != "truth":
            found["decoded"] = against(way.decode(way.encode(images)), self.seed)
            test = fresh(n, stream(self.seed, "test"), "test")
            error = (way.decode(way.encode(test)) - test).square().mean().sqrt()
            found["decoded"]["error"] = known(float(error))
            network = self.networks(store, quiet).general.network
            z = sample(network, torch.zeros(n, 0), stream(self.seed, "glyphs")).squeeze(1)
            images = way.decode(z)
            work = weights(network) * network.process.steps + world.decoding
            found["cost"] = {"multiply_adds": known(work / 1e6)}
        found["samples"] = against(images, self.seed)
        found["unseen"] = against(images, self.seed, "test")
        return {(target, name): e for target, own in found.items() for name, e in own.items()}


def space_trials(profile: str, seed: int) -> list[SpaceTrial]:
    """Every space over its numbers, some over the width of the network, and the truth."""
    size, found = sized(SIZES, profile), list[SpaceTrial]()
    for s in range(seed, seed + size.seeds):
        found.append(SpaceTrial(Latents("pixels", GLYPH**2), size, s, "truth"))
        for kind, numbers in NUMBERS.items():
            for k in numbers:
                for width in (384, *WIDTHS.get((kind, k), ())):
                    world = Latents(kind, k, width, s, PER_EPOCH * size.general_epochs)
                    found.append(SpaceTrial(world, size, s, kind))
    return found


SIDES = (4, 8, 16)
# Recipe of glyphs with narrower layers: a cascade is many networks.
STAGES = replace(GLYPHS, name="stages", architecture=replace(GLYPHS.architecture, width=256))
STRENGTHS = {"noise": (0.0, 0.1, 0.2, 0.4, 0.6, 0.8), "blur": (0.4, 0.7, 1.0, 1.5)}


def pooled(images: Tensor, side: int) -> Tensor:
    """Square images ``[n, k^2]`` as ``[n, side^2]``: means of square blocks."""
    whole = math.isqrt(images.shape[1])
    return functional.avg_pool2d(images.view(-1, 1, whole, whole), whole // side).flatten(1)


def blurred(images: Tensor, deviation: float) -> Tensor:
    """Square images ``[n, k^2]`` under a Gaussian filter, its standard deviation in pixels; what
    lies outside is paper. 0: as they are."""
    side, place = math.isqrt(images.shape[1]), torch.arange(-3.0, 4.0)
    line = torch.exp(-0.5 * (place / max(deviation, 1e-6)) ** 2)
    line /= line.sum()
    ink = (images + 1).view(-1, 1, side, side)
    return (functional.conv2d(ink, torch.outer(line, line)[None, None], padding=3) - 1).flatten(1)


@lru_cache(maxsize=4)
def frame(side: int) -> Space:
    """Principal components of the models' characters at a side, all of them below 16."""
    if side == GLYPH:
        return space()
    images = pooled(fresh(5000, stream(0, "frames")), side)
    with one_thread():
        _, size, basis = torch.linalg.svd(images - images.mean(0), full_matrices=False)
    return Space(images.mean(0), basis, size / len(images) ** 0.5)


@dataclass(frozen=True)
class Stage(Characters):
    """Pictures of a side of :data:`SIDES`, told nothing, or those of half the side.

    Parameters
    ----------
    side : int
    how : str
        ``noise`` or ``blur`` corrupts what is told; empty: nothing is told.
    strength : float
        Of noise the share s of the standard deviation, from 0 to below 1, in
        :math:`\\sqrt{1 - s^2}\\, z + s \\varepsilon`; of blur its standard deviation in the told
        picture's pixels.
    """

    side: int
    how: str = ""
    strength: float = 0.0

    def __post_init__(self) -> None:
        most = 1.0 if self.how == "noise" else math.inf
        fits = self.side in SIDES and (not self.how or self.side > SIDES[0])
        if not fits or self.how not in ("", *STRENGTHS) or not 0 <= self.strength < most:
            raise ValueError(
                f"side must be one of {', '.join(map(str, SIDES))}, how noise (of a strength from "
                f"0 to below 1) or blur (at least 0) above side 4, or empty, not {self}"
            )

    @property
    def name(self) -> str:
        """What progress bars call it."""
        return f"glyphs, {self.side} x {self.side}"

    @property
    def dc(self) -> int:
        """Numbers of a condition."""
        return (self.side // 2) ** 2 if self.how else 0

    @property
    def units(self) -> tuple[Tensor, Tensor, Tensor]:
        """One for all components."""
        return in_one_unit(frame(self.side).spread)

    def told(self, below: Tensor, generator: torch.Generator) -> Tensor:
        """Conditions ``[n, dc]`` from pictures of half the side, corrupted."""
        if not self.how:
            return torch.zeros(len(below), 0)
        low = frame(self.side // 2)
        z = low.encode(blurred(below, self.strength) if self.how == "blur" else below)
        z = z / in_one_unit(low.spread)[1]
        if self.how == "noise":
            noise = torch.empty_like(z).normal_(generator=generator)
            z = math.sqrt(1 - self.strength**2) * z + self.strength * noise
        return z

    def pairs(self, which: str, n: int, generator: torch.Generator) -> Rows:
        """Components of n pictures, and what is told of them."""
        images = fresh(n, generator)
        below = pooled(images, self.side // 2)
        return frame(self.side).encode(pooled(images, self.side)), self.told(below, generator)


class CascadeTrial(ImageTrial):
    """Samples of a cascade whose conditions are corrupted in training and in sampling alike.

    ``"noise at S"``, ``"blur at S"``. ``single``: one network, no cascade. ``truth``: fresh
    pictures in the place of samples.
    """

    world: Stage
    store_kind = "cascade"
    recipe = STAGES
    ways: ClassVar = {**dict.fromkeys(STRENGTHS, 1), "single": 0, "truth": 0}

    def drawn(self, networks: PictureNetworks, sides: Sequence[int], below: Tensor) -> Tensor:
        """Images of the last of some sides, one made of the other, the first of ``below``."""
        how, strengths = self.parts()
        for side in sides:
            told = side > SIDES[0] and how != "single"
            stage = Stage(side, how, strengths[0]) if told else Stage(side)
            network = replace(networks, scenario=stage).general.network
            c = stage.told(below, stream(self.seed, "told", side))
            z = sample(network, c, stream(self.seed, "stage", side)).squeeze(1)
            below = frame(side).decode(z)
        return below

    def scores(self, store: Store, device: torch.device | str, quiet: bool) -> Scores:
        """``samples`` and ``unseen`` as of :class:`SpaceTrial`; ``from 4`` and ``from 8``: the
        last stages, told true pictures of these sides."""
        true, nets = fresh(self.profile.conditions, stream(self.seed, "truth")), None
        found = dict[str, Tensor]()
        if self.configuration == "truth":
            found["samples"] = true
        else:
            nets = self.networks(store, quiet)
            single = self.configuration == "single"
            found["samples"] = self.drawn(nets, SIDES[-1:] if single else SIDES, true)
            for k, side in enumerate(SIDES[:-1] if not single else ()):
                found[f"from {side}"] = self.drawn(nets, SIDES[k + 1 :], pooled(true, side))
        scores = {target: against(images, self.seed) for target, images in found.items()}
        scores["unseen"] = against(found["samples"], self.seed, "test")
        return {(target, name): e for target, own in scores.items() for name, e in own.items()}


def cascade_trials(profile: str, seed: int) -> list[CascadeTrial]:
    """Both corruptions over their strengths, one network, and the truth."""
    size, ways = sized(SIZES, profile), ["truth", "single"]
    ways += [f"{how} at {s:g}" for how, strengths in STRENGTHS.items() for s in strengths]
    seeds = range(seed, seed + size.seeds)
    return [CascadeTrial(Stage(SIDES[-1]), size, s, way) for s in seeds for way in ways]
