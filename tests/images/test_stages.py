"""Spaces and stages: an autoencoder beside its linear start, corrupted conditions, cascades."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dualdiff.experiments.store import Store
from dualdiff.images import stages
from dualdiff.images.autoencoder import Autoencoder, autoencoder, divergence, fresh
from dualdiff.images.data import GLYPH
from dualdiff.images.judge import KEPT, space
from dualdiff.images.members import sized
from dualdiff.images.stages import (
    CascadeTrial,
    Latents,
    SpaceTrial,
    Stage,
    against,
    blurred,
    frame,
    pooled,
)

SMALL = replace(sized(stages.SIZES, "smoke"), conditions=60)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


# --- an autoencoder -----------------------------------------------------------------------------


def test_the_divergence_is_that_of_gaussians() -> None:
    mean, log_variance = (torch.randn(50, 7, generator=generator(k)) for k in range(2))
    made = torch.distributions.Normal(mean, (log_variance / 2).exp())
    unit = torch.distributions.Normal(torch.zeros(7), torch.ones(7))
    expected = torch.distributions.kl_divergence(made, unit).sum(1)
    torch.testing.assert_close(divergence(mean, log_variance), expected)


@pytest.mark.parametrize("size", [1, 8, KEPT])
def test_an_untrained_autoencoder_is_the_principal_components(size: int) -> None:
    made, images = Autoencoder(size, generator(size)), fresh(20, generator(0))
    z, basis = made.encode(images), space().basis[:size]
    assert z.shape == (20, size)
    torch.testing.assert_close(
        z * space().spread[:size], space().encode(images)[:, :size], rtol=0, atol=1e-3
    )
    linear = (space().encode(images)[:, :size] @ basis + space().mean).clamp(-1, 1)
    torch.testing.assert_close(made.decode(z), linear, rtol=0, atol=1e-4)


def test_training_beats_the_linear_one_and_is_the_same_again() -> None:
    images = fresh(500, generator(3))

    def error(made: Autoencoder) -> float:
        return float((made.decode(made.encode(images)) - images).square().mean())

    trained = autoencoder(4, 0, 60)
    assert error(trained) < 0.97 * error(Autoencoder(4, generator(0)))
    torch.testing.assert_close(trained.spread, trained.encode(images).std(0), rtol=0.3, atol=0)
    autoencoder.cache_clear()
    again = autoencoder(4, 0, 60)
    assert all(
        torch.equal(a, b) for a, b in zip(trained.parameters(), again.parameters(), strict=True)
    )


def test_its_loss_is_the_error_at_noised_latents_and_a_little_divergence() -> None:
    made, images = Autoencoder(8, generator(0)), fresh(200, generator(1))
    mean, log_variance = made.moments(images)
    assert float(log_variance.detach().mean()) == pytest.approx(-6)
    noise = torch.empty_like(mean).normal_(generator=generator(2))
    off = made(mean + math.exp(-3) * noise) - images
    expected = off.square().sum(1) + 1e-6 * divergence(mean, log_variance)
    torch.testing.assert_close(made.loss(images, generator(2)), expected.mean())


# --- sides --------------------------------------------------------------------------------------


def test_pooling_keeps_the_mean_and_can_be_done_in_steps() -> None:
    images = fresh(30, generator(0))
    eight, four = pooled(images, 8), pooled(images, 4)
    assert eight.shape == (30, 64) and four.shape == (30, 16)
    torch.testing.assert_close(pooled(eight, 4), four)
    torch.testing.assert_close(four.mean(1), images.mean(1), rtol=0, atol=1e-6)
    torch.testing.assert_close(pooled(images, GLYPH), images)


@pytest.mark.parametrize("side", stages.SIDES)
def test_bases_are_orthonormal_and_below_sixteen_complete(side: int) -> None:
    basis = frame(side).basis
    torch.testing.assert_close(basis @ basis.T, torch.eye(len(basis)), rtol=0, atol=1e-5)
    images = pooled(fresh(300, generator(1)), side)
    z = frame(side).encode(images)
    torch.testing.assert_close(z.std(0)[:8], frame(side).spread[:8], rtol=0.2, atol=0)
    if side < GLYPH:
        torch.testing.assert_close(frame(side).decode(z), images, rtol=0, atol=1e-5)


def test_a_blur_keeps_the_ink_and_at_zero_the_picture() -> None:
    images = torch.full((1, 17 * 17), -1.0)
    images[0, 17 * 8 + 8] = 1.0
    blur = blurred(images, 0.8) + 1
    assert float(blur.sum()) == pytest.approx(2, abs=1e-4)
    place = torch.arange(17.0) - 8
    variance = (blur.view(17, 17).sum(0) * place**2).sum() / 2
    assert float(variance) == pytest.approx(0.64, rel=0.02)
    torch.testing.assert_close(blurred(images, 0.0), images)


@given(st.sampled_from([8, 16]), st.sampled_from([0.0, 0.3, 0.6, 0.9]))
def test_noise_takes_the_share_of_the_deviation_that_its_strength_says(side: int, s: float) -> None:
    images = fresh(2000, generator(0))
    clean = Stage(side, "blur", 0.0).told(images, generator(1))
    told = Stage(side, "noise", s).told(images, generator(1))
    assert told.shape == (2000, Stage(side, "noise", s).dc)
    off = told - math.sqrt(1 - s**2) * clean
    torch.testing.assert_close(off.std(0), torch.full((told.shape[1],), s), rtol=0.1, atol=1e-6)
    assert float(clean.square().mean()) == pytest.approx(1, abs=0.1)  # in one unit for all
    if s == 0:
        torch.testing.assert_close(told, clean, rtol=0, atol=1e-5)


def test_rows_are_pictures_of_the_side_and_what_is_told_of_the_same_ones() -> None:
    y, c = Stage(8, "noise", 0.0).pairs("general", 50, generator(0))
    below = frame(4).decode(c * Stage(4).units[1])
    torch.testing.assert_close(pooled(frame(8).decode(y), 4), below, rtol=0, atol=1e-4)
    for world, size in ((Latents("pixels", 256), 256), (Latents("components", 16), 16)):
        y, c = world.pairs("general", 400, generator(0))
        assert y.shape == (400, size) and c.shape == (400, 0)
        _, unit, deviation = world.units
        assert float(deviation.square().mean().sqrt() / unit[0]) == pytest.approx(1)
        assert float(y.square().mean().sqrt() / unit[0]) == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize(
    "wrong", [("books", 8), ("learned", 0), ("components", 97), ("pixels", 64), ("learned", 8, 0)]
)
def test_wrong_spaces_are_refused(wrong: tuple[str, int]) -> None:
    with pytest.raises(ValueError, match="kind must be one of learned, components, pixels, size"):
        Latents(*wrong)


@pytest.mark.parametrize(
    "wrong", [(5,), (4, "noise"), (8, "dust"), (8, "noise", 1.0), (8, "blur", math.nan)]
)
def test_wrong_stages_are_refused(wrong: tuple[int]) -> None:
    with pytest.raises(ValueError, match="side must be 4, 8 or 16, how empty or, above side 4"):
        Stage(*wrong)


# --- trials -------------------------------------------------------------------------------------


def test_true_pictures_score_better_than_those_of_a_small_space() -> None:
    true, world = fresh(600, generator(7)), Latents("components", 8)
    best = against(true, 0)
    small = against(world.space.decode(world.space.encode(true)), 0)
    assert best["frechet"].high < small["frechet"].low
    assert best["recall"].low > small["recall"].high


@pytest.mark.parametrize("kind", ["components", "pixels", "truth"])
def test_a_space_is_sampled_and_its_decoder_judged(kind: str, store: Store) -> None:
    world = Latents("pixels" if kind == "truth" else kind, 256 if kind != "components" else 8)
    found = SpaceTrial(replace(world, width=16), SMALL, 0, kind).scores(store, "cpu", True)
    names = {"frechet", "precision", "recall"}
    targets = {"samples", "unseen"} | ({"decoded"} if kind != "truth" else set())
    assert {*found} == {(t, m) for t in targets for m in names} | {("decoded", "error")}
    assert (found["decoded", "error"].value < 1e-6) == (kind != "components")


def test_a_network_is_as_wide_as_its_world_says(store: Store) -> None:
    trial = SpaceTrial(Latents("components", 8, 24), SMALL, 0, "components")
    assert trial.networks(store).recipe.architecture.width == 24


@pytest.mark.parametrize("way", ["single", "longer", "noise at 0.4", "blur at 0.7"])
def test_a_cascade_is_judged_whole_and_from_true_pictures(way: str, store: Store) -> None:
    trial = CascadeTrial(Stage(16), SMALL, 0, way)
    found = trial.scores(store, "cpu", True)
    targets = {"samples", "unseen"}
    assert {target for target, _ in found} == targets | (
        {"from 4", "from 8"} if " at " in way else set()
    )
    if " at " not in way:
        return
    true, networks = fresh(20, generator(0)), trial.networks(store)
    how, strength = way.split(" at ")
    last = Stage(16, how, float(strength))
    torch.testing.assert_close(
        trial.drawn(networks, true)["from 8"], last.sampled(networks, pooled(true, 8))
    )


def test_the_tables_have_every_trial_once() -> None:
    for trials in (stages.space_trials("full", 0), stages.cascade_trials("full", 0)):
        assert len({trial.key for trial in trials}) == len(trials) >= 36
