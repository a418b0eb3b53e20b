"""What the robot chapter says of its world, its rows, and what two sets of rows have in common."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from dualdiff.members import RECIPES, Recipe
from dualdiff.networks import MLP
from dualdiff.plots import LABELS
from dualdiff.robot import analysis
from dualdiff.robot.analysis import Components, Permutation
from dualdiff.robot.dataset import FRAMES, SPECIAL, features_of, from_world, offsets_of
from dualdiff.robot.kinds import ENVIRONMENTS, FEATURES, KINDS, OBSTACLES, RADIUS, REACH, SIDE
from dualdiff.robot.kinds import TYPES as KNOWN
from dualdiff.robot.members import Workshop
from dualdiff.robot.settings import ROBOT
from dualdiff.robot.tasks import LIMIT

THESIS_ROWS = 1_918_048
"""Rows of the thesis's general set (its section 4.2.1)."""
GENERAL = tuple(name for name in KNOWN if name != SPECIAL)
AXES = {
    "object": ("ox [widths of the object]", "oy [heights of the object]"),
    "world": ("x [workspace units]", "y [workspace units]"),
    "metric": ("along the width [workspace units]", "along the height [workspace units]"),
}
"""What the two coordinates of a target are, by frame."""
SHOWN = 3_000
"""Points of a cloud that a figure draws at most."""
REJECTED = 0.05
"""Two samples count as of different laws below this p-value."""


