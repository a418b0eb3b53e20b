"""Models from elsewhere and for later: wrapped, seen in other units, saved and loaded."""

from __future__ import annotations

import inspect
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from dualdiff.compose import Weighted
from dualdiff.denoisers import Denoiser, Predict, check_denoiser
from dualdiff.files import Tensors, digest, unpack, write
from dualdiff.lora import merge_lora
from dualdiff.networks import MLP, Architecture, Unconditional
from dualdiff.process import Process

FORMAT = 1
"""Of the files of :func:`save`; one more whenever older versions could not read it."""
Call = Callable[..., Tensor]


# --- models from elsewhere --------------------------------------------------------------------


class Wrapped(Denoiser):
    """A module that predicts the noise, the clean data or the velocity; see :func:`wrap`."""

    def __init__(self, module: nn.Module, process: Process, predicts: str, call: Call) -> None:
        super().__init__()
        self.process, self.module, self.predicts, self.call = process, module, predicts, call

    def forward(self, y: Tensor, t: int | Tensor, c: Tensor) -> Tensor:
        steps = torch.as_tensor(t, device=y.device).expand(len(y))
        found = self.call(self.module, y, steps, c)
        if self.predicts == "eps":
            return found
        signal, noise = self.process.signal(t), self.process.noise(t)
        if self.predicts == "x0":
            return (y - signal * found) / noise
        return signal * found + noise * y


def _plain_call(module: nn.Module, y: Tensor, t: Tensor, c: Tensor) -> Tensor:
    found: Tensor = module(y, t, c) if c.shape[1] else module(y, t)
    return found


def _check_call(module: nn.Module, *asked: str) -> None:
    """Refuse a module that cannot take such arguments, before it is asked.

    Raises
    ------
    ValueError
    """
    try:
        known = inspect.signature(module.forward)
    except (TypeError, ValueError):  # traced: what it takes is seen when it is called
        return
    try:
        known.bind(*asked)
    except TypeError as error:
        raise ValueError(
            f"a {type(module).__name__} is asked as module({', '.join(asked)}), which it does not "
            f"take ({error}): say with call= how it is asked, such as "
            "wrap(module, process, call=lambda module, y, t, c: module(y, t))"
        ) from None


def wrap(
    module: nn.Module,
    process: Process,
    *,
    predicts: Literal["eps", "x0", "v"] = "eps",
    call: Call | None = None,
) -> Denoiser:
    r"""A network trained elsewhere as a denoiser, to compose, sample and fine-tune.

    It is not for :func:`save`: keep the weights of the module as you did before.

    .. math:: \varepsilon = \frac{y_t - \sqrt{\bar\alpha_t}\, \hat y_0}{\sigma_t}, \qquad
              \varepsilon = \sqrt{\bar\alpha_t}\, \hat v + \sigma_t\, y_t

    from a prediction of the clean data (``"x0"``) or of the velocity :math:`v =
    \sqrt{\bar\alpha_t}\, \varepsilon - \sigma_t\, y_0` (``"v"``).

    Parameters
    ----------
    module : nn.Module
        Takes standardised targets ``[n, dy]``, timesteps ``[n]`` (0: nearly clean) and standardised
        conditions ``[n, dc]``. It is not copied.
    process : Process
        The noise schedule and the units with which it was trained; see :meth:`Process.from_alphas`.
    predicts : {"eps", "x0", "v"}
    call : callable, optional
        ``call(module, y, t, c)`` where it is asked in another way, such as
        ``lambda module, y, t, c: module(y, t)`` for one without conditions; by default
        ``module(y, t, c)``, where the process has no conditions ``module(y, t)``.

    Raises
    ------
    ValueError
        For another kind of module or prediction, and without ``call`` for one that takes other
        arguments.

    Notes
    -----
    Salimans and Ho (2022), section 4 and appendix D, for v.
    """
    if not isinstance(module, nn.Module) or isinstance(module, Denoiser):
        raise ValueError(
            f"module must be a torch.nn.Module that is no Denoiser yet, not a "
            f"{type(module).__name__}"
        )
    if predicts not in ("eps", "x0", "v"):
        raise ValueError(f"predicts must be 'eps', 'x0' or 'v', not {predicts!r}")
    if call is None:
        _check_call(module, "y", "t", *["c"] * bool(process.dc))
    return Wrapped(module, process, predicts, call or _plain_call)


