"""A trial: what one configuration scores, computed once and kept, as rows of a tidy table."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, ClassVar, Protocol

import pandas as pd
import torch

from dualdiff.experiments.provenance import version_of
from dualdiff.experiments.shifted import overlap_fraction
from dualdiff.experiments.store import Store, versions
from dualdiff.experiments.trained import Asked, progress_bar, train_together
from dualdiff.metrics import Estimate

KEY = ["scenario", "recipe", "n_specialised", "finetune_epochs", "seed", "configuration"]
"""Columns that tell a trial from the others of a table."""
COLUMNS = ("scenario", "recipe", "profile", "seed", "configuration", "target", "metric")
NUMBER = r"-?\d[\d.e+-]*"
NAMED = (
    ("scenario", rf"shifted by (?P<distance>{NUMBER})"),
    ("scenario", rf"\w+, cosine (?P<low>{NUMBER}) to (?P<high>{NUMBER}).*"),
    ("scenario", r".*, rank (?P<rank>\d+)"),
    ("scenario", r"\w+, (?P<observed>\d+) observed"),
    ("scenario", r"(?P<numbers>\d+) numbers, width (?P<width>\d+)"),
    ("configuration", rf"(?P<weight_general>{NUMBER}), (?P<weight_specialised>{NUMBER})"),
    ("configuration", rf"(?P<configuration>\w+), (?P<aggregated>\d+), (?P<deviation>{NUMBER})"),
    ("configuration", r"(?P<configuration>\w+) in groups of (?P<group>\d+)"),
    ("configuration", r"(?P<configuration>\w+) in (?P<steps>\d+) steps"),
    ("configuration", r"(?P<configuration>\w+) after (?P<arrivals>\d+)"),
    ("configuration", r"(?P<configuration>\w+) in round (?P<round>\d+)"),
    (
        "configuration",
        rf"(?P<configuration>amdm_\w+) at (?P<aggregated>\d+), (?P<deviation>{NUMBER})",
    ),
    ("configuration", rf"(?P<configuration>noise|blur|words) at (?P<strength>{NUMBER})"),
    ("configuration", rf"(?P<configuration>inverted) at (?P<steps>{NUMBER}), (?P<rounds>{NUMBER})"),
    ("configuration", rf"(?P<configuration>noised) at (?P<from_step>{NUMBER})"),
    ("configuration", rf"(?P<configuration>\w+) at (?P<towards>{NUMBER}), (?P<guidance>{NUMBER})"),
    ("configuration", rf"(?P<configuration>\w+) at (?P<guidance>{NUMBER})"),
    ("metric", r"(?P<member>\w+) at (?P<t>\d+)"),
)
"""What names hold: the column that they stand in, and a pattern whose groups are columns."""
ONE_NAME = {"sum": "joint", "1, 1": "joint", "1, 0": "general", "0, 1": "specialised"}
"""What readers know under one name, whichever study it is of."""
SAMPLES_PER_SECOND = 15_000
"""Of the synthetic study, roughly, to weigh the work of one kind of trial against another's."""
Scores = Mapping[tuple[str, str], Estimate]
"""Estimates by target and metric."""


class Size(Protocol):
    """What every table says of the size of a run."""

    @property
    def name(self) -> str: ...
    @property
    def n_specialised(self) -> int: ...
    @property
    def finetune_epochs(self) -> int: ...
    @property
    def conditions(self) -> int: ...
    @property
    def draws(self) -> int: ...


