"""Who controls what: class and style by two networks, or by one, judged apart."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from dualdiff.compose import Weighted, guided, joint
from dualdiff.correct import product
from dualdiff.denoisers import Denoiser
from dualdiff.experiments.aggregate import INTERPOLATIONS, amdm
from dualdiff.experiments.members import ADAPTATIONS
from dualdiff.images.data import CLASSES, CONCEPTS, PARTS, one_hot
from dualdiff.images.judge import Scored, judged
from dualdiff.images.members import PICTURES, Digits, ImageTrial, PictureNetworks, Told, sized
from dualdiff.randomness import stream
from dualdiff.resampling import Resampling
from dualdiff.samplers import sample

SINGLE = ("general", *ADAPTATIONS)  # one network, guided by its own class
OTHERS = ("specialised", "joint", "joint_smc")
GROUP = 50
# The general network sees all images four times an epoch.
FOUR = {"n_general": 4 * PARTS["models"], "n_specialised": 128}
PROFILED = "conditions seeds general_epochs specialised_epochs finetune_epochs".split()
SIZES = {
    "smoke": FOUR | dict(zip(PROFILED, (100, 1, 1, 4, 4), strict=True)),
    "quick": FOUR | dict(zip(PROFILED, (200, 1, 125, 600, 200), strict=True)),
    "full": FOUR | dict(zip(PROFILED, (500, 3, 250, 1500, 400), strict=True)),
}
WEIGHTS = (1.0, 1.5, 2.0, 3.0, 5.0)  # of a class: 1 + w of Ho and Salimans (2022)
TOWARDS = (1.0, 1.5)  # of a concept


class PictureTrial(ImageTrial):
    """Samples of one composition for all classes in a style; ``plain``: the general network's own.

    ``"METHOD at W"``, of :data:`SINGLE`: the untold network and W times the direction to the class,
    1 + w in the notation of Ho and Salimans. ``"concept at V, W"``: the general network untold, V
    times the direction to the fine-tuned network untold, W times that to its own class: generalised
    guidance. ``specialised``; ``joint``, the plain sum; ``joint_smc``. A METHOD alone is told
    nothing, and judged against *plain* digits: what is left of the unconditional general model.
    """

    world: Digits
    store_kind = "pictures"
    recipe = PICTURES
    ways: ClassVar = (*(f"{method} at W" for method in SINGLE), "concept at W, W", *OTHERS, *SINGLE)

    def rule(self, networks: PictureNetworks) -> Denoiser:
        """What is sampled."""
        (method, weights), general = self.parts(), networks.general.network
        if method in SINGLE:
            word = method != "general"
            one = networks.specialised(method).network if word else general
            untold, told = (Told(one, classes=known, word=word) for known in (False, True))
            return guided(untold, {"class": told}, {"class": weights[0]}) if weights else one
        name = "finetuned" if method == "concept" else "specialised"
        small = Told(networks.specialised(name).network, classes=False, word=True)
        if method == "concept":
            both = dict(zip(("concept", "class"), weights, strict=True))
            untold = Told(general, classes=False, word=False)
            return guided(untold, {"concept": small, "class": general}, both)
        return small if method == "specialised" else joint(general, small)

    def drawn(self, networks: PictureNetworks, c: Tensor) -> Tensor:
        """Images ``[n, 64]`` at conditions; the same noise whatever the configuration."""
        rule, source = self.rule(networks), stream(self.seed, "pictures")
        if self.configuration == "joint_smc":
            assert isinstance(rule, Weighted)
            groups = Resampling(GROUP)
            return product(rule, c, source, draws=GROUP, resampling=groups, keep=1).samples[:, 0]
        return sample(rule, c, source).squeeze(1)

    def found(self, networks: PictureNetworks) -> dict[str, Scored]:
        """What is read and told, and how far the samples are from images of the style; where
        nothing is told (``untold``), from plain ones."""
        asked, style = torch.arange(self.profile.conditions) % CLASSES, self.world.style
        if untold := self.configuration in SINGLE:
            asked, style = torch.full_like(asked, -1), "plain"
        which = "general" if self.world.told or style == "plain" else "specialised"
        learned, images = networks.rows(which)[0], self.drawn(networks, one_hot(asked))
        return {"untold" if untold else "samples": judged(images, asked, style, learned)}


def picture_trials(profile: str, seed: int) -> list[PictureTrial]:
    """Guidance on plain digits; every way to a concept at every weight; drift."""
    size, plain = sized(SIZES, profile), (*(f"general at {w:g}" for w in WEIGHTS), "general")
    ways = [f"{method} at {w:g}" for method in ADAPTATIONS for w in WEIGHTS]
    ways += [f"concept at {v:g}, {w:g}" for v in TOWARDS for w in WEIGHTS]
    worlds = {"plain": plain, **dict.fromkeys(CONCEPTS, (*ways, *OTHERS, *ADAPTATIONS))}
    seeds = range(seed, seed + size.seeds)
    pairs = [(Digits(style), way) for style, some in worlds.items() for way in some]
    return [PictureTrial(world, size, s, way) for s in seeds for world, way in pairs]


FIRST = ("class", "style")
PLAIN = (*FIRST, "joint", "joint_smc")
AGGREGATED = (10, 20, 40, 60, 80, 100)
DEVIATIONS = (0.1, 0.2, 0.3, 0.4, 0.5)


class ControlTrial(PictureTrial):
    """Asked for all classes in a style, of a network that knows classes and one that knows styles.

    Both have seen the same images, of which every other one is in the style. ``class`` and
    ``style``: one of them alone. ``joint``, ``joint_smc``: the plain sum. ``"and at V, W"``:
    composable diffusion, V the weight of the style (below 0: NOT) and W of the class.
    ``"amdm_HOW_FIRST at S, R"``: aggregation by an interpolation HOW in the first S steps with
    deviation R, after which the FIRST of both goes on alone.
    """

    store_kind = "pictures_controls"
    ways: ClassVar = (
        *(*PLAIN, "and at W, W"),
        *(f"amdm_{how}_{first} at W, W" for how in INTERPOLATIONS for first in FIRST),
    )

    def members(self, networks: PictureNetworks) -> dict[str, Told]:
        """The network that is told the class, and the one that is told the style."""
        worlds = [replace(self.world, told=first) for first in FIRST]
        nets = [replace(networks, scenario=world).general.network for world in worlds]
        both = [Told(net, classes=k == 0, word=k == 1) for k, net in enumerate(nets)]
        return dict(zip(FIRST, both, strict=True))

    def rule(self, networks: PictureNetworks) -> Denoiser:
        """What is sampled, AMDM apart."""
        (method, weights), members = self.parts(), self.members(networks)
        if method != "and":
            return members.get(method, joint(*members.values()))
        untold = Told(members["class"].network, classes=False, word=False)
        return guided(untold, members, dict(zip(("style", "class"), weights, strict=True)))

    def drawn(self, networks: PictureNetworks, c: Tensor) -> Tensor:
        """Images ``[n, 64]`` at conditions; the same noise whatever the configuration."""
        method, weights = self.parts()
        how, _, first = method.removeprefix("amdm_").rpartition("_")
        if how not in INTERPOLATIONS:
            return super().drawn(networks, c)
        members = dict(sorted(self.members(networks).items(), key=lambda item: item[0] != first))
        (steps, rho), noise = weights, stream(self.seed, "pictures")
        found = amdm(members, c, noise, interpolation=how, aggregated=int(steps), deviation=rho)
        return found.samples.squeeze(1)


def control_trials(profile: str, seed: int) -> list[ControlTrial]:
    """Every style: both alone, sums, AND and NOT, and the settings of AMDM from either side."""
    size, ways = sized(SIZES, profile), [*PLAIN]
    ways += [f"and at {v:g}, {w:g}" for v in (1, 2) for w in (1, 2)]
    ways += [f"and at {v:g}, 1" for v in (-0.5, -1, -2)]
    for first in FIRST:
        ways += [f"amdm_{i}_{first} at {s}, 0" for i in INTERPOLATIONS for s in AGGREGATED]
        ways += [f"amdm_spherical_{first} at {s}, {r}" for s in (40, 100) for r in DEVIATIONS]
    seeds, worlds = range(seed, seed + size.seeds), [Digits(c, "class") for c in CONCEPTS]
    return [ControlTrial(w, size, s, way) for s in seeds for w in worlds for way in ways]