PREDICTIONS = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}


def from_diffusers(unet: nn.Module, scheduler: Any, shape: Sequence[int]) -> Denoiser:
    r"""A UNet of diffusers with its scheduler as a denoiser of flattened images.

    Targets are the images' numbers in rows ``[n, dy]``, dy the product of ``shape``. A UNet with
    classes has one condition, the number of the class; another one has none: ``c [n, 0]``.

    Of the scheduler only the noise and the kind of prediction count, not how it steps. Those that
    step in :math:`x = y_t / \sqrt{\bar\alpha_t}` with noise :math:`\sigma = \sqrt{1 - \bar\alpha_t}
    / \sqrt{\bar\alpha_t}` (Euler, Heun, LMS, KDPM2) hand the UNet :math:`x / \sqrt{\sigma^2 + 1}`,
    which is :math:`y_t`: it is the same network, and Euler over the same timesteps is
    :class:`~dualdiff.samplers.DDIM`.

    Parameters
    ----------
    unet : nn.Module
        Such as ``diffusers.UNet2DModel``: called with images and timesteps, gives a ``.sample``.
    scheduler : object
        With ``alphas_cumprod`` and ``config.prediction_type``, such as ``diffusers.DDPMScheduler``.
    shape : (channels, height, width)
        As ``in_channels`` and ``sample_size`` of the UNet's config say, where it has them.

    Raises
    ------
    ValueError
        For a scheduler without these (flow matching, EDM), an unknown kind of prediction, timesteps
        that are no step numbers (``timestep_type="continuous"``), and another shape.

    Examples
    --------
    Two models, composed, sampled and corrected::

        members = {name: from_diffusers(unet, scheduler, (1, 8, 8)) for name, unet in unets.items()}
        both = Weighted(members, dict.fromkeys(members, 1.0))
        images = sample(both, torch.zeros(16, 0), generator)[:, 0].view(-1, 1, 8, 8)
        corrected = product(both, torch.zeros(1, 0), generator, draws=50, resampling=Resampling(50))
    """
    plan, config = (getattr(one, "config", None) for one in (scheduler, unet))
    kind, times = getattr(plan, "prediction_type", None), getattr(plan, "timestep_type", "discrete")
    alphas = getattr(scheduler, "alphas_cumprod", None)
    if kind not in PREDICTIONS or times != "discrete" or not isinstance(alphas, Tensor):
        raise ValueError(
            f"scheduler must have alphas_cumprod and in its config a prediction_type of "
            f"{', '.join(PREDICTIONS)} and no timestep_type but 'discrete', not "
            f"{type(scheduler).__name__} with {kind!r} and {times!r}"
        )
    classes = bool(getattr(config, "num_class_embeds", None))
    size = tuple(map(int, shape))
    channels, sides = (getattr(config, name, None) for name in ("in_channels", "sample_size"))
    known = channels, *(sides if isinstance(sides, Sequence) else [sides] * (len(size) - 1))
    right = [a in (None, b) for a, b in zip(known, size, strict=False)]
    if len(known) != len(size) or not all(right):
        raise ValueError(
            f"shape must be (channels, height, width) as in the config of the UNet, in_channels "
            f"{channels} and sample_size {sides}, not {size}; other sizes, where it takes any, are "
            "for wrap(unet, process, call=...)"
        )
    _check_call(unet, "y", "t")
    process = Process.from_alphas(alphas, dy=math.prod(size), dc=int(classes))

    def call(module: nn.Module, y: Tensor, t: Tensor, c: Tensor) -> Tensor:
        told = {"class_labels": c[:, 0].round().long()} if classes else {}
        found: Tensor = module(y.view(-1, *size), t, **told).sample.flatten(1)
        return found

    return Wrapped(unet, process, PREDICTIONS[kind], call)


