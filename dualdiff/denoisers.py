"""Denoisers: everything that predicts the noise in ``y_t``."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from dualdiff.process import Process, floating

Predict = Callable[[Tensor, int], Tensor]


class Denoiser(nn.Module):
    r"""The contract ``eps = denoiser(y, t, c)``.

    Predicts the noise of the forward process; the score of the noised density is
    :math:`\nabla \log p_t(y \mid c) = -\varepsilon / \sqrt{1 - \bar\alpha_t}`.
    Networks, exact distributions and compositions all satisfy it. A denoiser of your own is a
    subclass with a ``process`` and a ``forward``: inputs reach it as tensors of the right shapes,
    and what it gives must have the shape of y.
    """

    process: Process

    @abstractmethod
    def forward(self, y: Tensor, t: int | Tensor, c: Tensor) -> Tensor:
        """Predict the noise.

        Parameters
        ----------
        y : Tensor [n, dy]
            Noised targets, standardised units.
        t : int or Tensor [n]
            Timestep(s), 0 (nearly clean) to T - 1 (nearly noise).
        c : Tensor [n, dc]
            Conditions, standardised units.

        Returns
        -------
        Tensor [n, dy]
        """

    def __call__(self, y: Tensor, t: int | Tensor, c: Tensor, *args: Any, **kwargs: Any) -> Any:
        y, t, c = self.inputs(y, t, c)
        return self._output(super().__call__(y, t, c, *args, **kwargs), y.shape)

    def _output(self, found: Any, shape: torch.Size) -> Any:
        """What was found for y of this shape; another one would be stretched to it unseen."""
        if isinstance(found, Tensor) and found.shape == shape:
            return found
        form = list(found.shape) if isinstance(found, Tensor) else f"a {type(found).__name__}"
        raise ValueError(
            f"{type(self).__name__} must give the noise of every number of y, {list(shape)}, "
            f"not {form}"
        )

    def inputs(self, y: Any, t: Any, c: Any) -> tuple[Tensor, int | Tensor, Tensor]:
        """Inputs of any type (see :func:`~dualdiff.process.floating`) as `forward` takes them.

        Raises
        ------
        ValueError
            For shapes that do not fit the process, and timesteps outside it.
        """
        y, c = floating("y", y), floating("c", c)
        if y.ndim != 2 or y.shape[1] != self.process.dy:
            raise ValueError(f"y must have shape [n, {self.process.dy}], not {list(y.shape)}")
        shape = [len(y), self.process.dc]
        if list(c.shape) != shape:
            raise ValueError(f"c must have shape {shape}, not {list(c.shape)}")
        held = next(chain(self.parameters(), self.buffers()), None)
        if held is not None:
            y, c = y.to(held.device), c.to(held.device)
        t = self.process.timestep(t)
        if isinstance(t, Tensor) and t.shape != y.shape[:1]:
            raise ValueError(f"t must be an integer or [{len(y)}] of them, not {list(t.shape)}")
        return y, t.to(y.device) if isinstance(t, Tensor) else t, c

    @torch.no_grad()
    def bind(self, c: Tensor) -> Predict:
        """The same function with the condition fixed: ``predict(y, t)`` for one step ``t``.

        Samplers call this once per chunk. No gradients flow through it. It is the call itself,
        or the faster way that a subclass has in `_bind`, as long as the two are one function: it
        takes and refuses the same.
        """
        # No tensor of the inference mode is kept: nobody could write into its memory later.
        with torch.inference_mode(False):
            c = self.process.rows("c", c).float()
            _, _, c = self.inputs(c.new_zeros(len(c), self.process.dy), 0, c)
            quick = self._bind(c) if self._bindable() else None
        steps, shape = self.process.steps, torch.Size((len(c), self.process.dy))

        @torch.no_grad()
        def predict(y: Tensor, t: int) -> Tensor:
            if quick is None:
                return self(y, t, c)
            # What samplers hand over is right; all else goes the way of a call.
            right = type(y) is Tensor and y.shape == shape and y.device == c.device
            if not right or y.dtype not in (torch.float32, torch.float64):
                y, _, _ = self.inputs(y, 0, c)
            t = t if type(t) is int and 0 <= t < steps else self._one_step(t)
            return self._output(quick(y, t), shape)

        return predict

    def _bind(self, c: Tensor) -> Predict | None:
        """A faster `forward` for conditions ``c [n, dc]`` and one step; None: there is none.

        What depends on ``c`` alone can be done here, and the memory of the inner loop owned.
        """
        return None

    def _bindable(self) -> bool:
        """Whether `_bind` was written for what a call does: no other `forward`, no hooks."""
        makers = (kind for kind in type(self).__mro__ if {"_bind", "forward"} & set(vars(kind)))
        own = any("forward" in vars(m) for m in self.modules())
        own = own or self._altered() or self._compiled_call_impl is not None
        hooked = any(m._forward_hooks or m._forward_pre_hooks for m in self.modules())
        return "_bind" in vars(next(makers)) and not (own or hooked)

    def _altered(self) -> bool:
        """Whether a call of this very object is more than its class's `forward`."""
        own = "forward" in vars(self) or type(self).__call__ is not Denoiser.__call__
        return bool(own or self._forward_hooks or self._forward_pre_hooks or _has_any_global_hook())

    def _one_step(self, t: Any) -> int:
        found = self.process.timestep(t)
        if isinstance(found, Tensor):
            raise ValueError(f"a bound denoiser takes one t, not {list(found.shape)}")
        return found


def check_denoiser(name: str, value: Any) -> None:
    """Refuse what does not keep the contract, with what to do about it.

    Raises
    ------
    ValueError
    """
    if not isinstance(value, Denoiser):
        raise ValueError(
            f"{name} is a {type(value).__name__}, not a Denoiser: make it a subclass of "
            f"dualdiff.denoisers.Denoiser with a process and a forward(y, t, c)"
        )
    if not isinstance(getattr(value, "process", None), Process):
        raise ValueError(f"{name} has no process: set self.process to its Process")


def device_of(denoisers: Iterable[nn.Module]) -> torch.device | None:
    """Where parameters and buffers are; None if there are none, so that every place is right.

    Raises
    ------
    ValueError
        If they are in several places.
    """
    held = chain.from_iterable(chain(d.parameters(), d.buffers()) for d in denoisers)
    places = {tensor.device for tensor in held}
    if len(places) > 1:
        named = " and ".join(sorted(map(str, places)))
        raise ValueError(f"the denoisers are on {named}: move them to one device with .to(...)")
    return next(iter(places), None)


_EVALUATED: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()
_EVALUATING = Lock()


@contextmanager
def evaluating(denoisers: Iterable[nn.Module]) -> Iterator[None]:
    """Modules in evaluation mode (no dropout), and afterwards as they were.

    Where several threads want that of one module the last one that leaves ends it.
    """
    with _EVALUATING:
        modules = {m: None for denoiser in denoisers for m in denoiser.modules()}
        training = [m for m in modules if m.training or m in _EVALUATED]
        for module in training:
            _EVALUATED[module] = _EVALUATED.get(module, 0) + 1
            module.training = False
    try:
        yield
    finally:
        with _EVALUATING:
            for module in training:
                _EVALUATED[module] -= 1
                if not _EVALUATED[module]:
                    del _EVALUATED[module]
                    module.training = True
