"""A variational autoencoder of glyphs, and the pictures that it learns from."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor, nn

from dualdiff.images.data import GLYPH, glyphs
from dualdiff.images.judge import KEPT, space
from dualdiff.images.shots import pictured
from dualdiff.randomness import one_thread, stream

KL = 1e-6  # weight of the divergence, as of Rombach et al. (2022)
HIDDEN = 256  # width of both sides


def fresh(n: int, generator: torch.Generator, part: str = "models") -> Tensor:
    """Images ``[n, 256]`` of random characters of a part, moved."""
    some = glyphs(part)
    return pictured(some, torch.randint(len(some.characters), (n,), generator=generator), generator)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence ``[n]`` of Gaussians ``[n, k]`` from the standard one."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)


class Autoencoder(nn.Module):
    r"""Variational autoencoder of glyphs, with a weight of the divergence of 1e-6.

    .. math:: E\,\lVert D(\mu + \sigma z) - x \rVert^2 + 10^{-6}\,
              \mathrm{KL}(N(\mu, \sigma^2) \,\Vert\, N(0, I)), \qquad \mu, \sigma = E(x)

    Both sides are linear maps, at first those of the principal components, and perceptrons beside
    them, at first zero: an untrained one is the linear autoencoder. Rombach et al. (2022), 3.1.

    Parameters
    ----------
    size : int
        Numbers of a latent, at most 96.
    generator : torch.Generator
        Source of the initial weights.

    Attributes
    ----------
    spread : Tensor [size]
        Standard deviations of the latents.
    """

    def __init__(self, size: int, generator: torch.Generator) -> None:
        super().__init__()
        self.frame, self.spread = space(), torch.ones(size)
        self.encoder = self._perceptron(KEPT, 2 * size, generator)
        self.decoder = self._perceptron(size, GLYPH**2, generator)
        basis, unit = self.frame.basis[:size], self.frame.spread[:size, None]
        self.read, self.drawn = nn.Parameter(basis / unit), nn.Parameter(basis * unit)
        nn.init.constant_(self.encoder[-1].get_parameter("bias")[size:], -6.0)

    @staticmethod
    def _perceptron(a: int, b: int, generator: torch.Generator) -> nn.Sequential:
        layers = list[nn.Module]()
        for here, there in pairwise((a, HIDDEN, HIDDEN, b)):
            layer = nn.utils.skip_init(nn.Linear, here, there)
            nn.init.kaiming_uniform_(layer.weight, generator=generator)
            layers += [layer, nn.SiLU()]
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(layer.weight)
        return nn.Sequential(*layers[:-1])

    def moments(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log variances ``[n, k]`` of the latents of images ``[n, 256]``."""
        mean, log_variance = self.encoder(self.frame.encode(images)).chunk(2, 1)
        return mean + (images - self.frame.mean) @ self.read.T, log_variance

    def forward(self, z: Tensor) -> Tensor:
        """Images ``[n, 256]`` at latents ``[n, k]``, not yet cut to -1 .. 1."""
        return self.decoder(z) + z @ self.drawn + self.frame.mean

    def loss(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """What is trained, a scalar: mean over images ``[n, 256]``."""
        mean, log_variance = self.moments(images)
        noise = torch.empty_like(mean).normal_(generator=generator)
        error = (self(mean + (log_variance / 2).exp() * noise) - images).square().sum(1)
        return (error + KL * divergence(mean, log_variance)).mean()

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Latents ``[n, k]`` of images ``[n, 256]``: the means."""
        return self.moments(images)[0]

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Images ``[n, 256]`` from -1 to 1 at latents ``[n, k]``."""
        return self(z).clamp(-1, 1)


@lru_cache(maxsize=16)
def autoencoder(size: int, seed: int, steps: int) -> Autoencoder:
    """An autoencoder, trained for so many batches of 256 of the models' characters."""
    source = stream(seed, "autoencoder", size)
    made = Autoencoder(size, source)
    with one_thread(denormals=False):
        images = fresh(20_000, source)
        optimiser = torch.optim.Adam(made.parameters(), 2e-3)
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(steps):
            some = images[torch.randint(len(images), (256,), generator=source)]
            optimiser.zero_grad()
            made.loss(some, source).backward()
            optimiser.step()
            decay.step()
        made.spread = made.encode(images).std(0)
    return made.eval()
