"""What the chapter on adapting or composing says in words and tables, from its own numbers."""

from __future__ import annotations

from typing import Any

import pandas as pd

from dualdiff.adaptation import EPOCH_METHODS
from dualdiff.overlap import overlap_fraction
from dualdiff.plots import LABELS
from dualdiff.report import TITLES, interval

PARTS = ("adaptation", "adaptation_tuned")


def by_size(pooled: pd.DataFrame) -> pd.DataFrame:
    """Of a pooled table, the rows of the cabinet at the default number of fine-tuning epochs.

    Rows of the general model are left out: it has seen no specialised pairs. So are numbers of
    pairs at which only some methods were tried.
    """
    home = pooled[(pooled["scenario"] == "cabinet") & (pooled["configuration"] != "general")]
    rows = home[home["finetune_epochs"] == _default_epochs(home)]
    tried = rows.groupby(["recipe", "n_specialised"])["configuration"].transform("nunique")
    return rows[tried == tried.max()]


def by_epoch(pooled: pd.DataFrame) -> pd.DataFrame:
    """Of a pooled table, the rows of the study of fine-tuning epochs.

    They are those of the general model, and those of the other configurations of
    :func:`epoch_trials` with as many specialised pairs.
    """
    home = pooled[pooled["scenario"] == "cabinet"]
    general = home[home["configuration"] == "general"]
    (points,) = general["n_specialised"].unique()
    kept = ("general", "specialised", "joint", *EPOCH_METHODS)
    rows = home[(home["n_specialised"] == points) & home["configuration"].isin(kept)]
    return rows[rows["recipe"].isin(general["recipe"].unique())]


def by_overlap(pooled: pd.DataFrame) -> pd.DataFrame:
    """Of a pooled table, the rows of the shifted round table, with column ``overlap``."""
    rows = pooled[pooled["scenario"].str.startswith("shifted by ")]
    distance = rows["scenario"].str.removeprefix("shifted by ").astype(float)
    return rows.assign(overlap=distance.map(overlap_fraction).round(3))


def _default_epochs(home: pd.DataFrame) -> int:
    """The epochs of the study of set sizes: those of the rows that no fine-tuning made."""
    (epochs,) = home.loc[home["configuration"] == "specialised", "finetune_epochs"].unique()
    return int(epochs)


def recommendation(pooled: pd.DataFrame, metric: str = "energy_distance") -> pd.DataFrame:
    """The method with the lowest score for every number of pairs, and those not clearly behind.

    Parameters
    ----------
    pooled : DataFrame
        Rows of :func:`by_size` or of :func:`by_overlap`.
    metric : str
        A score of which lower is better, to the specialised law.

    Returns
    -------
    DataFrame
        Columns ``recipe``, ``overlap`` (where the rows have one), ``n_specialised``, ``best``,
        ``value, low, high`` of the best, and ``ties``: the other methods, best first, whose
        interval overlaps its interval.
    """
    rows = pooled[(pooled["target"] == "specialised") & (pooled["metric"] == metric)]
    keys = [k for k in ("recipe", "overlap", "n_specialised") if k in rows]
    found = []
    for key, part in rows.groupby(keys, sort=False):
        part = part.sort_values("value", kind="stable")
        best, rest = part.iloc[0], part.iloc[1:]
        ties = tuple(rest.loc[rest["low"] <= best["high"], "configuration"])
        found.append((*key, best["configuration"], *best[["value", "low", "high"]], ties))
    return pd.DataFrame(found, columns=[*keys, "best", "value", "low", "high", "ties"])


def _value(row: pd.Series) -> str:
    return interval(float(row["value"]), float(row["low"]), float(row["high"]))


def _percent(part: float, whole: float) -> str:
    return f"{part:,.0f} of {whole:,.0f}"


def size_table(rows: pd.DataFrame, recipe: str, metric: str = "total_variation") -> pd.DataFrame:
    """One score of a network by method and number of pairs; ``rows`` of :func:`by_size`."""
    here = rows[(rows["recipe"] == recipe) & (rows["metric"] == metric)]
    here = here[here["target"] == "specialised"]
    text = here.assign(text=[_value(row) for _, row in here.iterrows()])
    wide = text.pivot(index="configuration", columns="n_specialised", values="text")
    names = [name for name in LABELS if name in wide.index]
    return wide.loc[names].rename(index=LABELS).rename_axis(f"{TITLES[metric]}, {recipe}")


