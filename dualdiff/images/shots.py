"""Few shots: networks told another picture of the same, and networks taught one subject."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from dualdiff.denoisers import Denoiser
from dualdiff.experiments.members import ADAPTATIONS, Rows
from dualdiff.images import judge, members
from dualdiff.images.data import Glyphs, glyphs, jittered
from dualdiff.randomness import stream
from dualdiff.samplers import sample

# Characters of an episode, neighbours in Unicode; copies: both images are one.
EPISODES = {"copies": 0, "characters": 1, "pages": 3}
PROFILED = "n_general general_epochs conditions seeds finetune_epochs n_specialised".split()
SIZES = {
    "smoke": dict(zip(PROFILED, (500, 1, 100, 1, 2, 8), strict=True)),
    "quick": dict(zip(PROFILED, (20_000, 20, 1000, 1, 200, 8), strict=True)),
    "full": dict(zip(PROFILED, (40_000, 30, 1000, 3, 200, 8), strict=True)),
}
PER_CONTEXT = 10
LOW, HIGH = (-1.0, 0.3, 0.5, 0.7), (0.9, 1.0)
WEIGHTS = (1.0, 1.5, 2.0, 3.0)
RANKS = (1, 2, 4, 8, 16)
SHOTS = (4, 8, 16)
SUBJECTS = ((8, 24), (40, 56), (72, 88))  # test characters that a seed takes


def pictured(some: Glyphs, character: Tensor, generator: torch.Generator) -> Tensor:
    """Images ``[n, 256]`` of characters ``[n]`` in random faces, moved."""
    face = torch.multinomial(some.there[character].float(), 1, generator=generator)[:, 0]
    return jittered(some.images[character, face], generator)


@dataclass(frozen=True)
class Episodes(members.Pictures):
    """Pairs of images of one episode, one to be told by its features and one to be drawn.

    Parameters
    ----------
    kind : str
        Of :data:`EPISODES`.
    low, high : float
        Only pairs whose features have a cosine between them.
    features : int
        Of the told image, the first of 32.
    subject : int
        A test character, which a word of its own is to mean; -1: none.
    rank : int
        Of low-rank updates that learn it.
    """

    kind: str
    low: float = -1.0
    high: float = 1.0
    features: int = judge.FEATURES
    subject: int = -1
    rank: int = 4

    def __post_init__(self) -> None:
        right = -1 <= self.low < self.high <= 1 and 1 <= self.features <= judge.FEATURES
        if self.kind not in EPISODES or not right or self.rank < 1:
            raise ValueError(
                f"kind must be one of {', '.join(EPISODES)}, low and high cosines with low < high, "
                f"features from 1 to {judge.FEATURES}, and rank at least 1, not {self}"
            )

    @property
    def name(self) -> str:
        """What progress bars call it."""
        if self.subject >= 0:
            return f"subject {self.subject}, rank {self.rank}"
        pairs = f"{self.kind}, cosine {self.low:g} to {self.high:g}"
        return pairs + f", {self.features} features" * (self.features < judge.FEATURES)

    dc = judge.FEATURES + 1

    @property
    def units(self) -> members.Units:
        """Of components."""
        return members.one_unit(judge.space().spread)

    def condition(self, images: Tensor) -> Tensor:
        """What a network is told of images ``[n, 256]``: ``[n, 33]``."""
        told = torch.zeros(len(images), self.dc)
        told[:, : self.features] = judge.encoder("encoder")(images)[:, : self.features]
        return told

    def pairs(self, which: str, n: int, generator: torch.Generator) -> Rows:
        """Rows of 'general': components of an image and what is told of another one, nothing for
        some. Of 'specialised': n images of the subject and its word."""
        if which != "general":
            subject = torch.full((n,), self.subject)
            word = torch.zeros(n, self.dc)
            word[:, -1] = 1
            return judge.space().encode(pictured(glyphs("test"), subject, generator)), word
        some, found, told = glyphs("models"), list[Tensor](), list[Tensor]()
        for _ in range(100):
            of, drawn = self._two(some, n, generator)
            seen = judge.encoder("encoder")
            alike = cosine_similarity(seen(of), seen(drawn))
            kept = (alike >= self.low) & ((alike <= self.high) | (self.high == 1))
            found.append(drawn[kept])
            told.append(of[kept])
            if sum(map(len, found)) >= n:
                break
        else:
            raise ValueError(f"too few pairs of {self.name}: {sum(map(len, found))} of {n}")
        known = torch.rand(n, 1, generator=generator, dtype=torch.float32) >= members.UNTOLD
        condition = self.condition(torch.cat(told)[:n]) * known
        return judge.space().encode(torch.cat(found)[:n]), condition

    def _two(self, some: Glyphs, n: int, generator: torch.Generator) -> Rows:
        """Two images ``[n, 256]`` of each of n episodes."""
        size, last = EPISODES[self.kind], len(some.characters) - 1
        first = torch.randint(last + 1, (n,), generator=generator)
        one = pictured(some, first, generator)
        if not size:
            return one, one
        place = torch.randint(size, (n,), generator=generator)
        second = (first // size * size + place).clamp(max=last)
        return one, pictured(some, second, generator)

    def described(self, which: str) -> dict[str, Any]:
        """What these rows depend on, as JSON."""
        pairs = {k: getattr(self, k) for k in ("kind", "low", "high", "features")}
        return pairs if which == "general" else {"subject": self.subject, "rank": self.rank}


class ShotTrial(members.ImageTrial):
    """Ten samples from one image of each test character, which no network has seen.

    ``"told at W"``: the network untold, and W times the direction to the told image. ``truth``:
    other images of the characters in the place of samples.
    """

    world: Episodes
    store_kind = "shots"
    recipe = members.GLYPHS
    ways: ClassVar[tuple[str, ...]] = ("told at W", "truth")

    def shown(self) -> tuple[Tensor, Tensor]:
        """Images ``[n, 256]`` that are told, ten times the same, and their characters ``[n]``."""
        some, source = glyphs("test"), stream(self.seed, "shown")
        asked = torch.arange(self.profile.conditions // PER_CONTEXT) % len(some.characters)
        images = pictured(some, asked, source)
        return images.repeat_interleave(PER_CONTEXT, 0), asked.repeat_interleave(PER_CONTEXT)

    def drawn(self, network: Denoiser, c: Tensor, source: torch.Generator) -> Tensor:
        """Images ``[n, 256]`` at conditions."""
        rule = members.towards(network, *self.parts()[1])
        return judge.space().decode(sample(rule, c, source).squeeze(1))

    def found(self, networks: members.PictureNetworks) -> dict[str, judge.Scored]:
        """What is read, how far samples are from those of unseen characters, from the image told
        (``nearest``) and from one another (``variety``)."""
        told, asked = self.shown()
        if self.configuration == "truth":
            images = pictured(glyphs("test"), asked, stream(self.seed, "truth"))
        else:
            c, source = self.world.condition(told), stream(self.seed, "glyphs")
            images = self.drawn(networks.general.network, c, source)
        found = self.judged(images, glyphs("test").listed()[0], (images - told).norm(dim=1))
        read = judge.share(judge.read(images) == asked)
        return {"samples": found | {"control": read, "variety": judge.apart(images, asked)}}

    def judged(self, images: Tensor, true: Tensor, near: Tensor) -> judge.Scored:
        """Samples against true images, moved."""
        true, seen = jittered(true, stream(self.seed, "true glyphs")), judge.encoder("judge")
        return judge.compared(seen(images), seen(true), near)


class SubjectTrial(ShotTrial):
    """One test character taught from as many images as the profile's ``n_specialised``.

    Of ADAPTATIONS, told its word; ``"context at W"``: nothing is learned, the general network is
    told the mean of the images' features.
    """

    store_kind = "subjects"
    ways: ClassVar = ("context at W", *ADAPTATIONS)

    def found(self, networks: members.PictureNetworks) -> dict[str, judge.Scored]:
        """``subject``: samples told of it against other images of it. ``untold``: samples told
        nothing against all unseen characters: what is left of the general model."""
        (method, _), (y, c) = self.parts(), networks.rows("specialised")
        shown, source = judge.space().decode(y), stream(self.seed, "glyphs")
        one = (networks.specialised(method) if method in ADAPTATIONS else networks.general).network
        if method == "context":
            c = self.world.condition(shown).mean(0, keepdim=True)
        test, n, found = glyphs("test"), self.profile.conditions, dict[str, judge.Scored]()
        others = test.images[self.world.subject][test.there[self.world.subject]]
        for target, told, true in (
            ("subject", c[:1].expand(n // 5, -1), others.repeat(20, 1)),
            ("untold", torch.zeros(n, self.world.dc), test.listed()[0]),
        ):
            images = self.drawn(one, told, source)
            found[target] = self.judged(images, true, judge.distances(images, shown).amin(1))
            if target == "subject":
                read = judge.read(images) == self.world.subject
                found[target]["control"] = judge.share(read)
        return found


def shot_trials(profile: str, seed: int) -> list[ShotTrial]:
    """Kinds of episodes, thresholds and features over guidance, and real images."""
    size = members.sized(SIZES, profile)
    worlds = [Episodes(kind) for kind in EPISODES]
    worlds += [Episodes("pages", *pair) for pair in product(LOW, HIGH) if pair != (-1.0, 1.0)]
    worlds.append(Episodes("characters", features=8))
    told = [(w, f"told at {weight:g}") for w in worlds for weight in WEIGHTS]
    ways, seeds = [(worlds[0], "truth"), *told], range(seed, seed + size.seeds)
    return [ShotTrial(world, size, s, way) for s in seeds for world, way in ways]


def subject_trials(profile: str, seed: int) -> list[SubjectTrial]:
    """Some subjects of every seed over shots and methods, low-rank updates of all ranks."""
    size, found = members.sized(SIZES, profile), list[SubjectTrial]()
    ways = ["finetuned", "replay", "generated", "context at 1", "context at 2"]
    for s in range(seed, seed + size.seeds):
        for subject, shots in product(SUBJECTS[s % 3], SHOTS):
            few, one = replace(size, n_specialised=shots), Episodes("characters", subject=subject)
            found += [SubjectTrial(one, few, s, way) for way in ways]
            found += [SubjectTrial(replace(one, rank=r), few, s, "lora") for r in RANKS]
    return found
