"""Glyphs: what is split, who sees them, pairs of pictures, and networks that are told or taught."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dualdiff.experiments.store import Store
from dualdiff.images import data, judge, shots
from dualdiff.images.data import CHARACTERS, GLYPH, glyphs
from dualdiff.images.members import GLYPHS, UNTOLD, PictureNetworks, sized, towards
from dualdiff.images.shots import EPISODES, Episodes, ShotTrial, SubjectTrial, pictured
from dualdiff.metrics import Estimate

SMALL = replace(sized(shots.SIZES, "smoke"), conditions=100)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- data ---------------------------------------------------------------------------------------


def test_no_character_is_in_two_parts_and_none_looks_like_another() -> None:
    parts = {name: glyphs(name) for name in (*CHARACTERS, "models")}
    characters = "".join(part.characters for part in parts.values())
    assert len(characters) == len({*characters}) > 1_500
    assert {name: len(part.characters) for name, part in parts.items() if name in CHARACTERS} == (
        CHARACTERS
    )
    for part in parts.values():
        assert [*part.characters] == sorted(part.characters)  # neighbours stay neighbours
        assert int(part.there.sum(1).min()) >= 12
        images, labels = part.listed()
        assert images.shape == (int(part.there.sum()), GLYPH**2)
        assert images.min() == -1 and images.max() == 1
        assert bool((images.amax(1) > -0.8).all()) and len(labels.unique()) == len(part.characters)


def test_characters_stand_in_the_middle_and_faces_differ() -> None:
    part = glyphs("test")
    ink = (part.images[part.there] + 1).view(-1, GLYPH, GLYPH)
    rows, columns = ink.amax(2) > 0, ink.amax(1) > 0
    for taken in (rows, columns):
        before = taken.float().argmax(1)
        after = taken.flip(1).float().argmax(1)
        assert int((before - after).abs().max()) <= 1
    upright, bold = part.images[:, 0], part.images[:, 1]
    both = part.there[:, 0] & part.there[:, 1]
    assert float((bold[both] - upright[both]).sum(1).median()) > 0


def test_a_picture_of_ones_own_is_its_ink_in_the_middle(tmp_path: Path) -> None:
    ink = torch.zeros(40, 60, dtype=torch.uint8)
    ink[10:36, 30:43] = 255  # twice as high as wide
    Image.fromarray(255 - ink.numpy()).save(tmp_path / "own.png")
    seen = data.opened(tmp_path / "own.png").view(GLYPH, GLYPH) > 0
    rows, columns = seen.any(1).nonzero()[:, 0], seen.any(0).nonzero()[:, 0]
    assert len(rows) == data.POINTS and 6 <= len(columns) <= 7
    assert abs(int(rows[0]) - (GLYPH - 1 - int(rows[-1]))) <= 1
    assert judge.encoder("encoder")(data.opened(tmp_path / "own.png").expand(2, -1)).shape[1] == 32


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    Image.new("L", (20, 20), 255).save(tmp_path / "white.png")
    for name, words in (
        ("text.png", "is no image that can be read"),
        ("nowhere.png", "is no image that can be read: .*No such file"),
        (".", "is no image that can be read"),
        ("white.png", "has no ink: all of it is white"),
    ):
        with pytest.raises(ValueError, match=words):
            data.opened(tmp_path / name)


# --- who sees them ------------------------------------------------------------------------------


def test_the_encoder_tells_characters_apart_that_it_has_not_seen() -> None:
    seen, source = judge.encoder("encoder"), generator(0)
    test, everyone = glyphs("test"), torch.arange(CHARACTERS["test"])
    a, b = (seen(pictured(test, everyone, source)) for _ in range(2))
    assert a.shape == (100, judge.FEATURES)
    same = torch.cosine_similarity(a, b)
    other = torch.cosine_similarity(a, b.roll(37, 0))
    assert float(same.median()) > 0.5 > float(other.quantile(0.9))
    training = judge.encoder("encoder")(judge._moved("encoder", judge.TURNS)[0])
    torch.testing.assert_close(training.mean(0), torch.zeros(judge.FEATURES), rtol=0, atol=1e-4)
    assert abs(float(training.square().mean()) - 1) < 1e-3


def test_the_reader_names_characters_in_places_that_it_has_not_seen() -> None:
    images, labels = glyphs("test").listed()
    right = judge.read(data.jittered(images, generator(5))) == labels
    assert judge.share(right).low > 0.95


def test_the_space_keeps_nearly_all_and_its_basis_is_orthonormal() -> None:
    space = judge.space()
    torch.testing.assert_close(
        space.basis @ space.basis.T, torch.eye(judge.KEPT), rtol=0, atol=1e-5
    )
    images = data.jittered(glyphs("models").listed()[0], generator(1))
    z = space.encode(images)
    lost = (space.decode(z) - images).square().sum() / (images - images.mean(0)).square().sum()
    assert float(lost) < 0.03
    torch.testing.assert_close(z.std(0), space.spread, rtol=0.05, atol=0)
    torch.testing.assert_close(space.encode(z @ space.basis + space.mean), z, rtol=0, atol=1e-3)


# --- pairs --------------------------------------------------------------------------------------


@given(st.sampled_from([*EPISODES]), st.sampled_from([(-1.0, 1.0), (0.3, 0.9), (0.5, 0.8)]))
def test_pairs_lie_between_the_thresholds(kind: str, thresholds: tuple[float, float]) -> None:
    if kind == "copies":
        thresholds = (-1.0, 1.0)  # they are as alike as can be
    world = Episodes(kind, *thresholds)
    y, c = world.pairs("general", 300, generator(2))
    assert y.shape == (300, judge.KEPT) and c.shape == (300, world.dc)
    assert bool((c[:, -1] == 0).all())
    told = (c != 0).any(1)
    assert abs(float(told.double().mean()) - 1 + UNTOLD) < 4.5 * math.sqrt(0.15 * 0.85 / 300)
    # The picture drawn is in components, so its features are nearly those of the picture.
    alike = torch.cosine_similarity(
        c[told, :-1], judge.encoder("encoder")(judge.space().decode(y[told]))
    )
    low, high = thresholds
    assert float(alike.quantile(0.05)) > low - 0.1 and float(alike.quantile(0.95)) < high + 0.1
    if kind == "copies":
        assert float(alike.median()) > 0.95


def test_fewer_features_and_a_subject() -> None:
    _, c = Episodes("characters", features=8).pairs("general", 100, generator(0))
    assert bool((c[:, 8:] == 0).all()) and bool((c[:, :8] != 0).any(0).all())
    world = Episodes("characters", subject=24)
    y, c = world.pairs("specialised", 16, generator(0))
    assert bool((c[:, :-1] == 0).all()) and bool((c[:, -1] == 1).all())
    assert judge.share(judge.read(judge.space().decode(y)) == 24).value > 0.8
    assert world.described("general") == Episodes("characters").described("general")


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "books"},
        {"low": 0.9, "high": 0.3},
        {"low": -2.0},
        {"high": math.nan},
        {"features": 0},
        {"features": 33},
        {"rank": 0},
    ],
)
def test_wrong_episodes_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="kind must be one of copies, characters, pages"):
        Episodes(**{"kind": "pages", **wrong})  # type: ignore[arg-type]


def test_thresholds_that_leave_nothing_say_so() -> None:
    world = Episodes("pages", 0.999, 0.9999)
    with pytest.raises(ValueError, match=r"too few pairs of pages, cosine 0.999 to 0.9999: \d+ of"):
        world.pairs("general", 200, generator(0))


def test_images_of_another_size_are_refused() -> None:
    for see in (judge.encoder("encoder"), judge.read):
        with pytest.raises(ValueError, match="rows of 16 x 16 numbers, not 5 x 64"):
            see(torch.zeros(5, 64))


# --- networks -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def test_an_untrained_network_is_the_best_linear_one(store: Store) -> None:
    """Components vary by themselves, so of Gaussian data nothing is left to learn."""
    network = PictureNetworks(Episodes("characters"), GLYPHS, SMALL, 0, store)._new("general")
    spread = judge.space().spread
    z = torch.randn(4000, judge.KEPT, generator=generator(0)) * spread
    c, noise = torch.zeros(4000, 33), torch.randn(4000, judge.KEPT, generator=generator(1))
    for t in (20, 50, 80):
        signal, sigma = network.process.signal(t), network.process.noise(t)
        y = network.process.encode_y(z) * signal + sigma * noise
        error = (network(y, t, c) - noise).square().mean(0)
        unit = network.process.y_std
        left = (signal * spread / unit) ** 2 / ((signal * spread / unit) ** 2 + sigma**2)
        torch.testing.assert_close(error, left, rtol=0.15, atol=2e-3)


def test_what_is_told_counts_by_its_weight(store: Store) -> None:
    trial = ShotTrial(Episodes("characters"), SMALL, 0, "told at 2")
    network = trial.networks(store).general.network
    told, asked = trial.shown()
    assert len(told) == SMALL.conditions and torch.equal(asked[:10], asked[:1].expand(10))
    c, y = trial.world.condition(told), torch.randn(len(told), judge.KEPT, generator=generator(0))
    untold, once = network(y, 40, torch.zeros_like(c)), network(y, 40, c)
    torch.testing.assert_close(
        towards(network, 2.0)(y, 40, c), untold + 2 * (once - untold), rtol=0, atol=1e-5
    )
    found = trial.scores(store, "cpu", True)
    assert {name for _, name in found} == {
        *("control", "precision", "recall", "frechet", "nearest", "variety")
    }
    assert all(isinstance(e, Estimate) and e.low <= e.value <= e.high for e in found.values())


def test_real_pictures_score_best(store: Store) -> None:
    size = replace(SMALL, conditions=1000)
    found = ShotTrial(Episodes("copies"), size, 0, "truth").scores(store, "cpu", True)
    assert found["samples", "control"].low > 0.95
    assert found["samples", "precision"].value > 0.95 and found["samples", "recall"].value > 0.9
    assert found["samples", "nearest"].value > 4  # other pictures of the character


@pytest.mark.parametrize("way", ["finetuned", "generated", "lora", "context at 1"])
def test_a_subject_is_taught_or_told(way: str, store: Store) -> None:
    trial = SubjectTrial(Episodes("characters", subject=24, rank=2), SMALL, 0, way)
    found = trial.scores(store, "cpu", True)
    assert {target for target, _ in found} == {"subject", "untold"}
    assert ("subject", "control") in found and ("untold", "control") not in found


def test_the_rank_is_that_of_the_updates(store: Store) -> None:
    counts = []
    for rank in (1, 3):
        world = Episodes("characters", subject=24, rank=rank)
        network = PictureNetworks(world, GLYPHS, SMALL, 0, store)._start("lora")
        counts.append(sum(p.numel() for p in network.parameters() if p.requires_grad))
    assert counts[1] == 3 * counts[0] > 0


def test_wrong_configurations_are_refused() -> None:
    world = Episodes("characters")
    with pytest.raises(ValueError, match="one of told at W; truth, not 'told'"):
        ShotTrial(world, SMALL, 0, "told")
    with pytest.raises(ValueError, match="one of context at W; finetuned; lora"):
        SubjectTrial(world, SMALL, 0, "told at 1")


def test_the_tables_have_every_trial_once(tmp_path: Path) -> None:
    for trials in (shots.shot_trials("full", 0), shots.subject_trials("full", 0)):
        assert len({trial.key for trial in trials}) == len(trials) > 100