def of_type(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows of one type of object."""
    return rows[rows["type"] == KNOWN.index(name)]


# --- the world --------------------------------------------------------------------------------


def world_sentence() -> str:
    """The rule of a move, with its numbers."""
    return (
        f"The workspace is a square of side {SIDE:g}. The robot is a disc of radius {RADIUS:g}; "
        f"stretched out, its arm ends {REACH:g} from the centre of the disc. `navigate_to(object)` "
        "sends the centre of the disc to a point and turns the robot towards the nearest point of "
        "the object. It succeeds if the disc touches nothing, the object included, and the "
        f"outstretched arm meets the object. So with nothing else about, the centre has to be "
        f"between {RADIUS:g} and {REACH:g} away from the object's rectangle. Only at a cup (its "
        "handle, the left edge) and at a tray (one of two grips, its ends) the arm has to meet a "
        "certain part."
    )


def differences() -> str:
    """What differs from the simulator of the original paper, as a list."""
    low, high = OBSTACLES
    lines = (
        "scenes come from a generator of our own, with the original's sizes, order and "
        f"rules (the pickable's {low} or {high} obstacles included) but other random numbers;",
        "touching counts as collision;",
        f"a task ends where {LIMIT:,} draws have found no target;",
        "the corner of a cup counts as an end of its handle;",
        "what lies in the container is out of the way of later moves.",
    )
    return "\n".join(f"- {line}" for line in lines)


def _sizes(name: str) -> str:
    kind = KINDS[name]
    width = "{:g}–{:g}".format(*kind.width)
    height = width if kind.height is None else "{:g}–{:g}".format(*kind.height)
    return f"{name} {width} × {height}" if kind.height else f"{name} {width}, square"


def kinds_view() -> pd.DataFrame:
    """The five environments: what is picked up, where it belongs, the box of offsets, goals."""
    lines = {}
    for environment in ENVIRONMENTS.values():
        box = "; ".join("{:g} .. {:g}".format(*side) for side in environment.pickable.box)
        lines[environment.name] = {
            "picked up": _sizes(environment.pickable.name),
            "container": _sizes(environment.container.name),
            "offsets ox; oy": box,
            "goals": "{} or {}".format(*environment.goals),
        }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("environment")


def task_view(rows: pd.DataFrame, moves: int = 4) -> pd.DataFrame:
    """The first moves of the first task with the special type: features, target in every frame."""
    task = of_type(rows, SPECIAL)["task"].iloc[0]
    some = rows[rows["task"] == task].head(moves)
    found = {name: some[name] for name in FEATURES}
    for frame in FRAMES:
        aim = analysis.targets_of(some, frame).numpy()
        for k, axis in enumerate(AXES[frame]):
            found[f"target, {frame}: {axis.split(' [')[0]}"] = pd.Series(aim[:, k], some.index)
    view = pd.DataFrame(found).map(lambda v: f"{v:.2f}").T
    kinds = [KNOWN[k] for k in some["type"]]
    return view.set_axis([f"{n}: {kind}" for n, kind in enumerate(kinds, 1)], axis="columns")


# --- rows -------------------------------------------------------------------------------------


def clouds(rows: pd.DataFrame, frame: str, limit: int = SHOWN) -> dict[str, Tensor]:
    """Targets of every general type in a frame, at most ``limit`` of each, evenly spread."""
    found = {}
    for name in GENERAL:
        own = of_type(rows, name)
        step = max(1, -(-len(own) // limit))
        found[name] = analysis.targets_of(own.iloc[::step], frame)
    return found


def acceptance(rows: pd.DataFrame) -> pd.DataFrame:
    """How often the oracle's draws succeed, by type, averaged over moves and over draws.

    Columns ``rows``; ``moves``, the share of moves whose first draw succeeded, which is the mean
    over moves of the chance of a draw; ``draws``, successes over all draws.
    """
    lines = {}
    for name in KNOWN:
        own = of_type(rows, name)["draws"]
        if len(own):
            lines[name] = (len(own), float((own == 1).mean()), 1 / float(own.mean()))
    return pd.DataFrame.from_dict(lines, orient="index", columns=["rows", "moves", "draws"])


def acceptance_view(found: pd.DataFrame) -> pd.DataFrame:
    """The acceptance as a reader sees it."""
    view = pd.DataFrame(
        {
            "rows": found["rows"].map("{:,}".format),
            "mean over moves": found["moves"].map("{:.1%}".format),
            "successes per draw": found["draws"].map("{:.1%}".format),
            "draws per row": (1 / found["draws"]).map("{:.0f}".format),
        }
    )
    return view.rename_axis("type")


def acceptance_sentence(found: pd.DataFrame) -> str:
    """How far the two averages differ, in words."""
    ratio = {str(name): float(r) for name, r in (found["moves"] / found["draws"]).items()}
    low, high = min(ratio, key=ratio.__getitem__), max(ratio, key=ratio.__getitem__)
    ball = found.loc[SPECIAL]
    return (
        f"A uniform draw for a {SPECIAL.lower()} succeeds with chance {ball['moves']:.1%} in the "
        f"mean over moves, but only {ball['draws']:.1%} of all draws succeed: crowded scenes need "
        f"many draws and weigh more there. Over the types the first number is {ratio[low]:.1f} "
        f"({low}) to {ratio[high]:.1f} ({high}) times the second."
    )


def _values(table: pd.DataFrame, metric: str) -> pd.Series:
    rows = table[table["metric"] == metric]
    return rows.set_index("target")["value"].astype(float)


def data_view(table: pd.DataFrame) -> pd.DataFrame:
    """Rows, tasks and draws per row of every type of the full data set, and the thesis's total."""
    rows, tasks = _values(table, "rows"), _values(table, "tasks")
    draws = _values(table, "draws per row")
    lines = {
        name: {
            "rows": f"{rows[name]:,.0f}",
            "tasks": f"{tasks[name]:,.0f}",
            "draws per row": f"{draws[name]:.0f}",
        }
        for name in KNOWN
    }
    total = f"{rows.reindex(list(GENERAL)).sum():,.0f}"
    lines["the nine general types"] = {"rows": total, "tasks": "", "draws per row": ""}
    lines["thesis"] = {"rows": f"{THESIS_ROWS:,}", "tasks": "", "draws per row": ""}
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("type")


def data_sentence(table: pd.DataFrame) -> str:
    """The full data set beside the thesis's total: rows, tasks, time and memory."""
    total = _values(table, "rows").reindex(list(GENERAL)).sum()
    begun, finished = _values(table, "begun").sum(), _values(table, "finished").sum()
    seconds, memory = _values(table, "seconds").sum(), _values(table, "memory").max()
    used = "" if np.isnan(memory) else f" and {memory:.1f} GB of memory at most"
    return (
        f"{begun:,.0f} tasks give {total:,.0f} rows of the nine general types, "
        f"{total / THESIS_ROWS:.0%} of the thesis's {THESIS_ROWS:,}. {finished / begun:.0%} of the "
        "tasks moved all their goals; in the others a move had no target left. Generation took "
        f"{seconds / 60:.1f} minutes of one core{used}."
    )


def _from_middle(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Distances of targets to the middle of the object: in sides, in units of length."""
    away = offsets_of(rows).double() - 0.5
    lengths = away * features_of(rows)[:, 2:4].double()
    return away.norm(dim=1).numpy(), lengths.norm(dim=1).numpy()


def away_sentence(rows: pd.DataFrame) -> str:
    """How far targets lie from the middle of the object, special type against the others."""
    others = rows[rows["type"] != KNOWN.index(SPECIAL)]
    said = []
    for k, unit in enumerate(("sides of the object", "units of length")):
        ends = [
            "{:.1f} to {:.1f}".format(*np.quantile(_from_middle(part)[k], (0.05, 0.95)))
            for part in (of_type(rows, SPECIAL), others)
        ]
        said.append(f"in {unit} {ends[0]} for a ball and {ends[1]} for the other types")
    narrow, wide = KINDS[SPECIAL].width
    near, far = 0.5 + RADIUS / wide, 0.5 + REACH / narrow
    return (
        f"A ball is {narrow:g} to {wide:g} wide and the robot has to stand {RADIUS:g} to {REACH:g} "
        f"away, so along an axis the target lies {near:g} widths from the middle at the least (the "
        f"largest ball) and {far:g} at the most (the smallest), where the box of offsets has long "
        "ended. Distances of the targets to the middle of the object, in 90 % of the rows: "
        f"{'; '.join(said)} (targets beyond a wall, where the robot is stopped, included)."
    )


# --- networks ---------------------------------------------------------------------------------


def _size(recipe: Recipe, d: int = 3) -> int:
    """Weights of a recipe's network for targets and conditions of ``d`` numbers."""
    rows = torch.arange(2.0 * d).view(2, d)
    process, zero = recipe.process(2 * rows, rows), torch.zeros(d)
    start = torch.Generator().manual_seed(0)
    network = MLP(process, recipe.architecture, start, zero, zero + 1)
    return sum(p.numel() for p in network.parameters())


def network_sentence(workshop: Workshop) -> str:
    """How large the networks are, beside those of the synthetic scenarios."""
    ours = sum(p.numel() for p in workshop.general.network.parameters())
    architecture, small = ROBOT.architecture, RECIPES["tuned"]
    size = workshop.scale
    return (
        f"Layers are {architecture.width} wide instead of {small.architecture.width}, which gives "
        f"{ours:,} weights instead of the {_size(small):,} of recipe `tuned` on the "
        f"synthetic scenarios. In this run the general network sees "
        f"{size.general_steps * size.batch:,} rows ({size.general_steps:,} steps of "
        f"{size.batch:,}), drawn from {len(workshop.general_rows):,}; the specialised one sees "
        f"{size.n_specialised} rows in {size.specialised_epochs} epochs, and the fine-tuned one "
        f"the same rows in {size.finetune_epochs}."
    )


def in_frame(frame: str, features: Tensor, places: Tensor) -> Tensor:
    """The first of each condition's samples ``[n, k, 2]``, world positions, in a frame: [n, 2]."""
    return from_world(frame, features, places[:, 0])


def loss_curves(workshop: Workshop) -> dict[str, Tensor]:
    """Training loss by step of the three networks; steps of one record share its mean."""
    size, batch = workshop.scale, workshop.setting.recipe.specialised_batch
    found = {}
    for name in ("general", "specialised", "finetuned"):
        curve = getattr(workshop, name).losses
        steps = -(-size.n_specialised // batch)
        if name == "general":
            steps = size.general_steps // len(curve)
        found[name] = curve.repeat_interleave(steps)
    return found


def loss_sentence(curves: Mapping[str, Mapping[str, Tensor]]) -> str:
    """Where the losses end, by frame: the mean over the last tenth of the steps."""
    lines = []
    for frame, own in curves.items():
        last = {name: float(c[-max(1, len(c) // 10) :].mean()) for name, c in own.items()}
        said = ", ".join(f"{LABELS[name]} {loss:.3f}" for name, loss in last.items())
        lowest = min(last, key=last.__getitem__)
        lines.append(f"frame *{frame}*: {said} (lowest: {LABELS[lowest]})")
    return f"Training loss over the last tenth of the steps, {'; '.join(lines)}."


# --- are two sets of one law? -----------------------------------------------------------------


def same_size(
    first: pd.DataFrame, second: pd.DataFrame, generator: torch.Generator, limit: int = 300
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row of each of as many random tasks of both sets, at most ``limit``."""
    n = min(limit, first["task"].nunique(), second["task"].nunique())
    return (
        analysis.one_per_task(first, n, generator),
        analysis.one_per_task(second, n, generator),
    )


def components(first: pd.DataFrame, second: pd.DataFrame, *, standardised: bool) -> Components:
    """Principal components of the features of two sets of rows, z-scored or in their own units."""
    x, z = features_of(first), features_of(second)
    if standardised:
        return analysis.principal_components(x, z)
    both = torch.cat([x, z]).double()
    both = both - both.mean(0)
    _, values, vectors = torch.linalg.svd(both, full_matrices=False)
    projected = both @ vectors[:2].T
    return Components(projected[: len(x)], projected[len(x) :], values**2 / (values**2).sum())


def plane_overlap(found: Components) -> tuple[float, float]:
    """Mass that two sets share in the plane of two components, and that halves of the second do."""
    shared = analysis.overlap_coefficient(found.first, found.second, bins=10)
    return shared, analysis.overlap_coefficient(found.second[::2], found.second[1::2], bins=10)


def components_sentence(own: Components, scores: Components) -> str:
    """What planes of two components show of the features, own units and z-scores, in words."""
    said = []
    for units, found in (("their own units", own), ("z-scores", scores)):
        shared, halves = plane_overlap(found)
        said.append(
            f"Of the features in {units} two components carry {found.shares[:2].sum():.0%} of the "
            f"variance; in their plane the two sets share {shared:.0%} of their mass on a grid of "
            f"10 × 10 cells, two halves of the general rows (half as many points) {halves:.0%}."
        )
    return " ".join(said)


def permutation_tests(
    first: pd.DataFrame, second: pd.DataFrame, frame: str, generator: torch.Generator
) -> dict[str, Permutation]:
    """Whether features, targets, and both together have one law in two sets of independent rows.

    Columns are z-scored with the moments of both sets; constant ones are left out.
    """
    own = {
        "features": (features_of(first), features_of(second)),
        "targets": (analysis.targets_of(first, frame), analysis.targets_of(second, frame)),
    }
    x, z = (torch.cat([own[name][k] for name in own], dim=1) for k in (0, 1))
    own["features and targets"] = (x, z)
    found = {}
    for name, (x, z) in own.items():
        both = torch.cat([x, z]).double()
        varies = both.std(0) > 1e-9
        scores = ((both - both.mean(0)) / both.std(0))[:, varies]
        found[name] = analysis.permutation_test(scores[: len(x)], scores[len(x) :], generator)
    return found


def permutation_view(found: Mapping[str, Mapping[str, Permutation]]) -> pd.DataFrame:
    """Energy distances and p-values by pair of sets and by what was compared."""
    lines = {
        (pair, what): {
            "energy distance": f"{test.observed:.4f}",
            "largest under relabelling": f"{test.null.max():.4f}",
            "p": f"{test.p:.3f}",
            "verdict": "different" if test.p < REJECTED else "not told apart",
        }
        for pair, tests in found.items()
        for what, test in tests.items()
    }
    return pd.DataFrame.from_dict(lines, orient="index")


def feature_table(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Every feature's means in two sets, and the Kolmogorov-Smirnov distance of its laws."""
    lines = {
        name: (
            first[name].mean(),
            second[name].mean(),
            stats.ks_2samp(first[name], second[name]).statistic,
        )
        for name in FEATURES
    }
    columns = ["mean, first", "mean, second", "distance"]
    found = pd.DataFrame.from_dict(lines, orient="index", columns=columns)
    return found.sort_values("distance", ascending=False)


def feature_sentence(found: pd.DataFrame) -> str:
    """Which features differ most, and which are alike, in words."""
    top = ", ".join(f"`{name}` ({d:.2f})" for name, d in found["distance"].head(3).items())
    rest = found["distance"].iloc[3:]
    return (
        "By the Kolmogorov–Smirnov distance of its laws in the two sets (0 the same, 1 apart) the "
        f"features that differ most are {top}; the others are at {rest.max():.2f} or below."
    )
