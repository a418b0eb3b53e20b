"""Learned weights: planted ones are found, and what cannot be learned is refused."""

import numpy as np
import pytest
import torch
from conftest import KINDS_OF_ROWS, containers

from dualdiff.compose import Weighted
from dualdiff.denoisers import Denoiser
from dualdiff.exact import ExactMixture
from dualdiff.experiments.weighting import by_smc
from dualdiff.process import Process
from dualdiff.weights import (
    LEAST,
    Curve,
    Fold,
    held_out_score,
    learn,
    plain,
    stacked,
)

PROCESS = Process.linear(20, 5e-3, 0.9, dy=2, dc=2)


def gaussian(mean: float, std: float, process: Process = PROCESS) -> ExactMixture:
    return ExactMixture(process, [1.0], [[mean, 0.0]], np.eye(2)[None] * std**2)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Split(Denoiser):
    """Part of the exact noise prediction, so that the weights that put it together are known."""

    def __init__(self, whole: Denoiser, other: Denoiser, a: float, b: float) -> None:
        super().__init__()
        self.process, self.whole, self.other, self.a, self.b = whole.process, whole, other, a, b

    def forward(self, y, t, c):
        return self.a * self.whole(y, t, c) + self.b * self.other(y, t, c)


def pairs(n: int, mean: float, std: float) -> tuple[torch.Tensor, torch.Tensor]:
    y = torch.randn(n, 2, generator=generator(1)) * std + torch.tensor([mean, 0.0])
    return y, torch.zeros(n, 2)


class Part(Denoiser):
    """One coordinate of a noise prediction, scaled."""

    def __init__(self, whole: Denoiser, scale: tuple[float, float]) -> None:
        super().__init__()
        self.process, self.whole, self.scale = whole.process, whole, torch.tensor(scale)

    def forward(self, y, t, c):
        return self.whole(y, t, c) * self.scale


def test_stacking_recovers_planted_weights():
    # The exact prediction is the best there is, and here it is 0.7 first + 0.3 second.
    truth = gaussian(0.3, 0.5)
    members = {"first": Part(truth, (1 / 0.7, 0.0)), "second": Part(truth, (0.0, 1 / 0.3))}
    runs = []
    for repeat in range(12):
        y = torch.randn(300, 2, generator=generator(repeat)) * 0.5 + torch.tensor([0.3, 0.0])
        fold = Fold(members, y, torch.zeros(300, 2))
        runs.append(torch.stack(list(stacked([fold], generator(99 + repeat), repeats=4).values())))
    found = torch.stack(runs)
    assert found.shape == (12, 2, 20)
    error = found.std(0) / 12**0.5
    planted = torch.tensor([[0.7], [0.3]])
    ridge = 0.01  # a thousandth of the mean Gram entry, of which the second's is a fifth
    assert bool(((found.mean(0) - planted).abs() < 4.5 * error + ridge).all())
    assert float(error[:, 5:].max()) < 0.02  # and that says something


def test_stacking_does_not_sharpen_and_keeps_a_positive_sum():
    truth = gaussian(0.3, 0.5)
    y, c = pairs(400, 0.3, 0.5)
    found = stacked([Fold({"a": truth, "b": truth}, y, c)], generator(), repeats=20)
    total = found["a"] + found["b"]
    assert torch.allclose(found["a"], found["b"])  # members that agree share alike
    assert float((total - 1).abs()[2:].max()) < 0.05
    wrong = Split(truth, truth, -1.0, 0.0)
    found = stacked([Fold({"a": wrong, "b": wrong}, y, c)], generator(), repeats=5)
    assert float(found["a"].min()) == LEAST
    Weighted({"a": wrong, "b": wrong}, found)


def test_stacking_counts_every_fold():
    near, far = gaussian(0.3, 0.5), gaussian(3.0, 0.5)
    y, c = pairs(100, 0.3, 0.5)
    good = Fold({"a": near, "b": far}, y, c)
    bad = Fold({"a": far, "b": near}, y, c)
    alone = stacked([good], generator(), repeats=5)
    both = stacked([good, bad], generator(), repeats=5)
    # At high noise both predict alike, and the ridge decides for the average.
    assert bool((alone["a"] > 2 * alone["b"])[:14].all())
    # Neither is the better one in both folds: the two get about the same.
    assert float((both["a"] - both["b"]).abs().max()) < 0.1


@pytest.mark.parametrize("draw", [plain, by_smc])
def test_energy_score_finds_the_member_that_made_the_pairs(draw):
    members = {"right": gaussian(0.0, 0.4), "wrong": gaussian(1.5, 0.4)}
    y, c = pairs(60, 0.0, 0.4)
    objective = held_out_score([Fold(members, y, c)], lambda: generator(3), draws=20, draw=draw)
    found = learn(objective, list(members), budget=40)
    right, wrong = found.curve.values[0]
    assert wrong < 0.1 * right
    assert found.score <= min(score for _, score in found.tried)
    assert len(found.tried) <= 41


def test_smc_needs_draws_that_make_groups() -> None:
    rule = Weighted({"only": gaussian(0.0, 1.0)}, {"only": 1.0})
    with pytest.raises(ValueError, match="from 2 to 50 for SMC, not 53"):
        by_smc(rule, torch.zeros(2, 1), generator(), 53)


