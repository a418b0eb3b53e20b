"""The gradient of a plain network by hand: the numbers of autograd in a fraction of its time."""

from __future__ import annotations

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
    r"""The noise error of a plain :class:`MLP`, and its gradient, without a graph.

    From its first call on the weights of the network lie side by side in :attr:`flat`, so that an
    optimiser has a single tensor to change. Products and sums are those of autograd, in its order:
    the numbers are the same to the last bit where the optimiser treats a long tensor as it treats a
    short one, and to rounding elsewhere. What depends on the timestep alone is tabulated.

    With :math:`h_{l+1} = a(z_l)`, :math:`z_l = h_l W_l^\top + b_l` and
    :math:`g_l = \partial L / \partial z_l`

    .. math:: \partial L / \partial W_l = g_l^\top h_l, \qquad
              \partial L / \partial b_l = \textstyle\sum_n g_l, \qquad
              g_{l-1} = a'(z_{l-1}) \, (g_l W_l)

    Parameters
    ----------
    network : MLP
        One that :func:`differentiable` accepts.

    Attributes
    ----------
    flat : nn.Parameter [N]
        All weights, in the order of ``network.parameters()``; a call adds to its ``grad``.
    """

    def __init__(self, network: MLP) -> None:
        self.network, process = network, network.process
        self._held = held = [*network.parameters()]
        self.flat = nn.Parameter(torch.cat([p.detach().flatten() for p in held]))
        self._gradient = torch.empty_like(self.flat)
        parts = (x.split([p.numel() for p in held]) for x in (self.flat.detach(), self._gradient))
        self._parts = [(w.view_as(p), s.view_as(p)) for p, w, s in zip(held, *parts, strict=True)]
        t = torch.arange(process.steps, device=self.flat.device)
        one = torch.ones(process.steps, process.dy).to(self.flat)
        scales = network._scales(t) if network.architecture.preconditioned else (one, 0 * one, one)
        table = [process.signal(t), process.noise(t), *scales, one * network.loss_weight(t)]
        self._widths = [part.shape[1] for part in (*table, network.features)]
        self._table = torch.cat([*table, network.features], 1)

    @torch.no_grad()
    def __call__(
        self, share: float, y: Tensor, t: Tensor, c: Tensor, eps: Tensor, *masked: Tensor
    ) -> Tensor:
        """``share`` times :func:`~dualdiff.training.noise_error`; its gradient goes to ``flat``."""
        network, shape = self.network, self.network.architecture
        for p, (w, _) in zip(self._held, self._parts, strict=True):
            if p.data_ptr() != w.data_ptr():  # at first, and where another run has moved it
                p.data = w.copy_(p)
        signal, noise, scale, skip, out, weight, features = self._table[t].split(self._widths, 1)
        x = signal * y + noise * eps
        x = x - signal * network.centre(c) if shape.object_frame else x
        h = torch.cat(
            [octaves(x * scale, network.speeds), network.columns(c, *masked), features], 1
        )
        relu, entered, left = shape.activation == "relu", [h], []
        *hidden, (head, _), (bias, _) = self._parts
        for (w, _), (b, _) in zip(hidden[::2], hidden[1::2], strict=True):
            left.append(torch.addmm(b, h, w.t()))
            h = left[-1].relu_() if relu else nn.functional.silu(left[-1])
            entered.append(h)
        error = eps - (skip * x + out * torch.addmm(bias, h, head.t()))
        g = 2 * error * (weight * (error.new_tensor(share) / error.numel())) * -out
        before = None if self.flat.grad is None else self.flat.grad.clone()
        for i in reversed(range(len(entered))):
            (w, slope), (_, bias_slope) = self._parts[2 * i : 2 * i + 2]
            torch.mm(g.t(), entered[i], out=slope)
            torch.sum(g, 0, out=bias_slope)
            if i:
                g, z = torch.mm(g, w), left[i - 1]
                g = aten.threshold_backward(g, z, 0) if relu else aten.silu_backward(g, z)
        self.flat.grad = self._gradient if before is None else self._gradient.add_(before)
        return (error**2 * weight).mean() * share
