"""Which method when: advice whose evidence is measured anew from the committed tables.

An :class:`Advice` is words and a list of claims. A :class:`Claim` names two configurations of one
table and says which of them should be the better one; :func:`measure` looks. The words of a
sentence follow what was found, and :func:`broken` lists every claim that the tables do not bear
out, so a page that asserts that there is none cannot outlive its tables.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from dualdiff import results
from dualdiff.members import ADAPTATIONS
from dualdiff.overlap import benefits
from dualdiff.pages.names import label, lower
from dualdiff.pooling import Difference, over_common_seeds, over_seeds
from dualdiff.report import interval
from dualdiff.report_overlap import sign_counts
from dualdiff.report_weights import title
from dualdiff.robot.settings import REFERENCE

HIGHER = ("accuracy", "precision", "recall", "density", "coverage", "success", "geometry")
"""Scores of which more is better; of all others less is."""
WORDS = {1: "better", -1: "worse", 0: "not told apart"}
MARKS = {1: "✓", -1: "✗", 0: "≈"}


@dataclass(frozen=True)
class Claim:
    """Two configurations of a committed table, and which is the better one.

    Parameters
    ----------
    part : str
        The table.
    ours, theirs : str
        Configurations.
    metric : str
    expected : {1, 0, -1}
        Ours is better in every seed, neither is, or ours is worse in every seed.
    where : dict
        Columns of the table and the value that each must have; ``target`` is the specialised law
        unless it is named.
    theirs_where : dict
        What is another for ``theirs``, such as the recipe.
    theirs_part : str
        The table of ``theirs``; the same one if empty.
    place : str
        Where that is, in words.
    """

    part: str
    ours: str
    theirs: str
    metric: str
    expected: int
    place: str
    where: Mapping[str, object] = field(default_factory=dict)
    theirs_where: Mapping[str, object] = field(default_factory=dict)
    theirs_part: str = ""


class Measured(NamedTuple):
    """A claim, both scores ``(value, low, high)`` and their difference paired by seed.

    ``epochs`` are those that either network was trained on the special cases, 0 where none was;
    ``floors`` what a perfect sampler would score at either number of samples, empty if unknown.
    """

    claim: Claim
    ours: tuple[float, float, float]
    theirs: tuple[float, float, float]
    difference: Difference
    epochs: tuple[int, int] = (0, 0)
    floors: tuple[float, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether the table bears the claim out."""
        return self.difference.better == self.claim.expected

    @property
    def favoured(self) -> int:
        """1 if ours was trained longer on the special cases, -1 if theirs was, 0: equal budgets."""
        ours, theirs = self.epochs
        return (ours > theirs) - (ours < theirs) if ours and theirs else 0


@dataclass(frozen=True)
class Advice:
    """A situation, what to take in it, why, at what price, and when it fails.

    Parameters
    ----------
    key : str
    situation, take, short : str
        ``short`` is ``take`` in a few words.
    claims : tuple of Claim
        The first is the main one.
    cost, fails : str
    chapters : tuple of str
        Where the experiment is, as the name of a notebook.
    still : str
        What has not been run and might change the advice; empty: nothing known.
    """

    key: str
    situation: str
    take: str
    short: str
    claims: tuple[Claim, ...]
    cost: str
    fails: str
    chapters: tuple[str, ...]
    still: str = ""

    @property
    def answer(self) -> str:
        """What to take in a few words, marked where it is not settled."""
        return f"{self.short} (open)" if self.still else self.short


def paired(ours: pd.DataFrame, theirs: pd.DataFrame, lower: bool) -> Difference:
    r"""Ours minus theirs by training seed, with a 95 % interval.

    A t interval over the differences of the seeds; with one seed :math:`\sqrt{h_1^2 + h_2^2}` of
    the half-widths over test conditions.

    Parameters
    ----------
    ours, theirs : DataFrame
        One row per seed, columns ``seed, value, low, high``.
    lower : bool
        Whether less is better.

    Raises
    ------
    ValueError
        If they have no seed in common, or a seed twice.
    """
    a, b = (rows.set_index("seed")[["value", "low", "high"]] for rows in (ours, theirs))
    seeds = a.index.intersection(b.index)
    if seeds.empty or not (a.index.is_unique and b.index.is_unique):
        raise ValueError("the two must have seeds in common, and one row for each seed")
    return over_common_seeds(a, b, lower)