class Trial(ABC):
    """A configuration of a scenario under a recipe, a size and a seed, sampled once and judged.

    A kind of trial is a frozen dataclass: it has the names below as fields or constants, says what
    it depends on (:meth:`config`) and computes its :meth:`scores`. The rest is the same for all.
    """

    store_kind: ClassVar[str]
    """Under which name the store keeps its tables."""

    profile: Any
    """How much is trained and sampled, a :class:`Size`."""
    seed: int
    configuration: str

    @property
    @abstractmethod
    def scenario_name(self) -> str:
        """Column ``scenario``."""

    @property
    @abstractmethod
    def recipe_name(self) -> str:
        """Column ``recipe``."""

    @abstractmethod
    def config(self, device: torch.device | str = "cpu") -> dict[str, Any]:
        """All that the result depends on, code and versions apart, as JSON."""

    @abstractmethod
    def scores(self, store: Store, device: torch.device | str, quiet: bool) -> Scores:
        """What it is all about; networks come from the store."""

    @property
    def roots(self) -> tuple[type, ...]:
        """The definitions of which the result is made, with all that they reach."""
        return (type(self),)

    def asked(self, store: Store, device: torch.device | str = "cpu") -> list[Asked]:
        """Networks that it can share the training of with other trials."""
        return []

    @property
    def cost(self) -> float:
        """Relative work, in samples of one network."""
        return 1.0

    @property
    def key(self) -> tuple[Any, ...]:
        """Its values in the columns :data:`KEY`."""
        trained = (self.profile.n_specialised, self.profile.finetune_epochs)
        return (self.scenario_name, self.recipe_name, *trained, self.seed, self.configuration)

    def code(self) -> dict[str, Any]:
        """Versions of the code that makes the result, as JSON."""
        return {"code": version_of(*self.roots), **versions()}

    def whole(self, device: torch.device | str = "cpu") -> dict[str, Any]:
        """All that the result depends on, as JSON: under this the store keeps it."""
        return {**self.config(device), **self.code()}

    def table(
        self, store: Store, device: torch.device | str = "cpu", quiet: bool = True
    ) -> pd.DataFrame:
        """One row per target and metric, made or loaded: columns :data:`COLUMNS`, an interval.

        Column ``seconds`` is how long training (if it was not stored), sampling and scoring took.
        """
        make = partial(self._make, store, device, quiet)
        table = store.table(self.store_kind, self.whole(device), make)
        return table.assign(profile=self.profile.name)

    def _make(self, store: Store, device: torch.device | str, quiet: bool) -> pd.DataFrame:
        began = time.perf_counter()
        names = (self.scenario_name, self.recipe_name, self.profile.name)
        keys = (*names, self.seed, self.configuration)
        scores = self.scores(store, device, quiet)
        rows = [(*keys, *place, *estimate) for place, estimate in scores.items()]
        table = pd.DataFrame(rows, columns=[*COLUMNS, "value", "low", "high"])
        return table.assign(seconds=time.perf_counter() - began)


def known(value: float) -> Estimate:
    """A number that is no estimate: without an interval."""
    return Estimate(value, math.nan, math.nan)


def tidy(
    trials: Iterable[Trial],
    store: Store,
    device: torch.device | str = "cpu",
    quiet: bool = True,
) -> pd.DataFrame:
    """The tables of trials as one, each trial once, with one progress bar for all.

    Columns ``n_specialised`` and ``finetune_epochs`` say how much each was trained; what names
    hold is in columns, too (:func:`derive`).
    """
    distinct: dict[tuple[Any, ...], Trial] = {}
    for trial in trials:
        distinct.setdefault(trial.key, trial)
    todo = [t for t in distinct.values() if not store.has(t.store_kind, t.whole(device), "parquet")]
    train_together(store, (one for trial in todo for one in trial.asked(store, device)), quiet)
    tables = []
    with progress_bar(len(distinct), "trials", quiet) as bar:
        for trial in distinct.values():
            trained = {name: getattr(trial.profile, name) for name in KEY[2:4]}
            tables.append(trial.table(store, device).assign(**trained))
            bar.update()
    return derive(pd.concat(tables, ignore_index=True).drop(columns="seconds"))


def derive(table: pd.DataFrame) -> pd.DataFrame:
    """A tidy table as readers see it: what its names hold is columns, what is one has one name.

    Columns by :data:`NAMED`, only those that some row has: ``distance`` (and ``overlap``, the
    fraction), ``weight_general, weight_specialised``; ``member`` and ``t`` of a learned weight;
    ``aggregated, deviation``, ``group``, ``steps``, ``arrivals`` or ``round``, whose configuration
    is then what is left of its name. Configurations by :data:`ONE_NAME`. What is derived already
    stays as it is.
    """
    for column, pattern in NAMED:
        if column not in table:
            continue
        rows, names = pd.factorize(table[column])  # few names, many rows
        found = pd.Series(names, dtype=table[column].dtype).str.extract(f"^{pattern}$")
        found = found.reindex(rows).set_axis(table.index)
        for name in map(str, found if found.notna().any(axis=None) else ()):
            own = found[name] if name in ("configuration", "member") else pd.to_numeric(found[name])
            table = table.assign(**{name: own.fillna(table[name]) if name in table else own})
    if "distance" in table:
        overlap = table["distance"].map(overlap_fraction, na_action="ignore")
        table = table.assign(overlap=overlap)
    return table.assign(configuration=table["configuration"].replace(ONE_NAME))
