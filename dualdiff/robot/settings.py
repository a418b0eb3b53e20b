"""Sizes of the robot study, and the ways in which rows are shown to its models."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from dualdiff.experiments.members import Recipe
from dualdiff.experiments.profiles import Named
from dualdiff.networks import Architecture
from dualdiff.steps import Optimisation


@dataclass(frozen=True)
class Scale:
    """Sizes of the robot study at a profile.

    Parameters
    ----------
    name : str
    tasks : int
        Per environment.
    n_specialised, conditions : int
        Rows of Ball: training rows, and test rows at least.
    general_steps : int
        Steps of ``batch`` rows.
    batch : int
    specialised_epochs, finetune_epochs : int
        Passes over the specialised rows, in batches of 128.
    law_conditions, draws : int
        Conditions at which samples are compared with oracle draws, and samples at each.
    seeds : int
    budget : int
        Weights that a search may try.
    """

    name: str
    tasks: int
    n_specialised: int
    conditions: int
    general_steps: int
    batch: int
    specialised_epochs: int
    finetune_epochs: int
    law_conditions: int
    draws: int
    seeds: int
    budget: int


SCALES = Named(
    {
        scale.name: scale
        for scale in (
            Scale("smoke", 120, 442, 300, 30, 256, 4, 2, 20, 16, 1, 4),
            Scale("quick", 2_000, 442, 2_000, 1_200, 1_024, 400, 200, 100, 48, 1, 10),
            Scale("full", 50_000, 442, 13_398, 6_000, 2_048, 400, 200, 400, 48, 3, 16),
        )
    }
)

ROBOT = Recipe(
    "robot",
    schedule="log_snr",
    standardised=True,
    architecture=Architecture(
        width=256,
        activation="silu",
        time="sinusoidal",
        preconditioned=True,
        fourier=3,
        init="kaiming",
    ),
    optimisation=Optimisation("adamw", learning_rate=2e-3, decay="cosine", ema=0.05),
    specialised_batch=128,
)
"""Recipe ``tuned`` without the frame, which is a choice about the data here, and with layers twice
as wide: 212,482 weights for the 1.9 million rows, against 56,835 for 55,398 pairs."""
PLAIN = Recipe(
    "plain",
    standardised=True,
    architecture=Architecture(width=256),
    specialised_batch=128,
)
"""Recipe ``plain`` with layers twice as wide and the z-scores that the thesis names here."""


@dataclass(frozen=True)
class Setting:
    """How the robot's rows are shown to a model.

    Parameters
    ----------
    name : str
    frame : str
        Of :data:`dualdiff.robot.dataset.FRAMES`.
    normalisation : {"z-score", "per-task", "min-max"}
        Moments of all general rows; moments of every type's own rows; the range to [-1, 1].
    recipe : Recipe
    complete : bool
        Whether the general set has rows of Ball too (of tasks that are not tested).
    told : bool
        Whether the condition ends with ten numbers that tell the type, zeros where it is withheld.
    """

    name: str
    frame: Literal["object", "world", "metric"]
    normalisation: Literal["z-score", "per-task", "min-max"] = "z-score"
    recipe: Recipe = field(default=ROBOT)
    complete: bool = False
    told: bool = False

    def __post_init__(self) -> None:
        if self.normalisation not in ("z-score", "per-task", "min-max"):
            raise ValueError(
                f"normalisation must be 'z-score', 'per-task' or 'min-max', "
                f"not {self.normalisation!r}"
            )

    def described(self) -> dict[str, Any]:
        """All of it but the name, as JSON."""
        found = {**asdict(self), "recipe": self.recipe.described()}
        del found["name"]
        return found


SETTINGS = {
    setting.name: setting
    for setting in (
        Setting("object", "object"),
        Setting("metric", "metric"),
        Setting("world", "world"),
        Setting("object, per task", "object", "per-task"),
        Setting("object, min-max", "object", "min-max"),
        Setting("world, per task", "world", "per-task"),
        Setting("world, min-max", "world", "min-max"),
        Setting("object, plain", "object", recipe=PLAIN),
        Setting("world, plain", "world", recipe=PLAIN),
        Setting("object, ten types", "object", complete=True),
        Setting("metric, ten types", "metric", complete=True),
    )
}
REFERENCE = Setting("simulator", "world")
"""Stands in tables for what no network makes."""
