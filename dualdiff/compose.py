"""Composition rules: denoisers made of denoisers."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, nn

from dualdiff.denoisers import Denoiser, Predict
from dualdiff.process import Process


def common_process(members: Mapping[str, Denoiser]) -> Process:
    """The one process of all members.

    Raises
    ------
    ValueError
        Naming two members and what differs: their noises are not in the same units.
    """
    if not members:
        raise ValueError("a composition needs at least one member")
    for name, member in members.items():
        if not isinstance(member, Denoiser):
            raise ValueError(f"member {name!r} is a {type(member).__name__}, not a Denoiser")
    (first, reference), *others = members.items()
    for name, member in others:
        difference = reference.process.difference(member.process)
        if difference is not None:
            raise ValueError(
                f"cannot compose {first!r} and {name!r}: {difference}, so their noise "
                f"predictions are not in the same units; train both with one Process"
            )
    return reference.process


class Weighted(Denoiser):
    r"""Weighted sum of noise predictions, the thesis's joint sampling at weights 1 and 1.

    .. math:: \varepsilon = \sum_i w_i\, \varepsilon_i

    which is the score of :math:`\prod_i p_{i,t}^{w_i}`: the product of the *noised* densities at
    every step. That is not the noised product :math:`(\prod_i p_i^{w_i})_t`, so the samples
    follow the product :math:`\prod_i p_i^{w_i}` only approximately, even with exact members and
    infinitely many steps. At high noise the sum describes
    :math:`N(0, I / \sum_i w_i)`; see :attr:`start_std`.

    Parameters
    ----------
    members : mapping of names to denoisers
        They must share one process. A member may be a composition.
    weights : mapping of the same names to numbers
        Finite, with a positive sum (one may be negative).

    Notes
    -----
    Liu et al. (2022); Du et al. (2023), section 3, on what it does not sample.
    """

    def __init__(self, members: Mapping[str, Denoiser], weights: Mapping[str, float]) -> None:
        super().__init__()
        self.process = common_process(members)
        if set(weights) != set(members):
            raise ValueError(
                f"weights are for {sorted(weights)}, but the members are {sorted(members)}"
            )
        self.weights = {name: float(weights[name]) for name in members}
        for name, weight in self.weights.items():
            if not math.isfinite(weight):
                raise ValueError(f"the weight of {name!r} must be finite, not {weight}")
        if sum(self.weights.values()) <= 0:
            raise ValueError(
                f"the weights must have a positive sum, not {sum(self.weights.values())} "
                f"({self.weights}): there is no such product of densities"
            )
        self.members = dict(members)
        self._registered = nn.ModuleList(self.members.values())  # so that .to() reaches them

    @property
    def start_std(self) -> float:
        r""":math:`1/\sqrt{\sum_i w_i}`: the spread that the summed noise implies at the start."""
        return 1 / math.sqrt(sum(self.weights.values()))

    def forward(self, y: Tensor, t: int | Tensor, c: Tensor) -> Tensor:
        return self._sum({name: member(y, t, c) for name, member in self._active()})

    def bind(self, c: Tensor) -> Predict:
        bound = {name: member.bind(c) for name, member in self._active()}
        return lambda y, t: self._sum({name: predict(y, t) for name, predict in bound.items()})

    def _active(self) -> list[tuple[str, Denoiser]]:
        """Members with a weight; the others cost no call."""
        return [(name, m) for name, m in self.members.items() if self.weights[name] != 0]

    def _sum(self, eps: Mapping[str, Tensor]) -> Tensor:
        terms = [self.weights[name] * value for name, value in eps.items()]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total


def joint(general: Denoiser, specialised: Denoiser) -> Weighted:
    """The thesis's joint sampling: the plain sum of both noise predictions."""
    return Weighted(
        {"general": general, "specialised": specialised}, {"general": 1.0, "specialised": 1.0}
    )