def size_sentence(pooled: pd.DataFrame) -> str:
    """Per network: the best by total variation at few and at many pairs, and who replays."""
    rows = by_size(pooled)
    rows = rows[rows["target"] == "specialised"]
    lines = []
    for recipe, here in rows.groupby("recipe", sort=False):
        sizes = sorted(here["n_specialised"].unique())
        wide = here.pivot(
            index=["metric", "n_specialised"], columns="configuration", values="value"
        )
        parts = []
        for n in dict.fromkeys((sizes[0], sizes[-1])):
            tv, hits = wide.loc[("total_variation", n)], wide.loc[("accuracy", n)]
            near, top = str(tv.idxmin()), str(hits.idxmax())
            parts.append(
                f"with {n:,} pairs {LABELS[near]} has the lowest TV ({tv[near]:.3f}) and "
                f"{LABELS[top]} the highest accuracy ({hits[top]:.3f}, at TV {tv[top]:.3f})"
            )
        memory = wide.loc[("memorisation", sizes[0])]
        most, least = str(memory.idxmax()), str(memory.idxmin())
        parts.append(
            f"memorisation at {sizes[0]:,} pairs is highest for {LABELS[most]} "
            f"({memory[most]:.2f}) and lowest for {LABELS[least]} ({memory[least]:.2f})"
        )
        lines.append(f"- Network `{recipe}`: " + "; ".join(parts) + ".")
    return "\n".join(lines)


def bias_sentence(pooled: pd.DataFrame, metric: str = "total_variation") -> str:
    """How often adding the general model lowers the score of one network, in words."""
    rows = by_size(pooled)
    rows = rows[(rows["target"] == "specialised") & (rows["metric"] == metric)]
    index = ["recipe", "n_specialised"]
    wide = rows.pivot(index=index, columns="configuration", values="value")
    lines = []
    for recipe in rows["recipe"].unique():
        here = wide.loc[recipe]
        wins = int((here["joint"] < here["specialised"]).sum())
        over = int((here["lora_joint"] < here["lora"]).sum())
        lines.append(
            f"- Network `{recipe}`: adding the general model lowers the {TITLES[metric]} of the "
            f"specialised model at {_percent(wins, len(here))} numbers of pairs, and that of LoRA "
            f"at {_percent(over, len(here))}."
        )
    return "\n".join(lines)


def epoch_sentence(rows: pd.DataFrame) -> str:
    """What more epochs do to quality and to forgetting, per network; ``rows`` of by_epoch."""
    rows = rows[rows["metric"] == "total_variation"]
    lines = []
    for recipe, here in rows.groupby("recipe", sort=False):
        wide = here.set_index(["target", "configuration", "finetune_epochs"])["value"]
        wanted, lost = wide.loc["specialised"].sort_index(), wide.loc["general"].sort_index()
        parts = []
        for name in EPOCH_METHODS:
            q, f = wanted[name], lost[name]
            best = q.idxmin()
            parts.append(
                f"{LABELS[name]} from {q.index[0]:,} to {q.index[-1]:,} epochs: TV to the "
                f"specialised law {q.iloc[0]:.3f} to {q.iloc[-1]:.3f} (lowest {q[best]:.3f} at "
                f"{best:,}), to the general law {f.iloc[0]:.3f} to {f.iloc[-1]:.3f}"
            )
        (kept,), (joint,) = lost["general"], wanted["joint"]
        lines.append(
            f"- Network `{recipe}`: {'; '.join(parts)}. The general model itself has TV {kept:.3f} "
            f"to the general law: joint sampling keeps it, at TV {joint:.3f} to the specialised."
        )
    return "\n".join(lines)


def cost_table(costs: pd.DataFrame, recipe: str) -> pd.DataFrame:
    """Seconds, numbers and network calls by method, of one network."""
    here = costs[costs["recipe"] == recipe].set_index("configuration")
    return pd.DataFrame(
        {
            "seconds to adapt": here["seconds"].map("{:.1f}".format),
            "numbers stored for this home": here["stored"].map("{:,}".format),
            "numbers held at sampling": here["held"].map("{:,}".format),
            "network calls per step": here["calls"],
        }
    ).rename(index=LABELS)


def cost_sentence(costs: pd.DataFrame, recipe: str) -> str:
    """How far apart the methods are in seconds, in numbers kept and in network calls."""
    here = costs[costs["recipe"] == recipe].set_index("configuration")
    seconds, stored = here["seconds"], here["stored"]
    return (
        f"Recipe `{recipe}`, on the computer that trained these networks: the specialised model "
        f"took {seconds['specialised']:.1f} s, fine-tuning {seconds['finetuned']:.1f} s, LoRA "
        f"{seconds['lora']:.1f} s, prior preservation {seconds['replay']:.1f} s. LoRA keeps "
        f"{stored['lora']:,} numbers for this home, "
        f"{stored['lora'] / stored['finetuned']:.0%} of the {stored['finetuned']:,} of a whole "
        "network. Every joint configuration calls two networks at every step."
    )


