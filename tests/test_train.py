"""Training: it learns, it repeats, it refuses what cannot be learnt from."""

import math

import pytest
import torch
from conftest import generator

from dualdiff.denoisers import MLP, Architecture
from dualdiff.process import Process
from dualdiff.scenarios import cabinet
from dualdiff.train import Optimisation, clone, epoch_losses, fit, noise_loss

PROCESS = Process.linear()
Y, C = cabinet().pairs("general", 512, generator(1))
RECIPES = {
    "thesis": (Architecture(32, 1), Optimisation()),
    "tuned": (
        Architecture(32, 1, "silu", "sinusoidal", preconditioned=True),
        Optimisation("adamw", 1e-2, "cosine", ema=0.1),
    ),
}


def train(recipe: str, seed: int = 0, epochs: int = 12) -> tuple[MLP, list[float]]:
    architecture, optimisation = RECIPES[recipe]
    process = PROCESS if recipe == "thesis" else Process.log_snr().standardised(Y, C)
    network = MLP(process, architecture, generator(seed))
    steps = fit(
        network,
        Y,
        C,
        epochs=epochs,
        batch_size=64,
        generator=generator(seed + 100),
        optimisation=optimisation,
    )
    return network, list(epoch_losses(steps))


@pytest.mark.parametrize("recipe", RECIPES)
def test_training_reduces_the_loss_on_fresh_rows(recipe: str) -> None:
    network, losses = train(recipe)
    assert len(losses) == 12
    fresh = MLP(network.process, network.architecture, generator(0))
    y, c = cabinet().pairs("general", 4000, generator(2))
    y, c = network.process.encode_y(y), network.process.encode_c(c)
    with torch.no_grad():
        before, after = (float(noise_loss(m, y, c, generator(3))) for m in (fresh, network))
    assert after < 0.9 * before


@pytest.mark.parametrize("recipe", RECIPES)
def test_training_is_reproducible(recipe: str) -> None:
    (one, losses), (two, again), (other, _) = train(recipe, 0), train(recipe, 0), train(recipe, 1)
    assert losses == again
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one.head.weight, other.head.weight)


def test_fit_yields_every_step_and_uses_every_row() -> None:
    network = MLP(PROCESS, Architecture(8, 0), generator())
    steps = list(fit(network, Y[:130], C[:130], epochs=3, batch_size=64, generator=generator()))
    assert [s.number for s in steps] == list(range(9))  # 64 + 64 + 2 rows an epoch
    assert [s.epoch for s in steps] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_loss_of_a_perfect_and_of_a_silent_network() -> None:
    """A silent network's loss is the variance of the noise, 1, within its standard error."""
    network = MLP(PROCESS, Architecture(8, 0), generator())
    for parameter in network.head.parameters():
        torch.nn.init.zeros_(parameter)
    y = torch.randn(50_000, 3, generator=generator(5))
    loss = noise_loss(network, y, y, generator(6)).item()
    assert abs(loss - 1) < 4 * math.sqrt(2 / y.numel())


def test_thesis_learning_rate_falls_by_a_tenth_every_ten_epochs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rates: list[float] = []
    step = torch.optim.Adam.step

    def spy(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Adam, "step", spy)
    network = MLP(PROCESS, Architecture(8, 0), generator())
    list(fit(network, Y[:64], C[:64], epochs=25, batch_size=32, generator=generator()))
    expected = [1e-3 * 0.9 ** (epoch // 10) for epoch in range(25) for _ in range(2)]
    assert rates == pytest.approx(expected)


def test_average_replaces_the_weights_at_the_end() -> None:
    """With a horizon of the whole run the average is the plain mean of all steps' weights."""
    network = MLP(PROCESS, Architecture(8, 0), generator())
    total = torch.zeros_like(network.head.weight)
    steps = fit(
        network,
        Y[:64],
        C[:64],
        epochs=5,
        batch_size=32,
        generator=generator(),
        optimisation=Optimisation(ema=1.0),
    )
    for step in steps:  # noqa: B007
        total += network.head.weight.detach()
    torch.testing.assert_close(network.head.weight.detach(), total / (step.number + 1))


def test_fine_tuning_a_clone_leaves_the_original() -> None:
    original = MLP(PROCESS, Architecture(8, 0), generator())
    before = [p.detach().clone() for p in original.parameters()]
    copy = clone(original)
    list(fit(copy, Y[:64], C[:64], epochs=1, batch_size=32, generator=generator()))
    assert all(torch.equal(a, b) for a, b in zip(before, original.parameters(), strict=True))
    assert not torch.equal(copy.head.weight, original.head.weight)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": Y[:0], "c": C[:0]}, r"y must have shape \[n >= 1, 3\]"),
        ({"y": Y[:, :2]}, r"y must have shape \[n >= 1, 3\]"),
        ({"y": Y * math.nan}, "y must be finite"),
        ({"c": C[:5]}, "same number of rows, not 512 and 5"),
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
    ],
)
def test_bad_training_sets_are_named(change: dict, message: str) -> None:  # type: ignore[type-arg]
    arguments = {"y": Y, "c": C, "epochs": 1, "batch_size": 64, **change}
    y, c = arguments.pop("y"), arguments.pop("c")
    network = MLP(PROCESS, Architecture(8, 0), generator())
    with pytest.raises(ValueError, match=message):
        list(fit(network, y, c, generator=generator(), **arguments))


@pytest.mark.parametrize(
    "options", [{"optimiser": "sgd"}, {"decay": "linear"}, {"learning_rate": 0}, {"ema": 2.0}]
)
def test_bad_optimisation_is_named(options: dict) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match=next(iter(options))):
        Optimisation(**options)


def test_divergence_is_reported() -> None:
    network = MLP(PROCESS, Architecture(8, 0), generator())
    huge = Y * 1e30
    with pytest.raises(FloatingPointError, match="training diverged: the loss of epoch 1"):
        list(epoch_losses(fit(network, huge, C, epochs=2, batch_size=64, generator=generator())))
