"""The advice of the chapter that helps to choose: words and the claims behind them, as data.

Measured numbers stand in no sentence here: :mod:`dualdiff.report_decision` looks them up.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dualdiff.report_decision import Advice, Claim
from dualdiff.robot.settings import REFERENCE
from dualdiff.robot.study import REFERENCES

CABINET, TABLE = "02_synthetic_scenarios", "02_round_table"
HALF, AWAY = "shifted by 2.94373", "shifted by 7"


def _scored(part: str, metric: str, ours: str, theirs: str, expected: int) -> Claim:
    """A claim on a scenario's own table, at the thesis's 128 pairs."""
    scenario = part.removesuffix("_tuned")
    recipe = "tuned" if part.endswith("_tuned") else "thesis"
    place = f"{scenario.replace('_', ' ').capitalize()}, recipe {recipe}"
    return Claim(part, ours, theirs, metric, expected, place)


def sized(
    n: int, metric: str, ours: str, theirs: str, expected: int, recipe: str = "tuned", **where: Any
) -> Claim:
    """A claim on the study of set sizes, adapted networks trained for 200 epochs."""
    part = "adaptation_tuned" if recipe == "tuned" else "adaptation"
    where = {"scenario": "cabinet", "n_specialised": n, "finetune_epochs": 200, **where}
    place = f"Cabinet, recipe {recipe}, {n} pairs"
    if where["scenario"] in (HALF, AWAY):
        share = "half" if where["scenario"] == HALF else "nothing"
        place = f"Round table with {share} in common, recipe {recipe}, {n} pairs"
    return Claim(part, ours, theirs, metric, expected, place, where)


def longer(epochs: int, metric: str, ours: str, theirs: str, expected: int) -> Claim:
    """A claim on a network adapted to the cabinet's 128 pairs for that many epochs.

    The rival is a network of its own or, if it is an adapted one too, that of 500 epochs.
    """
    default = theirs == "specialised"  # its rows do not depend on the epochs and stand with these
    return replace(
        sized(128, metric, ours, theirs, expected, finetune_epochs=epochs),
        theirs_where={"finetune_epochs": 200 if default else 500},
    )


def learned(
    scenario: str, ours: str, theirs: str, expected: int, metric: str = "total_variation"
) -> Claim:
    """A claim on weights learned for the recipe tuned."""
    place = f"{scenario.replace('_', ' ').capitalize()}, recipe tuned"
    where = {"scenario": scenario, "recipe": "tuned"}
    # The two that need no choice of weights are in the scenario's own table.
    other = f"{scenario}_tuned" if theirs in ("joint", "specialised") else ""
    return Claim("weights", ours, theirs, metric, expected, place, where, theirs_part=other)


def robot(frame: str, metric: str, ours: str, theirs: str, expected: int, part: str = "") -> Claim:
    target = "fresh scenes" if metric == "success" else "oracle"
    where = {"recipe": frame, "target": target}
    place = f"Robot, frame *{frame}*" + (", less training" if part == "robot_ablation" else "")
    part = part or ("robot_world" if frame == "world" else "robot")
    if theirs in REFERENCES:
        simulator = {"recipe": REFERENCE.name}
        return Claim(part, ours, theirs, metric, expected, place, where, simulator, "robot")
    return Claim(part, ours, theirs, metric, expected, place, where)


def _frames(ours: str, theirs: str, frame: str, other: str, expected: int) -> Claim:
    """A claim on success in one frame against another one."""
    claim = robot(frame, "success", ours, theirs, expected)
    return replace(
        claim,
        theirs_where={"recipe": other},
        theirs_part=robot(other, "success", ours, theirs, 0).part,
    )


def _exact(setting: str, metric: str, ours: str, theirs: str, expected: int) -> Claim:
    distance = setting.removeprefix("shifted by ")
    where = {"scenario": setting, "recipe": "exact"}
    place = f"Round table, centres {distance} apart, exact members"
    return Claim("sweep", ours, theirs, metric, expected, place, where)


ADVICE = (
    Advice(
        "apart",
        "Laws that share nothing",
        "the specialised or the fine-tuned network alone, and no sum of any kind.",
        "one network, never a sum",
        (
            sized(128, "energy_distance", "specialised", "joint", 1, scenario=AWAY),
            sized(128, "energy_distance", "finetuned", "finetuned_joint", 1, scenario=AWAY),
            _exact("shifted by 7", "accuracy", "joint", "specialised", -1),
        ),
        "nothing: the product that a sum would aim at does not exist.",
        "if you cannot tell that they share nothing. The sum gives no sign: it returns a tight "
        "cloud between the two, with perfect members too.",
        ("05_finetune_vs_joint", "03_overlap_study"),
    ),
    Advice(
        "partly",
        "Laws that share a part",
        "one network if you want the special cases as they are; a sum only if you want what "
        "*both* models allow.",
        "one network, not the sum",
        (
            sized(128, "energy_distance", "specialised", "joint", 1, scenario=HALF),
            sized(128, "energy_distance", "finetuned", "finetuned_joint", 1, scenario=HALF),
            _exact("shifted by 3", "total_variation", "specialised", "joint", 1),
        ),
        "less than the sum: one network call per step and not two.",
        "if accuracy is all you look at: samples of the sum lie inside and leave out whatever the "
        "general law does not cover. No corrector brings that back, it is what a product means.",
        ("05_finetune_vs_joint", "03_overlap_study", "07_correct_products"),
    ),
    Advice(
        "weak",
        "A weak specialist that cannot be trained again, nested laws",
        "joint sampling, the plain sum.",
        "joint sampling",
        (
            _scored("cabinet", "total_variation", "joint", "specialised", 1),
            _scored("round_table", "total_variation", "joint", "specialised", 1),
            _scored("cabinet", "accuracy", "joint", "specialised", 1),
            _scored("cabinet", "total_variation", "finetuned_joint", "joint", 1),
        ),
        "two network calls per step and no training.",
        "to be the best use of the same data: where weights may be changed, a better trained "
        "specialist or a fine-tuned network goes further. And a corrector made the sum of weak "
        "members worse in the one training seed that was run.",
        (CABINET, TABLE, "07_correct_products", "09_results"),
    ),
    Advice(
        "general",
        "A general model that does better at home than the specialist",
        "the general model alone; or add a network that is fine-tuned from it. Do not add the "
        "specialist.",
        "general alone, or with fine-tuned",
        (
            robot("world", "success", "general", "specialised", 1),
            robot("world", "success", "general", "finetuned", 1),
            robot("world", "success", "general", "joint", 1),
            robot("world", "success", "finetuned_joint", "general", 1),
            robot("world", "success", "finetuned_joint", "finetuned", 1),
        ),
        "nothing for the general model alone; a fine-tuning and a second network call for the sum.",
        "where the lead is small: with targets in units of length the general model is ahead of "
        "the specialist too, and their plain sum is ahead of both.",
        ("04_robot_data",),
    ),
    Advice(
        "strong",
        "A strong specialist, nested laws, the whole law is wanted",
        "the specialised model alone.",
        "the specialised model alone",
        (
            _scored("cabinet_tuned", "total_variation", "specialised", "joint", 1),
            _scored("cabinet_tuned", "energy_distance", "specialised", "joint", 1),
            _scored("round_table_tuned", "total_variation", "specialised", "joint", 0),
            longer(500, "total_variation", "finetuned", "specialised", 1),
        ),
        "one network call per step.",
        "if the specialist only looks strong: with few cases a high accuracy may be a replay of "
        "them, so read memorisation beside it. And where the general network may be trained, one "
        "that is fine-tuned for long enough can be nearer still (last number).",
        (CABINET, TABLE, "08_learned_weights"),
    ),
    Advice(
        "target",
        "A strong specialist, and one good sample is enough",
        "joint sampling: more of its samples are fine.",
        "joint sampling",
        (
            _scored("cabinet_tuned", "accuracy", "joint", "specialised", 1),
            _scored("cabinet_tuned", "total_variation", "joint", "specialised", -1),
            robot("metric", "success", "joint", "specialised", 1),
            robot("metric", "success", "joint", "general", 1),
            robot("metric", "success", "finetuned_joint", "finetuned", 1),
            robot("metric", "energy_distance", "joint", "specialised", -1),
        ),
        "nearness to the whole law (the numbers marked ✗), and a second network call per step.",
        "where spread matters later: a planner that needs alternatives, data for another model.",
        (CABINET, "04_robot_data"),
    ),
    Advice(
        "handful",
        "A handful of special cases (eight or so)",
        "LoRA joint: adapt the general network a little, and let it vote again in the sum.",
        "LoRA joint",
        (
            sized(8, "total_variation", "lora_joint", "specialised", 1),
            sized(8, "total_variation", "lora_joint", "finetuned", 1),
            sized(8, "total_variation", "lora_joint", "lora", 1),
            sized(8, "memorisation", "lora_joint", "specialised", 1),
            sized(8, "energy_distance", "lora_joint", "finetuned", 0),
        ),
        "the adaptation, a small update to store, two network calls per step.",
        "to be told apart by energy distance: which eight cases you have matters more than the "
        "method. Get more of them if you can.",
        ("05_finetune_vs_joint",),
    ),
    Advice(
        "dozens",
        "A few dozen special cases",
        "the general network, fine-tuned on them, alone.",
        "fine-tuning",
        (
            sized(32, "total_variation", "finetuned", "specialised", 1),
            sized(32, "total_variation", "finetuned", "joint", 1),
            sized(32, "total_variation", "finetuned", "lora_joint", 1),
            sized(64, "total_variation", "finetuned", "specialised", 1),
            sized(64, "energy_distance", "finetuned", "joint", 1, "thesis"),
        ),
        "a whole network per home; 200 epochs instead of the 1,500 of a new specialist.",
        "if it runs too long, when it starts to repeat the cases, and if the same network has to "
        "go on serving everybody.",
        ("05_finetune_vs_joint",),
    ),
    Advice(
        "hundreds",
        "A hundred special cases or more, and a network that suits them",
        "one network alone. At 128 cases that is the general one, fine-tuned for longer than the "
        "200 epochs of the thesis. With several hundred a specialist of their own is ahead of 200 "
        "epochs of fine-tuning; whether it is ahead of longer fine-tuning is open.",
        "fine-tuning, for longer",
        (
            longer(500, "total_variation", "finetuned", "specialised", 1),
            longer(500, "energy_distance", "finetuned", "specialised", 1),
            longer(500, "memorisation", "finetuned", "specialised", 1),
            longer(500, "accuracy", "finetuned", "specialised", -1),
            longer(1000, "total_variation", "finetuned", "specialised", 1),
            longer(2000, "total_variation", "finetuned", "specialised", 0),
            sized(512, "total_variation", "specialised", "finetuned", 1),
            sized(512, "total_variation", "specialised", "joint", 1),
            sized(512, "total_variation", "specialised", "finetuned", -1, "thesis"),
        ),
        "a whole network per home; the number of epochs has to be chosen (held-out cases can).",
        "if accuracy is what counts, which is the specialist's; and if it runs for too long. With "
        "a network that does not suit them more cases do not help a specialist at all: what starts "
        "from the general one stays ahead of the plain network of the thesis.",
        ("05_finetune_vs_joint", CABINET),
        "fine-tuning for 1,500 epochs, the specialist's own number, at any number of cases; and "
        "for more than 200 epochs with 256 cases or more. The best number of epochs was found by "
        "looking at the score.",
    ),
    Advice(
        "both",
        "One network has to serve this home and all others",
        "fine-tuning with prior preservation; or keep the general network as it is, with a small "
        "update (LoRA) beside it.",
        "prior preservation, or LoRA",
        (
            sized(128, "total_variation", "replay", "finetuned", 1, target="general"),
            sized(128, "total_variation", "replay", "finetuned", -1),
        ),
        "quality at home: the objective aims at a mixture, half of the samples ignore the home.",
        "if somebody expects both at once: for one network the two errors have a sum that no "
        "training removes. Joint sampling and a separate update keep the general network whole.",
        ("05_finetune_vs_joint",),
    ),
    Advice(
        "corrector",
        "Members that can be trusted, and a corrector can be afforded",
        "nothing for granted. The sum of the general and the fine-tuned network with learned "
        "weights, corrected by SMC, is nearer to the law than the specialised model; but the same "
        "sum *without* SMC is not told apart from it, and the fine-tuned network alone, trained "
        "for 500 epochs, is about as near although fewer samples judge it (a higher floor).",
        "fine-tuned sum with SMC",
        (
            learned("cabinet", "finetuned: learned smc", "specialised", 1),
            learned("cabinet", "finetuned: learned smc", "finetuned: learned constant", 0),
            replace(
                learned("cabinet", "finetuned: learned smc", "finetuned", 0),
                theirs_where={"n_specialised": 128, "finetune_epochs": 500},
                theirs_part="adaptation_tuned",
            ),
            learned("cabinet", "finetuned: learned smc", "joint", 1),
            learned("round_table", "finetuned: learned smc", "specialised", 0),
            robot("metric", "energy_distance", "smc", "joint", -1),
        ),
        "no further network call, but samples in groups that are no longer independent; Markov "
        "moves cost several times the calls.",
        "with weak members, whose own product is wrong and is then followed faithfully; with laws "
        "that are points in a direction; and where the product is not what you want.",
        ("07_correct_products", "08_learned_weights", "04_robot_data"),
        "the fine-tuned network of this sum by itself, trained for the same 1,500 epochs and "
        "judged by as many samples. Without this rival the gain may be the longer fine-tuning and "
        "not the sum or SMC.",
    ),
    Advice(
        "weights",
        "A sum whose weights you may choose, and some special cases",
        "weights learned by the energy score on held-out cases, beside the specialist alone.",
        "learned weights",
        (
            learned("cabinet", "learned constant", "specialised", 0),
            learned("cabinet", "oracle constant", "joint", 1),
            learned("round_table", "learned constant", "specialised", 0),
        ),
        "one training per fold and a few dozen rounds of sampling.",
        "to beat a strong specialist: an oracle that sees the support finds little there as well, "
        "and a bad seed loses more than a good one gains.",
        ("08_learned_weights",),
    ),
    Advice(
        "frame",
        "Targets whose units you may choose",
        "the frame in which both models have learned the same rule; then compare again, with "
        "every model alone among the rivals.",
        "the frame they share",
        (
            _frames("finetuned_joint", "finetuned_joint", "world", "object", 1),
            _frames("general", "general", "world", "object", 1),
            _frames("specialised", "specialised", "world", "object", -1),
            robot("world", "success", "joint", "specialised", 1),
            robot("metric", "success", "joint", "specialised", 1),
            robot("object", "success", "joint", "specialised", 1),
            robot("object, plain", "success", "joint", "specialised", -1, "robot_ablation"),
        ),
        "a training of both models in the new frame.",
        "if normalisation is mistaken for it: z-scores and min-max change units, not what two "
        "kinds of rows have in common.",
        ("04_robot_data",),
    ),
    Advice(
        "same",
        "Two models of the same law, and the whole of it is wanted",
        "a blend whose weights add up to about one: guidance from the general model, or learned "
        "weights.",
        "guidance",
        (
            robot("metric", "energy_distance", "guided", "specialised", 1),
            robot("metric", "energy_distance", "guided", "joint", 1),
            robot("object", "energy_distance", "weighted", "joint", 1),
            robot("metric", "success", "guided", "joint", -1),
        ),
        "some of the success that a sharper sum would have.",
        "if what is wanted is one good sample (see above): then the plain sum.",
        ("04_robot_data", "06_composition_rules"),
    ),
)
"""In the order in which one would ask."""
