"""Why did joint sampling fail on the robot's data? Hypotheses, evidence, verdicts in words.

Every verdict is computed from tables, whichever way these go.
"""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from dualdiff.pooling import Difference
from dualdiff.report import interval
from dualdiff.report_robot import (
    RIVALS,
    TITLES,
    difference,
    pooled,
    settings_of,
)
from dualdiff.robot.study import MAIN, THESIS

ALL = "all nine"
FRAMES = ("object", "metric", "world")
"""Settings that differ in the frame of the target and in nothing else."""
COMPLETE = {"object": "object, ten types", "metric": "metric, ten types"}
UNITS = {
    "object": ("object, per task", "object, min-max"),
    "world": ("world, per task", "world, min-max"),
}
"""Settings that differ from a frame's own in their normalisation."""
PLAIN = {"object": "object, plain", "world": "world, plain"}
SUMS = (
    ("smc", "joint"),
    ("weighted", "joint"),
    ("finetuned_smc", "finetuned_joint"),
    ("finetuned_weighted", "finetuned_joint"),
)
"""Corrected or weighted sums, and the plain sum of the same two networks."""
LEFT_OUT = 0.05
"""A learned weight below this leaves a model out."""
HELPS = {1: "helps", -1: "hurts", 0: "neither helps nor hurts clearly"}


class Verdict(NamedTuple):
    """What was measured, and what follows."""

    evidence: str
    conclusion: str

    def __str__(self) -> str:
        return (
            f"{self.evidence}\n\n**Verdict.** {self.conclusion}"
            if self.evidence
            else (f"**Verdict.** {self.conclusion}")
        )


def gain(table: pd.DataFrame, setting: str, rival: str = "specialised") -> Difference | None:
    """Success of joint sampling minus that of a rival in the same setting."""
    return difference(table, (setting, "joint"), (setting, rival))


def gains(table: pd.DataFrame, settings: tuple[str, ...]) -> dict[str, Difference]:
    """What joint sampling gains over the specialised model, in those settings that are there."""
    found = {setting: gain(table, setting) for setting in settings}
    return {setting: own for setting, own in found.items() if own is not None}


def _missing(what: str) -> Verdict:
    return Verdict("", f"{what} not in this table: nothing can be said yet.")


def ablation_view(table: pd.DataFrame) -> pd.DataFrame:
    """Success of the thesis's five in every setting, and what joint sampling gains."""
    lines = {}
    for setting in settings_of(table):
        rows = pooled(table, setting, "success")
        lines[setting] = {
            TITLES[name]: interval(*rows.loc[name, ["value", "low", "high"]])
            for name in THESIS
            if name in rows.index
        }
        for rival in RIVALS:
            own = gain(table, setting, rival)
            lines[setting][f"joint minus {TITLES[rival]}"] = "–" if own is None else str(own)
    return pd.DataFrame.from_dict(lines, orient="index").fillna("–").rename_axis("setting")


# --- the overlap of supports ------------------------------------------------------------------


def shared_view(overlap: pd.DataFrame) -> pd.DataFrame:
    """Overlap coefficients by type and frame."""
    wide = overlap.pivot(index="type", columns="frame", values="overlap")
    kept = [*dict.fromkeys(overlap["type"])], [*dict.fromkeys(overlap["frame"])]
    return wide.loc[kept[0], kept[1]].rename_axis(columns="frame")


def overlap_verdict(overlap: pd.DataFrame, table: pd.DataFrame) -> Verdict:
    """(a) Do the targets overlap too little, and does what joint sampling gains follow that?"""
    wide = shared_view(overlap)
    most, shared = (
        dict(zip(map(str, wide.columns), wide.loc[n].to_numpy().tolist(), strict=True))
        for n in (wide.index[-1], ALL)
    )
    types = wide.drop(index=[ALL, wide.index[-1]])
    found = gains(table, tuple(shared))
    lines = []
    for frame in shared:
        text = (
            f"- Frame *{frame}*: the nine types together share {shared[frame]:.0%} of Ball's mass "
            f"(at most {most[frame]:.0%} could be reached), {types[frame].idxmax()} the most of "
            f"all with {types[frame].max():.0%}"
        )
        if frame in found:
            text += f"; joint sampling against the specialised model: {found[frame]}"
        lines.append(f"{text}.")
    low, high = min(shared, key=shared.__getitem__), max(shared, key=shared.__getitem__)
    conclusion = (
        f"The overlap is a matter of the frame: from {shared[low]:.0%} (*{low}*) to "
        f"{shared[high]:.0%} (*{high}*). "
    )
    if len(found) < 2:
        conclusion += "What joint sampling gains is not known in more than one of the frames."
    else:
        by_gain = sorted(found, key=lambda frame: found[frame].value)
        by_share = sorted(found, key=shared.__getitem__)
        agree = by_gain == by_share
        conclusion += (
            f"Ordered by overlap the frames are {' < '.join(by_share)}, by what joint sampling "
            f"gains {' < '.join(by_gain)}: "
            + (
                "the hypothesis is borne out as far as so few frames can show it."
                if agree
                else "the order is another one, so the overlap of the targets alone does not "
                "decide it."
            )
        )
    return Verdict("\n".join(lines), conclusion)


