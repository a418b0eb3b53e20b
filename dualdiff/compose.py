"""Composition rules: denoisers made of denoisers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from dualdiff.denoisers import Denoiser, Predict, check_denoiser
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
        check_denoiser(f"member {name!r}", member)
    (first, reference), *others = members.items()
    for name, member in others:
        difference = reference.process.difference(member.process)
        if difference is not None:
            raise ValueError(
                f"cannot compose {first!r} and {name!r}: {difference}, so their noise "
                f"predictions are not in the same units; train both with one Process"
            )
    return reference.process


Weight = float | Sequence[float] | Tensor
"""One number, or one per timestep 0 .. T - 1."""


def _column(name: str, weight: Weight, steps: int) -> Tensor:
    """The weight at every step, ``[T]`` float64."""
    column = torch.as_tensor(weight, dtype=torch.float64).cpu()
    if column.shape not in ((), (steps,)):
        raise ValueError(
            f"the weight of {name!r} must be a number or one for each of the {steps} "
            f"timesteps, not of shape {list(column.shape)}"
        )
    if not bool(torch.isfinite(column).all()):
        raise ValueError(f"the weight of {name!r} must be finite, not {weight}")
    return column.expand(steps)


class Weighted(Denoiser):
    r"""Weighted sum of noise predictions: every rule of this module is one.

    .. math:: \varepsilon = \sum_i w_i(t)\, \varepsilon_i

    which is the score of :math:`\prod_i p_{i,t}^{w_i}`: the product of the *noised* densities at
    every step. That is not the noised product :math:`(\prod_i p_i^{w_i})_t`, so the samples
    follow the product :math:`\prod_i p_i^{w_i}` only approximately, even with exact members and
    infinitely many steps. At high noise, where every member predicts the noise of a unit Gaussian,
    the sum describes :math:`N(0, I / \sum_i w_i)`; see :attr:`start_std`.

    Parameters
    ----------
    members : mapping of names to denoisers
        They must share one process. A member may be a composition; see :meth:`flat`.
    weights : mapping of the same names to numbers, or to one number per timestep
        Finite, with a positive :attr:`total` at every step (some may be negative).

    Raises
    ------
    ValueError
        For other names or values, and members of different processes.

    Notes
    -----
    Liu et al. (2022); Du et al. (2023), section 3, on what it does not sample.
    """

    def __init__(self, members: Mapping[str, Denoiser], weights: Mapping[str, Weight]) -> None:
        super().__init__()
        self.process = common_process(members)
        if set(weights) != set(members):
            raise ValueError(
                f"weights are for {sorted(weights)}, but the members are {sorted(members)}"
            )
        columns = [_column(name, weights[name], self.process.steps) for name in members]
        self.table = torch.stack(columns, dim=1)  # [T, members], float64
        self.members = dict(members)
        sums = self.total
        if not bool((sums > 0).all()):
            t = int(sums.argmin())
            raise ValueError(
                f"the weights must have a positive sum, not {float(sums[t]):g} at step {t}: there "
                f"is no such product of densities"
            )
        self._registered = nn.ModuleList(self.members.values())  # so that .to() reaches them

    @property
    def weights(self) -> dict[str, float]:
        """The weights by name, where they are the same at every step.

        Raises
        ------
        ValueError
            If they change with the step: ask :attr:`table`.
        """
        if not bool((self.table == self.table[0]).all()):
            raise ValueError("the weights change with the step; they are the columns of `table`")
        return dict(zip(self.members, self.table[0].tolist(), strict=True))

    @property
    def start_std(self) -> float:
        r""":math:`1/\sqrt{B}`, the spread that noises of :attr:`total` B imply at the start."""
        return 1 / math.sqrt(float(self._flat_table()[-1].sum()))

    @property
    def total(self) -> Tensor:
        r""":math:`\sum_i w_i(t)` over the members that are no sums themselves, ``[T]`` float64."""
        return self._flat_table().sum(1)

    @property
    def plain(self) -> bool:
        """Whether a call is the weighted sum: no `forward` of a subclass, no hooks."""
        return type(self).forward is Weighted.forward and not self._altered()

    def flat(self) -> Weighted:
        r"""The same sum written without nesting: members of members, their weights multiplied.

        .. math:: \textstyle\sum_i w_i \sum_j v_{ij}\, \varepsilon_{ij}

        Its members are noised densities wherever the innermost ones are, which a correction towards
        the product needs: a composition is none. Names are paths, ``outer/inner``, with a prime
        where one is taken. A sum that does something else when it is called (see :attr:`plain`)
        stays a member.

        Raises
        ------
        ValueError
            If that holds for this sum itself.
        """
        if not self.plain:
            raise ValueError(
                f"the rule is a {type(self).__name__} that does something else than a weighted sum "
                f"when it is called (its own forward, or a hook), so its weights do not describe "
                f"it: to use it as one density make it a member, Weighted({{'rule': rule}}, "
                f"{{'rule': 1}}); for the sum alone use Weighted(rule.members, weights)"
            )
        members: dict[str, Denoiser] = {}
        weights: dict[str, Weight] = {}
        for path, member, column in self._leaves():
            while path in members:
                path += "'"
            members[path], weights[path] = member, column
        return Weighted(members, weights)

    def _leaves(self) -> Iterator[tuple[str, Denoiser, Tensor]]:
        """Paths, members that are no plain sums, and their weights ``[T]`` in the whole."""
        for (name, member), column in zip(self.members.items(), self.table.T, strict=True):
            if isinstance(member, Weighted) and member.plain:
                for path, leaf, inner in member._leaves():
                    yield f"{name}/{path}", leaf, column * inner
            else:
                yield name, member, column

    def _flat_table(self) -> Tensor:
        return torch.stack([column for *_, column in self._leaves()], dim=1)

    def active(self) -> list[tuple[str, Denoiser, list[float]]]:
        """Members with a weight, and their weights per step; the others cost no call."""
        columns = zip(self.members.items(), self.table.T, strict=True)
        return [(name, m, column.tolist()) for (name, m), column in columns if bool(column.any())]

    def forward(self, y: Tensor, t: int | Tensor, c: Tensor) -> Tensor:
        weights = self.table.to(y)[t]
        total = torch.zeros_like(y)
        for i, member in enumerate(self.members.values()):
            if bool(self.table[:, i].any()):
                total = total + weights[..., i : i + 1] * member(y, t, c)
        return total

    def _bind(self, c: Tensor) -> Predict:
        bound = [(member.bind(c), column) for _, member, column in self.active()]

        def predict(y: Tensor, t: int) -> Tensor:
            (first, weights), *others = bound
            total = first(y, t) * weights[t]
            for member, weights in others:
                total.add_(member(y, t), alpha=weights[t])
            return total

        return predict


StateWeight = Callable[[Tensor, int | Tensor, Tensor], Tensor]


class Blend(Denoiser):
    r"""A sum of noise predictions whose weights depend on the state.

    .. math:: \varepsilon = \sum_i w_i(y_t, t, c)\, \varepsilon_i(y_t, t, c)

    In general the score of no density. So it has samples, and Markov moves along it
    (:func:`dualdiff.product` with ``weights=None``), but no product to weight towards.

    Parameters
    ----------
    members : mapping of names to denoisers
        They must share one process.
    weight : callable
        ``weight(y, t, c)`` gives ``[n, members]``; its arguments are those of a denoiser.

    Raises
    ------
    ValueError
        For members of different processes; in a call for weights of another shape.
    """

    def __init__(self, members: Mapping[str, Denoiser], weight: StateWeight) -> None:
        super().__init__()
        self.process = common_process(members)
        self.members, self.weight = dict(members), weight
        self._registered = nn.ModuleList(self.members.values())  # so that .to() reaches them

    def forward(self, y: Tensor, t: int | Tensor, c: Tensor) -> Tensor:
        return self._sum(y, t, c, [member(y, t, c) for member in self.members.values()])

    def _bind(self, c: Tensor) -> Predict:
        bound = [member.bind(c) for member in self.members.values()]
        return lambda y, t: self._sum(y, t, c, [predict(y, t) for predict in bound])

    def _sum(self, y: Tensor, t: int | Tensor, c: Tensor, eps: list[Tensor]) -> Tensor:
        weights = self.weight(y, t, c)
        if weights.shape != (len(y), len(eps)):
            raise ValueError(
                f"weight must give numbers of shape {[len(y), len(eps)]}, one for each of "
                f"{', '.join(self.members)}, not of shape {list(weights.shape)}"
            )
        return torch.einsum("nm,nmd->nd", weights.to(y), torch.stack(eps, 1))


def joint(*two: Denoiser, **members: Denoiser) -> Weighted:
    """The thesis's joint sampling: the plain sum of the noise predictions.

    ``joint(general, specialised)``, or any number of members by name:
    ``joint(world=..., home=..., walls=...)``.

    Raises
    ------
    ValueError
        For members by position that are not two, and what :class:`Weighted` refuses.
    """
    if two:
        if members or len(two) != 2:
            raise ValueError(
                f"joint takes a general and a specialised model, or any number of models by name, "
                f"not {len(two)} by position and {len(members)} by name"
            )
        members = dict(zip(("general", "specialised"), two, strict=True))
    return Weighted(members, dict.fromkeys(members, 1.0))


def guided(
    unconditional: Denoiser, sources: Mapping[str, Denoiser], weights: Mapping[str, Weight]
) -> Weighted:
    r"""Directions away from an unconditional model, added up.

    .. math:: \varepsilon = \varepsilon_u + \sum_i w_i (\varepsilon_i - \varepsilon_u), \qquad
              p_u \prod_i (p_i / p_u)^{w_i}

    A weighted sum whose weights sum to 1. With one weight 1 and the others 0 it is that source,
    with all weights 0 the unconditional model. Under other names it is

    - composable diffusion (Liu et al. 2022, equations 11 and 13): sources are conditions of one
      model; a negative weight means NOT;
    - generalised classifier-free guidance (arXiv 2312.08195): the sources are a concept model, that
      has a null condition only, and conditions of the original model, and the unconditional part
      comes from the ORIGINAL model, so that it does not drift with the concept's training.

    Parameters
    ----------
    unconditional : Denoiser
    sources : mapping of names to denoisers
        Any name but "unconditional".
    weights : mapping of the same names to numbers, or to one number per timestep

    Raises
    ------
    ValueError
        For other names, values that are not finite, and members with different processes.
    """
    if "unconditional" in sources:
        raise ValueError("a source cannot be named 'unconditional'")
    if set(weights) != set(sources):
        raise ValueError(f"weights are for {sorted(weights)}, but sources are {sorted(sources)}")
    steps = common_process({"unconditional": unconditional, **sources}).steps
    given = {name: _column(name, weight, steps) for name, weight in weights.items()}
    rest = 1 - sum(given.values(), torch.zeros(steps, dtype=torch.float64))
    return Weighted({"unconditional": unconditional, **sources}, {"unconditional": rest, **given})
