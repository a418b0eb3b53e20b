"""Adapt the general network or compose it: set sizes, fine-tuning epochs, forgetting, cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from torch import nn

from dualdiff.experiments.members import LORA_RANK, METHODS, RECIPES, Workshop
from dualdiff.experiments.overlap import distance_for, shifted_table
from dualdiff.experiments.study import ScenarioTrial
from dualdiff.profiles import PROFILES, Named, Profile
from dualdiff.randomness import stream
from dualdiff.scenarios import Scenario, cabinet
from dualdiff.store import Store
from dualdiff.train import add_lora

ALONE = ("specialised", "finetuned", "lora", "replay")
JOINT = ("joint", "finetuned_joint", "lora_joint")
EPOCH_METHODS = ("finetuned", "lora", "replay")
"""Methods whose quality is followed over the fine-tuning epochs."""
OVERLAP_METHODS = ("specialised", "finetuned", "lora", *JOINT)
POINTS = 128  # specialised pairs in the study of fine-tuning epochs: the thesis's number
FULL, NONE = 0.0, 7.0  # distances of the centres at which the discs overlap fully and not at all


@dataclass(frozen=True)
class Scale:
    """How much of the study a profile runs.

    Parameters
    ----------
    sizes : tuple of int
        Numbers of specialised pairs.
    epochs : tuple of int
        Fine-tuning epochs (of 128 rows), at :data:`POINTS` pairs.
    overlap_sizes : tuple of int
        Numbers of specialised pairs on the shifted round table.
    conditions, draws : int
        Test conditions, and samples drawn for each of them.
    seeds : int
        Training runs.
    distances : tuple of float
        Of the centres of the two discs.
    epoch_networks : tuple of str
        Of :data:`RECIPES`: those that are followed over the epochs.
    methods : tuple of str
        Configurations of the study of set sizes.
    """

    sizes: tuple[int, ...]
    epochs: tuple[int, ...]
    overlap_sizes: tuple[int, ...]
    conditions: int
    draws: int
    seeds: int
    distances: tuple[float, ...] = (FULL, distance_for(0.5), NONE)
    epoch_networks: tuple[str, ...] = ("tuned",)
    methods: tuple[str, ...] = (*ALONE, *JOINT)


SCALES = Named(
    {
        "smoke": Scale((8, 128), (5, 10), (8,), 40, 5, 1, (FULL, NONE)),
        "quick": Scale((8, 128), (20, 200, 500), (128,), 200, 10, 1, (FULL, NONE)),
        "full": Scale(
            (8, 16, 32, 64, 128, 256, 512, 1024, 2048),
            (10, 20, 50, 100, 200, 500, 1000, 2000),
            (8, 32, 128, 512),
            500,
            10,
            3,
            epoch_networks=tuple(RECIPES),
            methods=(*ALONE, "generated", *JOINT),
        ),
    }
)


def _scale(profile: str) -> tuple[Scale, Profile]:
    if profile not in SCALES:
        raise ValueError(f"profile must be one of {', '.join(SCALES)}, not {profile!r}")
    scale = SCALES[profile]
    size = replace(PROFILES[profile], conditions=scale.conditions, draws=scale.draws)
    return scale, replace(size, seeds=scale.seeds)


def _trials(
    world: Scenario, network: str, size: Profile, seed: int, configurations: Iterable[str]
) -> list[ScenarioTrial]:
    """Every configuration and seed, judged against the specialised and the general law."""
    laws = {"specialised": world.specialised, "general": world.general}
    return [
        ScenarioTrial(world, RECIPES[network], size, s, name, laws)
        for s in range(seed, seed + size.seeds)
        for name in configurations
    ]


def size_trials(profile: str, seed: int) -> list[ScenarioTrial]:
    """Every method on the cabinet over the number of specialised pairs, for all networks.

    Raises
    ------
    ValueError
        For an unknown profile (also the other functions that ask for one).
    """
    scale, size = _scale(profile)
    return [
        trial
        for network in RECIPES
        for n in scale.sizes
        for trial in _trials(cabinet(), network, _with(size, n), seed, scale.methods)
    ]


def epoch_trials(profile: str, seed: int, points: int = POINTS) -> list[ScenarioTrial]:
    """Fine-tuned, LoRA and replay over the epochs, and what has no such epochs beside them."""
    scale, size = _scale(profile)
    size, found = _with(size, points), []
    for network in scale.epoch_networks:
        found += _trials(cabinet(), network, size, seed, ("general", "specialised", "joint"))
        for epochs in scale.epochs:
            run = replace(size, finetune_epochs=epochs)
            found += _trials(cabinet(), network, run, seed, EPOCH_METHODS)
    return found


def overlap_trials(profile: str, seed: int) -> list[ScenarioTrial]:
    """The methods under recipe ``tuned`` while the specialised disc moves out of the general."""
    scale, size = _scale(profile)
    return [
        trial
        for distance in scale.distances
        for n in scale.overlap_sizes
        for trial in _trials(
            shifted_table(distance), "tuned", _with(size, n), seed, OVERLAP_METHODS
        )
    ]


def _with(size: Profile, points: int) -> Profile:
    return replace(size, n_specialised=points)


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
    held while sampling, ``calls`` of a network per step. ``options`` go to the workshop.
    """
    scale, size = _scale(profile)
    rows = []
    for recipe in RECIPES.values():
        shop = Workshop(cabinet(), recipe, _with(size, points), seed, store, **options)
        general = shop.general.network
        full = numbers(general)
        low_rank = add_lora(general, LORA_RANK, stream(seed, "low rank"))
        for name in scale.methods:
            method = name.removesuffix("joint").removesuffix("_") or "specialised"
            assert method in METHODS
            stored = numbers(low_rank, trainable=True) if method == "lora" else full
            calls = 2 if name.endswith("joint") else 1
            held = full if calls == 1 else full + stored
            seconds = shop.specialised(method).seconds
            rows.append((recipe.name, name, seconds, stored, held, calls))
    columns = ["recipe", "configuration", "seconds", "stored", "held", "calls"]
    return pd.DataFrame(rows, columns=columns)
