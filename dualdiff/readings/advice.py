"""Which method when: advice as data, its evidence looked up in the committed tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from dualdiff.experiments.members import ADAPTATIONS
from dualdiff.pages.compare import contrast, verdicts
from dualdiff.pages.names import label
from dualdiff.pages.numbers import Numbers, select
from dualdiff.results import committed as results

DATA = Path(__file__).with_name("advice.yaml")
"""The questions, the advice and what each piece rests on."""


@dataclass(frozen=True)
class Evidence:
    """Two configurations of a committed table, and which of them is the better one.

    Parameters
    ----------
    place : str
        Where that is, in words.
    part : str
        The table.
    metric, ours, theirs : str
    better : {1, 0, -1}
        Ours is better in every seed, neither is, or theirs is.
    where : dict
        Columns of the table and the value of each; ``target`` is ``specialised`` by default.
    theirs_where, theirs_part
        What is another for ``theirs``.
    """

    place: str
    part: str
    metric: str
    ours: str
    theirs: str
    better: int
    where: Mapping[str, object] = field(default_factory=dict)
    theirs_where: Mapping[str, object] = field(default_factory=dict)
    theirs_part: str = ""


@dataclass(frozen=True)
class Advice:
    """A situation, what to take in it, the price, and when it fails; ``still``: what is not run."""

    key: str
    situation: str
    take: str
    short: str
    cost: str
    fails: str
    chapters: list[str]
    evidence: list[Evidence]
    still: str = ""


def read() -> tuple[list[dict[str, Any]], dict[str, Advice]]:
    """The questions of the decision, and the advice by its key."""
    data = yaml.safe_load(DATA.read_text("utf-8"))
    pieces = [
        Advice(**{**piece, "evidence": [Evidence(**one) for one in piece["evidence"]]})
        for piece in data["advice"]
    ]
    return data["questions"], {piece.key: piece for piece in pieces}


@cache
def _load(part: str, folder: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    return results.load(part, folder)


def look_up(evidence: Iterable[Evidence], folder: Path = results.FOLDER) -> pd.DataFrame:
    """What the tables say of the evidence: a line for each whose table is there.

    Returns
    -------
    DataFrame
        ``place, score, ours, theirs, difference`` as a reader sees them; ``value, theirs_value``
        and the ends of their intervals; ``better`` as found, ``holds``, and ``favoured``: 1 where
        ours was trained longer on the special cases, -1 where theirs was, 0 for equal budgets.

    Raises
    ------
    ValueError
        If a table does not have the rows.
    """
    with_tables = []
    for one in evidence:
        with suppress(FileNotFoundError):
            with_tables.append(_line(one, folder))
    return pd.DataFrame(with_tables)


def _line(one: Evidence, folder: Path) -> dict[str, Any]:
    where = {"target": "specialised", **one.where}
    sides = {
        "ours": (one.part, one.ours, where),
        "theirs": (one.theirs_part or one.part, one.theirs, {**where, **one.theirs_where}),
    }
    rows, epochs, floors = [], {}, []
    for side, (part, name, at) in sides.items():
        table, record = _load(part, folder)
        own = select(table, configuration=name, metric=one.metric, **at)
        if own.empty:
            raise ValueError(f"the table {part} has no {one.metric} of {name!r}: {at}")
        rows.append(own[["seed", "metric", "value", "low", "high"]].assign(side=side))
        epochs[side] = _epochs(own.iloc[0], record)
        floor = select(table, configuration=name, metric=f"{one.metric}_floor", **at)["value"]
        floors += [f"{floor.mean():.3f}"] * bool(len(floor))
    # Tables may have different numbers of seeds; what is said is of those that both have.
    shared = set(rows[0]["seed"]) & set(rows[1]["seed"])
    both = select(pd.concat(rows), seed=shared)
    found = contrast(both, "ours", "theirs", one.metric, column="side")
    scores = Numbers(both, one.metric, by="side")
    unequal = all(epochs.values()) and epochs["ours"] != epochs["theirs"]
    line: dict[str, Any] = {"place": one.place, "score": label(one.metric)}
    if where["target"] == "general":
        line["score"] += " to the general"
    if len({*floors}) > 1:
        line["score"] += f" (floors {floors[0]}, {floors[1]})"
    for side, (_, name, at) in sides.items():
        frame = f" ({at['recipe']})" if "recipe" in one.theirs_where and "recipe" in at else ""
        trained = f", {epochs[side]:,} epochs" if unequal else ""
        line[side] = f"{scores[side]} {label(name)}{trained}{frame}"
    line |= {"difference": verdicts(found)[0], "better": int(found["better"].iloc[0])}
    line |= {"holds": line["better"] == one.better}
    longer = (epochs["ours"] > epochs["theirs"]) - (epochs["ours"] < epochs["theirs"])
    return {**line, "favoured": longer if unequal else 0, "scores": scores}


def _epochs(row: pd.Series, record: Mapping[str, Any]) -> int:
    """For how many epochs the network of a row was trained on the special cases; 0: on none."""
    if row.get("recipe") in ("exact", "simulator") or row["configuration"] == "general":
        return 0
    adapted = str(row["configuration"]).startswith((*ADAPTATIONS, "told", "guided"))
    return int(row["finetune_epochs"] if adapted else record["specialised_epochs"])
