"""Composition to second order: noise predictions weighed by the spread of what they denoise to."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dualdiff.compose import common_process
from dualdiff.denoisers import Denoiser


class SecondOrder(Denoiser):
    r"""A sum of noise predictions in the metric of the members' backward kernels.

    .. math:: \varepsilon = \Lambda^{-1} \sum_i w_i \Sigma_{i,t}^{-1} \varepsilon_i, \qquad
              \Lambda = \sum_i w_i \Sigma_{i,t}^{-1} + \Bigl(1 - \sum_i w_i\Bigr)
              \frac{\bar\alpha_t}{\sigma_t^2} I

    with the covariance :math:`\Sigma_{i,t}` of clean data given :math:`y_t` under member i. The
    score of the *noised product* where the members are Gaussian, which no plain sum is.

    Parameters
    ----------
    members : mapping of names to denoisers
    weights : mapping of the same names to numbers
    covariances : mapping of the same names to Tensor [dy, dy], optional
        Of clean data, standardised units, positive definite ("GAUSS"):
        :math:`\Sigma_{i,t}^{-1} = \Sigma_i^{-1} + \bar\alpha_t / \sigma_t^2 I`. Without them
        ("JAC") :math:`\Sigma_{i,t} = \sigma_t^2 / \bar\alpha_t\, (I - \sigma_t\,
        \partial \varepsilon_i / \partial y)`, dy backward passes per member and call.

    Raises
    ------
    ValueError
        For members of different processes, and other names.

    Notes
    -----
    Linhart et al. (2024), "Diffusion posterior sampling for simulation-based inference in tall data
    settings", arXiv 2404.07593, where the term with the number of observations has the place of
    :math:`1 - \sum_i w_i`, which here belongs to a flat prior.
    """

    LEAST = 1e-3  # eigenvalue of I - noise * Jacobian over abar; networks have some below zero

    def __init__(
        self,
        members: Mapping[str, Denoiser],
        weights: Mapping[str, float],
        covariances: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.process = common_process(members)
        for what, given in {"weights": weights, "covariances": covariances or weights}.items():
            if set(given) != set(members):
                raise ValueError(f"{what} are for {sorted(given)}, but members {sorted(members)}")
        self.members, self.weights = dict(members), dict(weights)
        self.precisions = {
            name: torch.linalg.inv(covariance.double())
            for name, covariance in (covariances or {}).items()
        }
        self._registered = nn.ModuleList(self.members.values())  # so that .to() reaches them

    def forward(self, y: Tensor, t: int | Tensor, c: Tensor) -> Tensor:
        abar = self.process.alpha_bar.to(y.device)[torch.as_tensor(t, device=y.device)]
        abar = abar.reshape(-1, 1, 1)
        unit = torch.eye(y.shape[1], dtype=torch.float64, device=y.device)
        flat = abar / (1 - abar) * unit
        whole = (1 - sum(self.weights.values())) * flat
        pulled: Tensor = torch.zeros_like(y, dtype=torch.float64)
        for name, member in self.members.items():
            if name in self.precisions:
                eps, precision = member(y, t, c), self.precisions[name].to(y.device) + flat
            else:
                eps, spread = self._spread(member, y, t, c, (1 - abar).sqrt())
                precision = torch.linalg.inv((1 - abar) / abar * spread)
            whole = whole + self.weights[name] * precision
            pulled = pulled + self.weights[name] * _times(precision, eps.double())
        return _times(torch.linalg.inv(whole), pulled).to(y.dtype)

    def _spread(
        self, member: Denoiser, y: Tensor, t: int | Tensor, c: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        r"""Prediction and :math:`I - \sigma_t\, \partial\varepsilon / \partial y`, symmetric."""
        with torch.enable_grad():
            at = y.detach().double().requires_grad_()
            eps = member(at, t, c)
            rows = [
                torch.autograd.grad(eps[:, i].sum(), at, retain_graph=True)[0]
                for i in range(y.shape[1])
            ]
        jacobian = torch.stack(rows, 1)
        unit = torch.eye(y.shape[1], dtype=torch.float64, device=y.device)
        values, basis = torch.linalg.eigh(unit - noise * (jacobian + jacobian.mT) / 2)
        values = values.unsqueeze(1).clamp(min=self.LEAST * (1 - noise**2))
        return eps.detach(), basis * values @ basis.mT


def _times(matrix: Tensor, x: Tensor) -> Tensor:
    """Symmetric matrices ``[n or 1, d, d]`` times ``x [n, d]``."""
    return x @ matrix[0] if len(matrix) == 1 else (matrix @ x.unsqueeze(2)).squeeze(2)
