"""Copies of networks that learn by low-rank updates of their weights."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from dualdiff.denoisers import Denoiser

Network = TypeVar("Network", bound=Denoiser)


def clone(denoiser: Network) -> Network:
    """An independent copy with the same weights, to fine-tune without touching the original."""
    return deepcopy(denoiser)


class LowRank(nn.Module):
    """The weight of a frozen layer plus ``alpha A B``, ``A [out, r]`` and ``B [r, in]``.

    ``A`` starts at zero, so training starts from the frozen layer itself.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float, generator: torch.Generator) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        bound = 1 / math.sqrt(inputs)
        start = torch.empty(rank, inputs, dtype=torch.float32)
        start.uniform_(-bound, bound, generator=generator)
        self.a = nn.Parameter(weight.new_zeros(outputs, rank))
        self.b = nn.Parameter(start.to(weight))
        self.alpha = alpha

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.alpha * (self.a @ self.b)


def _linear_layers(denoiser: nn.Module) -> list[nn.Module]:
    return [module for module in denoiser.modules() if isinstance(module, nn.Linear)]


def add_lora(
    denoiser: Network, rank: int, generator: torch.Generator, *, alpha: float = 1.0
) -> Network:
    r"""A copy of which only low-rank updates of the weights can be trained.

    .. math:: W = W_0 + \alpha A B, \qquad A \in R^{out \times r},\; B \in R^{r \times in}

    for every linear layer; :math:`W_0` and the biases are frozen. :func:`dualdiff.fit` and
    samplers take it like any network, :func:`merge_lora` makes it a plain one again.

    Parameters
    ----------
    denoiser : Denoiser
        The general network, also a wrapped one; it is not touched.
    rank : int
    generator : torch.Generator
        Draws ``B`` (CPU); ``A`` is zero.
    alpha : float

    Raises
    ------
    ValueError
        If the rank is below 1, alpha is zero, the network has no linear layers, or low-rank updates
        already.

    Notes
    -----
    Hu et al. (2022), "LoRA", section 4.1, where the names of A and B are exchanged.
    """
    if rank < 1:
        raise ValueError(f"rank must be at least 1, not {rank}")
    if alpha == 0 or not math.isfinite(alpha):
        raise ValueError(f"alpha must be finite and not zero, not {alpha}")
    if any(map(parametrize.is_parametrized, _linear_layers(denoiser))):
        raise ValueError("the network has low-rank updates already; merge_lora them first")
    copy = clone(denoiser).requires_grad_(False)
    if not _linear_layers(copy):
        raise ValueError("the network has no linear layers to update")
    for layer in _linear_layers(copy):
        weight = layer.get_parameter("weight")
        update = LowRank(weight, rank, alpha, generator)
        parametrize.register_parametrization(layer, "weight", update)
    return copy


def merge_lora(denoiser: Network) -> Network:
    """A plain copy with the low-rank updates added into its weights, all of it trainable."""
    copy = clone(denoiser)
    for module in [*copy.modules()]:
        for name, layer in module.named_children():
            # A new layer: a copy shares its class, which knows the update, with the original.
            if isinstance(layer, nn.Linear) and parametrize.is_parametrized(layer, "weight"):
                plain = torch.nn.utils.skip_init(nn.Linear, layer.in_features, layer.out_features)
                plain.weight, plain.bias = nn.Parameter(layer.weight.detach()), layer.bias
                module.register_module(name, plain)
    return copy.requires_grad_(True)
