"""Trained networks in the store: one by one, or in stacks whose numbers are the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm.auto import tqdm

from dualdiff.experiments.store import Store
from dualdiff.gradients import differentiable
from dualdiff.lora import merge_lora
from dualdiff.networks import MLP
from dualdiff.training import epoch_losses, finite, fit, fit_together

STACK = 8
"""Networks of a stack at most: more are hardly faster."""


def progress_bar(total: int, label: str, quiet: bool) -> Any:
    """The one progress bar of long work."""
    return tqdm(total=total, desc=label, disable=quiet, leave=False)


class Trained(NamedTuple):
    """A trained network, the mean loss of every epoch, and the seconds its training took, its share
    of a stack; the loss on held-out pairs of every epoch, where there were any."""

    network: MLP
    losses: Tensor
    seconds: float
    held_out: Tensor | None = None


Seen = dict[str, Tensor]
"""``losses`` of training, and those on ``held_out`` pairs if there were any."""


@dataclass(frozen=True)
class Asked:
    """A network that a study asks for, and how it is made where the store lacks it.

    Parameters
    ----------
    config : dict
        All that it depends on, as JSON.
    label : str
        What progress bars call it.
    new : function
        A network of its shape, into which its weights are loaded.
    start : function
        The network from which training starts.
    options : function
        What :func:`~dualdiff.training.fit` is given, rows included.
    run : function, optional
        Trains a network in place in another way than :func:`~dualdiff.training.fit` alone.
    """

    config: dict[str, Any]
    label: str
    new: Callable[[], MLP]
    start: Callable[[], MLP]
    options: Callable[[], dict[str, Any]]
    run: Callable[[MLP], Seen] | None = None


def kept(store: Store, asked: Asked, quiet: bool = True) -> Trained:
    """A network from the store, or trained and put there."""

    def make() -> dict[str, Tensor]:
        network, began = asked.start(), time.perf_counter()
        seen = _fitted(network, asked, quiet) if asked.run is None else asked.run(network)
        return _state(network, seen, time.perf_counter() - began)

    tensors, network = store.tensors("network", asked.config, make), asked.new()
    state = {k: v for k, v in tensors.items() if k.startswith("state.")}
    network.load_state_dict({k.removeprefix("state."): v for k, v in state.items()})
    return Trained(
        network.eval(), tensors["losses"], float(tensors["seconds"]), tensors.get("held_out")
    )


def _state(network: MLP, seen: Seen, seconds: float) -> dict[str, Tensor]:
    state = {f"state.{k}": v for k, v in merge_lora(network).state_dict().items()}
    return {**state, **seen, "seconds": torch.tensor(seconds)}


def _fitted(network: MLP, asked: Asked, quiet: bool) -> Seen:
    options = asked.options()
    found = []
    with progress_bar(options["epochs"], asked.label, quiet) as bar:
        for loss in epoch_losses(fit(network, **options)):
            found.append(loss)
            bar.update()
    return {"losses": torch.tensor(found)}


def train_together(store: Store, asked: Iterable[Asked], quiet: bool = True) -> None:
    """Train those that the store lacks, in stacks where they share a shape.

    Small networks are trained several times as fast in a stack, and become what they become alone
    (:func:`~dualdiff.training.fit_together`). What cannot be stacked is left to :func:`kept`.
    """
    stacks: dict[str, list[Asked]] = {}
    for one in asked:
        if one.run is None and not store.has("network", one.config):
            own = one.options()
            if own.get("prior") is None:
                sizes = own["epochs"], own["batch_size"], own["rows_per_epoch"] or len(own["y"])
                new = one.new()
                process = new.process
                shape = new.architecture, process.steps, process.dy, process.dc, own["y"].device
                stacks.setdefault(repr((sizes, own["optimisation"], shape)), []).append(one)
    for stack in stacks.values():
        distinct = [*{repr(one.config): one for one in stack}.values()]
        for first in range(0, len(distinct), STACK):
            _train_stack(store, distinct[first : first + STACK], quiet)


def _train_stack(store: Store, stack: list[Asked], quiet: bool) -> None:
    with store.held("network", [one.config for one in stack]):
        begun = [(one, one.start()) for one in stack if not store.has("network", one.config)]
        plain = [(one, network) for one, network in begun if differentiable(network)]
        if len(plain) < 2:
            return
        lacking, networks = zip(*plain, strict=True)
        began, options = time.perf_counter(), [one.options() for one in lacking]
        same = {k: v for k, v in options[0].items() if k not in ("y", "c", "generator", "prior")}
        pairs, own = [(o["y"], o["c"]) for o in options], [o["generator"] for o in options]
        run = fit_together(networks, pairs, generators=own, **same)
        losses: list[Tensor] = []
        label = f"{lacking[0].label} and {len(lacking) - 1} more"
        with progress_bar(same["epochs"], label, quiet) as bar:
            for epoch in range(same["epochs"]):
                losses.append(torch.stack([next(run).loss for _ in range(run.per_epoch)]).mean(0))
                finite(epoch, float(losses[-1].sum()))
                bar.update()
        next(run, None)  # ends the run: the averages are in place
        seconds = (time.perf_counter() - began) / len(lacking)
        for one, network, loss in zip(lacking, networks, torch.stack(losses).t(), strict=True):
            state = _state(network, {"losses": loss}, seconds)
            store.tensors("network", one.config, lambda state=state: state)  # type: ignore[misc]