def test_energy_score_finds_how_much_to_sharpen():
    # N(0, 1) to the power w is N(0, 1 / w), which Feynman-Kac samples follow: a spread of 0.5 is
    # predicted best with w = 4. The score is flat around it, and steps are few.
    members = {"only": gaussian(0.0, 1.0)}
    y, c = pairs(300, 0.0, 0.5)
    objective = held_out_score([Fold(members, y, c)], lambda: generator(3), draws=25, draw=by_smc)
    scores = {w: objective(Curve(("only",), np.array([[w]]))) for w in (0.5, 1.0, 2.0, 3.0)}
    assert scores[0.5] > scores[1.0] > scores[2.0] > scores[3.0]


def test_a_curve_is_linear_in_the_log_snr_between_its_knots():
    curve = Curve(("a", "b"), np.array([[0.0, 1.0], [1.0, 3.0]]))
    weights = curve.weights(PROCESS)
    log_snr = torch.logit(PROCESS.alpha_bar)
    share = (log_snr - log_snr[-1]) / (log_snr[0] - log_snr[-1])
    assert torch.allclose(weights["a"], share)
    assert torch.allclose(weights["b"], 1 + 2 * share)
    constant = Curve(("a",), np.array([[0.7]])).weights(PROCESS)["a"]
    assert constant.tolist() == [0.7] * 20
    rule = curve.rule({"a": gaussian(0, 1), "b": gaussian(1, 1)})
    assert torch.equal(rule.table, torch.stack([weights["a"], weights["b"]], 1))


def test_learning_finds_a_planted_curve_and_passes_over_what_diverges():
    best = np.array([[0.5, 1.0], [1.0, 0.25]])

    def objective(curve: Curve) -> float:
        if curve.values[0, 0] > 0.9:
            raise FloatingPointError("diverged")
        return float(((curve.values - best) ** 2).sum())

    found = learn(objective, ["a", "b"], knots=2, starts=[[0.5, 0.5], [1.0, 1.0]], budget=200)
    assert np.allclose(found.curve.values, best, atol=0.05)
    assert any(score == float("inf") for _, score in found.tried)
    assert all((curve.values >= 0).all() for curve, _ in found.tried)


def test_the_same_numbers_give_the_same_weights():
    members = {"a": gaussian(0.0, 0.4), "b": gaussian(0.5, 0.4)}
    y, c = pairs(20, 0.1, 0.4)
    runs = [
        learn(held_out_score([Fold(members, y, c)], lambda: generator(5), draws=8), ["a", "b"])
        for _ in range(2)
    ]
    assert np.array_equal(runs[0].curve.values, runs[1].curve.values)


def test_a_held_out_score_is_that_of_all_folds_whatever_the_threads() -> None:
    """Folds of several sizes, with a member in common: the mean over pairs of their own scores."""
    shared, curve = gaussian(0.5, 0.4), Curve(("a", "b"), np.array([[0.7, 0.4]]))
    folds = []
    for k, n in enumerate((5, 40, 11)):
        y, c = pairs(60, 0.1 * k, 0.4)
        folds.append(Fold({"a": gaussian(0.1 * k, 0.4), "b": shared}, y[:n], c[:n]))
    alone = [held_out_score([fold], lambda: generator(5), draws=8)(curve) for fold in folds]
    expected = np.average(alone, weights=[len(fold.y) for fold in folds])
    before = torch.get_num_threads()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        try:
            found = held_out_score(folds, lambda: generator(5), draws=8)(curve)
        finally:
            torch.set_num_threads(before)
        assert found == pytest.approx(expected, rel=1e-12)


def test_refusals():
    y, c = pairs(5, 0.0, 1.0)
    members = {"a": gaussian(0.0, 1.0)}
    with pytest.raises(ValueError, match="must be finite"):
        Fold(members, torch.full_like(y, torch.nan), c)
    with pytest.raises(ValueError, match="same number of rows"):
        Fold(members, y, c[:3])
    with pytest.raises(ValueError, match="shape"):
        Fold(members, y[:, :1], c)
    with pytest.raises(ValueError, match="folds"):
        stacked([], generator())
    other = Process.linear(30, dy=2, dc=2)
    folds = [Fold(members, y, c), Fold({"a": gaussian(0, 1, other)}, y, c)]
    with pytest.raises(ValueError, match="timesteps"):
        stacked(folds, generator())
    with pytest.raises(ValueError, match="different members"):
        stacked([folds[0], Fold({"b": gaussian(0.0, 1.0)}, y, c)], generator())
    with pytest.raises(ValueError, match="starts"):
        learn(lambda curve: 0.0, ["a"], starts=[[1.0, 1.0]])
    with pytest.raises(ValueError, match="budget"):
        learn(lambda curve: 0.0, ["a"], budget=1)
    with pytest.raises(ValueError, match="no start"):
        learn(lambda curve: float("nan"), ["a"])


@pytest.mark.parametrize("kind", KINDS_OF_ROWS)
def test_held_out_pairs_of_any_type_give_the_same_weights(kind: str) -> None:
    y, c = torch.randint(4, (2, 12, 2), generator=generator(3)).float()
    members = {"a": gaussian(0.0, 1.0), "b": gaussian(1.0, 2.0)}
    expected = stacked([Fold(members, y, c)], generator(4), repeats=2)
    fold = Fold(members, containers(y)[kind], containers(c)[kind])  # type: ignore[arg-type]
    found = stacked([fold], generator(4), repeats=2)
    assert all(torch.equal(found[name], expected[name]) for name in members)
