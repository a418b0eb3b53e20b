"""The robot study: configurations of a setting, executed and compared, as rows of tidy tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, ClassVar, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from dualdiff.compose import Weighted, guided, joint
from dualdiff.correct import product
from dualdiff.denoisers import Denoiser
from dualdiff.experiments.definitions import added
from dualdiff.experiments.provenance import version_of
from dualdiff.experiments.store import Store, versions
from dualdiff.experiments.trained import train_together
from dualdiff.experiments.trial import SAMPLES_PER_SECOND, Scores, Trial, known
from dualdiff.metrics import Estimate, energy_score
from dualdiff.randomness import stream
from dualdiff.resampling import Resampling
from dualdiff.robot.dataset import SPECIAL, features_of, offsets_of
from dualdiff.robot.judge import law_scores, oracle_places, success_rates, uniform_places
from dualdiff.robot.kinds import KINDS, TYPES
from dualdiff.robot.members import FOLDS, Networks, OfType
from dualdiff.robot.settings import REFERENCE, SETTINGS, Scale, Setting
from dualdiff.robot.tasks import position
from dualdiff.samplers import sample
from dualdiff.weights import Curve, Fold, Objective, held_out_score, learn

THESIS = ("general", "specialised", "finetuned", "joint", "finetuned_joint")
"""The thesis's five."""
CONFIGURATIONS = (
    *THESIS,
    "smc",
    "finetuned_smc",
    "weighted",
    "finetuned_weighted",
    "told",
    "guided",
)
"""Beside them: the plain sums corrected by Feynman-Kac SMC; sums with weights learned from
held-out tasks; the fine-tuned network that is told the type; the same with guidance."""
REFERENCES = ("oracle", "data", "uniform")
"""Fresh oracle draws (the ceiling), the test rows' own targets, uniform offsets (the floor)."""
GROUP = 8
"""Particles of SMC."""
STARTS = ((1.0, 1.0), (0.25, 1.0), (0.5, 0.5), (0.0, 1.0))
GUIDANCE_STARTS = ((1.0, 0.0), (1.5, 0.0), (1.0, 0.5), (0.75, 0.25))
SCORE_DRAWS = 8


class Composed(NamedTuple):
    """A composition ready to be sampled, and what is to be said of it."""

    denoiser: Denoiser
    notes: dict[str, float]
    corrected: bool = False


def compose(networks: Networks, configuration: str) -> Composed:
    """A configuration of :data:`CONFIGURATIONS`, its networks trained or loaded.

    Raises
    ------
    ValueError
        For another name.
    """
    if configuration not in CONFIGURATIONS:
        raise ValueError(
            f"configuration must be one of {', '.join(CONFIGURATIONS)}, not {configuration!r}"
        )
    if configuration in ("told", "guided"):
        return _guided(networks, configuration == "guided")
    general = networks.general.network
    if configuration == "general":
        return Composed(general, {})
    method = "finetuned" if configuration.startswith("finetuned") else "specialised"
    small = getattr(networks, method).network
    if configuration == method:
        return Composed(small, {})
    if configuration.endswith("weighted"):
        curve = learned_constants(networks, method)
        chosen = dict(zip(curve.names, curve.values[0].tolist(), strict=True))
        rule = Weighted({"general": general, "specialised": small}, chosen)
        return Composed(rule, {f"weight {name}": w for name, w in chosen.items()})
    return Composed(joint(general, small), {}, corrected=configuration.endswith("smc"))


def told_setting(networks: Networks) -> Networks:
    """The same, with networks that are told the type."""
    return replace(networks, setting=replace(networks.setting, told=True))


def _guided(networks: Networks, with_guidance: bool) -> Composed:
    r"""Generalised guidance with a task condition.

    .. math:: \varepsilon_u + w_c (\varepsilon_\mathrm{Ball} - \varepsilon_u)
              + w_o (\varepsilon_\mathrm{task} - \varepsilon_u)

    with :math:`\varepsilon_u` the general network that is told no type, :math:`\varepsilon_\mathrm{
    task}` the same told the known type that predicts the specialised rows best, and
    :math:`\varepsilon_\mathrm{Ball}` the fine-tuned network (arXiv 2312.08195).
    """
    told = told_setting(networks)
    if not with_guidance:
        return Composed(OfType(told.finetuned.network, SPECIAL), {})
    kind = nearest_type(told)
    curve = _learn(told, _guidance_score(told, kind), ("concept", "task"), GUIDANCE_STARTS)
    concept, task = curve.values[0].tolist()
    rule = guidance(told, kind, concept, task)
    notes = {"weight concept": concept, "weight task": task, "nearest type": TYPES.index(kind)}
    return Composed(rule, notes)


def guidance(told: Networks, kind: str, concept: float, task: float) -> Weighted:
    """The rule of :func:`compose`'s ``guided`` with given weights."""
    general = told.general.network
    sources = {"concept": OfType(told.finetuned.network, SPECIAL), "task": OfType(general, kind)}
    return guided(OfType(general, None), sources, {"concept": concept, "task": task})


