"""What a check found, a sentence per law."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

ERRORS = 5.0
"""Standard errors that a law of chance allows for: beyond them once in 1.7 million runs."""
Law = Callable[[], tuple[bool, str]]
"""Whether it holds, and what was seen."""


class Finding(NamedTuple):
    """A law, whether it holds, and what was seen."""

    law: str
    passed: bool
    seen: str


@dataclass(frozen=True)
class Report:
    """All laws of a check in order; printed, a line each."""

    subject: str
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether every law holds."""
        return all(one.passed for one in self.findings)

    def __str__(self) -> str:
        lines = [f"{'✓' if p else '✗'} {law} ({seen})" for law, p, seen in self.findings]
        return "\n".join([f"{self.subject}:", *lines])

    def raise_if_failed(self) -> None:
        """Refuse what breaks a law.

        Raises
        ------
        ValueError
            With every law that does not hold and what was seen.
        """
        broken = tuple(one for one in self.findings if not one.passed)
        if broken:
            raise ValueError(f"{len(broken)} of {len(self.findings)} laws are broken by "
                             f"{Report(self.subject, broken)}")  # fmt: skip


def report(subject: object, laws: Mapping[str, Law]) -> Report:
    """Every law once; one that ends in an error does not hold, and the error is what was seen."""
    name = subject if isinstance(subject, str) else getattr(subject, "__name__", repr(subject))
    findings = []
    before = torch.random.get_rng_state()
    for sentence, law in laws.items():
        try:
            passed, seen = law()
        except Exception as error:  # of a stranger's code: whatever it likes
            passed, seen = False, f"{type(error).__name__}: {error}"
        findings.append(Finding(sentence, bool(passed), seen))
    same = torch.equal(before, torch.random.get_rng_state())
    seen = "state unchanged" if same else "its state changed: draw from the generator given"
    findings.append(Finding("the global random numbers are not touched", same, seen))
    return Report(str(name).splitlines()[0][:80], tuple(findings))


def close(found: Tensor, expected: Tensor, tolerance: float) -> tuple[bool, str]:
    """Whether two tensors agree, relative to the larger of 1 and what is expected."""
    if found.shape != expected.shape:
        return False, f"shape {list(found.shape)} in place of {list(expected.shape)}"
    gap = (found - expected).abs() / expected.abs().clamp(min=1)
    worst = float(gap.max()) if gap.numel() else 0.0
    return worst <= tolerance, f"largest difference {worst:.1e}, allowed {tolerance:.1e}"


def refused(call: Callable[[], object], what: str) -> tuple[bool, str]:
    """Whether a call ends in a ValueError, as it should for ``what``."""
    try:
        call()
    except ValueError as error:
        return True, f"ValueError: {str(error)[:80]}"
    return False, f"{what} was taken without a ValueError"
