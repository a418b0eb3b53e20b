"""Exact denoisers: distributions whose noised density is known, under the networks' contract."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dualdiff.denoisers import Denoiser, Predict
from dualdiff.interpolation import Table
from dualdiff.process import Process
from dualdiff.regions import Box, Disc, Region

SQRT2 = math.sqrt(2.0)
LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


class Exact(Denoiser):
    r"""A distribution of ``y - c`` with a known noised density.

    Subclasses work on the offset :math:`x = y_t - \sqrt{\bar\alpha_t}\, m(c)`, where
    :math:`m(c)` is the condition in standardised units of y, in float64: at small noise the tails
    of the densities are far below what float32 holds.
    """

    def __init__(self, process: Process) -> None:
        super().__init__()
        if process.dy != process.dc:
            raise ValueError(f"exact denoisers need dy = dc, not {process.dy} and {process.dc}")
        self.process = process
        self.scale = process.y_std.double()

    def _offset(self, y: Tensor, t: int | Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        abar = self.process.alpha_bar.to(y.device)[torch.as_tensor(t, device=y.device)]
        abar = abar.reshape(-1, 1)
        signal, noise = abar.sqrt(), (1 - abar).sqrt()
        centre = self.process.encode_y(self.process.decode_c(c.double()))
        return y.double() - signal * centre, signal, noise

    def forward(self, y: Tensor, t: int | Tensor, c: Tensor) -> Tensor:
        x, signal, noise = self._offset(y, t, c)
        return self._eps(x, signal, noise).to(y.dtype)

    def log_density(self, y: Tensor, t: int | Tensor, c: Tensor) -> Tensor:
        """Log of the noised density ``p_t(y | c)`` in standardised units, ``[n]``."""
        return self._log_density(*self._offset(*self.inputs(y, t, c)))

    @abstractmethod
    def _eps(self, x: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
        """Noise prediction at offsets ``x [n, dy]``; ``signal`` and ``noise`` ``[n or 1, 1]``."""

    @abstractmethod
    def _log_density(self, x: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
        """Log density at offsets ``x``, ``[n]``."""


def _check_dim(region: Region, process: Process) -> None:
    if region.dim != process.dy:
        raise ValueError(
            f"a {type(region).__name__} of {region.dim} dimensions needs a process with "
            f"dy = dc = {region.dim}, not {process.dy}"
        )


class ExactBox(Exact):
    r"""Uniform on a box in the frame of the condition, in closed form.

    Per coordinate, for the interval :math:`[a, b]` and
    :math:`u_e = (x - \sqrt{\bar\alpha_t} e)/\sigma_t`,

    .. math:: p_t(x) = \frac{\Phi(u_a) - \Phi(u_b)}{\sqrt{\bar\alpha_t}(b - a)}, \qquad
              \varepsilon = -\frac{\varphi(u_a) - \varphi(u_b)}{\Phi(u_a) - \Phi(u_b)}

    Where the box is small beside the noise both differences cancel; with the interval's middle
    :math:`m` and half-width :math:`h` in units of the noise the series in :math:`h` stand for them,

    .. math:: \varepsilon = m \left(1 - \tfrac{h^2}{3}\right), \qquad
              \log p_t(x) = -\tfrac{m^2}{2} + \tfrac{(m^2 - 1) h^2}{6} - \log \sqrt{2\pi} \sigma_t

    Parameters
    ----------
    process : Process
    low, high : sequences of dy numbers
        Corners of the box as offsets from the condition, original units.
    """

    SMALL = 1e-4  # half-width, and its product with the distance, below which the series stand

    def __init__(self, process: Process, low: tuple[float, ...], high: tuple[float, ...]) -> None:
        super().__init__(process)
        region = Box(low, high)  # checks the corners
        _check_dim(region, process)
        self._tables: dict[int, Table] = {}
        self.low = torch.tensor(region.low, dtype=torch.float64) / self.scale
        self.high = torch.tensor(region.high, dtype=torch.float64) / self.scale

    def _reflected(self, x: Tensor, signal: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
        """Interval ends mirrored to the side where the nearer one is below zero, and the sign.

        Both the density and the score are symmetric, and on that side no exponential overflows:
        far outside the box everything is relative to ``exp(-near^2 / 2)``.
        """
        above = (x - signal * self.low.to(x)) / noise
        below = (x - signal * self.high.to(x)) / noise
        flip = above + below > 0
        near = torch.where(flip, -below, above)
        far = torch.where(flip, -above, below)
        return near, far, torch.where(flip, -1.0, 1.0)

    def _mass(self, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor]:
        """``Phi(near) - Phi(far)`` as ``exp(log_unit) * mass`` with a representable mass."""
        outside = near < 0
        safe = near.clamp(max=0.0)
        ratio = torch.exp(-(far**2 - safe**2) / 2)
        scaled = 0.5 * (
            torch.special.erfcx(-safe / SQRT2) - ratio * torch.special.erfcx(-far / SQRT2)
        )
        plain = torch.special.ndtr(near) - torch.special.ndtr(far)
        log_unit = torch.where(outside, -(safe**2) / 2, torch.zeros_like(near))
        return torch.where(outside, scaled, plain), log_unit

    def _eps(self, x: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
        near, far, sign = self._reflected(x, signal, noise)
        mass, log_unit = self._mass(near, far)
        top = torch.exp(-(near**2) / 2 - log_unit) - torch.exp(-(far**2) / 2 - log_unit)
        middle, half, small = self._small(near, far)
        series = middle * (1 - half**2 / 3)
        return sign * torch.where(small, series, -top / (math.sqrt(2 * math.pi) * mass))

    def _small(self, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Middle and half-width of the intervals in units of the noise; where they are small."""
        middle, half = (near + far) / 2, (near - far) / 2
        return middle, half, half * (1 + middle.abs()) < self.SMALL

    def _bind(self, c: Tensor) -> Predict:
        centre = self.process.encode_y(self.process.decode_c(c.double()))

        def predict(y: Tensor, t: int) -> Tensor:
            eps = self._table(t)(y.double() - self.process.signal(t) * centre)
            return self.forward(y, t, c) if eps is None else eps.to(y.dtype)

        return predict

    def _table(self, t: int) -> Table:
        """The noise prediction of every coordinate at step ``t``, made once and kept."""
        if t not in self._tables:
            signal, noise = (
                torch.tensor([[v]], dtype=torch.float64)
                for v in (self.process.signal(t), self.process.noise(t))
            )
            self._tables[t] = Table(
                lambda grid: self._eps(grid[:, None].expand(-1, len(self.low)), signal, noise),
                float(signal * self.low.min()),
                float(signal * self.high.max()),
                float(noise),
            )
        return self._tables[t]

    def _log_density(self, x: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
        near, far, _ = self._reflected(x, signal, noise)
        mass, log_unit = self._mass(near, far)
        width = signal * (self.high - self.low).to(x)
        middle, half, small = self._small(near, far)
        series = (middle**2 - 1) * half**2 / 6 - middle**2 / 2 - LOG_SQRT_2PI - noise.log()
        return torch.where(small, series, mass.log() + log_unit - width.log()).sum(-1)


# Radial tables by radius and alpha_bar: a disc moved elsewhere has the same ones.
_DISC_TABLES: dict[tuple[float, float], Table] = {}


class ExactDisc(Exact):
    r"""Uniform on a flat horizontal disc at a fixed height, by one-dimensional quadrature.

    In the plane, at distance :math:`r` from the centre and with :math:`A = \sqrt{\bar\alpha_t} R`,

    .. math:: p_t \propto F(r) = \int_0^A \frac{\rho}{\sigma^2}
              e^{-(r-\rho)^2/2\sigma^2}\, I_0^e(r\rho/\sigma^2)\, d\rho, \qquad
              F'(r) = -\frac{A}{\sigma^2} e^{-(r-A)^2/2\sigma^2}\, I_1^e(rA/\sigma^2)

    (:math:`I^e` exponentially scaled Bessel functions; the derivative by the divergence theorem:
    only the rim contributes). The height is a point mass: its noise is known exactly,
    :math:`\varepsilon_z = (x_z - \sqrt{\bar\alpha_t} h)/\sigma_t`.

    Parameters
    ----------
    process : Process
        Its scale must be the same in both horizontal directions.
    disc : Disc
        Radius, centre and height as offsets from the condition, original units.
    """

    NODES = 64
    TAIL = 8.5  # standard deviations beyond which the integrand is below 1e-15 of its peak

    def __init__(self, process: Process, disc: Disc) -> None:
        super().__init__(process)
        _check_dim(disc, process)
        if not torch.isclose(self.scale[0], self.scale[1], rtol=1e-6):
            raise ValueError(
                "an exact disc needs the same y_std in both horizontal directions, "
                f"not y_std={process.y_std.tolist()}: use an unstandardised process"
            )
        self.radius = disc.radius / float(self.scale[0])
        centre = torch.tensor([*disc.centre, disc.height], dtype=torch.float64)
        self.centre = centre / self.scale
        nodes, weights = np.polynomial.legendre.leggauss(self.NODES)
        self.nodes, self.weights = torch.from_numpy(nodes), torch.from_numpy(weights)

    def _log_mass(self, r: Tensor, rim: Tensor, noise: Tensor) -> Tensor:
        """``log F(r)``, relative to ``exp(-(r - A)^2 / 2 sigma^2)`` outside the disc; ``[n]``."""
        beyond = (r - rim).clamp(min=0.0)
        # Inside, the integrand is a Gaussian bump at r; outside it falls from the rim inwards,
        # and faster the farther out the point is.
        reach = torch.sqrt(beyond**2 + (self.TAIL * noise) ** 2) - beyond
        high = torch.minimum(rim, r + self.TAIL * noise)
        low = (torch.minimum(rim, r) - reach).clamp(min=0.0)
        half = (high - low) / 2
        rho = low + half * (1 + self.nodes.to(r))
        exponent = (beyond**2 - (r - rho) ** 2) / (2 * noise**2)
        integrand = rho / noise**2 * exponent.exp() * torch.special.i0e(r * rho / noise**2)
        return (half.squeeze(-1) * (integrand @ self.weights.to(r))).log()

    def _polar(
        self, x: Tensor, signal: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        offset = x - signal * self.centre.to(x)
        r = offset[:, :2].norm(dim=1, keepdim=True)
        return offset, r, (signal * self.radius).expand_as(r), noise.expand_as(r)

    def _radial(self, r: Tensor, rim: Tensor, noise: Tensor) -> Tensor:
        """Noise prediction away from the centre at distances ``r [n, 1]``."""
        inside = (rim - r).clamp(min=0.0)
        slope = rim / noise * torch.special.i1e(r * rim / noise**2)
        slope = slope * torch.exp(-(inside**2) / (2 * noise**2))
        return slope / self._log_mass(r, rim, noise).exp().unsqueeze(-1)

    def _eps(self, x: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
        offset, r, rim, sigma = self._polar(x, signal, noise)
        plane = self._radial(r, rim, sigma) * offset[:, :2] / r.clamp(min=1e-300)
        return torch.cat([plane, offset[:, 2:] / noise], dim=1)

    def _bind(self, c: Tensor) -> Predict:
        centre = self.process.encode_y(self.process.decode_c(c.double())) + self.centre.to(c.device)

        def predict(y: Tensor, t: int) -> Tensor:
            offset = y.double() - self.process.signal(t) * centre
            r = offset[:, :2].norm(dim=1, keepdim=True)
            radial = self._table(t)(r)
            if radial is None:
                return self.forward(y, t, c)
            plane = radial * offset[:, :2] / r.clamp(min=1e-300)
            return torch.cat([plane, offset[:, 2:] / self.process.noise(t)], dim=1).to(y.dtype)

        return predict

    def _table(self, t: int) -> Table:
        """The radial noise prediction at step ``t``, made once for all discs of one radius."""
        key = (self.radius, self.process.alpha_bar_at(t))
        if key not in _DISC_TABLES:
            rim, noise = self.process.signal(t) * self.radius, self.process.noise(t)

            def radial(grid: Tensor) -> Tensor:
                # The function is odd in r; the grid's margin reaches below zero.
                r = grid.abs().unsqueeze(1)
                value = self._radial(r, torch.full_like(r, rim), torch.full_like(r, noise))
                return value * grid.sign().unsqueeze(1)

            _DISC_TABLES[key] = Table(radial, 0.0, rim, noise)
        return _DISC_TABLES[key]

    def _log_density(self, x: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
        offset, r, rim, sigma = self._polar(x, signal, noise)
        beyond = (r - rim).clamp(min=0.0)
        planar = self._log_mass(r, rim, sigma) - (beyond**2 / (2 * sigma**2)).squeeze(-1)
        planar = planar - (math.pi * rim**2).log().squeeze(-1)
        height = -0.5 * (offset[:, 2:] / noise) ** 2 - noise.log() - LOG_SQRT_2PI
        return planar + height.squeeze(-1)


class ExactMixture(Exact):
    r"""A Gaussian mixture in the frame of the condition.

    Noised, component k is
    :math:`N(\sqrt{\bar\alpha_t}\mu_k, \bar\alpha_t \Sigma_k + \sigma_t^2 I)`.

    Parameters
    ----------
    process : Process
    weights : sequence of K positive numbers
        Normalised here.
    means : [K, dy]
        Offsets from the condition, original units.
    covariances : [K, dy, dy]
        Symmetric positive semi-definite, original units squared.
    """

    def __init__(
        self, process: Process, weights: object, means: object, covariances: object
    ) -> None:
        super().__init__(process)
        weight, mean, covariance = (
            torch.as_tensor(v, dtype=torch.float64) for v in (weights, means, covariances)
        )
        k, dy = len(weight), process.dy
        if k == 0 or not bool((weight > 0).all()):
            raise ValueError(f"weights must be K >= 1 positive numbers, not {weight.tolist()}")
        if mean.shape != (k, dy) or covariance.shape != (k, dy, dy):
            raise ValueError(
                f"means must be [{k}, {dy}] and covariances [{k}, {dy}, {dy}], "
                f"not {list(mean.shape)} and {list(covariance.shape)}"
            )
        if not torch.allclose(covariance, covariance.mT):
            raise ValueError("covariances must be symmetric")
        variances, basis = torch.linalg.eigh(covariance / torch.outer(self.scale, self.scale))
        if bool((variances < -1e-9 * variances.abs().amax()).any()):
            raise ValueError("covariances must be positive semi-definite")
        self.log_weights = (weight / weight.sum()).log()
        self.means = mean / self.scale
        self.variances, self.basis = variances.clamp(min=0.0), basis
        self._bound: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    def _components(
        self, x: Tensor, signal: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Residuals in each component's eigenbasis, variances there, joint log densities."""
        residual = x.unsqueeze(1) - signal.unsqueeze(1) * self.means.to(x)
        residual = torch.einsum("nkd,kde->nke", residual, self.basis.to(x))
        variance = signal.unsqueeze(1) ** 2 * self.variances.to(x) + noise.unsqueeze(1) ** 2
        log_p = -0.5 * (residual**2 / variance + variance.log()) - LOG_SQRT_2PI
        return residual, variance, log_p.sum(-1) + self.log_weights.to(x)

    def _eps(self, x: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
        residual, variance, log_p = self._components(x, signal, noise)
        share = log_p.softmax(1).unsqueeze(-1) * residual / variance
        return noise * torch.einsum("nke,kde->nd", share, self.basis.to(x))

    def _bind(self, c: Tensor) -> Predict:
        centre = self.process.encode_y(self.process.decode_c(c.double()))

        def predict(y: Tensor, t: int) -> Tensor:
            x = y.double() - self.process.signal(t) * centre
            quadratic, precision, pull = (part.to(x.device) for part in self._forms(t))
            square = (x.unsqueeze(2) * x.unsqueeze(1)).flatten(1)
            share = (torch.cat([square, x, torch.ones_like(x[:, :1])], 1) @ quadratic).softmax(1)
            mixed = (share @ precision).view(len(x), x.shape[1], x.shape[1])
            score = share @ pull - (mixed @ x.unsqueeze(2)).squeeze(2)
            return (-self.process.noise(t) * score).to(y.dtype)

        return predict

    def _forms(self, t: int) -> tuple[Tensor, Tensor, Tensor]:
        r"""What the components are at step t, for products of matrices.

        Coefficients of their log densities in :math:`(x x^\top, x, 1)` up to a constant,
        ``[d^2 + d + 1, K]``; their precisions :math:`P_k`, ``[K, d^2]``; and :math:`P_k m_k`,
        ``[K, d]``.
        """
        if t not in self._bound:
            abar = self.process.alpha_bar_at(t)
            variance = abar * self.variances + 1 - abar
            means = math.sqrt(abar) * self.means
            precision = torch.einsum("kde,ke,kfe->kdf", self.basis, 1 / variance, self.basis)
            pull = torch.einsum("kdf,kf->kd", precision, means)
            constant = self.log_weights - 0.5 * ((pull * means).sum(1) + variance.log().sum(1))
            flat = precision.flatten(1)
            self._bound[t] = (torch.cat([-0.5 * flat, pull, constant[:, None]], 1).T, flat, pull)
        return self._bound[t]

    def _log_density(self, x: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
        return self._components(x, signal, noise)[2].logsumexp(1)


EXACT: dict[type[Region], Callable[[Any, Process], Exact]] = {
    Box: lambda box, process: ExactBox(process, box.low, box.high),
    Disc: lambda disc, process: ExactDisc(process, disc),
}
"""What makes the exact denoiser of a region, by its class; an entry is for no subclass of it."""


def exact_denoiser(region: Region, process: Process) -> Exact:
    """The exact denoiser of a region whose class is in :data:`EXACT`: a box, a disc.

    Raises
    ------
    ValueError
        For other regions, and for a process of other dimensions.
    """
    if type(region) not in EXACT:
        raise ValueError(f"no exact denoiser for a region of type {type(region).__name__}")
    return EXACT[type(region)](region, process)