# --- choices from held-out tasks --------------------------------------------------------------


def folds(networks: Networks, method: str) -> list[Fold]:
    """Per fold the general network and one of the method, with rows of tasks it has not seen."""
    found = []
    for own in _parts(networks, method):
        members = {"general": networks.general.network, "specialised": getattr(own, method).network}
        found.append(Fold(members, *own.rows("specialised", held_out=True)))
    return found


def _parts(networks: Networks, method: str) -> list[Networks]:
    """The networks of each fold, those of the method trained as a stack."""
    parts = [replace(networks, fold=k) for k in range(FOLDS)]
    train_together(networks.store, [own.asked(method) for own in parts], networks.quiet)
    return parts


def _score_stream(networks: Networks) -> Callable[[], torch.Generator]:
    return partial(stream, networks.seed, "robot weights, scored")


def learned_constants(networks: Networks, method: str) -> Curve:
    """Constants by which the energy score on held-out tasks is lowest."""
    objective = held_out_score(folds(networks, method), _score_stream(networks), draws=SCORE_DRAWS)
    return _learn(networks, objective, ("general", "specialised"), STARTS)


def _learn(
    networks: Networks,
    objective: Objective,
    names: tuple[str, str],
    starts: tuple[tuple[float, float], ...],
) -> Curve:
    return learn(objective, names, starts=starts, budget=networks.scale.budget).curve


def _guidance_score(told: Networks, kind: str) -> Objective:
    """The held-out energy score of guidance weights ``(concept, task)``, as a curve's constants."""

    parts = _parts(told, "finetuned")

    def score(curve: Curve) -> float:
        concept, task = curve.values[0].tolist()
        total, count = 0.0, 0
        for own in parts:
            rule = guidance(own, kind, concept, task)
            y, c = own.rows("specialised", held_out=True)
            drawn = sample(rule, c, _score_stream(told)(), draws=SCORE_DRAWS)
            total, count = total + len(y) * energy_score(drawn, y).value, count + len(y)
        return total / count

    return score


def nearest_type(told: Networks) -> str:
    """The known type as which the general network predicts the specialised rows best.

    The lowest energy score on the specialised rows, none of which the general network has seen.
    """
    y, c = told.rows("specialised")
    scores = {}
    for kind in TYPES:
        if kind != SPECIAL:
            denoiser = OfType(told.general.network, kind)
            drawn = sample(denoiser, c, _score_stream(told)(), draws=SCORE_DRAWS)
            scores[kind] = energy_score(drawn, y).value
    return min(scores, key=lambda kind: scores[kind])


# --- sampling and scoring ---------------------------------------------------------------------


class Places(NamedTuple):
    """World positions at the test conditions and at those of the law, ``[n, k, 2]`` each."""

    places: Tensor
    law: Tensor
    notes: dict[str, float]


@dataclass(frozen=True)
class Unseen:
    """The test conditions of a data set."""

    features: Tensor
    tasks: Tensor
    own: Tensor
    law: Tensor
    """Rows at which samples are compared with oracle draws, spread over the tasks."""


def unseen(networks: Networks) -> Unseen:
    """The test rows of a kind: none of their tasks was trained on."""
    return untrained(networks.data.test, networks.scale)


def untrained(rows: pd.DataFrame, scale: Scale) -> Unseen:
    """Rows of one type as test conditions."""
    features = features_of(rows)
    own = position(offsets_of(rows), features[:, :5])
    law = torch.linspace(0, len(rows) - 1, scale.law_conditions).round().long()
    return Unseen(features, torch.from_numpy(rows["task"].to_numpy(copy=True)), own, law)


def draw(networks: Networks, configuration: str, test: Unseen) -> Places:
    """Samples of a configuration at the test conditions: one each, or a group of SMC's."""
    made = compose(networks, configuration)
    found, notes = {}, dict(made.notes)
    for name, features, draws in (
        ("places", test.features, GROUP if made.corrected else 1),
        ("law", test.features[test.law], networks.scale.draws),
    ):
        source = stream(networks.seed, "robot samples", name)
        shown = told_setting(networks) if configuration in ("told", "guided") else networks
        c = shown.conditions(features)
        if made.corrected:
            assert isinstance(made.denoiser, Weighted)
            resampling = Resampling(GROUP)
            result = product(made.denoiser, c, source, draws=draws, resampling=resampling)
            y, notes["unique"] = result.samples, float(result.unique.mean())
        else:
            y = sample(made.denoiser, c, source, draws=draws)
        found[name] = shown.places(features, y)
    return Places(found["places"], found["law"], notes)


def reference(networks: Networks, name: str, test: Unseen) -> Places:
    """What configurations are measured against, in the shape of :func:`draw`."""
    ball, law = KINDS[SPECIAL], test.features[test.law]
    if name == "data":
        own = test.own[:, None]
        return Places(own, own[test.law], {})
    source = partial(stream, networks.seed, "robot reference", name)
    make = oracle_places if name == "oracle" else uniform_places
    return Places(
        make(ball, test.features, 1, source("rows")),
        make(ball, law, networks.scale.draws, source("law")),
        {},
    )


