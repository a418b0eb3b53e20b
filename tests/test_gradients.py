"""The gradient by hand is that of autograd, and whatever it does not know is left to autograd."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from conftest import OFFSET, SPREAD, generator
from torch import Tensor, nn

from dualdiff.gradients import Gradient, differentiable
from dualdiff.lora import add_lora
from dualdiff.models import load, save
from dualdiff.networks import MLP, Architecture
from dualdiff.process import Process
from dualdiff.steps import Optimisation, noise_error
from dualdiff.training import Prior, fit, fit_together

PROCESS = Process.log_snr(50)
TUNED = Architecture(32, 2, "silu", "sinusoidal", preconditioned=True, fourier=2, init="kaiming")
SHAPES = {
    "plain": Architecture(32, 2),
    "tuned": TUNED,
    "framed": replace(TUNED, object_frame=True),
    "maskable": replace(TUNED, maskable=True, activation="relu"),
    "shallow": Architecture(7, 0),
}
ALL = pytest.mark.parametrize("shape", SHAPES)


class Other(MLP):
    """The same function, of a class that only autograd knows."""


def network(shape: str, kind: type[MLP] = MLP) -> MLP:
    """With weights everywhere: where the head starts at zero nothing reaches the layers."""
    found = kind(PROCESS, SHAPES[shape], generator(1), OFFSET, SPREAD)
    for parameter in found.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator(2))
    return found


def batch(n: int = 40, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    y, c, eps = torch.randn(3, n, 3, generator=generator(3)).to(dtype)
    return [y, torch.randint(50, (n,), generator=generator(4)), c, eps]


@ALL
@pytest.mark.parametrize("share", [1.0, 0.3])
def test_loss_and_gradient_are_those_of_autograd(shape: str, share: float) -> None:
    own, masks = network(shape).double(), []
    if shape == "maskable":
        masks = [torch.rand(40, generator=generator(5)) < 0.4]
    pairs = batch(dtype=torch.float64)
    loss = share * noise_error(own, *pairs, *masks)
    expected = torch.autograd.grad(loss, [*own.parameters()])
    by_hand = Gradient([own])
    stacked = [part[None] for part in (*pairs, *masks)]
    (found,) = by_hand(share, *stacked)
    assert by_hand.flat[0].grad is not None
    flat = torch.cat([part.flatten() for part in expected])
    torch.testing.assert_close(found, loss.detach())
    torch.testing.assert_close(by_hand.flat[0].grad, flat, rtol=1e-9, atol=1e-12)
    by_hand(share, *stacked)  # once more, on top
    torch.testing.assert_close(by_hand.flat[0].grad, 2 * flat, rtol=1e-9, atol=1e-12)


@ALL
@pytest.mark.parametrize("prior", [None, 0.3])
def test_a_run_gives_the_weights_of_autograd(shape: str, prior: float | None) -> None:
    y, _, c, _ = batch(100, torch.float64)
    how = {"epochs": 6, "batch_size": 32, "p_uncond": 0.3 if shape == "maskable" else 0.0}
    how |= {"optimisation": Optimisation("adamw", 1e-2, "cosine", ema=0.3)}
    how |= {} if prior is None else {"prior": Prior(y.flip(0), c, prior)}
    found = []
    for kind in (MLP, Other):
        own = network(shape, kind).double()
        assert differentiable(own) == (kind is MLP)
        losses = [step.loss for step in fit(own, y, c, generator=generator(6), **how)]  # type: ignore[arg-type]
        found.append([*own.parameters(), torch.stack(losses)])
    start = network(shape).double().parameters()
    assert not any(torch.equal(a, b) for a, b in zip(found[0], start, strict=False))
    torch.testing.assert_close(*found, rtol=1e-7, atol=1e-9)


@ALL
@pytest.mark.parametrize("width", [16, 23])
def test_a_network_of_a_stack_is_that_of_a_run_of_its_own(shape: str, width: int) -> None:
    """Units and sets of their own; to the last bit where layers fill whole vectors."""
    architecture = replace(SHAPES[shape], width=width)
    y, c = torch.randn(2, 90, 3, generator=generator(9)) * 3
    sets = [(y[:40], c[:40]), (y[30:], c[30:]), (y * 2, c), (y[:7], c[:7])]
    how = {"epochs": 7, "batch_size": 16, "rows_per_epoch": 24, "p_uncond": 0.0}
    how |= {"optimisation": Optimisation("adamw", 1e-2, "cosine", ema=0.3)}
    how |= {"p_uncond": 0.3} if shape == "maskable" else {}

    def fresh(number: int) -> MLP:
        process = PROCESS.standardised(*sets[number])
        return MLP(process, architecture, generator(number), OFFSET, SPREAD * (number + 1))

    def stack(numbers: list[int]) -> dict[int, list[Tensor]]:
        networks = {number: fresh(number) for number in numbers}
        pairs, own = [sets[k] for k in numbers], [generator(20 + k) for k in numbers]
        run = fit_together([*networks.values()], pairs, generators=own, **how)  # type: ignore[arg-type]
        losses = torch.stack([step.loss for step in run])
        assert losses.shape == (14, len(numbers)) and losses.isfinite().all()
        seen = zip(networks.items(), losses.unbind(1), strict=True)
        return {number: [loss, *network.parameters()] for (number, network), loss in seen}

    together, fewer = stack([0, 1, 2, 3]), stack([3, 1])
    for number, (one, pairs) in enumerate(zip(map(fresh, range(4)), sets, strict=True)):
        run = fit(one, *pairs, generator=generator(20 + number), **how)  # type: ignore[arg-type]
        alone = [torch.stack([step.loss for step in run]), *one.parameters()]
        for found in (together, fewer):
            if number in found:
                near = {"rtol": 0.0, "atol": 0.0} if width == 16 else {"rtol": 1e-4, "atol": 1e-5}
                torch.testing.assert_close(found[number], alone, **near)


def test_what_cannot_share_a_stack_is_refused() -> None:
    y, _, c, _ = batch(8)
    one, other = network("plain"), network("plain")
    own = [generator(1), generator(2)]

    def refused(words: str, networks: list[MLP], **changes: object) -> None:
        given = {"pairs": [(y, c)] * 2, "generators": own, "epochs": 2, "batch_size": 4} | changes
        with pytest.raises(ValueError, match=words):
            fit_together(networks, **given)  # type: ignore[arg-type]

    refused("as many", [one])
    refused("at least one", [], pairs=[], generators=[])
    refused("there twice", [one, one])
    refused("generators is there twice", [one, other], generators=own[:1] * 2)
    refused("must be a torch.Generator", [one, other], generators=[own[0], 7])
    refused(r"networks\[1\] must be an MLP", [one, network("plain", Other)])
    refused("one architecture", [one, network("tuned")])
    refused("equally many", [one, other], pairs=[(y, c), (y[:5], c[:5])])
    refused("epochs must be", [one, other], epochs=0)


def test_two_runs_of_one_network_may_take_turns() -> None:
    y, _, c, _ = batch(64, torch.float64)
    found = []
    for kind in (MLP, Other):
        own = network("plain", kind).double()
        runs = [
            fit(own, y * sign, c, epochs=5, batch_size=32, generator=generator(7))
            for sign in (1, -1)
        ]
        assert len([*zip(*runs, strict=True)]) == 10
        found.append([*own.parameters()])
    torch.testing.assert_close(*found, rtol=1e-7, atol=1e-9)


def test_what_a_network_is_afterwards(tmp_path: Path) -> None:
    """Its copies have weights of their own, and a file keeps it, in the middle of a run too."""
    y, _, c, _ = batch(64)
    own = network("plain")
    run = fit(own, y, c, epochs=3, batch_size=32, generator=generator(8))
    next(run)
    copy, before = deepcopy(own), [p.detach().clone() for p in own.parameters()]
    save(tmp_path / "model.safetensors", own)
    for _ in run:
        pass
    for other in (copy, load(tmp_path / "model.safetensors")):
        assert all(torch.equal(a, b) for a, b in zip(before, other.parameters(), strict=True))
    assert not torch.equal(own.head.weight, before[-2])
    own.head.weight.data.zero_()
    assert own.layers[0].weight.abs().min() > 0  # type: ignore[union-attr, operator]


def _frozen(own: MLP) -> object:
    return own.layers[0].requires_grad_(False)


def _more(own: MLP) -> None:
    own.extra = nn.Parameter(torch.zeros(3))


def _tied(own: MLP) -> None:
    own.layers[2].weight = own.layers[1].weight


CHANGES: dict[str, Callable[[MLP], object]] = {
    "a frozen layer": _frozen,
    "one weight more": _more,
    "weights that two layers share": _tied,
    "another activation": lambda own: setattr(own, "activation", nn.Tanh()),
    "a forward of its own": lambda own: setattr(own, "forward", own.forward),
    "a loss weight of its own": lambda own: setattr(own, "loss_weight", own.loss_weight),
    "half precision": lambda own: own.bfloat16(),
    "a hook of a weight": lambda own: own.head.weight.register_hook(lambda g: 0 * g),
    "a hook of a layer": lambda own: own.head.register_full_backward_hook(lambda *_: None),
    "a hook of the call": lambda own: own.register_forward_hook(lambda *_: None),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_not_as_it_was_built_is_left_to_autograd(change: str) -> None:
    own = network("plain")
    assert differentiable(own)
    CHANGES[change](own)
    assert not differentiable(own)


def test_low_rank_updates_are_left_to_autograd() -> None:
    assert not differentiable(add_lora(network("plain"), 2, generator(9)))


def test_a_hook_of_a_weight_is_heard() -> None:
    y, _, c, _ = batch(64)
    own = network("plain")
    before = own.head.weight.detach().clone()
    own.head.weight.register_hook(lambda gradient: 0 * gradient)
    states = [before]
    for _ in fit(own, y, c, epochs=2, batch_size=32, generator=generator(10)):
        states.append(own.head.weight.detach().clone())
    assert all(torch.equal(a, b) for a, b in pairwise(states))
