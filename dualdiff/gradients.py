"""The gradient of plain networks by hand: the numbers of autograd in a fraction of its time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

import torch
from torch import Tensor, nn

from dualdiff.denoisers import Denoiser
from dualdiff.networks import MLP, octaves

aten = torch.ops.aten


def differentiable(denoiser: Denoiser) -> TypeGuard[MLP]:
    """Whether :class:`Gradient` knows all of a denoiser: an :class:`MLP` as it was built.

    All its weights learn, nobody has changed its layers, its forward or its loss, and no hook waits
    for a gradient.
    """
    if type(denoiser) is not MLP or "loss_weight" in vars(denoiser) or not denoiser._bindable():
        return False
    held = [w for layer in [*denoiser.layers, denoiser.head] for w in layer.parameters()]
    hooks = [h for m in denoiser.modules() for h in (m._backward_hooks, m._backward_pre_hooks)]
    hooks += [h for w in held for h in (w._backward_hooks, w._post_accumulate_grad_hooks)]
    same = [id(w) for w in held] == [id(w) for w in denoiser.parameters()]
    return same and all(w.requires_grad for w in held) and not any(hooks)


class Gradient:
    r"""The noise errors of K plain networks of one shape, and their gradients, without a graph.

    From its first call on the weights of a network lie side by side in :attr:`flat`, so that an
    optimiser has one tensor of each to change. Products and sums are those of autograd, in its
    order, and each network's own: the numbers are the same to the last bit, whatever stands beside
    a network, where the optimiser treats a long tensor as it treats a short one (and layers are a
    multiple of 16 wide, in a stack), and to rounding elsewhere. What depends on the timestep alone
    is tabulated.

    With :math:`h_{l+1} = a(z_l)`, :math:`z_l = h_l W_l^\top + b_l` and
    :math:`g_l = \partial L / \partial z_l`

    .. math:: \partial L / \partial W_l = g_l^\top h_l, \qquad
              \partial L / \partial b_l = \textstyle\sum_n g_l, \qquad
              g_{l-1} = a'(z_{l-1}) \, (g_l W_l)

    Parameters
    ----------
    networks : sequence of MLP
        Those that :func:`differentiable` accepts, of one architecture, with as many timesteps.

    Attributes
    ----------
    flat : list of nn.Parameter [N]
        All weights of each network, in the order of ``network.parameters()``; a call adds to its
        ``grad``.
    """

    def __init__(self, networks: Sequence[MLP]) -> None:
        self.networks = [*networks]
        held = [[*network.parameters()] for network in networks]
        sizes = [p.numel() for p in held[0]]
        whole = -(-sum(sizes) // 64) * 64  # each begins a line of the cache, as if it were alone
        rows = torch.zeros(2, len(held), whole).to(held[0][0]).narrow(2, 0, sum(sizes))
        self._weights = [p for own in held for p in own]
        self.flat = [nn.Parameter(row) for row in rows[0]]
        parts = zip(*(part.split(sizes, -1) for part in rows), strict=True)
        self._parts = [
            (w.unflatten(1, p.shape), slope.unflatten(1, p.shape))
            for p, (w, slope) in zip(held[0], parts, strict=True)
        ]
        self._places = [w[k] for k in range(len(held)) for w, _ in self._parts]
        self._addresses = [own.data_ptr() for own in self._places]
        for p, place in zip(self._weights, self._places, strict=True):
            place.copy_(p.detach())
        self._gradient = rows[1]
        tables = [self._tabulated(network) for network in networks]
        self._widths = [part.shape[1] for part in tables[0]]
        self._table = torch.cat([torch.cat(table, 1) for table in tables])
        self._first = networks[0].process.steps * torch.arange(len(held), device=rows.device)

    def _tabulated(self, network: MLP) -> list[Tensor]:
        """What depends on the timestep alone: ``[T, .]`` each."""
        process = network.process
        t = torch.arange(process.steps, device=self._gradient.device)
        one = torch.ones(process.steps, process.dy).to(self._gradient)
        scales = network._scales(t) if network.architecture.preconditioned else (one, 0 * one, one)
        weight = one * network.loss_weight(t)
        return [process.signal(t), process.noise(t), *scales, weight, network.features]

    @torch.no_grad()
    def __call__(self, share: float, *batch: Tensor) -> Tensor:
        """``share`` times the errors ``[K]``; their gradients go to ``flat``.

        The batch is that of :func:`~dualdiff.steps.noise_error`, stacked: ``y [K, n, dy]``,
        ``t [K, n]``, ``c [K, n, dc]``, ``eps [K, n, dy]`` and, of maskable networks, ``[K, n]``.
        """
        y, t, c, eps, *masked = batch
        shape, count = self.networks[0].architecture, len(y)
        if [p.data_ptr() for p in self._weights] != self._addresses:
            for p, place in zip(self._weights, self._places, strict=True):
                if p.data_ptr() != place.data_ptr():  # at first, and where another run has moved it
                    p.data = place.copy_(p)
        rows = self._table[t + self._first[:, None]]
        signal, noise, scale, skip, out, weight, features = rows.split(self._widths, -1)
        x = signal * y + noise * eps
        own = [*zip(self.networks, c, *masked, strict=True)]
        if shape.object_frame:
            x = x - signal * torch.stack([network.centre(c) for network, c, *_ in own])
        columns = torch.stack([network.columns(*seen) for network, *seen in own])
        waves = octaves((x * scale).flatten(0, 1), self.networks[0].speeds)
        h = torch.cat([waves.view(count, len(waves) // count, -1), columns, features], -1)
        relu, entered, left = shape.activation == "relu", [h], []
        *hidden, (head, _), (bias, _) = self._parts
        for (w, _), (b, _) in zip(hidden[::2], hidden[1::2], strict=True):
            left.append(torch.baddbmm(b[:, None], h, w.mT))
            h = left[-1].relu_() if relu else nn.functional.silu(left[-1])
            entered.append(h)
        error = eps - (skip * x + out * torch.baddbmm(bias[:, None], h, head.mT))
        g = 2 * error * (weight * (error.new_tensor(share) / error[0].numel())) * -out
        again = self.flat[0].grad is not None
        for i in reversed(range(len(entered))):
            (w, slope), (_, bias_slope) = self._parts[2 * i : 2 * i + 2]
            for place, new in ((slope, torch.bmm(g.mT, entered[i])), (bias_slope, g.sum(1))):
                place.add_(new) if again else place.copy_(new)
            if i:
                g, z = torch.bmm(g, w), left[i - 1]
                g = aten.threshold_backward(g, z, 0) if relu else aten.silu_backward(g, z)
        for row, slopes in zip(self.flat, self._gradient, strict=True):
            row.grad = slopes
        return (error**2 * weight).mean((1, 2)) * share
