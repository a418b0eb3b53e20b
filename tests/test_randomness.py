"""Generators: what is none is refused by whatever draws."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from conftest import generator

from dualdiff.compose import joint
from dualdiff.correct import product
from dualdiff.networks import MLP, Architecture
from dualdiff.process import Process
from dualdiff.samplers import sample, trajectory
from dualdiff.stopping import train
from dualdiff.training import fit

PROCESS, SHAPE = Process.linear(5, dy=2, dc=1), Architecture(4, 0)
NETWORK, Y, C = MLP(PROCESS, SHAPE, generator()), torch.ones(3, 2), torch.ones(3, 1)
TRAINED = {"epochs": 1, "batch_size": 2}
DRAWING: dict[str, Callable[[Any], object]] = {
    "MLP": lambda g: MLP(PROCESS, SHAPE, g),
    "fit": lambda g: fit(NETWORK, Y, C, generator=g, **TRAINED),
    "train": lambda g: train(NETWORK, Y, C, generator=g, **TRAINED),
    "held out": lambda g: train(NETWORK, Y, C, generator=g, held_out=(Y, C), **TRAINED),
    "sample": lambda g: sample(NETWORK, C, g),
    "trajectory": lambda g: trajectory(NETWORK, C, g),
    "product": lambda g: product(joint(NETWORK, NETWORK), C, g),
}


@pytest.mark.parametrize("name", DRAWING)
@pytest.mark.parametrize("seed", [0, None, torch.zeros(99), np.random.default_rng(0)], ids=str)
def test_what_is_no_generator_is_refused(name: str, seed: object) -> None:
    before = torch.random.get_rng_state()
    with pytest.raises(ValueError, match="^generator must be a torch.Generator, such as"):
        DRAWING[name](seed)
    assert torch.equal(torch.random.get_rng_state(), before)
