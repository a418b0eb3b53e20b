"""The robot study's networks: how rows become numbers, and what is trained on them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache, partial
from typing import Any, Literal

import pandas as pd
import torch
from torch import Tensor

from dualdiff.denoisers import Denoiser, Predict
from dualdiff.experiments.definitions import added
from dualdiff.experiments.members import Rows
from dualdiff.experiments.provenance import version_of
from dualdiff.experiments.store import Store, versions
from dualdiff.experiments.trained import Asked, Trained, kept
from dualdiff.lora import clone
from dualdiff.networks import MLP
from dualdiff.process import Process
from dualdiff.randomness import stream
from dualdiff.robot.dataset import (
    SPECIAL,
    Split,
    decode,
    encode,
    features_of,
    generate,
    offsets_of,
    split,
)
from dualdiff.robot.kinds import TYPES
from dualdiff.robot.settings import Scale, Setting

FOLDS = 4
DATA_SEED = 0
"""Of the rows: all training seeds share one data set, and each draws its own specialised tasks."""
UNTOLD = 0.5
"""Share of the general rows that are not told their type, where types are told at all."""
MARKS = 100
"""Points of the general model's loss curve at most."""


class Moments:
    """An affine change of units per column: ``(x - mean) / scale``."""

    def __init__(self, rows: Tensor, normalisation: str) -> None:
        if normalisation == "min-max":
            low, high = rows.amin(0), rows.amax(0)
            self.mean, scale = (low + high) / 2, (high - low) / 2
        else:
            self.mean, scale = rows.double().mean(0).float(), rows.double().std(0).float()
        # A column that never varies (held) has no unit of its own.
        self.scale = torch.where(scale > 1e-6, scale, 1.0)

    def encode(self, x: Tensor) -> Tensor:
        """To the units."""
        return (x - self.mean) / self.scale

    def decode(self, x: Tensor) -> Tensor:
        """Back."""
        return x * self.scale + self.mean


class OfType(Denoiser):
    """A network that is told one type whatever its condition says; None: that is told nothing."""

    def __init__(self, network: MLP, kind: str | None) -> None:
        super().__init__()
        self.process, self.network = network.process, network
        told = torch.zeros(len(TYPES))
        if kind is not None:
            told[TYPES.index(kind)] = 1
        self.told = told

    def _condition(self, c: Tensor) -> Tensor:
        told = self.told.to(c).expand(len(c), -1)
        return torch.cat([c[:, : -len(TYPES)], told], dim=1)

    def forward(self, y: Tensor, t: int | Tensor, c: Tensor) -> Tensor:
        return self.network(y, t, self._condition(c))

    def _bind(self, c: Tensor) -> Predict:
        return self.network.bind(self._condition(c))


@lru_cache(maxsize=1)
def _rows(tasks: int, store: Store) -> pd.DataFrame:
    return generate(tasks, DATA_SEED, store=store)


