"""Training that ends with its best epoch: the run of `fit`, judged by pairs it does not see."""

import copy
import math
from typing import Any

import pytest
import torch
from conftest import generator
from torch import Tensor

from dualdiff.denoisers import Denoiser
from dualdiff.networks import MLP, Architecture
from dualdiff.process import Process
from dualdiff.regions import Box
from dualdiff.steps import Optimisation
from dualdiff.stopping import train
from dualdiff.training import epoch_losses, fit, noise_loss

PROCESS = Process.linear(20)
BOX = Box((-1.0, -1.0, 0.0), (1.0, 1.0, 1.0))
FAST = Optimisation("adamw", 1e-2, "cosine")
AVERAGED = Optimisation("adamw", 3e-3, "cosine", ema=0.1)


def pairs(n: int, seed: int) -> tuple[Tensor, Tensor]:
    c = torch.randn(n, 3, generator=generator(seed))
    return BOX.draw(c, generator(seed + 1)), c


def network() -> MLP:
    return MLP(PROCESS, Architecture(32, 1), generator())


def run(model: MLP, **options: Any) -> Any:
    y, c = pairs(30, 1)
    known = {"epochs": 12, "batch_size": 8, "generator": generator(7)}
    return train(model, y, c, **{**known, **options})


@pytest.mark.parametrize("how", [None, AVERAGED], ids=["plain", "averaged"])
def test_without_held_out_pairs_it_is_fit(how: Optimisation | None) -> None:
    one, other = network(), network()
    found = run(one, optimisation=how)
    y, c = pairs(30, 1)
    steps = fit(other, y, c, epochs=12, batch_size=8, generator=generator(7), optimisation=how)
    assert found.losses.tolist() == torch.tensor([*epoch_losses(steps)]).tolist()
    assert found.best == 11 and len(found.held_out) == 0
    assert all(map(torch.equal, one.parameters(), other.parameters()))


@pytest.mark.parametrize("how", [None, AVERAGED], ids=["plain", "averaged"])
def test_held_out_pairs_change_no_number_and_choose_the_epoch(how: Optimisation | None) -> None:
    """The weights are those of the best epoch: what held-out pairs say of them is the least."""
    model = network()
    found = run(model, optimisation=how, held_out=pairs(16, 3), epochs=60)
    assert torch.equal(found.losses, run(network(), optimisation=how, epochs=60).losses)
    assert found.best == int(found.held_out.argmin())
    assert float(found.held_out[found.best]) < float(found.held_out[0])
    # The same judgement of the same weights: an epoch that changes nothing.
    still = Optimisation(learning_rate=1e-30)
    again = train(
        model,
        *pairs(30, 1),
        epochs=1,
        batch_size=8,
        generator=generator(7),
        optimisation=still,
        held_out=pairs(16, 3),
    )
    torch.testing.assert_close(again.held_out[0], found.held_out[found.best], rtol=1e-5, atol=0)


def test_few_pairs_are_not_learned_by_heart() -> None:
    """Long training on eight pairs makes the rest worse; the best epoch is before its end."""
    few, rest, judge = pairs(8, 1), pairs(64, 3), pairs(4000, 5)
    options = {"epochs": 400, "batch_size": 8, "generator": generator(2), "optimisation": FAST}
    stopped, long = network(), network()
    found = train(stopped, *few, held_out=rest, **options)  # type: ignore[arg-type]
    options["generator"] = generator(2)
    train(long, *few, **options)  # type: ignore[arg-type]
    assert 0 < found.best < 399
    with torch.no_grad():
        losses = [float(noise_loss(m, *judge, generator(9))) for m in (stopped, long)]
    assert losses[0] < losses[1]


def test_patience_ends_the_run() -> None:
    model = network()
    found = run(model, held_out=pairs(16, 3), patience=5, epochs=2000)
    assert len(found.losses) == len(found.held_out) == found.best + 6 < 2000
    assert found.best == int(found.held_out.argmin())


def test_progress_counts_epochs_and_modules_return_to_their_mode() -> None:
    seen: list[int] = []
    model = network().train()
    run(model, held_out=pairs(16, 3), progress=seen.append)
    assert seen == [1] * 12 and model.training


def test_what_is_frozen_stays() -> None:
    model = network()
    model.layers.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    run(model, held_out=pairs(16, 3), optimisation=AVERAGED)
    same = {k: torch.equal(v, before[k]) for k, v in model.state_dict().items()}
    assert not same["head.weight"] and all(v for k, v in same.items() if "head" not in k)


class Nothing(Denoiser):
    """Knows no weights."""

    def __init__(self) -> None:
        super().__init__()
        self.process = PROCESS

    def forward(self, y: Tensor, t: int | Tensor, c: Tensor) -> Tensor:
        return y


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"patience": 3}, "no held_out pairs"),
        ({"patience": 0, "held_out": pairs(4, 3)}, "patience 0"),
        ({"held_out": (pairs(4, 3)[0], pairs(5, 3)[1])}, "same number of rows"),
        ({"held_out": (pairs(4, 3)[0] * math.nan, pairs(4, 3)[1])}, "finite"),
        ({"held_out": (pairs(4, 3)[0][:0], pairs(4, 3)[1][:0])}, "n >= 1"),
        ({"epochs": 0}, "epochs must be"),
        ({"p_uncond": 0.5}, "p_uncond must be 0"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], words: str) -> None:
    model = network()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=words):
        run(model, **options)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_a_model_without_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="no weights"):
        train(Nothing(), *pairs(4, 1), epochs=1, batch_size=2, generator=generator())


def test_divergence_is_an_error() -> None:
    with pytest.raises(FloatingPointError, match="diverged"):
        run(network(), optimisation=Optimisation(learning_rate=1e30), held_out=pairs(4, 3))
