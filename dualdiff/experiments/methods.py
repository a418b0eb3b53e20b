"""All ways to sample several models at once behind one interface, with the settings of the book."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from dualdiff.compose import Weighted, joint
from dualdiff.correct import Corrected, product
from dualdiff.denoisers import Denoiser
from dualdiff.experiments.aggregate import amdm, superdiff
from dualdiff.mcmc import HMC, MALA, ULA
from dualdiff.resampling import Resampling

Sample = Callable[..., Corrected]
"""``(conditions, generator, *, draws, chunk, progress)`` to samples and what was seen."""


@dataclass(frozen=True)
class Method:
    """A way to sample several models at once.

    ``make(members)`` gives a function of conditions and generator with the options
    ``draws``, ``chunk``, ``progress`` and ``sampler``. ``group`` divides the draws per condition.
    """

    title: str
    make: Callable[[Mapping[str, Denoiser]], Sample]
    group: int = 1


def corrected(rule: Callable[..., Weighted], **options: Any) -> Callable[..., Sample]:
    """A maker of :func:`dualdiff.product` of a rule of members by name, for :data:`METHODS`."""
    return lambda members: partial(product, rule(**members), **options)


def on_states(function: Callable[..., Corrected], **options: Any) -> Callable[..., Sample]:
    """A maker of a composition of states, of the last member first: a specialised one leads."""
    return lambda members: partial(function, dict(reversed(members.items())), **options)


GROUP = 50
_SMC = {"resampling": Resampling(GROUP)}

METHODS: dict[str, Method] = {
    "sum": Method("plain sum", corrected(joint, weights=None, start_std=1.0)),
    "narrow": Method("plain sum, start N(0, I/2)", corrected(joint, weights=None)),
    "smc": Method("Feynman-Kac SMC", corrected(joint, **_SMC), GROUP),
    "rne": Method("SMC, RNE weights", corrected(joint, weights="rne", **_SMC), GROUP),
    "ula": Method("ULA", corrected(joint, weights=None, mcmc=ULA(3))),
    "mala": Method("MALA", corrected(joint, weights=None, mcmc=MALA(2))),
    "hmc": Method("HMC", corrected(joint, weights=None, mcmc=HMC(1))),
    "smc_mala": Method("SMC + MALA", corrected(joint, mcmc=MALA(1), **_SMC), GROUP),
    "amdm": Method("AMDM", on_states(amdm, aggregated=40)),
    "superdiff_and": Method("SuperDiff AND", on_states(superdiff, mode="and")),
    "superdiff_or": Method("SuperDiff OR", on_states(superdiff, mode="or")),
}
"""Every method once: the laws that hold for all are tested on them, and the book compares them."""
