"""Adapt the general network or compose it: set sizes, fine-tuning epochs, forgetting, cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from torch import nn

from dualdiff.experiments.members import LORA_RANK, RECIPES, Networks
from dualdiff.experiments.profiles import Profile
from dualdiff.experiments.scenarios import Scenario, cabinet
from dualdiff.experiments.shifted import shifted_table
from dualdiff.experiments.sizes import JOINT, size_of, sized
from dualdiff.experiments.store import Store
from dualdiff.experiments.study import SUMS, ScenarioTrial, trials
from dualdiff.lora import add_lora
from dualdiff.randomness import stream

EPOCH_METHODS = ("finetuned", "lora", "replay")
"""Methods whose quality is followed over the fine-tuning epochs."""
OVERLAP_METHODS = ("specialised", "finetuned", "lora", *JOINT)
BUDGETS = (200, 500, 1000, 1500)
"""Fine-tuning epochs up to those that a specialised network trains: the thesis's 200 first."""
POINTS = 128  # specialised pairs in the study of fine-tuning epochs: the thesis's number


def _trials(
    world: Scenario, network: str, size: Profile, seed: int, configurations: Sequence[str]
) -> list[ScenarioTrial]:
    """Every configuration and seed, judged against the specialised and the general law."""
    laws = {"specialised": world.specialised, "general": world.general}
    return trials(world, [RECIPES[network]], size, seed, laws, configurations)


def size_trials(profile: str, seed: int) -> list[ScenarioTrial]:
    """Every method on the cabinet over the number of specialised pairs, for all networks.

    Raises
    ------
    ValueError
        For an unknown profile (also the other functions that ask for one).
    """
    own = size_of("adaptation", profile)
    sizes = [sized("adaptation", profile, n_specialised=n) for n in own.sizes]
    return [
        trial
        for network in RECIPES
        for size in sizes
        for trial in _trials(cabinet(), network, size, seed, own.methods)
    ]


def epoch_trials(profile: str, seed: int, points: int = POINTS) -> list[ScenarioTrial]:
    """Fine-tuned, LoRA and replay over the epochs, and what has no such epochs beside them."""
    own, found = size_of("adaptation", profile), []
    size = sized("adaptation", profile, n_specialised=points)
    for network in own.epoch_networks:
        found += _trials(cabinet(), network, size, seed, ("general", "specialised", "joint"))
        for epochs in own.epochs:
            run = replace(size, finetune_epochs=epochs)
            found += _trials(cabinet(), network, run, seed, EPOCH_METHODS)
    return found


def budget_trials(profile: str, seed: int) -> list[ScenarioTrial]:
    """Fine-tuned alone and in the sum over set sizes and epochs, recipe ``tuned``, with equal
    budgets: as many epochs as the specialised network has, which stands beside it."""
    own, found = size_of("adaptation", profile), []
    most = sized("adaptation", profile).specialised_epochs
    for n in own.sizes:
        size = sized("adaptation", profile, n_specialised=n)
        names = ("general", "specialised", "joint")
        found += _trials(cabinet(), "tuned", size, seed, names)
        for epochs in sorted({min(epochs, most) for epochs in BUDGETS}):
            run = replace(size, finetune_epochs=epochs)
            found += _trials(cabinet(), "tuned", run, seed, ("finetuned", "finetuned_joint"))
    return found


def overlap_trials(profile: str, seed: int) -> list[ScenarioTrial]:
    """The methods under recipe ``tuned`` while the specialised disc moves out of the general."""
    own = size_of("adaptation", profile)
    sizes = [sized("adaptation", profile, n_specialised=n) for n in own.overlap_sizes]
    return [
        trial
        for distance in own.distances
        for size in sizes
        for trial in _trials(shifted_table(distance), "tuned", size, seed, OVERLAP_METHODS)
    ]


def least_sum(world: Scenario) -> float:
    r"""What total variation to the specialised and to the general law sum to at least.

    Both are measured on cells. A model with accuracy a has :math:`TV_s \ge 1 - a`, and mass of at
    least a in those general cells that the specialised support touches, so that :math:`TV_g \ge
    a - m` with m the share of these cells: :math:`TV_s + TV_g \ge 1 - m`, whatever the model. The
    specialised support must lie inside the general one.
    """
    y, c = world.pairs("specialised", 20_000, stream(0, "cells that the support touches"))
    return 1 - len(world.general.cells(y, c).unique()) / world.general.n_cells


def mixture(world: Scenario, weight: float) -> tuple[float, float]:
    r"""Total variation of prior preservation's own optimum to both laws, specialised first.

    The optimum of :math:`L_s + \lambda L_g` is the mixture :math:`(p_s + \lambda p_g) /
    (1 + \lambda)`. A share of 1 - q of the general law misses the specialised support.
    """
    y, c = world.pairs("general", 200_000, stream(0, "share of the specialised support"))
    q = float(world.specialised.contains(y, c).float().mean())
    return weight / (1 + weight) * (1 - q), least_sum(world) / (1 + weight)


def numbers(network: nn.Module, trainable: bool = False) -> int:
    """How many numbers a network holds, or how many of them are trained."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad or not trainable)


def cost(
    profile: str, seed: int, store: Store, points: int = POINTS, **options: Any
) -> pd.DataFrame:
    """What it takes to adapt and to sample on the cabinet, by recipe and configuration.

    Columns: ``seconds`` of training after the general network (as stored, so on the computer that
    trained), ``stored``, numbers kept for this home beside the general network, ``held``, numbers
    held while sampling, ``calls`` of a network per step. ``options`` go to the networks.
    """
    size = sized("adaptation", profile, n_specialised=points)
    rows = []
    for recipe in RECIPES.values():
        networks = Networks(cabinet(), recipe, size, seed, store, **options)
        general = networks.general.network
        full = numbers(general)
        low_rank = add_lora(general, LORA_RANK, stream(seed, "low rank"))
        for name in size_of("adaptation", profile).methods:
            method = SUMS.get(name, name)
            stored = numbers(low_rank, trainable=True) if method == "lora" else full
            calls = 1 + (name in SUMS)
            held = full if calls == 1 else full + stored
            seconds = networks.specialised(method).seconds
            rows.append((recipe.name, name, seconds, stored, held, calls))
    columns = ["recipe", "configuration", "seconds", "stored", "held", "calls"]
    return pd.DataFrame(rows, columns=columns)
