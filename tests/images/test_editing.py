"""Editing: what is known stays, inversion is one, and laws on a Gaussian whose answer is known."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dualdiff.exact import ExactMixture
from dualdiff.experiments.store import Store
from dualdiff.images import editing
from dualdiff.images.data import digits, one_hot
from dualdiff.images.editing import EditTrial, decoded, inpaint, invert, measured
from dualdiff.images.members import Digits, sized
from dualdiff.process import Process

RHO = 0.9
SMALL = replace(sized(editing.SIZES, "smoke"), conditions=6)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian(steps: int = 100) -> ExactMixture:
    """Two numbers of variance 1 and 4, correlated."""
    process = Process.log_snr(steps, 9.0, -9.0, dy=2, dc=2)
    covariance = [[1.0, 2 * RHO], [2 * RHO, 4.0]]
    return ExactMixture(process, [1.0], [[0.5, -1.0]], [covariance])


def drawn(n: int) -> torch.Tensor:
    """From that Gaussian, conditions zero."""
    z = torch.randn(n, 2, generator=generator(0))
    second = RHO * z[:, 0] + (1 - RHO**2) ** 0.5 * z[:, 1]
    return torch.stack([0.5 + z[:, 0], -1 + 2 * second], 1)


# --- filling in ---------------------------------------------------------------------------------


@given(st.integers(1, 3), st.integers(1, 30), st.integers(0, 50))
def test_what_is_known_stays_and_what_is_hidden_does_not(rep: int, jump: int, seed: int) -> None:
    y, hidden = drawn(20), torch.tensor([False, True])
    found = inpaint(gaussian(), 0 * y, y, hidden, generator(seed), repeats=rep, jump=jump, steps=30)
    torch.testing.assert_close(found[:, 0], y[:, 0])
    assert bool((found[:, 1] != y[:, 1]).all())


def test_without_repeats_the_stretches_play_no_part() -> None:
    y, hidden = drawn(20), torch.tensor([True, False])
    one, other = (
        inpaint(gaussian(), 0 * y, y, hidden, generator(1), jump=jump) for jump in (3, 40)
    )
    torch.testing.assert_close(one, other)


def test_repeats_lead_to_the_conditional_law() -> None:
    """Of a Gaussian it is known: mean -1 + 2 rho x and variance 4 (1 - rho^2)."""
    n, hidden = 4000, torch.tensor([False, True])
    y = torch.tensor([[2.5, 0.0]]).expand(n, -1)
    off, ratio = [], []
    for repeats in (1, 10):
        found = inpaint(gaussian(), 0 * y, y, hidden, generator(2), repeats=repeats)[:, 1]
        off.append(abs(float(found.mean()) - (-1 + 2 * RHO * 2)))
        ratio.append(float(found.var()) / (4 * (1 - RHO**2)))
    assert off[0] > 0.4 and off[1] < 0.25 * off[0]  # replacing alone forgets what is known
    assert abs(ratio[1] - 1) < 0.5 * abs(ratio[0] - 1)


@pytest.mark.parametrize(
    "wrong", [{"repeats": 0}, {"jump": 0}, {"hidden": torch.ones(3, dtype=torch.bool)}]
)
def test_wrong_repeats_and_masks_are_refused(wrong: dict[str, object]) -> None:
    y, hidden = drawn(5), torch.tensor([True, False])
    with pytest.raises(ValueError, match="repeats and jump must be at least 1 and hidden 2 flags"):
        inpaint(gaussian(), 0 * y, y, generator=generator(0), **{"hidden": hidden, **wrong})  # type: ignore[arg-type]


# --- inversion ----------------------------------------------------------------------------------


def error(steps: int, corrections: int = 0) -> float:
    """Root mean square of what there and back leaves."""
    y, prior = drawn(500), gaussian(400)
    back = decoded(prior, 0 * y, invert(prior, 0 * y, y, steps, corrections), steps)
    return float((back - y).square().mean().sqrt())


def test_the_round_trip_closes_at_first_order() -> None:
    errors = [error(steps) for steps in (50, 100, 200, 400)]
    assert all(0.4 < b / a < 0.6 for a, b in pairwise(errors))


def test_corrections_close_it_faster() -> None:
    errors = [error(100, corrections) for corrections in (0, 1, 3, 8)]
    assert all(b < 0.3 * a for a, b in pairwise(errors))
    assert errors[-1] < 1e-4


def test_the_inverse_of_the_law_is_the_standard_gaussian() -> None:
    y = drawn(5000)
    noise = invert(gaussian(400), 0 * y, y, corrections=2)
    torch.testing.assert_close(noise.mean(0), torch.zeros(2), rtol=0, atol=0.07)
    torch.testing.assert_close(torch.cov(noise.T), torch.eye(2), rtol=0, atol=0.1)


def test_wrong_corrections_and_steps_are_refused() -> None:
    y = drawn(5)
    with pytest.raises(ValueError, match="corrections must be at least 0, not -1"):
        invert(gaussian(), 0 * y, y, corrections=-1)
    with pytest.raises(ValueError, match="steps must be at most the 100 timesteps"):
        invert(gaussian(), 0 * y, y, steps=101)


# --- trials -------------------------------------------------------------------------------------


def test_true_pictures_are_read_and_off_by_nothing() -> None:
    images, labels = (part[:200] for part in digits("test"))
    found = measured(images[:, None].expand(-1, 2, -1), labels, images, editing.LOWER)
    assert found["control"].value > 0.95
    assert found["error"].value == found["kept"].value == found["spread"].value == 0


def test_error_and_spread_agree_where_results_follow_the_law_of_the_truth() -> None:
    cloud = torch.randn(200, 6, 64, generator=generator(0)).clamp(-1, 1)
    found = measured(cloud[:, 1:], torch.zeros(200), cloud[:, 0], editing.LOWER | True)
    assert found["spread"].value == pytest.approx(found["error"].value, rel=0.02)
    assert "kept" not in found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.mark.parametrize(
    "way",
    [*editing.INPAINTED, "fresh", "between", "mixed", "other", "noised at 40", "inverted at 5, 1"],
)
def test_every_way_is_judged_told_and_untold(way: str, store: Store) -> None:
    found = EditTrial(Digits(), SMALL, 0, way).scores(store, "cpu", True)
    for target in ("told", "untold"):
        names = {name for of, name in found if of == target}
        assert {"control", "frechet", "error"} <= names
        assert ("kept" in names) == (way in editing.INPAINTED)
        assert ("ends" in names) == (way in ("between", "mixed"))
    if way in ("replaced", "repaint"):
        assert found["told", "kept"].value < 1e-6


def test_without_a_step_along_the_words_the_picture_is_as_it_was(store: Store) -> None:
    trial = EditTrial(Digits(), SMALL, 0, "words at 0")
    network = trial.networks(store).general.network
    images, labels = (part[:6] for part in digits("test"))
    back = trial.drawn(network, one_hot(labels), one_hot(labels.flip(0)), images)[:, 0]
    torch.testing.assert_close(back, images, rtol=0, atol=0.02)


def test_wrong_ways_are_refused() -> None:
    with pytest.raises(ValueError, match="configuration must be one of replaced; repaint; guided"):
        EditTrial(Digits(), SMALL, 0, "noised")


def test_the_table_has_every_trial_once() -> None:
    trials = editing.edit_trials("full", 0)
    assert len({trial.key for trial in trials}) == len(trials) == 3 * 35