# --- the frame --------------------------------------------------------------------------------


def frame_verdict(table: pd.DataFrame) -> Verdict:
    """(b) Does the frame of the target decide whether joint sampling helps?"""
    found = gains(table, FRAMES)
    if len(found) < 2:
        return _missing("Two frames are")
    lines = []
    for frame, own in found.items():
        rows = pooled(table, frame, "success")["value"]
        best = rows.drop(["oracle", "data", "uniform"], errors="ignore").idxmax()
        tuned = gain(table, frame, "finetuned")
        lines.append(
            f"- Frame *{frame}*: joint {rows['joint']:.3f}, specialised {rows['specialised']:.3f} "
            f"({own}); against fine-tuned: {tuned or '–'}; best: {TITLES[str(best)]}."
        )
    signs: dict[str, list[str]] = {HELPS[own.better]: [] for own in found.values()}
    for frame, own in found.items():
        signs[HELPS[own.better]].append(f"*{frame}*")
    said = "; ".join(f"it {word} in {', '.join(frames)}" for word, frames in signs.items())
    kinds = {own.better for own in found.values()}
    ends = (
        "The frame turns harm into help: it is a cause."
        if {1, -1} <= kinds
        else "The frame moves the gain, but not from harm to help."
        if len(kinds) > 1
        else "The frame does not change the sign: it is not the cause."
    )
    return Verdict(
        "\n".join(lines), f"Joint sampling against the specialised model: {said}. {ends}"
    )


# --- the missing type -------------------------------------------------------------------------


def missing_verdict(table: pd.DataFrame) -> Verdict:
    """(c) Is it that the general model has never seen a ball?"""
    lines, cured, better = [], [], []
    for frame, full in COMPLETE.items():
        before, after = gain(table, frame), gain(table, full)
        change = difference(table, (full, "joint"), (frame, "joint"))
        rise = difference(table, (full, "general"), (frame, "general"))
        if before is None or after is None or change is None or rise is None:
            continue
        rows = pooled(table, full, "success")["value"]
        lines.append(
            f"- Frame *{frame}*, general set with balls: general {rows['general']:.3f} ({rise} "
            f"against nine types), joint {rows['joint']:.3f} ({change}), joint against the "
            f"specialised model {after}, without balls {before}."
        )
        if before.better < after.better:
            cured.append(f"*{frame}*")
        if change.better == 1:
            better.append(f"*{frame}*")
    if not lines:
        return _missing("A general set of all ten types is")
    conclusion = (
        f"With balls in the general set joint sampling improves in {', '.join(better) or 'no'} "
        f"frame{'s' * (len(better) != 1)}, and its standing against the specialised model in "
        f"{', '.join(cured) or 'none'}. "
        + (
            "The missing type is a part of the cause there. A general set that has the special "
            "case needs no specialist, though, so this is a diagnosis and no remedy."
            if cured
            else "The missing type by itself is not what makes joint sampling lose."
        )
    )
    return Verdict("\n".join(lines), conclusion)


# --- the plain sum ----------------------------------------------------------------------------