def select(table: pd.DataFrame, configuration: str, metric: str, **where: object) -> pd.DataFrame:
    """The rows of a configuration and metric where columns have the values of ``where``."""
    keep = (table["configuration"] == configuration) & (table["metric"] == metric)
    for column, value in where.items():
        keep &= table[column] == value
    return table[keep]


def measure(claim: Claim, folder: Path = results.FOLDER) -> Measured:
    """Look a claim up in its table.

    Raises
    ------
    FileNotFoundError
        If the table has not been made.
    ValueError
        If it does not have the rows.
    """
    where = {"target": "specialised", **claim.where}
    tables = [_load(part, folder) for part in (claim.part, claim.theirs_part or claim.part)]
    both = (claim.ours, where), (claim.theirs, {**where, **claim.theirs_where})
    ours, theirs = (
        select(table, name, claim.metric, **at)
        for (table, _), (name, at) in zip(tables, both, strict=True)
    )
    for name, rows in ((claim.ours, ours), (claim.theirs, theirs)):
        if rows.empty:
            raise ValueError(f"the table {claim.part} has no {claim.metric} of {name!r}: {where}")
    # Tables may have different numbers of seeds; what is said is of those that both have.
    shared = set(ours["seed"]) & set(theirs["seed"])
    ours, theirs = (rows[rows["seed"].isin(shared)] for rows in (ours, theirs))
    less = lower(claim.metric) or claim.metric not in HIGHER
    epochs = [
        _epochs(rows, record) for rows, (_, record) in zip((ours, theirs), tables, strict=True)
    ]
    floors = [
        float(select(table, name, f"{claim.metric}_floor", **at)["value"].mean())
        for (table, _), (name, at) in zip(tables, both, strict=True)
    ]
    return Measured(
        claim,
        _score(ours),
        _score(theirs),
        paired(ours, theirs, less),
        (epochs[0], epochs[1]),
        () if any(map(math.isnan, floors)) else tuple(floors),
    )


def _epochs(rows: pd.DataFrame, record: Mapping[str, Any]) -> int:
    """For how many epochs the network of these rows was trained on the special cases."""
    first = rows.iloc[0]
    if first["recipe"] in ("exact", "simulator") or first["configuration"] == "general":
        return 0
    adapted = str(first["configuration"]).startswith((*ADAPTATIONS, "told", "guided"))
    return int(first["finetune_epochs"] if adapted else record["specialised_epochs"])


def _score(rows: pd.DataFrame) -> tuple[float, float, float]:
    """Mean over the seeds and its interval."""
    numbers = ["seed", "value", "low", "high"]  # what names the rows is the same in all of them
    value, low, high = over_seeds(rows[numbers].assign(what=0))[["value", "low", "high"]].iloc[0]
    return float(value), float(low), float(high)


