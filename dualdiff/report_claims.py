"""What chapters say of committed tables, as claims that their check cells assert."""

from __future__ import annotations

from dualdiff.report_advice import ADVICE, learned, longer, sized
from dualdiff.report_decision import Claim, broken, listed, look

_TV, _ED = "total_variation", "energy_distance"
PATH = ((200, -1), (500, 1), (1000, 1), (2000, 0))
"""Epochs of fine-tuning, and whether it is nearer to the law than a specialist of 1,500 epochs."""
CLAIMS: dict[str, dict[str, tuple[Claim, ...]]] = {
    "adaptation": {
        "few": (
            *(
                sized(n, _TV, "lora_joint", rival, 1)
                for n in (8, 16)
                for rival in ("specialised", "finetuned")
            ),
            sized(8, _TV, "lora_joint", "lora", 1),
            sized(16, _TV, "lora_joint", "lora", 0),
        ),
        "dozens": tuple(
            sized(32, _TV, "finetuned", rival, 1)
            for rival in ("specialised", "joint", "lora_joint")
        ),
        "budgets": (
            *(longer(epochs, _TV, "finetuned", "specialised", sign) for epochs, sign in PATH),
            longer(500, _ED, "finetuned", "specialised", 1),
            longer(500, "memorisation", "finetuned", "specialised", 1),
            longer(500, "accuracy", "finetuned", "specialised", -1),
            longer(2000, _TV, "lora", "specialised", 1),
            longer(2000, _TV, "lora", "finetuned", 0),
        ),
        "many": (
            sized(256, _TV, "specialised", "finetuned", 1),
            sized(512, _TV, "specialised", "finetuned", 1),
            sized(512, _TV, "specialised", "joint", 1),
        ),
        "plain": (
            *(
                sized(128, _TV, name, "specialised", 1, "thesis")
                for name in ("joint", "finetuned", "lora")
            ),
            *(
                sized(64, _ED, "finetuned", rival, 1, "thesis")
                for rival in ("joint", "finetuned_joint", "lora_joint")
            ),
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