@dataclass(frozen=True)
class Networks:
    """Rows and networks of one setting and seed, each made when asked for and kept in the store.

    With ``fold`` k, every fourth specialised task is left out, from the k-th on. The specialised
    rows are of a ``kind``; the general model lacks all kinds that are ``lacking``.
    """

    setting: Setting
    scale: Scale
    seed: int
    store: Store
    quiet: bool = True
    fold: int | None = None
    kind: str = SPECIAL
    lacking: tuple[str, ...] = (SPECIAL,)

    @cached_property
    def data(self) -> Split:
        """The three sets of rows; the specialised one whole."""
        size = self.scale
        sizes = {"n_specialised": size.n_specialised, "n_test": size.conditions}
        return split(_rows(size.tasks, self.store), self.seed, **sizes, kind=self.kind)

    @cached_property
    def general_rows(self) -> pd.DataFrame:
        """What the general model learns from: the types that it does not lack, or all ten."""
        rows = self.data.general
        for kind in self.lacking:  # its test's tasks and its specialist's are nobody else's
            if kind != self.kind:
                rows = rows[rows["task"].isin(replace(self, kind=kind).data.general["task"])]
        if self.setting.complete:
            return rows
        return rows[~rows["type"].isin([TYPES.index(kind) for kind in self.lacking])]

    def _held_out(self) -> Tensor:
        """Which specialised rows belong to the fold, whole tasks."""
        task = torch.from_numpy(self.data.specialised["task"].to_numpy(copy=True))
        _, number = task.unique(return_inverse=True)
        return number % FOLDS == self.fold

    # --- units ----------------------------------------------------------------------------

    @cached_property
    def _types(self) -> dict[str, tuple[Moments, Moments]]:
        """Moments of target and features of every type; empty unless they are per task."""
        if self.setting.normalisation != "per-task":
            return {}
        kinds, rows = self.general_rows["type"], self.general_rows
        groups = {TYPES[i]: rows[kinds == i] for i in kinds.unique()}
        groups[self.kind] = self.data.specialised
        return {
            name: (Moments(self._targets(rows), "z-score"), Moments(features_of(rows), "z-score"))
            for name, rows in groups.items()
        }

    def _targets(self, rows: pd.DataFrame) -> Tensor:
        return encode(self.setting.frame, features_of(rows), offsets_of(rows))

    def _own_units(self, rows: pd.DataFrame) -> Rows:
        """Targets and features, in the units of every row's own type if that is the setting."""
        y, c = self._targets(rows), features_of(rows)
        if self._types:
            index = torch.from_numpy(rows["type"].to_numpy(copy=True))
            for name, (target, features) in self._types.items():
                here = index == TYPES.index(name)
                y[here], c[here] = target.encode(y[here]), features.encode(c[here])
        return y, c

    @cached_property
    def _general(self) -> Rows:
        return self._own_units(self.general_rows)

    @cached_property
    def process(self) -> Process:
        """Schedule and units, which all members of the setting share."""
        y, c = self._general
        recipe = self.setting.recipe
        schedule = replace(recipe, standardised=False).process(y, c)
        target, features = (Moments(part, self.setting.normalisation) for part in (y, c))
        extra = len(TYPES) * self.setting.told
        return Process(
            schedule.alpha_bar,
            target.mean,
            target.scale,
            torch.cat([features.mean, torch.zeros(extra)]),
            torch.cat([features.scale, torch.ones(extra)]),
        )

    def conditions(self, features: Tensor, kind: str | None = "own") -> Tensor:
        """Features ``[n, 10]`` of rows of the kind as conditions, ``[n, dc]``, told a type (their
        own by default; None: none) if any is."""
        c = self._types[self.kind][1].encode(features) if self._types else features
        if not self.setting.told:
            return c
        told = torch.zeros(len(c), len(TYPES))
        if kind is not None:
            told[:, TYPES.index(self.kind if kind == "own" else kind)] = 1
        return torch.cat([c, told], dim=1)

    def places(self, features: Tensor, y: Tensor) -> Tensor:
        """Samples ``[n, k, 2]`` at features ``[n, 10]`` of the kind as world positions, not
        clipped."""
        if self._types:
            y = self._types[self.kind][0].decode(y)
        return decode(self.setting.frame, features[:, None], y)

    def rows(self, name: Literal["general", "specialised"], *, held_out: bool = False) -> Rows:
        """Training rows, or those of the fold that are held out."""
        if name == "general":
            y, c = self._general
            if self.setting.told:
                kinds = torch.from_numpy(self.general_rows["type"].to_numpy(copy=True)).long()
                told = torch.nn.functional.one_hot(kinds, len(TYPES)).float()
                source = stream(self.seed, "told")
                kept = torch.rand(len(c), generator=source, dtype=torch.float32) >= UNTOLD
                c = torch.cat([c, told * kept[:, None]], dim=1)
            return y, c
        rows = self.data.specialised
        y, _ = self._own_units(rows)
        c = self.conditions(features_of(rows))
        if self.fold is None:
            if held_out:
                raise ValueError("nothing is held out: give the networks a fold")
            return y, c
        here = self._held_out() == held_out
        return y[here], c[here]

    # --- networks -------------------------------------------------------------------------

    @cached_property
    def general(self) -> Trained:
        """The network of the large set."""
        return kept(self.store, self.asked("general"), self.quiet)

    @cached_property
    def specialised(self) -> Trained:
        """The network of the 442 rows alone."""
        return kept(self.store, self.asked("specialised"), self.quiet)

    @cached_property
    def finetuned(self) -> Trained:
        """The general network, trained on with the 442 rows."""
        return kept(self.store, self.asked("finetuned"), self.quiet)

    def _new(self, name: str) -> MLP:
        generator = stream(self.seed, "robot weights", name)
        return MLP(self.process, self.setting.recipe.architecture, generator)

    def _config(self, name: str) -> dict[str, Any]:
        scale = asdict(self.scale)
        asked = ["tasks", "n_specialised", "conditions", "general_steps", "batch"]
        if name != "general":
            asked += ["specialised_epochs", "finetune_epochs"]
        config: dict[str, Any] = {
            "network": f"robot {name}",
            "setting": self.setting.described(),
            "scale": {key: scale[key] for key in asked},
            "seed": self.seed,
            "code": version_of(type(self)),
            **versions(),
            **added(self, Networks),
            "lacking": sorted(self.lacking),
        }
        return config if name == "general" else {**config, "fold": self.fold, "kind": self.kind}

    def asked(self, name: str) -> Asked:
        """``general``, ``specialised`` or ``finetuned``, as it is asked of the store."""
        label = f"{self.setting.name}: train {name}"
        new = partial(self._new, name)
        start = (lambda: clone(self.general.network)) if name == "finetuned" else new
        return Asked(self._config(name), label, new, start, partial(self._options, name))

    def _options(self, name: str) -> dict[str, Any]:
        size, recipe = self.scale, self.setting.recipe
        y, c = self.rows("general" if name == "general" else "specialised")
        if name == "general":
            steps = size.general_steps
            marks = max(k for k in range(1, MARKS + 1) if steps % k == 0)
            how = (marks, size.batch, size.batch * (steps // marks))
        else:
            epochs = size.specialised_epochs if name == "specialised" else size.finetune_epochs
            how = (epochs, recipe.specialised_batch, len(y))
        return {
            "y": y,
            "c": c,
            "epochs": how[0],
            "batch_size": how[1],
            "rows_per_epoch": how[2],
            "generator": stream(self.seed, "robot training", name, self.fold),
            "optimisation": recipe.optimisation,
        }
