"""The network that learns to predict the noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, cast

import torch
from torch import Tensor, nn

from dualdiff.denoisers import Denoiser, Predict
from dualdiff.process import Process
from dualdiff.randomness import check_generator


@dataclass(frozen=True)
class Architecture:
    """The shape of an :class:`MLP`.

    Parameters
    ----------
    width, depth : int
        Units per layer; hidden layers after the input layer.
    activation : {"relu", "silu"}
    time : {"raw", "scaled", "sinusoidal"}
        The integer ``t`` itself (the thesis), ``t / T``, or sines and cosines of 16 frequencies.
    preconditioned : bool
        The network predicts the part of the noise that the best linear guess leaves open, scaled
        to unit variance (Karras et al. 2022, section 5, rewritten for the noise prediction).
    object_frame : bool
        The network sees ``y_t - sqrt(abar_t) (c + offset)`` and not ``c``: it knows that the
        scene moves with the object. Needs dy = dc.
    fourier : int
        Sines and cosines of the scaled input at this many octaves, beside the input itself: what a
        small network needs for sharp edges (Tancik et al. 2020). 0: none.
    init : {"uniform", "kaiming"}
        PyTorch's default, under which the signal shrinks from layer to layer, or larger weights
        under which it does not, and an output that starts at zero (He et al. 2015).
    maskable : bool
        One more input says that the condition is withheld, and zeros stand in its place; see
        :class:`Unconditional`. Not with ``object_frame``, which needs the condition.
    """

    width: int = 128
    depth: int = 3
    activation: Literal["relu", "silu"] = "relu"
    time: Literal["raw", "scaled", "sinusoidal"] = "raw"
    preconditioned: bool = False
    object_frame: bool = False
    fourier: int = 0
    init: Literal["uniform", "kaiming"] = "uniform"
    maskable: bool = False

    def __post_init__(self) -> None:
        if self.width < 1 or self.depth < 0:
            raise ValueError(
                f"width must be >= 1 and depth >= 0, not width={self.width}, depth={self.depth}"
            )
        if self.activation not in ("relu", "silu"):
            raise ValueError(f"activation must be 'relu' or 'silu', not {self.activation!r}")
        if self.time not in ("raw", "scaled", "sinusoidal"):
            raise ValueError(f"time must be 'raw', 'scaled' or 'sinusoidal', not {self.time!r}")
        if not 0 <= self.fourier <= 16:
            raise ValueError(f"fourier must be from 0 to 16 octaves, not {self.fourier}")
        if self.init not in ("uniform", "kaiming"):
            raise ValueError(f"init must be 'uniform' or 'kaiming', not {self.init!r}")
        if self.maskable and self.object_frame:
            raise ValueError("maskable and object_frame exclude each other: choose one")


FREQUENCIES = 16
GAIN = {"relu": math.sqrt(2), "silu": 1.675}
"""One over the root mean square of the activation of a standard normal number."""


def time_features(steps: int, kind: str) -> Tensor:
    """Features of every timestep, ``[T, F]``; see ``time`` of :class:`Architecture`."""
    t = torch.arange(steps, dtype=torch.float32).unsqueeze(1)
    if kind != "sinusoidal":
        return t if kind == "raw" else t / steps
    # Periods from twice the whole chain down to a few steps.
    frequencies = torch.logspace(
        0, math.log2(steps / 4), FREQUENCIES, base=2.0, dtype=torch.float32
    )
    angle = math.pi * (t / steps) * frequencies
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def octaves(x: Tensor, speeds: Tensor) -> Tensor:
    r"""``x [n, d]`` beside :math:`\sin, \cos(s_k \pi x / 4)`: ``[n, d (1 + 2 K)]``.

    The ``speeds [K]`` are powers of two: scaled inputs have unit variance, so the slowest wave,
    of speed 1, spans them once. Each function is called once, on whole stretches of memory: that is
    faster than the double-angle formula, and its error does not grow from octave to octave.
    """
    if len(speeds) == 0:
        return x
    columns = x.t().contiguous()
    angle = speeds[:, None, None] * (columns * (math.pi / 4))
    waves = torch.stack([angle.sin(), angle.cos()], dim=1)
    return torch.cat([columns, waves.flatten(0, 2)]).t()


def _linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """PyTorch's default linear layer, initialised from ``generator`` and not the global state."""
    layer = torch.nn.utils.skip_init(nn.Linear, inputs, outputs, dtype=torch.float32)
    bound = 1 / math.sqrt(inputs)
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.uniform_(-bound, bound, generator=generator)
    return layer


