"""Two tables in the place of a scenario, and the networks that are trained on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dualdiff.data.columns import numbered
from dualdiff.data.table import Table
from dualdiff.experiments import members
from dualdiff.experiments.members import Rows
from dualdiff.experiments.profiles import PROFILES, Profile
from dualdiff.experiments.trained import Asked, Seen, progress_bar
from dualdiff.experiments.weighting import FOLDS
from dualdiff.networks import MLP
from dualdiff.randomness import stream
from dualdiff.stopping import train
from dualdiff.training import fit

LEAST = 2 * FOLDS
"""Special rows to learn from at least: every fold holds two out."""
INNER = 10, 2048
"""Of the general rows every tenth, but at most so many, tells when to stop."""
PATIENT = 8
"""Training stops after an eighth of its epochs without a new best one."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Tables of a general and a special law, and special rows that judge and teach nobody.

    It stands where a :class:`~dualdiff.experiments.scenarios.Scenario` stands: for networks, the
    diagnosis of chapter 03 and learned weights.

    Parameters
    ----------
    general, special, held_out : Table
        With the same columns.
    removed : int
        General rows that :meth:`of` has taken out: those of units of the special table, or equal to
        one of its rows.

    Raises
    ------
    ValueError
        For tables of other columns, held-out rows that are in a training table (a leak), too few
        special rows, a condition that never varies.
    """

    general: Table
    special: Table
    held_out: Table
    removed: int = 0

    def __post_init__(self) -> None:
        general, special, judge = self.general, self.special, self.held_out
        for table in (special, judge):
            for key in ("y_columns", "c_columns"):
                one, other = getattr(general, key), getattr(table, key)
                if one != other:
                    raise ValueError(
                        f"tables {general.name!r} and {table.name!r} must have the same {key[0]}, "
                        f"read in the same way, not {[x.name for x in one]} and "
                        f"{[x.name for x in other]}: read the second with like=the first"
                    )
        for table in (general, special):
            count, rows = numbered(judge.shared(table).numpy())
            if count:
                raise ValueError(
                    f"{count} of the {len(judge)} held-out rows of {judge.name!r} are rows of "
                    f"{table.name!r}, too, the first is held-out row {rows[0]}: a model that "
                    "has seen them cannot be judged by them; take them out of it, as Pairs.of does"
                )
        if len(special) < LEAST or len(judge) < 2:
            raise ValueError(
                f"table {special.name!r} has {len(special)} rows to learn from and {len(judge)} "
                f"held out; there must be at least {LEAST} and 2: bring more rows, or hold out "
                "another share"
            )
        if special.units is not None and (count := len({*special.units})) < FOLDS:
            raise ValueError(
                f"table {special.name!r} has rows of {count} units to learn from; there must be at "
                f"least {FOLDS}, for each is left out once: bring more, or hold out another share"
            )
        varies = (general.c != general.c[0]).any(0)
        flat = [name for name, one in zip(general.c_names, varies, strict=True) if not one]
        if flat:
            raise ValueError(
                f"condition {flat[0]!r} of table {general.name!r} never varies, so nothing can be "
                "learned from it; leave it out"
            )

    @classmethod
    def of(
        cls, general: Table, special: Table, held_out: float, generator: torch.Generator
    ) -> Pairs:
        """Split the special table, and take its rows out of the general one.

        Which rows these are, the units tell (:meth:`Table.read`), or without units equal numbers:
        where numbers are rounded, rows of others may be equal by chance.

        Parameters
        ----------
        general, special : Table
        held_out : float
            Share of the special rows that judges.
        generator : torch.Generator
        """
        learn, judge = special.split(held_out, generator)
        known = general.shared(special)
        if bool(known.all()):
            raise ValueError(
                f"all {len(general)} rows of {general.name!r} are rows of {special.name!r}, or "
                "equal to one of them: the general table must have others; where equal numbers "
                "are chance, name the column of units"
            )
        return cls(general.rows(~known), learn, judge, int(known.sum()))

    @property
    def name(self) -> str:
        """Of the special table."""
        return self.special.name or "your data"

    @property
    def roots(self) -> tuple[type, ...]:
        """Classes whose code decides the rows."""
        return (type(self),)

    def _table(self, which: str) -> Table:
        if which not in ("general", "specialised"):
            raise ValueError(f"which must be 'general' or 'specialised', got {which!r}")
        return self.general if which == "general" else self.special

    def pairs(self, which: str, n: int, generator: torch.Generator) -> Rows:
        """All training rows, or ``n`` random ones where there are more."""
        table = self._table(which)
        if n >= len(table):
            return table.y, table.c
        some = torch.randperm(len(table), generator=generator)[:n]
        return table.y[some], table.c[some]

    def described(self, which: str) -> dict[str, Any]:
        """The digest of the table; special rows are left out by unit, so these count."""
        table = self._table(which)
        units = {} if table is self.general or table.units is None else {"units": [*table.units]}
        return {which: table.digest, **units}

    @property
    def scale(self) -> Tensor:
        """Standard deviations of the general targets ``[dy]``: the unit of scores."""
        return self.general.y.std(0)

    def outside(self, c: Tensor) -> Tensor:
        """Which numbers of conditions ``[n, dc]`` no training row reaches, a bool each."""
        low, high = self.reach
        return (c < low) | (c > high)

    @property
    def reach(self) -> tuple[Tensor, Tensor]:
        """Least and largest conditions of the training rows, both tables together."""
        known = torch.cat([self.general.c, self.special.c])
        return known.amin(0), known.amax(0)


def sized(profile: str) -> Profile:
    """How much a profile computes of a comparison; quick and full learn from all rows.

    Epochs are upper bounds. There are 50 draws for every held-out row, a group of SMC; quick judges
    by 300 of these rows, which are in random order, full by all.
    """
    base = PROFILES[profile]  # refuses a name that is none
    smoke = {"n_general": 1024, "general_epochs": 4, "specialised_epochs": 16, "conditions": 32}
    quick = {"general_epochs": 60, "specialised_epochs": 600, "conditions": 300, "seeds": 2}
    full = {"n_general": 10**9, "conditions": 10**9}
    sizes = {"smoke": smoke, "quick": {**full, **quick}, "full": full}
    own: dict[str, Any] = {**sizes[profile], "n_specialised": 10**9, "draws": 50}
    own["finetune_epochs"] = own["specialised_epochs"]
    return replace(base, **own)


@dataclass(frozen=True)
class Networks(members.Networks):
    """The networks of two tables, each with as many epochs as held-out training rows ask for.

    The general network keeps the best epoch by every tenth of its rows. Special rows are few:
    networks of four folds say by the rows that they have not seen how the loss goes on, and the
    network of all rows is trained for as long as their mean falls. The rows that judge
    (``scenario.held_out``) play no part. The recipe leaves out the frame ``y - c``: two tables
    need not have one.

    Parameters
    ----------
    scenario : Pairs
    recipe, profile, seed, store, device, quiet, fold
        As in :class:`dualdiff.experiments.members.Networks`.
    """

    scenario: Pairs

    def __post_init__(self) -> None:
        object.__setattr__(self, "recipe", self.recipe.without_frame())

    def folds(self) -> Iterator[Networks]:
        """The same without every fourth special pair, or every fourth unit of them, four times."""
        for k in range(FOLDS):
            yield replace(self, fold=(k, FOLDS))

    def _folded(self, n: int) -> Tensor:
        units = self.scenario.special.units
        if units is None or n < len(units):
            return super()._folded(n)
        return torch.from_numpy(np.unique(units, return_inverse=True)[1]) % FOLDS

    def asked(self, name: str) -> Asked:
        """As everywhere, but for the epochs."""
        asked = super().asked(name)
        return replace(asked, run=partial(self._run, name, asked))

    def _run(self, name: str, asked: Asked, network: MLP) -> Seen:
        options = asked.options()
        if name != "general" and self.fold is None:
            return self._as_folds(name, network, asked.label, options)
        if name == "general":
            y, c = options["y"], options["c"]
            order = torch.randperm(len(y), generator=stream(self.seed, "inner split"))
            cut = min(max(1, len(y) // INNER[0]), INNER[1])
            held = y[order[:cut]], c[order[:cut]]
            options |= {"y": y[order[cut:]], "c": c[order[cut:]]}
        else:
            held = self.held_out()
        epochs = options["epochs"]
        patience = max(4, epochs // PATIENT)
        with progress_bar(epochs, asked.label, self.quiet) as bar:
            options["progress"] = bar.update
            found = train(network, held_out=held, patience=patience, **options)
        return {"losses": found.losses, "held_out": found.held_out}

    def _as_folds(self, name: str, network: MLP, label: str, options: dict[str, Any]) -> Seen:
        """Train on all special rows, to the epoch at which the folds' mean loss is least."""
        curves = [fold.specialised(name).held_out for fold in self.folds()]
        known = [curve for curve in curves if curve is not None]
        shared = torch.stack([curve[: min(map(len, known))] for curve in known]).mean(0)
        steps, losses = fit(network, **options), []
        with progress_bar(len(shared), label, self.quiet) as bar:
            for _ in range(int(shared.argmin()) + 1):
                losses.append(
                    torch.stack([next(steps).loss for _ in range(steps.per_epoch)]).mean()
                )
                bar.update()
        with steps.averages():
            state = {key: value.clone() for key, value in network.state_dict().items()}
        steps.close()
        network.load_state_dict(state)
        return {"losses": torch.stack(losses), "held_out": shared}