@dataclass(frozen=True)
class RobotTrial(Trial):
    """One configuration of a setting and a seed, sampled once, executed and compared.

    Parameters
    ----------
    setting : Setting
    profile : Scale
    seed : int
    configuration : str
        Of :data:`CONFIGURATIONS` or :data:`REFERENCES`.
    """

    setting: Setting
    profile: Scale
    seed: int
    configuration: str

    store_kind: ClassVar = "robot_study"
    scenario_name: ClassVar = "robot"

    def __post_init__(self) -> None:
        if self.configuration not in (*CONFIGURATIONS, *REFERENCES):
            raise ValueError(
                f"configuration must be one of {', '.join((*CONFIGURATIONS, *REFERENCES))}, "
                f"not {self.configuration!r}"
            )

    @property
    def recipe_name(self) -> str:
        """Name of the setting."""
        return self.setting.name

    @property
    def cost(self) -> float:
        """Relative work, in samples of the synthetic study."""
        size = self.profile
        training = 0.05 * size.general_steps * (self.configuration in ("general", "told"))
        draws = GROUP if self.configuration.endswith("smc") else 1
        drawn = size.conditions * draws + size.law_conditions * size.draws
        return SAMPLES_PER_SECOND * (10 + training + 2e-3 * drawn)

    def config(self, device: torch.device | str = "cpu") -> dict[str, Any]:
        """All that the result depends on, as JSON."""
        scale = {k: v for k, v in asdict(self.profile).items() if k not in ("name", "seeds")}
        return {
            "recipe": self.setting.described(),
            "scale": scale,
            "seed": self.seed,
            "configuration": self.configuration,
            **added(self, RobotTrial),
        }

    def networks(self, store: Store, quiet: bool = True) -> Networks:
        """Where its networks come from."""
        return Networks(self.setting, self.profile, self.seed, store, quiet)

    def scores(self, store: Store, device: torch.device | str, quiet: bool) -> Scores:
        """Success on fresh scenes, and the law beside the oracle's; notes under ``run``."""
        networks = self.networks(store)
        test = unseen(networks)
        how = reference if self.configuration in REFERENCES else draw
        drawn = how(networks, self.configuration, test)
        scores = judged(SPECIAL, networks, test, drawn.places, drawn.law)
        return scores | {("run", k): known(v) for k, v in drawn.notes.items()}


def judged(
    kind: str, networks: Networks, test: Unseen, places: Tensor, law: Tensor
) -> dict[tuple[str, str], Estimate]:
    """Success on fresh scenes, and the law of samples beside the oracle's if there are several."""
    scenes = stream(networks.seed, "robot fresh scenes")
    rates = success_rates(KINDS[kind], test.features, places, test.tasks, scenes)
    found = {("fresh scenes", name): rate for name, rate in rates.items()}
    if law.shape[1] > 1:
        truth = _truth(kind, networks, test)
        scores = law_scores(law, truth, test.tasks[test.law])
        found |= {("oracle", name): score for name, score in scores.items()}
    return found


def _truth(kind: str, networks: Networks, test: Unseen) -> Tensor:
    """Oracle draws at the conditions of the law, the same for all configurations."""
    scale, features = networks.scale, test.features[test.law]
    source = stream(networks.seed, "robot truth")

    def make() -> dict[str, Tensor]:
        return {"places": oracle_places(KINDS[kind], features, scale.draws, source)}

    config = {
        "robot": "truth",
        "kind": kind,
        "rows": [scale.tasks, scale.conditions, scale.law_conditions, scale.draws],
        "seed": networks.seed,
        "code": version_of(oracle_places, unseen),
        **versions(),
    }
    return networks.store.tensors("robot_truth", config, make)["places"]


# --- what is run ------------------------------------------------------------------------------

MAIN = ("object", "metric")
"""Settings with all configurations and seeds."""


def main_trials(scale: Scale, seed: int, settings: Sequence[str] = MAIN) -> list[RobotTrial]:
    """All configurations of the main settings and their references, for every seed."""
    found = []
    for s in range(seed, seed + scale.seeds):
        found += [RobotTrial(REFERENCE, scale, s, name) for name in REFERENCES]
        # What trains a network on the large set comes first, so that nothing waits for it.
        order = sorted(CONFIGURATIONS, key=lambda name: name not in ("general", "told"))
        found += [RobotTrial(SETTINGS[n], scale, s, name) for name in order for n in settings]
    return found


def ablation_trials(scale: Scale, seed: int) -> list[RobotTrial]:
    """The thesis's five in every setting, one seed, general networks of half the steps."""
    half = replace(scale, general_steps=scale.general_steps // 2)
    return [RobotTrial(own, half, seed, name) for name in THESIS for own in SETTINGS.values()]