# --- other units ------------------------------------------------------------------------------


class InUnits(Denoiser):
    """A denoiser seen in the units of another process; see :func:`in_units_of`."""

    def __init__(self, denoiser: Denoiser, process: Process, shift: Tensor) -> None:
        super().__init__()
        self.process, self.denoiser, self.shift = process, denoiser, shift

    def _inner(self, c: Tensor) -> Tensor:
        return self.denoiser.process.encode_c(self.process.decode_c(c))

    def forward(self, y: Tensor, t: int | Tensor, c: Tensor) -> Tensor:
        return self.denoiser(y + self.process.signal(t) * self.shift.to(y), t, self._inner(c))

    def _bind(self, c: Tensor) -> Predict:
        predict = self.denoiser.bind(self._inner(c))
        return lambda y, t: predict(y + self.process.signal(t) * self.shift.to(y), t)


def in_units_of(denoiser: Denoiser, process: Process) -> Denoiser:
    r"""The same model in the units of ``process``, so that it can be composed with others there.

    Another mean of the target moves the noised target and leaves the noise; the units of the
    condition are free:

    .. math:: \varepsilon'(y_t, t, c) = \varepsilon\Bigl(y_t + \sqrt{\bar\alpha_t}\,
              \frac{m' - m}{s},\, t,\, c\Bigr)

    This is exact. Another scale of the target is refused: noise of unit size in one unit is noise
    of another size in the other, so the two models have learned different noised distributions at
    the same step, and no function of one gives the other.

    Parameters
    ----------
    denoiser : Denoiser
    process : Process
        With the same schedule and ``y_std``.

    Raises
    ------
    ValueError
        Where schedules, dimensions or the scales of the target differ.
    """
    check_denoiser("denoiser", denoiser)
    if isinstance(denoiser, InUnits):  # there and back is the model itself
        denoiser = denoiser.denoiser
    own = denoiser.process
    if own == process:
        return denoiser
    same = own.steps == process.steps and torch.equal(own.alpha_bar, process.alpha_bar)
    if not same or (own.dy, own.dc) != (process.dy, process.dc):
        raise ValueError(
            "only units can be changed: the two processes have other noise schedules or dimensions "
            f"({own.steps} steps of {own.dy} targets and {own.dc} conditions, "
            f"{process.steps} of {process.dy} and {process.dc})"
        )
    if not torch.equal(own.y_std.float(), process.y_std.float()):
        raise ValueError(
            f"the scales of the target differ, {own.y_std.tolist()} and {process.y_std.tolist()}, "
            "and so does the noise that the models have learned: train both with one Process"
        )
    shift = (process.y_mean.double() - own.y_mean.double()) / own.y_std.double()
    return InUnits(denoiser, process, shift)


# --- files ------------------------------------------------------------------------------------


def save(
    path: str | os.PathLike[str], denoiser: Denoiser, *, about: Mapping[str, Any] | None = None
) -> None:
    """Write weights, architecture and process into one safetensors file.

    Networks (:class:`~dualdiff.networks.MLP`, with low-rank updates merged; without conditions),
    weighted sums of them, also nested, and the same in other units. The file is written whole or
    not at all.

    Parameters
    ----------
    path : path
        Of the file, ``model.safetensors`` say.
    denoiser : Denoiser
    about : dict, optional
        What else belongs to it, as JSON, such as the names of columns; see :func:`about`.

    Raises
    ------
    ValueError
        For a model of another class, and if ``about`` is not JSON.
    """
    tensors: Tensors = {}
    tree = _take_apart(denoiser, "", tensors)
    plain = {k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}
    told = {"format": FORMAT, "model": tree, "about": dict(about or {}), "sha256": digest(plain)}
    try:
        header = json.dumps(told, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"about must be JSON: {error}") from None
    write(Path(path), safetensors.torch.save(plain, {"dualdiff": header}))


