"""Who controls what: class by a general network, style by one of few images, judged apart."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from dualdiff.compose import Weighted, guided, joint
from dualdiff.correct import product
from dualdiff.denoisers import Denoiser
from dualdiff.experiments.members import ADAPTATIONS
from dualdiff.experiments.profiles import PROFILES, Profile
from dualdiff.experiments.store import Store
from dualdiff.experiments.study import UNUSED
from dualdiff.experiments.trial import Scores, Trial
from dualdiff.images.data import CLASSES, CONCEPTS, PARTS, digits, one_hot
from dualdiff.images.judge import check_style, judged
from dualdiff.images.members import PICTURES, Digits, PictureNetworks, Told
from dualdiff.randomness import stream
from dualdiff.resampling import Resampling
from dualdiff.samplers import sample

SINGLE = ("general", *ADAPTATIONS)
"""One network, guided by its own class."""
PAIRS = ("concept", "joint", "joint_smc")
"""The general network with one of the concept: generalised guidance, the plain sum, with SMC."""
GROUP = 50
SIZES = {"smoke": (100, 1), "quick": (200, 1), "full": (500, 3)}
"""Samples and seeds by profile."""
EPOCHS = {"smoke": (1, 4, 4), "quick": (125, 600, 200), "full": (250, 1500, 400)}
"""Of the general network over all images four times, and of those of a concept over its 128."""
WEIGHTS = (1.0, 1.5, 2.0, 3.0, 5.0)
"""Of the direction to a class: 1 + w of Ho and Salimans (2022)."""
TOWARDS = (1.0, 1.5)
"""Of the direction to a concept."""


def sized(profile: str) -> Profile:
    """How large the studies of pictures are.

    Raises
    ------
    ValueError
        For an unknown profile.
    """
    if profile not in SIZES:
        raise ValueError(f"profile must be one of {', '.join(SIZES)}, not {profile!r}")
    (n, seeds), (general, special, tuned) = SIZES[profile], EPOCHS[profile]
    return replace(
        PROFILES[profile],
        conditions=n,
        draws=1,
        seeds=seeds,
        n_general=4 * PARTS["models"],
        n_specialised=128,
        general_epochs=general,
        specialised_epochs=special,
        finetune_epochs=tuned,
    )


@dataclass(frozen=True)
class PictureTrial(Trial):
    """Samples of one composition for all classes in a style, judged.

    Parameters
    ----------
    style : str
        Of the concept; ``plain``: the general network's own.
    profile : Profile
    seed : int
    configuration : str
        ``"METHOD at W"``, of :data:`SINGLE`: the untold network and W times the direction to the
        class, 1 + w in the notation of Ho and Salimans. ``"concept at V, W"``: the general network
        untold, V times the direction to the fine-tuned network untold, W times that to its own
        class. ``specialised``, ``joint``, ``joint_smc``.
    """

    style: str
    profile: Profile
    seed: int
    configuration: str

    store_kind: ClassVar[str] = "pictures"
    recipe_name: ClassVar[str] = PICTURES.name

    def __post_init__(self) -> None:
        check_style(self.style)
        self.parts()

    def parts(self) -> tuple[str, list[float]]:
        """Method and weights.

        Raises
        ------
        ValueError
            For what is no configuration.
        """
        method, _, numbers = self.configuration.partition(" at ")
        count = {**dict.fromkeys(SINGLE, 1), "concept": 2, "specialised": 0}
        count |= dict.fromkeys(PAIRS[1:], 0)
        try:
            weights = [float(number) for number in numbers.split(",") if number]
        except ValueError:
            weights = [float("nan")]
        if len(weights) != count.get(method) or any(w != w for w in weights):
            raise ValueError(
                f"configuration must be METHOD at W with a method of {', '.join(SINGLE)}, concept "
                f"at V, W, or specialised, joint, joint_smc, not {self.configuration!r}"
            )
        return method, weights

    @property
    def scenario_name(self) -> str:
        """Name of the data."""
        return f"digits, {self.style}"

    @property
    def cost(self) -> float:
        """Relative work, in samples of one network."""
        return 20_000.0

    def config(self, device: torch.device | str = "cpu") -> dict[str, Any]:
        """All that the result depends on, as JSON."""
        return {
            "style": self.style,
            "recipe": PICTURES.described(),
            "profile": {k: v for k, v in asdict(self.profile).items() if k not in UNUSED},
            "seed": self.seed,
            "configuration": self.configuration,
        }

    def networks(self, store: Store, quiet: bool = True) -> PictureNetworks:
        """Where its networks come from."""
        return PictureNetworks(
            Digits(self.style), PICTURES, self.profile, self.seed, store, quiet=quiet
        )

    def rule(self, networks: PictureNetworks) -> Denoiser:
        """What is sampled."""
        method, weights = self.parts()
        if method == "specialised":
            return Told(networks.specialised().network, classes=False, word=True)
        general = networks.general.network
        if method in SINGLE:
            word = method != "general"
            one = networks.specialised(method).network if word else general
            untold, told = (Told(one, classes=known, word=word) for known in (False, True))
            return guided(untold, {"class": told}, {"class": weights[0]})
        if method == "concept":
            small = networks.specialised("finetuned").network
            sources = {"concept": Told(small, classes=False, word=True), "class": general}
            both = dict(zip(("concept", "class"), weights, strict=True))
            return guided(Told(general, classes=False, word=False), sources, both)
        small = networks.specialised().network
        return joint(general, Told(small, classes=False, word=True))

    def drawn(self, networks: PictureNetworks, c: Tensor) -> Tensor:
        """Images ``[n, 64]`` at conditions; the same noise whatever the configuration."""
        rule, source = self.rule(networks), stream(self.seed, "pictures")
        if self.configuration == "joint_smc":
            assert isinstance(rule, Weighted)
            groups = Resampling(GROUP)
            return product(rule, c, source, draws=GROUP, resampling=groups, keep=1).samples[:, 0]
        return sample(rule, c, source).squeeze(1)

    def scores(self, store: Store, device: torch.device | str, quiet: bool) -> Scores:
        """What is read and told, and how far the samples are from images of the style."""
        networks = self.networks(store, quiet)
        asked = torch.arange(self.profile.conditions) % CLASSES
        if self.style == "plain":
            learned = digits("models")[0]
        else:
            learned = networks.rows("specialised")[0]
        found = judged(self.drawn(networks, one_hot(asked)), asked, self.style, learned)
        return {("samples", name): score for name, score in found.items()}


class DriftTrial(PictureTrial):
    """A network of :data:`SINGLE`, its configuration, that is told nothing, against *plain* digits:
    what is left of the unconditional general model."""

    store_kind: ClassVar[str] = "pictures_untold"

    def parts(self) -> tuple[str, list[float]]:
        """The method.

        Raises
        ------
        ValueError
            For another one.
        """
        if self.configuration not in SINGLE:
            raise ValueError(
                f"configuration must be one of {', '.join(SINGLE)}, not {self.configuration!r}"
            )
        return self.configuration, []

    def scores(self, store: Store, device: torch.device | str, quiet: bool) -> Scores:
        """What its samples score as plain digits."""
        networks, (method, _) = self.networks(store, quiet), self.parts()
        one = networks.general if method == "general" else networks.specialised(method)
        nobody = torch.full((self.profile.conditions,), -1)
        drawn = sample(one.network, one_hot(nobody), stream(self.seed, "pictures")).squeeze(1)
        found = judged(drawn, nobody, "plain", digits("models")[0])
        return {("untold", name): score for name, score in found.items()}


def picture_trials(profile: str, seed: int) -> list[PictureTrial]:
    """Guidance on plain digits; every way to a concept at every weight; drift."""
    size, found = sized(profile), list[PictureTrial]()
    for s in range(seed, seed + size.seeds):
        found += [PictureTrial("plain", size, s, f"general at {w:g}") for w in WEIGHTS]
        found.append(DriftTrial("plain", size, s, "general"))
        for style in CONCEPTS:
            ways = [f"{method} at {w:g}" for method in ADAPTATIONS for w in WEIGHTS]
            ways += [f"concept at {v:g}, {w:g}" for v in TOWARDS for w in WEIGHTS]
            ways += ["specialised", "joint", "joint_smc"]
            found += [PictureTrial(style, size, s, way) for way in ways]
            found += [DriftTrial(style, size, s, method) for method in ADAPTATIONS]
    return found
