"""Networks of pictures: what they are trained on, what they are told, and trials of them."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from dualdiff.compose import Weighted, guided
from dualdiff.denoisers import Denoiser, Predict
from dualdiff.experiments.members import LORA_RANK, RECIPES, Networks, Recipe, Rows, Source
from dualdiff.experiments.profiles import PROFILES, Profile
from dualdiff.experiments.store import Store
from dualdiff.experiments.study import UNUSED
from dualdiff.experiments.trial import Scores, Trial
from dualdiff.images.data import CLASSES, SIDE, digits, one_hot
from dualdiff.images.judge import Scored, check_style, styled
from dualdiff.lora import add_lora
from dualdiff.networks import MLP
from dualdiff.process import Process
from dualdiff.randomness import stream
from dualdiff.steps import Optimisation

UNTOLD = 0.15  # share of the general rows whose class is withheld: zeros, which are no class
# Recipe "tuned" in one unit for all pixels, with twice the width and without octaves.
PICTURES = replace(
    RECIPES["tuned"],
    name="pictures",
    log_snr=(9.0, -6.0),
    general_batch=64,
    architecture=replace(RECIPES["tuned"].architecture, object_frame=False, fourier=0, width=256),
    optimisation=Optimisation("adamw", learning_rate=1e-3, decay="cosine", ema=0.05),
)
# Recipe "pictures" with wider layers, for principal components.
GLYPHS = replace(
    PICTURES,
    name="glyphs",
    general_batch=256,
    architecture=replace(PICTURES.architecture, width=384),
    optimisation=replace(PICTURES.optimisation, learning_rate=3e-3),
)


Units = tuple[Tensor, Tensor, Tensor]
"""Mean and unit of every number, ``[dy]``, and its standard deviation in the data."""


class Pictures(Source, Protocol):
    """A world of pictures, whose numbers are in one unit together: a frozen dataclass that has the
    names below and those of a :class:`~dualdiff.experiments.members.Source`."""

    rank: int = LORA_RANK
    """Of low-rank updates."""

    @property
    def units(self) -> Units:
        """Of its numbers."""

    @property
    def dc(self) -> int:
        """Numbers of a condition."""
        return 0

    @property
    def roots(self) -> tuple[type, ...]:
        """Classes whose code decides the rows."""
        return (type(self),)


def one_unit(spread: Tensor) -> Units:
    """No offset, one unit for all numbers, and what each of them varies by, ``spread [dy]``."""
    unit = spread.square().mean().sqrt().expand(len(spread)).clone()
    return torch.zeros_like(spread), unit, spread


@dataclass(frozen=True)
class Digits(Pictures):
    """Digits in a style as what networks are trained on: all of them told their class, few of the
    style told a word of its own and no class."""

    style: str = "plain"
    told: str = ""
    """``class`` or ``style``: every other general row is in the style, and a network is told the
    class alone, or whether it is (the word 1) or not (-1)."""

    dc = CLASSES + 1

    def __post_init__(self) -> None:
        check_style(self.style)
        if self.told not in ("", "class", "style"):
            raise ValueError(f"told must be class or style or empty, not {self.told!r}")

    @property
    def name(self) -> str:
        """What progress bars call it."""
        return f"digits, {self.style}"

    @property
    def units(self) -> Units:
        """Mean and standard deviation of all pixels."""
        images, _ = digits("models")
        mean, unit = (part.expand(SIDE**2).clone() for part in (images.mean(), images.std()))
        return mean, unit, unit

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
        images, c = images[some], one_hot(labels[some])
        if self.told:
            other = torch.rand(n, 1, generator=generator, dtype=torch.float32) < 0.5
            images = torch.where(other, styled(images, self.style), images)
            if self.told == "style":
                c = torch.cat([torch.zeros(n, CLASSES), 2.0 * other - 1], dim=1)
        return images, c * told

    def described(self, which: str) -> dict[str, Any]:
        """What these rows depend on, as JSON."""
        style = self.style if which == "specialised" or self.told else "plain"
        return {"digits": style, "told": self.told}


@dataclass(frozen=True)
class PictureNetworks(Networks):
    """Networks of :class:`Pictures`, in one unit for all numbers."""

    scenario: Pictures

    def _new(self, name: str) -> MLP:
        mean, unit, residual = self.scenario.units
        process = Process.log_snr(
            self.recipe.steps, *self.recipe.log_snr, dy=len(mean), dc=self.scenario.dc
        )
        process = replace(process, y_mean=mean, y_std=unit)
        source = stream(self.seed, "weights", name)
        return MLP(process, self.recipe.architecture, source, spread=residual)

    def _start(self, name: str) -> MLP:
        if name != "lora":
            return super()._start(name)
        source = stream(self.seed, "low rank")
        return add_lora(self.general.network, self.scenario.rank, source)


class Told(Denoiser):
    """A network of pictures that is told all numbers of the condition but the last (a class, the
    features of a picture) or none of them, and a word, the last number, or not."""

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


def towards(network: Denoiser, weight: float = 1.0) -> Weighted:
    """A network untold, and ``weight`` times the direction to what the condition tells it."""
    untold = Told(network, classes=False, word=False)
    return guided(untold, {"told": network}, {"told": weight})


def sized(sizes: Mapping[str, Mapping[str, Any]], profile: str) -> Profile:
    """How large a study of pictures is: ``sizes`` by profile, one draw for each condition.

    Raises
    ------
    ValueError
        For an unknown profile.
    """
    if profile not in sizes:
        raise ValueError(f"profile must be one of {', '.join(sizes)}, not {profile!r}")
    return replace(PROFILES[profile], draws=1, **sizes[profile])


@dataclass(frozen=True)
class ImageTrial(Trial):
    """Samples of one composition, judged.

    Parameters
    ----------
    world : Pictures
        What its networks are trained on.
    profile : Profile
    seed : int
    configuration : str
        One of :attr:`ways`, numbers in the place of W.
    """

    world: Pictures
    profile: Profile
    seed: int
    configuration: str

    recipe: ClassVar[Recipe]
    ways: ClassVar[Collection[str]]
    """``"METHOD"`` or ``"METHOD at W, W"``, with as many W as there are weights."""

    def __post_init__(self) -> None:
        self.parts()

    def parts(self) -> tuple[str, list[float]]:
        """Method and weights.

        Raises
        ------
        ValueError
            For what is no configuration.
        """
        method, at, numbers = self.configuration.partition(" at ")
        try:
            weights = [float(number) for number in numbers.split(",") if number]
        except ValueError:
            weights = [math.nan]
        form = method + at + ", ".join("W" * len(weights))
        if form not in self.ways or not all(map(math.isfinite, weights)):
            raise ValueError(
                f"configuration must be one of {'; '.join(self.ways)}, not {self.configuration!r}"
            )
        return method, weights

    @property
    def scenario_name(self) -> str:
        """Name of the data."""
        return self.world.name

    @property
    def recipe_name(self) -> str:
        """Name of the recipe."""
        return self.recipe.name

    def config(self, device: torch.device | str = "cpu") -> dict[str, Any]:
        """All that the result depends on, as JSON."""
        return {
            "world": [type(self.world).__name__, vars(self.world)],
            "recipe": self.recipe.described(),
            "profile": {k: v for k, v in asdict(self.profile).items() if k not in UNUSED},
            "seed": self.seed,
            "configuration": self.configuration,
        }

    def networks(self, store: Store, quiet: bool = True) -> PictureNetworks:
        """Where its networks come from."""
        return PictureNetworks(self.world, self.recipe, self.profile, self.seed, store, quiet=quiet)

    @abstractmethod
    def found(self, networks: PictureNetworks) -> Mapping[str, Scored]:
        """What its samples score, by target and metric."""

    def scores(self, store: Store, device: torch.device | str, quiet: bool) -> Scores:
        """What is :meth:`found`, with the networks of the store."""
        found = self.found(self.networks(store, quiet))
        return {(target, name): e for target, own in found.items() for name, e in own.items()}
