"""What chapters say of committed tables, as claims that their check cells assert."""

from __future__ import annotations

from dualdiff.report_advice import ADVICE, learned, robot
from dualdiff.report_decision import Claim, broken, listed, look


def _in_frames(metric: str, ours: str, theirs: str, expected: tuple[int, int, int]) -> list[Claim]:
    return [
        robot(frame, metric, ours, theirs, sign)
        for frame, sign in zip(("object", "metric", "world"), expected, strict=True)
    ]


_ED = "energy_distance"
CLAIMS: dict[str, dict[str, tuple[Claim, ...]]] = {
    "robot": {
        "gain": tuple(_in_frames("success", "joint", "specialised", (1, 1, 1))),
        "plain": (robot("object, plain", "success", "joint", "specialised", -1, "robot_ablation"),),
        "general": tuple(_in_frames("success", "joint", "general", (1, 1, -1))),
        "tuned": (
            *_in_frames("success", "finetuned_joint", "finetuned", (1, 1, 1)),
            *_in_frames("success", "finetuned_joint", "general", (1, 1, 1)),
        ),
        "coverage": (
            *_in_frames("coverage", "joint", "specialised", (-1, -1, 1)),
            *_in_frames("coverage", "joint", "uniform", (-1, 0, -1)),
        ),
        "law": (
            *_in_frames(_ED, "smc", "joint", (-1, -1, -1)),
            *_in_frames(_ED, "weighted", "joint", (1, 1, 1)),
            *_in_frames(_ED, "guided", "joint", (1, 1, 1)),
        ),
    },
    "weights": {
        "alone": tuple(
            learned(scenario, "learned constant", "specialised", 0)
            for scenario in ("cabinet", "round_table")
        ),
        "stacked": (
            learned("cabinet", "learned constant", "stacked", 0),
            learned("round_table", "learned constant", "stacked", 0),
            learned("cabinet", "learned constant", "stacked", 1, "accuracy"),
        ),
        "sum": (
            learned("cabinet", "learned constant", "joint", 1),
            *next(piece.claims[:3] for piece in ADVICE if piece.key == "corrector"),
        ),
    },
}
"""What chapters say of committed tables, by chapter and statement; a chapter's check asserts it."""


def said(chapter: str, statement: str) -> str:
    """What the tables show of a statement, as a list."""
    return listed(look(CLAIMS[chapter][statement]))


def wrong(chapter: str) -> list[str]:
    """The claims of a chapter that the tables do not bear out, in words."""
    return broken({key: look(some) for key, some in CLAIMS[chapter].items()})
