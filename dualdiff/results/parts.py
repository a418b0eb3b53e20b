"""The parts of the full-scale results: which trials make which table of the book."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dualdiff.data.baselines import baseline_trials
from dualdiff.data.flights import flights_trials
from dualdiff.data.improvements import improvement_trials, second_order_trials
from dualdiff.experiments import adaptation, weighting
from dualdiff.experiments.continual_study import homes_trials
from dualdiff.experiments.members import RECIPES, Recipe
from dualdiff.experiments.overlap import border_trials, sweep_trials, targets
from dualdiff.experiments.profiles import Profile
from dualdiff.experiments.rounds import rounds_trials
from dualdiff.experiments.scenarios import BOOK, make_scenario
from dualdiff.experiments.shifted import SETTINGS, shifted_table
from dualdiff.experiments.study import ScenarioTrial, trials
from dualdiff.experiments.trial import Trial
from dualdiff.images.editing import edit_trials
from dualdiff.images.equations import equation_trials
from dualdiff.images.shots import shot_trials, subject_trials
from dualdiff.images.stages import cascade_trials, space_trials
from dualdiff.images.strokes import stroke_trials
from dualdiff.images.study import control_trials, picture_trials
from dualdiff.judging.trials import judge_trials
from dualdiff.robot.arrivals import types_trials
from dualdiff.robot.rows import data_trials
from dualdiff.robot.settings import REFERENCE, SCALES, Scale
from dualdiff.robot.study import ablation_trials, main_trials


@dataclass(frozen=True)
class Part:
    """A table of the book and what makes its trials at a profile."""

    name: str
    title: str
    make: Callable[[Profile], Sequence[Trial]]

    def trials(self, profile: Profile) -> list[Trial]:
        """Its trials, each once.

        Raises
        ------
        ValueError
            If two different trials could not be told apart in the table.
        """
        distinct: dict[tuple[Any, ...], Trial] = {}
        for trial in self.make(profile):
            other = distinct.setdefault(trial.key, trial)
            if other is not trial and other.config() != trial.config():
                raise ValueError(f"part {self.name} has two different trials {trial.key}")
        return list(distinct.values())


def _smaller(profile: Profile, conditions: int, seeds: int) -> Profile:
    """The profile with fewer conditions; several seeds only where it has several itself."""
    seeds = seeds if profile.seeds > 1 else 1
    return replace(profile, conditions=min(profile.conditions, conditions), seeds=seeds)


def _scenario(name: str, recipe: str) -> Callable[[Profile], list[ScenarioTrial]]:
    def make(profile: Profile) -> list[ScenarioTrial]:
        size = profile if recipe == "plain" else _smaller(profile, 2_000, 5)
        return trials(make_scenario(name), [RECIPES[recipe]], size, 0)

    return make


def _overlap(profile: Profile) -> list[ScenarioTrial]:
    size = _smaller(profile, 10_000, 5)
    worlds = [shifted_table(distance) for distance in SETTINGS.values()]
    names, plain = ("general", "specialised", "joint"), [RECIPES["plain"]]
    return [t for w in worlds for t in trials(w, plain, size, 0, targets(w), names)]


def _sweep(*recipes: str) -> Callable[[Profile], list[ScenarioTrial]]:
    return lambda profile: sweep_trials(profile.name, 0, recipes)


def _adaptation(recipe: str) -> Callable[[Profile], list[ScenarioTrial]]:
    studies = (adaptation.size_trials, adaptation.epoch_trials, adaptation.overlap_trials)

    def make(profile: Profile) -> list[ScenarioTrial]:
        some = [trial for study in studies for trial in study(profile.name, 0)]
        return [trial for trial in some if trial.recipe_name == recipe]

    return make


def _sized(make: Callable[[str, int], Sequence[Trial]]) -> Callable[[Profile], Sequence[Trial]]:
    """The trials that a study makes by the name of a profile, from seed 0 on."""
    return lambda profile: make(profile.name, 0)


def variations() -> list[Recipe]:
    """Recipe ``plain`` with one of its assumptions changed at a time, itself first."""
    base = RECIPES["plain"]

    def network(name: str, **changes: Any) -> Recipe:
        return replace(base, name=name, architecture=replace(base.architecture, **changes))

    return [
        base,
        *(replace(base, name=f"T = {steps}", steps=steps) for steps in (50, 200, 1000)),
        *(network(f"width {width}", width=width) for width in (64, 256)),
        network("time t / T", time="scaled"),
    ]


def _sensitivity(profile: Profile) -> list[ScenarioTrial]:
    size = _smaller(profile, 1_000, 2)
    worlds = [make_scenario(name) for name in BOOK]
    return [t for r in variations() for w in worlds for t in trials(w, [r], size, 0)]


def _robot(make: Callable[[Scale, int], Sequence[Trial]]) -> Callable[[Profile], Sequence[Trial]]:
    return lambda profile: make(SCALES[profile.name], 0)


def _in_world(scale: Scale, seed: int) -> Sequence[Trial]:
    # The references are in the table of the other two frames.
    return [t for t in main_trials(scale, seed, ["world"]) if t.setting != REFERENCE]


def _ablation(profile: Profile) -> list[ScenarioTrial]:
    # Every recipe trains general networks of its own, so there are two seeds of it at most.
    return [trial for trial in weighting.ablation_trials(profile.name, 0) if trial.seed < 2]


def _corrected(profile: Profile) -> list[ScenarioTrial]:
    return weighting.method_trials(profile.name, 0, ["exact", *RECIPES.values()])


def _weight_map(profile: Profile) -> list[ScenarioTrial]:
    return weighting.map_trials(profile.name, 0, list(RECIPES.values()))


def _weights(profile: Profile) -> list[ScenarioTrial]:
    return weighting.weight_trials(profile.name, 0, [RECIPES["tuned"]])


PARTS = {
    part.name: part
    for part in (
        Part("cabinet", "Table 4.1, recipe plain", _scenario("cabinet", "plain")),
        Part("round_table", "Table 4.3, recipe plain", _scenario("round_table", "plain")),
        Part("cabinet_tuned", "Table 4.1, recipe tuned", _scenario("cabinet", "tuned")),
        Part("round_table_tuned", "Table 4.3, recipe tuned", _scenario("round_table", "tuned")),
        Part("overlap", "Table 4.5, recipe plain", _overlap),
        Part("sensitivity", "Tables 4.1 and 4.3, one assumption changed", _sensitivity),
        Part("sweep", "Overlap sweep, exact members and recipe plain", _sweep("exact", "plain")),
        Part("sweep_tuned", "Overlap sweep, recipe tuned", _sweep("tuned")),
        Part("adaptation", "Sizes, epochs and overlap, recipe plain", _adaptation("plain")),
        Part("adaptation_tuned", "Sizes, epochs and overlap, recipe tuned", _adaptation("tuned")),
        Part("budgets", "Fine-tuning at equal budgets", _sized(adaptation.budget_trials)),
        Part("baselines", "Without diffusion, and with a kernel as expert", baseline_trials),
        Part("border", "Does the sum help? Growing specialists", _sized(border_trials)),
        Part("improvements", "From the thesis's specialist to ours", improvement_trials),
        Part("second_order", "Composition to second order", second_order_trials),
        Part("ablation", "Recipe tuned without one of its parts", _ablation),
        Part("corrected", "Correctors on exact and on learned members", _corrected),
        Part("weight_map", "The weight plane", _weight_map),
        Part("weights", "Learned weights beside the oracle's", _weights),
        Part("homes", "Home after home, known and unknown", _sized(homes_trials)),
        Part("rounds", "A composition as the teacher of the next", _sized(rounds_trials)),
        Part("judge_v1", "Judge, problems v1: built-in entries", judge_trials),
        Part("flights", "Flights of 2013: real tables", flights_trials),
        Part("pictures", "Pictures: class, concept and drift", _sized(picture_trials)),
        Part("pictures_controls", "Pictures: AMDM, AND and NOT", _sized(control_trials)),
        Part("glyphs", "Glyphs: a picture as the condition", _sized(shot_trials)),
        Part("glyphs_subjects", "Glyphs: a subject of few images", _sized(subject_trials)),
        Part("equations", "Fields: an equation as an expert", _sized(equation_trials)),
        Part("strokes", "Strokes: score distillation", _sized(stroke_trials)),
        Part("spaces", "Glyphs: latents, components, pixels", _sized(space_trials)),
        Part("editing", "Digits: filled in, varied, inverted, moved", _sized(edit_trials)),
        Part("cascade", "Glyphs: stages, and what is told them", _sized(cascade_trials)),
        Part("robot_data", "Rows of the robot data set", _robot(lambda s, _: data_trials(s))),
        Part("robot", "Robot: all configurations in two frames", _robot(main_trials)),
        Part("robot_world", "Robot: all configurations in world coordinates", _robot(_in_world)),
        Part("robot_types", "Robot: type after type", _robot(types_trials)),
        Part("robot_ablation", "Robot: one assumption changed", _robot(ablation_trials)),
    )
}


OTHERS = (
    "cascade",
    "editing",
    "equations",
    "flights",
    "glyphs",
    "homes",
    "judge",
    "pictures",
    "robot",
    "spaces",
    "strokes",
)
SYNTHETIC = tuple(name for name in PARTS if not name.startswith(OTHERS))
"""Tables of the synthetic scenarios, whose samples are judged by the specialised region."""