def recommendation_table(pooled: pd.DataFrame) -> pd.DataFrame:
    """:func:`recommendation` for readers: cabinet, then the shifted table."""
    tables = []
    for title, rows in (("cabinet", by_size(pooled)), ("round table", by_overlap(pooled))):
        if rows.empty:
            continue
        best = recommendation(rows)
        if "overlap" not in best:
            best["overlap"] = 1.0
        tables.append(
            pd.DataFrame(
                {
                    "scenario": title,
                    "network": best["recipe"],
                    "overlap": best["overlap"].map("{:g}".format),
                    "pairs": best["n_specialised"],
                    "lowest energy distance": best["best"].map(LABELS),
                    "value": [_value(row) for _, row in best.iterrows()],
                    "intervals overlap": [
                        ", ".join(LABELS[t] for t in ties) if len(ties) < 4 else f"{len(ties)} more"
                        for ties in best["ties"]
                    ],
                }
            )
        )
    table = pd.concat(tables, ignore_index=True)
    return table.set_index(["scenario", "network", "overlap", "pairs"])


def recommendation_sentence(pooled: pd.DataFrame) -> str:
    """How often each method is the best or not clearly behind, and what to take, in words."""
    lines = []
    for title, rows in (("the cabinet", by_size(pooled)), ("the round table", by_overlap(pooled))):
        for recipe, here in rows.groupby("recipe", sort=False):
            best = recommendation(here)
            good = [{row["best"], *row["ties"]} for _, row in best.iterrows()]
            count = {n: sum(n in some for some in good) for n in LABELS}
            ranked = sorted((n for n in count if count[n]), key=lambda n: -count[n])
            words = ", ".join(f"{LABELS[n]} {count[n]}" for n in ranked)
            few, many = (_choice(best, n) for n in (min, max))
            lines.append(
                f"- On {title}, network `{recipe}`: lowest or overlapping with the lowest, of "
                f"{len(best)} cases, {words}. {few} {many}".rstrip()
            )
    return "\n".join(lines)


def composing_sentence(pooled: pd.DataFrame) -> str:
    """Whether composing or one network comes closest: few and many pairs, overlap, in words."""
    lines = []
    best = recommendation(by_size(pooled))
    sizes = sorted(best["n_specialised"].unique())
    for n in dict.fromkeys((sizes[0], sizes[-1])):
        here = best[best["n_specialised"] == n]
        wins = int(here["best"].str.endswith("joint").sum())
        lines.append(
            f"- Cabinet, {n:,} pairs: the lowest energy distance is that of a joint configuration "
            f"for {wins} of {len(here)} networks."
        )
    shifted = by_overlap(pooled)
    rows = shifted[(shifted["target"] == "specialised") & (shifted["metric"] == "energy_distance")]
    for (overlap, n), here in rows.groupby(["overlap", "n_specialised"], sort=False):
        score = here.set_index("configuration")["value"]
        joint = score.index.str.endswith("joint")
        one, two = score[~joint], score[joint]
        lines.append(
            f"- Round table, overlap {overlap:g}, {n:,} pairs: the best single network is "
            f"{LABELS[str(one.idxmin())]} at {one.min():.3f}, the best joint configuration "
            f"{LABELS[str(two.idxmin())]} at {two.min():.3f} (energy distance, units of y)."
        )
    return "\n".join(lines)


def _choice(best: pd.DataFrame, which: Any) -> str:
    """The method of the smallest or the largest set, for every overlap there is."""
    n = which(best["n_specialised"])
    if which is max and n == best["n_specialised"].min():
        return ""
    parts = []
    for _, row in best[best["n_specialised"] == n].iterrows():
        where = f" at overlap {row['overlap']:g}" if "overlap" in best else ""
        parts.append(f"{LABELS[row['best']]}{where}")
    return f"With {n:,} pairs: {', '.join(parts)}."


def law_sentence(bound: float, optimum: tuple[float, float]) -> str:
    """The two numbers that hold for the cabinet whatever is trained, in words."""
    return (
        f"In the cabinet the specialised support touches cells that hold {1 - bound:.3f} of the "
        rf"general law, so $\mathrm{{TV}}_s + \mathrm{{TV}}_g \ge {bound:.3f}$ for every single "
        r"model. The half-half mixture at $\lambda = 1$ has "
        rf"$\mathrm{{TV}}_s = {optimum[0]:.3f}$ and $\mathrm{{TV}}_g = {optimum[1]:.3f}$."
    )
