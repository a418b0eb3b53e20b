"""Few shots: networks told another picture of the same, and networks taught one subject."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from dualdiff.experiments.members import ADAPTATIONS, Rows
from dualdiff.experiments.store import Store
from dualdiff.experiments.trial import Scores
from dualdiff.images.data import Glyphs, glyphs, jittered
from dualdiff.images.judge import FEATURES, KEPT, compared, distances, encoder, read, share, space
from dualdiff.images.members import PICTURES, UNTOLD, ImageTrial, PictureNetworks, sized, towards
from dualdiff.metrics import Estimate
from dualdiff.randomness import stream
from dualdiff.samplers import sample

# Recipe "pictures" with wider layers, for principal components.
GLYPHS = replace(
    PICTURES,
    name="glyphs",
    general_batch=256,
    architecture=replace(PICTURES.architecture, width=384),
    optimisation=replace(PICTURES.optimisation, learning_rate=3e-3),
)
# Characters of an episode, neighbours in Unicode; copies: both images are one.
EPISODES = {"copies": 0, "characters": 1, "pages": 3}
PROFILED = (
    "n_general",
    "general_epochs",
    "conditions",
    "seeds",
    "finetune_epochs",
    "n_specialised",
)
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
class Episodes:
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
    features: int = FEATURES
    subject: int = -1
    rank: int = 4

    def __post_init__(self) -> None:
        right = -1 <= self.low < self.high <= 1 and 1 <= self.features <= FEATURES
        if self.kind not in EPISODES or not right or self.rank < 1:
            raise ValueError(
                f"kind must be one of {', '.join(EPISODES)}, low and high cosines with low < high, "
                f"features from 1 to {FEATURES}, and rank at least 1, not {self}"
            )

    @property
    def name(self) -> str:
        """What progress bars call it."""
        if self.subject >= 0:
            return f"subject {glyphs('test').characters[self.subject]}, rank {self.rank}"
        pairs = f"{self.kind}, cosine {self.low:g} to {self.high:g}"
        return pairs + f", {self.features} features" * (self.features < FEATURES)

    @property
    def roots(self) -> tuple[type, ...]:
        """Classes whose code decides the rows."""
        return (Episodes,)

    @property
    def units(self) -> tuple[Tensor, Tensor, Tensor]:
        """No offset, one unit for all components, and what each varies by."""
        spread = space().spread
        return torch.zeros(KEPT), spread.square().mean().sqrt().expand(KEPT).clone(), spread

    dc: ClassVar[int] = FEATURES + 1

    def condition(self, images: Tensor) -> Tensor:
        """What a network is told of images ``[n, 256]``: ``[n, 33]``."""
        told = torch.zeros(len(images), self.dc)
        told[:, : self.features] = encoder("encoder")(images)[:, : self.features]
        return told

    def pairs(self, which: str, n: int, generator: torch.Generator) -> Rows:
        """Rows of 'general': components of an image and what is told of another one, nothing for
        some. Of 'specialised': n images of the subject and its word."""
        if which != "general":
            subject = torch.full((n,), self.subject)
            word = torch.zeros(n, self.dc)
            word[:, -1] = 1
            return space().encode(pictured(glyphs("test"), subject, generator)), word
        some, found, told = glyphs("models"), list[Tensor](), list[Tensor]()
        for _ in range(100):
            of, drawn = self._two(some, n, generator)
            seen = encoder("encoder")
            alike = cosine_similarity(seen(of), seen(drawn))
            kept = (alike >= self.low) & ((alike <= self.high) | (self.high == 1))
            found.append(drawn[kept])
            told.append(of[kept])
            if sum(map(len, found)) >= n:
                break
        else:
            raise ValueError(f"too few pairs of {self.name}: {sum(map(len, found))} of {n}")
        known = torch.rand(n, 1, generator=generator, dtype=torch.float32) >= UNTOLD
        condition = self.condition(torch.cat(told)[:n]) * known
        return space().encode(torch.cat(found)[:n]), condition

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


class ShotTrial(ImageTrial):
    """Ten samples from one image of each test character, which no network has seen.

    ``"told at W"``: the network untold, and W times the direction to the told image. ``truth``:
    other images of the characters in the place of samples.
    """

    world: Episodes
    store_kind = "shots"
    recipe = GLYPHS
    ways: ClassVar = {"told": 1, "truth": 0}

    def shown(self) -> tuple[Tensor, Tensor]:
        """Images ``[n, 256]`` that are told, ten times the same, and their characters ``[n]``."""
        some, source = glyphs("test"), stream(self.seed, "shown")
        asked = torch.arange(self.profile.conditions // PER_CONTEXT) % len(some.characters)
        images = pictured(some, asked, source)
        return images.repeat_interleave(PER_CONTEXT, 0), asked.repeat_interleave(PER_CONTEXT)

    def drawn(self, networks: PictureNetworks, c: Tensor) -> Tensor:
        """Images ``[n, 256]`` at conditions; the same noise whatever the configuration."""
        rule = towards(networks.general.network, *self.parts()[1])
        return space().decode(sample(rule, c, stream(self.seed, "glyphs")).squeeze(1))

    def scores(self, store: Store, device: torch.device | str, quiet: bool) -> Scores:
        """What is read, how far samples are from those of unseen characters, from the image told
        (``nearest``) and from one another (``variety``)."""
        told, asked = self.shown()
        if self.configuration == "truth":
            images = pictured(glyphs("test"), asked, stream(self.seed, "truth"))
        else:
            images = self.drawn(self.networks(store, quiet), self.world.condition(told))
        found = self.judged(images, glyphs("test").listed()[0], (images - told).norm(dim=1), asked)
        groups = images.unflatten(0, (-1, PER_CONTEXT))
        apart = torch.stack([torch.pdist(group).mean() for group in groups])
        half = 1.96 * float(apart.std()) / len(apart) ** 0.5
        found["variety"] = Estimate(m := float(apart.mean()), m - half, m + half)
        return {("samples", name): score for name, score in found.items()}

    def judged(
        self, images: Tensor, true: Tensor, near: Tensor, asked: Tensor | None = None
    ) -> dict[str, Estimate]:
        """Samples against true images, moved, and whether they are read as asked."""
        true = jittered(true, stream(self.seed, "true glyphs"))
        seen = encoder("judge")
        found = compared(seen(images), seen(true), near)
        return found if asked is None else found | {"control": share(read(images) == asked)}


class SubjectTrial(ShotTrial):
    """One test character taught from as many images as the profile's ``n_specialised``.

    Of ADAPTATIONS, told its word; ``"context at W"``: nothing is learned, the general network is
    told the mean of the images' features.
    """

    store_kind = "subjects"
    ways: ClassVar = {"context": 1, **dict.fromkeys(ADAPTATIONS, 0)}

    def scores(self, store: Store, device: torch.device | str, quiet: bool) -> Scores:
        """``subject``: samples told of it against other images of it. ``untold``: samples told
        nothing against all unseen characters: what is left of the general model."""
        networks, (method, weights) = self.networks(store, quiet), self.parts()
        y, c = networks.rows("specialised")
        shown, source = space().decode(y), stream(self.seed, "glyphs")
        one = (networks.general if method == "context" else networks.specialised(method)).network
        if method == "context":
            c = self.world.condition(shown).mean(0, keepdim=True)
        scores, test, n = dict[tuple[str, str], Estimate](), glyphs("test"), self.profile.conditions
        subject = torch.full((n // 5,), self.world.subject)
        others = test.images[self.world.subject][test.there[self.world.subject]]
        for target, told, true, asked in (
            ("subject", c[:1].expand(n // 5, -1), others.repeat(20, 1), subject),
            ("untold", torch.zeros(n, self.world.dc), test.listed()[0], None),
        ):
            rule = towards(one, *weights)
            images = space().decode(sample(rule, told, source).squeeze(1))
            found = self.judged(images, true, distances(images, shown).amin(1), asked)
            scores |= {(target, name): score for name, score in found.items()}
        return scores


def shot_trials(profile: str, seed: int) -> list[ShotTrial]:
    """Kinds of episodes, thresholds and features over guidance, and real images."""
    size = sized(SIZES, profile)
    worlds = [Episodes(kind) for kind in EPISODES]
    worlds += [Episodes("pages", *pair) for pair in product(LOW, HIGH) if pair != (-1.0, 1.0)]
    worlds.append(Episodes("characters", features=8))
    told = [(w, f"told at {weight:g}") for w in worlds for weight in WEIGHTS]
    ways, seeds = [(worlds[0], "truth"), *told], range(seed, seed + size.seeds)
    return [ShotTrial(world, size, s, way) for s in seeds for world, way in ways]


def subject_trials(profile: str, seed: int) -> list[SubjectTrial]:
    """Some subjects of every seed over shots and methods, low-rank updates of all ranks."""
    size, found = sized(SIZES, profile), list[SubjectTrial]()
    ways = ["finetuned", "replay", "generated", "context at 1", "context at 2"]
    for s in range(seed, seed + size.seeds):
        for subject, shots in product(SUBJECTS[s % 3], SHOTS):
            few, one = replace(size, n_specialised=shots), Episodes("characters", subject=subject)
            found += [SubjectTrial(one, few, s, way) for way in ways]
            found += [SubjectTrial(replace(one, rank=r), few, s, "lora") for r in RANKS]
    return found