class MLP(Denoiser):
    r"""A multilayer perceptron that predicts the noise.

    The thesis's network is the default: input :math:`[y_t, c, t]`, a linear layer and ``depth``
    hidden ones with ReLU, a linear output. :class:`Architecture` holds the variations.

    With preconditioning, for residual data of standard deviation :math:`r` and
    :math:`v^2 = \bar\alpha_t r^2 + 1 - \bar\alpha_t`,

    .. math:: \varepsilon = \frac{\sigma_t}{v^2}\, x + \frac{\sqrt{\bar\alpha_t}\, r}{v}\,
              F\!\left(x / v, t\right)

    so that input and target of :math:`F` have unit variance at every step.

    Parameters
    ----------
    process : Process
    architecture : Architecture
    generator : torch.Generator
        Source of the initial weights (CPU).
    offset, spread : Tensor [dy], optional
        Mean and standard deviation of ``y - c`` over training rows in original units; needed by
        ``object_frame``.
    """

    features: Tensor
    speeds: Tensor
    offset: Tensor
    residual: Tensor

    def __init__(
        self,
        process: Process,
        architecture: Architecture,
        generator: torch.Generator,
        offset: Tensor | None = None,
        spread: Tensor | None = None,
    ) -> None:
        super().__init__()
        check_generator(generator)
        self.process = process
        self.architecture = architecture
        dy, dc = process.dy, process.dc
        if architecture.object_frame and (dy != dc or offset is None or spread is None):
            raise ValueError(
                f"object_frame needs dy = dc and the offset and spread of y - c, "
                f"not dy={dy}, dc={dc}, offset={offset}, spread={spread}"
            )
        for name, moment in (("offset", offset), ("spread", spread)):
            if moment is not None and moment.shape != (dy,):
                raise ValueError(f"{name} must have shape [{dy}], not {list(moment.shape)}")
        features = time_features(process.steps, architecture.time)
        columns = 0 if architecture.object_frame else dc + architecture.maskable
        inputs = dy * (1 + 2 * architecture.fourier) + columns + features.shape[1]
        self.register_buffer("features", features, persistent=False)
        speeds = 2.0 ** torch.arange(architecture.fourier, dtype=torch.float32)
        self.register_buffer("speeds", speeds, persistent=False)
        zeros = torch.zeros(dy, dtype=torch.float32)
        self.register_buffer("offset", zeros if offset is None else offset.float())
        # Standard deviation of the data in the network's frame, in standardised units.
        residual = zeros + 1 if spread is None else spread.float() / process.y_std.cpu().float()
        self.register_buffer("residual", residual)
        sizes = [inputs] + [architecture.width] * (architecture.depth + 1)
        self.layers = nn.ModuleList(_linear(a, b, generator) for a, b in pairwise(sizes))
        self.head = _linear(sizes[-1], dy, generator)
        if architecture.init == "kaiming":
            self._keep_size()
        self.activation: nn.Module = nn.ReLU() if architecture.activation == "relu" else nn.SiLU()

    def _keep_size(self) -> None:
        """Rescale the fresh weights so that the signal does not shrink from layer to layer."""
        gain = GAIN[self.architecture.activation] * math.sqrt(3)  # fresh: uniform on +-1/sqrt(n)
        with torch.no_grad():
            for layer in cast("list[nn.Linear]", list(self.layers)):
                layer.weight.mul_(gain)
                layer.bias.zero_()
            self.head.weight.zero_()
            self.head.bias.zero_()

    def centre(self, c: Tensor) -> Tensor:
        """Where the object frame has its origin, standardised units of y: ``[n, dy]``."""
        return self.process.encode_y(self.process.decode_c(c) + self.offset)

    def _scales(self, t: int | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Input scale 1/v, skip coefficient sigma/v^2, output scale sqrt(abar) r / v."""
        signal: float | Tensor = self.process.signal(t)
        noise: float | Tensor = self.process.noise(t)
        v = ((signal * self.residual) ** 2 + noise**2).sqrt()
        return 1 / v, noise / v**2, signal * self.residual / v

    def loss_weight(self, t: Tensor) -> Tensor | float:
        """Weight of the squared noise error, ``[n, dy]``: 1, or what gives the network's own
        output unit weight under preconditioning (Karras et al. 2022, section 5)."""
        return self._scales(t)[2] ** -2 if self.architecture.preconditioned else 1.0

    def columns(self, c: Tensor, masked: Tensor | bool = False) -> Tensor:
        """What the network sees of the conditions: ``[n, 0]``, ``[n, dc]`` or ``[n, dc + 1]``."""
        if self.architecture.object_frame:
            return c[:, :0]
        if not self.architecture.maskable:
            return c
        mask = torch.as_tensor(masked, device=c.device).expand(len(c)).unsqueeze(1)
        return torch.cat([c.masked_fill(mask, 0.0), mask.to(c)], dim=1)

    def forward(
        self, y: Tensor, t: int | Tensor, c: Tensor, masked: Tensor | bool = False
    ) -> Tensor:
        """As :meth:`Denoiser.forward`; ``masked`` (bool, or one per row) withholds conditions."""
        framed, scaled = self.architecture.object_frame, self.architecture.preconditioned
        x = y - self.process.signal(t) * self.centre(c) if framed else y
        scale, skip, out = self._scales(t) if scaled else (1.0, 0.0, 1.0)
        features = self.features[t].expand(len(y), -1)
        seen = octaves(x * scale, self.speeds)
        h = torch.cat([seen, self.columns(c, masked), features], dim=1).to(features)
        for layer in self.layers:
            h = self.activation(layer(h))
        h = self.head(h)
        return (skip * x + out * h if scaled else h).to(y.dtype)

    def _bindable(self) -> bool:
        """Also: the layers are those that were built, in a precision that a product keeps."""
        built = nn.ReLU if self.architecture.activation == "relu" else nn.SiLU
        plain = type(self.activation) is built and all(
            type(layer).forward is nn.Linear.forward and layer.bias is not None
            for layer in [*self.layers, self.head]
        )
        full = self.features.dtype in (torch.float32, torch.float64)
        return plain and full and super()._bindable()

    def _bind(self, c: Tensor, masked: bool = False) -> Predict:
        framed, scaled = self.architecture.object_frame, self.architecture.preconditioned
        centre = self.centre(c) if framed else None
        trunk = self._trunk(self.columns(c, masked).to(self.features))

        def predict(y: Tensor, t: int) -> Tensor:
            x = y if centre is None else torch.sub(y, centre, alpha=self.process.signal(t))
            if not scaled:
                return trunk(x, t).to(y.dtype)
            scale, skip, out = self._scales(t)
            return (x * skip).addcmul_(trunk(x * scale, t).to(x.dtype), out).to(y.dtype)

        return predict

    def _trunk(self, columns: Tensor) -> Predict:
        r"""The layers as a function of ``(x, t)`` for one chunk, in few passes over memory.

        What depends on the condition alone (its columns of the input, the buffers) is written
        once. The time features are the same for all rows, so they are one more row of the first
        weight matrix, beside a constant input of 1. For ReLU the biases of the hidden layers ride
        along: with :math:`\beta_l = b_l + W_l \beta_{l-1}`,

        .. math:: \mathrm{relu}(W_l a_{l-1} + b_l) = \max(W_l m_{l-1}, -\beta_l) + \beta_l,
                  \qquad a_l = m_l + \beta_l

        so each layer costs its matrix product and a single pass. Under :class:`torch.autocast`
        hidden layers are in its type; the entry, which has the time, and the head in the network's.
        """
        n, dy, width = len(columns), self.process.dy, self.architecture.width
        waves = dy * (1 + 2 * len(self.speeds))
        layers = cast("list[nn.Linear]", list(self.layers))
        first, *rest = [(layer.weight.detach(), layer.bias.detach()) for layer in layers]
        # Contiguous right factors: the products run half as fast again on transposed views.
        head, head_bias = self.head.weight.detach().t().contiguous(), self.head.bias.detach()
        seen, new = waves + columns.shape[1], columns.new_empty
        # Each input is one stretch of memory, as `octaves` computes them.
        inputs = torch.cat([new(waves, n), columns.t(), columns.new_ones(1, n)])
        entry = torch.cat([first[0][:, :seen].t(), new(1, width)])
        left, slot, bias_row = inputs.t(), inputs[:waves].t(), entry[-1]
        per_step = (self.features @ first[0][:, seen:].t() + first[1]).unbind()
        device, kind = columns.device.type, columns.dtype
        if torch.is_autocast_enabled(device):
            kind = torch.get_autocast_dtype(device)
        first_out, buffers = new(n, width), [new(n, width, dtype=kind) for _ in range(2)]
        relu = self.architecture.activation == "relu"
        carried = torch.zeros_like(first[1])
        plan: list[tuple[Tensor, Tensor]] = []
        for weight, bias in rest:
            carried = bias + weight @ carried if relu else bias
            vector = -carried if relu else bias
            plan.append((weight.t().contiguous().to(kind), vector.to(kind)))
        last_bias = head_bias + carried @ head if relu else head_bias

        def trunk(x: Tensor, t: int) -> Tensor:
            slot.copy_(octaves(x, self.speeds))
            bias_row.copy_(per_step[t])
            self._activate(torch.mm(left, entry, out=first_out))
            h, spare = buffers
            h = first_out if kind == first_out.dtype else h.copy_(first_out)
            for weight, vector in plan:
                if relu:
                    torch.mm(h, weight, out=spare)
                    torch.clamp_min_(spare, vector)
                else:
                    self._activate(torch.addmm(vector, h, weight, out=spare))
                h, spare = spare, h
            with torch.autocast(device, enabled=False):
                return torch.addmm(last_bias, h.to(head), head)

        return trunk

    def _activate(self, h: Tensor) -> None:
        if self.architecture.activation == "relu":
            torch.relu_(h)
        else:
            nn.functional.silu(h, inplace=True)


class Unconditional(Denoiser):
    """A maskable network with its condition withheld: what guidance calls the null condition.

    Raises
    ------
    ValueError
        If the network has no mask: zeros are a valid condition and cannot stand for none.
    """

    def __init__(self, network: MLP) -> None:
        super().__init__()
        if not network.architecture.maskable:
            raise ValueError(
                "the network has no mask input, so its condition cannot be withheld; "
                "build it with Architecture(maskable=True) and train it with p_uncond > 0"
            )
        self.process, self.network = network.process, network

    def forward(self, y: Tensor, t: int | Tensor, c: Tensor) -> Tensor:
        return self.network(y, t, c, masked=True)

    def _bind(self, c: Tensor) -> Predict | None:
        return self.network._bind(c, masked=True) if self.network._bindable() else None
