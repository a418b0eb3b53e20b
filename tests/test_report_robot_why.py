"""The verdicts on joint sampling follow the tables."""

import pandas as pd
import pytest

from dualdiff import report_robot_why as words
from tests.test_report_robot import SUCCESS, table

HURT = {**SUCCESS, "joint": 0.2}


def overlap(**shared: float) -> pd.DataFrame:
    """Overlap by frame: of two types, of all nine, and the most there can be."""
    rows = []
    for frame, value in shared.items():
        rows += [("Book", frame, value / 2), ("Cup", frame, value)]
        rows += [(words.ALL, frame, value), ("Ball, other rows", frame, 0.9)]
    return pd.DataFrame(rows, columns=["type", "frame", "overlap"])


def test_overlap_is_compared_with_what_joint_sampling_gains() -> None:
    scores = table({"object": HURT, "metric": SUCCESS})
    found = words.overlap_verdict(overlap(object=0.1, metric=0.6), scores)
    assert "object < metric" in found.conclusion and "borne out" in found.conclusion
    assert "10% (*object*) to 60% (*metric*)" in found.conclusion
    assert "Cup the most of all with 60%" in found.evidence
    other = words.overlap_verdict(overlap(object=0.7, metric=0.6), scores)
    assert "does not decide it" in " ".join(other.conclusion.split())
    one = words.overlap_verdict(overlap(object=0.7, metric=0.6), table({"object": HURT}))
    assert "not known" in one.conclusion
    view = words.shared_view(overlap(object=0.1, metric=0.6))
    assert list(view.columns) == ["object", "metric"] and view.index[-1] == "Ball, other rows"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"object": HURT, "metric": SUCCESS}, "it is a cause"),
        ({"object": HURT, "metric": HURT}, "it is not the cause"),
        ({"object": HURT, "metric": {**SUCCESS, "joint": 0.299}}, "not from harm to help"),
        ({"object": HURT}, "nothing can be said yet"),
    ],
)
def test_frame(settings: dict[str, dict[str, float]], said: str) -> None:
    assert said in words.frame_verdict(table(settings)).conclusion


def test_missing_type() -> None:
    cured = {"object": HURT, "object, ten types": SUCCESS}
    found = words.missing_verdict(table(cured))
    assert "improves in *object* frame," in found.conclusion and "part of the" in found.conclusion
    same = {"object": HURT, "object, ten types": HURT}
    text = words.missing_verdict(table(same)).conclusion
    assert "improves in no frames" in text and "is not what makes" in text
    assert "nothing" in words.missing_verdict(table({"object": HURT})).conclusion


def test_plain_sum() -> None:
    corrected = {"metric": {**SUCCESS, "smc": 0.4, "weighted": 0.5}}
    scores = table(corrected)
    found = words.sum_verdict(scores)
    assert "joint, SMC in *metric*, learned weights in *metric*." in found.conclusion
    assert "weights: general 0.50, specialised 1.00" in found.evidence
    none = {"metric": {**SUCCESS, "smc": 0.3}}
    assert "the rule is not what fails" in words.sum_verdict(table(none)).conclusion
    # Weights that leave the general model out mend no sum.
    scores.loc[scores["metric"] == "weight general", "value"] = 0.01
    found = words.sum_verdict(scores)
    assert "next to nothing" in found.conclusion and "alone: learned weights" in found.conclusion
    assert "nothing" in words.sum_verdict(table({"metric": SUCCESS})).conclusion


def test_training() -> None:
    short, full = table({"object": HURT}), table({"object": SUCCESS})
    found = words.training_verdict({"this run": short, "all steps": full})
    assert "hurts with this run and " in found.conclusion and "with all steps" in found.conclusion
    assert "still hurts" in words.training_verdict({"a": short, "b": short}).conclusion
    assert "nothing can be said" in words.training_verdict({"this run": short}).conclusion


def test_standing_names_every_setting_once() -> None:
    level = {**SUCCESS, "joint": SUCCESS["specialised"]}
    scores = table({"object": HURT, "world": level, "metric": {**SUCCESS, "joint": 0.9}})
    text = words.standing_sentence(scores)
    assert "worse than it in *object*; not told apart from it in *world*" in text
    assert text.endswith("better than it in *metric*.") and text.count("*") == 6


def test_units_and_network() -> None:
    settings = {"object": HURT, "object, per task": HURT, "object, plain": SUCCESS}
    found = words.units_verdict(table(settings))
    assert "*object, plain* (better than it)" in found.conclusion
    assert "per task" not in found.conclusion and "per task" in found.evidence
    text = words.units_verdict(table({"object": HURT, "object, min-max": HURT})).conclusion
    assert "none of the others" in text
    assert "nothing" in words.units_verdict(table({"object": HURT})).conclusion


def test_ablation_view_and_summary() -> None:
    scores = table({"object": HURT, "metric": {"general": 0.2}})
    view = words.ablation_view(scores)
    assert list(view.index) == ["object", "metric"]
    assert view.loc["metric", "joint minus specialised"] == "–"
    assert view.loc["object", "joint minus specialised"].startswith("-0.098")
    verdict = words.frame_verdict(table({"object": HURT, "metric": SUCCESS}))
    assert words.summary({"Frame.": verdict}) == f"- **Frame.** {verdict.conclusion}"
    assert str(verdict).endswith(f"**Verdict.** {verdict.conclusion}")