def sum_verdict(table: pd.DataFrame) -> Verdict:
    """(d) Is it the plain sum: do a corrected sum or other weights do better?"""
    lines: list[str] = []
    cured: list[str] = []
    alone: list[str] = []
    for setting in settings_of(table):
        for name, plain in SUMS:
            change = difference(table, (setting, name), (setting, plain))
            if change is None:
                continue
            weights, title = weights_of(table, setting, name), f"{TITLES[name]} in *{setting}*"
            notes = ", ".join(f"{TITLES[m]} {value:.2f}" for m, value in weights.items())
            lines.append(
                f"- {title}: {change} against the plain sum"
                + (f" (weights: {notes})." if notes else ".")
            )
            if change.better == 1:
                left_out = weights.get("general", 1) < LEFT_OUT
                (alone if left_out else cured).append(title)
    if not lines:
        return _missing("Other sums than the plain one are")
    conclusion = (
        f"Better than the plain sum of the same two networks, with the general model in it: "
        f"{', '.join(cured)}."
        if cured
        else "With the general model in it, no correction of the sum and no other weights are "
        "better than the plain sum of the same two networks: the rule is not what fails."
    )
    if alone:
        conclusion += (
            f" Better because the learned weight of the general model is next to nothing, which "
            f"leaves the other model alone: {', '.join(alone)}."
        )
    return Verdict("\n".join(lines), conclusion)


def weights_of(table: pd.DataFrame, setting: str, name: str) -> dict[str, float]:
    """The learned weights of a configuration, means over seeds; empty if it has none."""
    rows = table[(table["recipe"] == setting) & (table["configuration"] == name)]
    rows = rows[rows["metric"].str.startswith("weight ")]
    means = rows.groupby("metric", sort=False)["value"].mean()
    return {str(metric).removeprefix("weight "): float(v) for metric, v in means.items()}


# --- how much the general model has learned ---------------------------------------------------


def training_verdict(tables: dict[str, pd.DataFrame]) -> Verdict:
    """(e) Does joint sampling fail because the general model has learned too little?

    ``tables`` are of the same settings with more and more training, by what to call them.
    """
    lines, said = [], []
    for frame in MAIN:
        found = {name: gain(table, frame) for name, table in tables.items()}
        known = {name: own for name, own in found.items() if own is not None}
        if len(known) < 2:
            continue
        for name, own in known.items():
            rows = pooled(tables[name], frame, "success")["value"]
            lines.append(
                f"- Frame *{frame}*, {name}: general {rows['general']:.3f}, specialised "
                f"{rows['specialised']:.3f}, joint {rows['joint']:.3f} ({own})."
            )
        (first, least), *_, (last, most) = known.items()
        changed = least.better != most.better
        said.append(
            f"In frame *{frame}* joint sampling {HELPS[least.better]} with {first} and "
            f"{'' if changed else 'still '}{HELPS[most.better]} with {last}"
        )
    if not lines:
        return _missing("General models with more training are")
    conclusion = f"{'. '.join(said)}. Rows and steps grow together here, so which counts is open."
    return Verdict("\n".join(lines), conclusion)


# --- units and network ------------------------------------------------------------------------


def units_verdict(table: pd.DataFrame) -> Verdict:
    """(f) Normalisation and network: does another choice of the thesis's rescue joint sampling?"""
    lines, said = [], []
    for frame in ("object", "world"):
        base = gain(table, frame)
        changed = []
        some = 0
        for setting in (*UNITS[frame], PLAIN[frame]):
            change = difference(table, (setting, "joint"), (frame, "joint"))
            own = gain(table, setting)
            if change is None or own is None or base is None:
                continue
            some += 1
            lines.append(
                f"- *{setting}*: joint {change} against *{frame}*; joint against the specialised "
                f"model of the same setting {own}."
            )
            if own.better != base.better:
                changed.append(f"*{setting}* ({own.word} it)")
        if some and base is not None:
            said.append(
                f"In frame *{frame}* with z-scores joint sampling is {base.word} the specialised "
                f"model; another standing have: {', '.join(changed) or 'none of the others'}."
            )
    if not lines:
        return _missing("Other normalisations and the plain network are")
    return Verdict("\n".join(lines), " ".join(said))


def standing_sentence(table: pd.DataFrame) -> str:
    """In which settings joint sampling is better or worse than the specialised model."""
    found = gains(table, tuple(settings_of(table)))
    said = [
        f"{word} it in {', '.join(f'*{name}*' for name in names)}"
        for sign, word in ((-1, "worse than"), (0, "not told apart from"), (1, "better than"))
        if (names := [name for name, own in found.items() if own.better == sign])
    ]
    if not said:
        return "Joint sampling is not in this table beside the specialised model."
    return f"Joint sampling, measured against the specialised model, is {'; '.join(said)}."


def summary(verdicts: dict[str, Verdict]) -> str:
    """The conclusions as a list."""
    return "\n".join(f"- **{name}** {verdict.conclusion}" for name, verdict in verdicts.items())