def load(path: str | os.PathLike[str]) -> Denoiser:
    """The model of a file of :func:`save`, equal to the last bit, on the CPU, in evaluation mode.

    Raises
    ------
    ValueError
        For a file of something else, of a later version, or damaged.
    """
    tree, tensors = _read(path)
    return _put_together(tree["model"], "", tensors).eval()


def about(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What else :func:`save` was given of the model; errors as :func:`load`."""
    found: dict[str, Any] = _read(path)[0]["about"]
    return found


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Tensors]:
    data = Path(path).read_bytes()
    try:
        tensors, header = unpack(data)
    except (safetensors.SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is no file of dualdiff.save, or damaged: {error}") from None
    if "dualdiff" not in header:
        raise ValueError(f"{path} is no file of dualdiff.save: it says nothing of a model")
    tree: dict[str, Any] = json.loads(header["dualdiff"])
    if tree["format"] > FORMAT:
        raise ValueError(f"{path} was saved by a later version of dualdiff: install that")
    if tree["sha256"] != digest(tensors):
        raise ValueError(f"{path} is damaged: its contents do not match their digest")
    return tree, tensors


UNITS = ("alpha_bar", "y_mean", "y_std", "c_mean", "c_std")


def _take_apart(denoiser: Denoiser, path: str, tensors: Tensors) -> dict[str, Any]:
    """A model as JSON; its tensors go to ``tensors`` under names that begin with ``path``."""
    check_denoiser("denoiser", denoiser)
    tensors |= {f"{path}process.{name}": getattr(denoiser.process, name) for name in UNITS}
    if type(denoiser) is MLP:
        state = merge_lora(denoiser).state_dict()
        tensors |= {f"{path}state.{name}": value for name, value in state.items()}
        return {"kind": "MLP", "architecture": asdict(denoiser.architecture)}
    inner: dict[str, Denoiser]
    if type(denoiser) is Weighted:
        inner = denoiser.members
        tensors[f"{path}table"] = denoiser.table
    elif type(denoiser) is Unconditional:
        inner = {"network": denoiser.network}
    elif type(denoiser) is InUnits:
        inner = {"denoiser": denoiser.denoiser}
        tensors[f"{path}shift"] = denoiser.shift
    else:
        raise ValueError(
            f"a {type(denoiser).__name__} cannot be saved, since a file holds no code: only MLP, "
            "Unconditional, Weighted and what in_units_of makes of them; keep the weights of a "
            "module of your own with safetensors.torch.save_model"
        )
    parts = [[n, _take_apart(m, f"{path}{i}.", tensors)] for i, (n, m) in enumerate(inner.items())]
    return {"kind": type(denoiser).__name__, "parts": parts}


def _put_together(tree: dict[str, Any], path: str, tensors: Tensors) -> Any:
    process = Process(**{name: tensors[f"{path}process.{name}"] for name in UNITS})
    if tree["kind"] == "MLP":
        state = {
            name.removeprefix(f"{path}state."): value
            for name, value in tensors.items()
            if name.startswith(f"{path}state.")
        }
        moments = process.y_mean.clone(), process.y_std.clone()  # until the weights are loaded
        network = MLP(process, Architecture(**tree["architecture"]), torch.Generator(), *moments)
        network.to(state["head.weight"].dtype).load_state_dict(state)
        return network
    parts = {n: _put_together(m, f"{path}{i}.", tensors) for i, (n, m) in enumerate(tree["parts"])}
    if tree["kind"] == "Weighted":
        table = tensors[f"{path}table"]
        return Weighted(parts, dict(zip(parts, table.T, strict=True)))
    if tree["kind"] == "Unconditional":
        return Unconditional(parts["network"])
    return InUnits(parts["denoiser"], process, tensors[f"{path}shift"])