@cache
def _load(part: str, folder: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    return results.load(part, folder)


def look(claims: Iterable[Claim], folder: Path = results.FOLDER) -> tuple[Measured, ...]:
    """What was measured for every claim whose table is there."""
    measured = []
    for claim in claims:
        with suppress(FileNotFoundError):
            measured.append(measure(claim, folder))
    return tuple(measured)


def gather(
    advice: Iterable[Advice], folder: Path = results.FOLDER
) -> dict[str, tuple[Measured, ...]]:
    """What was measured for every piece of advice, by its key, where its table is there."""
    return {piece.key: look(piece.claims, folder) for piece in advice}


def broken(found: Mapping[str, Sequence[Measured]]) -> list[str]:
    """Every claim that its table does not bear out, in words."""
    return [
        f"{key}: {sentence(measured)}; expected: {WORDS[measured.claim.expected]}"
        for key, some in found.items()
        for measured in some
        if not measured.holds
    ]


# --- words ------------------------------------------------------------------------------------


def name(configuration: str, part: str) -> str:
    """A configuration of a table in words."""
    if part.startswith("robot"):
        return label(configuration)
    found = title(configuration)
    return "joint" if configuration == "joint" else found


def metric_name(claim: Claim) -> str:
    """The score of a claim in words."""
    found = label(claim.metric)
    return f"{found} to the general law" if claim.where.get("target") == "general" else found


def verdict(difference: Difference) -> str:
    """Better, worse or neither, and how sure that is, in words."""
    seeds, word = len(difference.seeds), WORDS[difference.better]
    if seeds == 1:
        return f"{word} (one run; interval over test conditions)"
    if difference.better == 0:
        return f"{word} (the {seeds} seeds disagree)"
    zero = difference.low <= 0 <= difference.high
    return f"{word} in each of {seeds} seeds" + ", though the interval holds zero" * zero


def _elsewhere(claim: Claim) -> str:
    """Which other recipe or frame the rival is of, in brackets."""
    recipe = claim.theirs_where.get("recipe", REFERENCE.name)
    return "" if recipe == REFERENCE.name else f" ({recipe})"


def sentence(measured: Measured) -> str:
    """Both scores with their intervals, and the difference, in the direction that was found."""
    claim, found = measured.claim, measured.difference
    ours, theirs = name(claim.ours, claim.part), name(claim.theirs, claim.theirs_part or claim.part)
    theirs += _elsewhere(claim)
    if measured.favoured:
        ours, theirs = (
            f"{own}, {epochs:,} epochs"
            for own, epochs in zip((ours, theirs), measured.epochs, strict=True)
        )
    sign = "+" if found.value > 0 else "−" if found.value < 0 else ""
    size, half = abs(found.value), found.high - found.value
    apart = interval(size, size - half, size + half)
    floors = [f"{floor:.3f}" for floor in measured.floors]
    return (
        f"{MARKS[found.better]} {claim.place}: {metric_name(claim)} {interval(*measured.ours)} of "
        f"*{ours}*, {interval(*measured.theirs)} of *{theirs}*; {sign}{apart}, {verdict(found)}"
        + (f" (floors {' and '.join(floors)})" if len(set(floors)) > 1 else "")
    )


def listed(measured: Iterable[Measured]) -> str:
    """Their sentences as a list."""
    return "\n".join(f"- {sentence(one)}." for one in measured)


def _links(chapters: Sequence[str]) -> str:
    named = [(chapter, *chapter.split("_", 1)) for chapter in chapters]
    return ", ".join(
        f"[{number}{' (round table)' if rest == 'round_table' else ''}]({chapter}.ipynb)"
        for chapter, number, rest in named
    )


def entry(piece: Advice, measured: Sequence[Measured]) -> str:
    """A piece of advice as Markdown: what to take, the evidence, the price, when it fails.

    The main evidence is in view, the rest is folded.
    """
    lines = [f"- {sentence(one)}." for one in measured]
    first, *more = lines or ["- The tables of this have not been made yet."]
    folded = "\n".join(more)
    title = f"{len(more)} more number{'s' * (len(more) > 1)}"
    return (
        f"**{piece.situation}.** Take {piece.take}\n\n{first}\n"
        f"- *It costs* {piece.cost}\n- *It fails* {piece.fails}\n"
        + (f"- *Not run yet*: {piece.still}\n" if piece.still else "")
        + (f"\n<details><summary>{title}</summary>\n\n{folded}\n\n</details>\n\n" if more else "\n")
        + f"More in chapter {_links(piece.chapters)}.\n"
    )


def entries(advice: Iterable[Advice], found: dict[str, tuple[Measured, ...]], *keys: str) -> str:
    """The pieces of advice with these keys, one below the other."""
    known = {piece.key: piece for piece in advice}
    return "\n".join(entry(known[key], found[key]) for key in keys)


def overview(advice: Iterable[Advice], found: dict[str, tuple[Measured, ...]]) -> str:
    """The decision table as Markdown: situation, method, main evidence."""
    lines = ["| you have | take | the number behind it |", "|---|---|---|"]
    for piece in advice:
        main, number = found[piece.key][:1], "not made yet"
        if main:
            claim = main[0].claim
            ours, theirs = (interval(*own) for own in (main[0].ours, main[0].theirs))
            rival = name(claim.theirs, claim.theirs_part or claim.part) + _elsewhere(claim)
            number = f"{metric_name(claim)} {ours}, {rival} {theirs}"
        lines.append(f"| {piece.situation} | {piece.answer} | {number} |")
    return "\n".join(lines)


def held_out(folder: Path = results.FOLDER) -> pd.DataFrame:
    """:func:`dualdiff.report_overlap.sign_counts` of the committed overlap sweep."""
    table = pd.concat([_load(part, folder)[0] for part in ("sweep", "sweep_tuned")])
    return sign_counts(benefits(table))


def sources_sentence(found: Mapping[str, Sequence[Measured]]) -> str:
    """Which of the tables behind the evidence the present code has not made, in words."""
    some = [claim for each in found.values() for claim, *_ in each]
    return results.changed_sentence({p for c in some for p in (c.part, c.theirs_part) if p})
