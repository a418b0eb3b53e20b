"""A stage as the state of a widget: plain values, and one block of numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dualdiff.denoisers import Denoiser
from dualdiff.exact import ExactMixture
from dualdiff.networks import MLP
from dualdiff.process import Process
from dualdiff.regions import ATOL, Box, Disc, Region
from dualdiff.widgets.base import Refused
from dualdiff.widgets.stages import SIZES, Grid, Normal, Stage

FINE = {2: 256, 3: 64}
"""Side of the table of cells of a region of the user's own, by its dimensions."""


class Numbers:
    """Float32 arrays one after the other, with references to them."""

    def __init__(self) -> None:
        self.parts: list[np.ndarray] = []
        self.size = 0

    def add(self, values: Tensor) -> dict[str, int]:
        """Where the values will stand."""
        flat = values.detach().cpu().float().flatten().numpy()
        self.parts.append(flat)
        self.size += len(flat)
        return {"at": self.size - len(flat), "size": len(flat)}

    def sent(self) -> bytes:
        """All of them, as a widget's state holds them."""
        return np.concatenate(self.parts).astype("<f4").tobytes()


def units(process: Process) -> dict[str, list[float]]:
    """A process as plain values."""
    names = ("alpha_bar", "y_mean", "y_std", "c_mean", "c_std")
    return {name: getattr(process, name).double().tolist() for name in names}


def wire(stage: Stage) -> dict[str, Any]:
    """The stage as the widget's state: plain values, and one block of float32 ``numbers``."""
    numbers = Numbers()
    sent = {
        "title": stage.title,
        "note": stage.note,
        "inside": stage.inside,
        "framed": stage.framed,
        "names": dict(stage.names),
        "condition": list(stage.condition),
        "movable": stage.movable and stage.movable._asdict(),
        "moves": stage.moves,
        "learned": stage.learned and list(stage.learned),
        "wall": stage.wall and _standard(stage),
        "panels": [{**asdict(panel), "ratio": panel.ratio} for panel in stage.panels],
        "floors": {str(n): round(stage.floor(n), 4) for n in SIZES},
        "process": units(stage.process),
        "members": {name: member_of(m, numbers) for name, m in stage.members.items()},
        "target": _target(stage.target, numbers),
        "anchor": _anchor(stage) if stage.framed else None,
    }
    return {**sent, "numbers": numbers.sent()}


def _standard(stage: Stage) -> dict[str, Any]:
    """The box of the wall in the process's units, and the unit of its first coordinate."""
    assert stage.wall is not None
    unit = stage.process.y_std.double()
    low, high = (torch.tensor(corner).double() / unit for corner in stage.wall)
    return {"low": low.tolist(), "high": high.tolist(), "unit": float(unit[0])}


def _target(target: Region | Grid, numbers: Numbers) -> dict[str, Any]:
    if isinstance(target, Grid):
        return {
            "kind": "grid",
            "low": list(target.low),
            "high": list(target.high),
            "cells": len(target.masses),
            "fine": len(target.inside),
            "masses": numbers.add(target.masses),
            "inside": numbers.add(target.inside),
        }
    plain: dict[str, Any] = {"tolerance": ATOL, "count": target.n_cells}
    if type(target) is Box:
        return {"kind": "box", **asdict(target), **plain}
    if type(target) is Disc:
        return {"kind": "disc", **asdict(target), "thickness": target.height_tolerance, **plain}
    return {"kind": "table", **_table(target, numbers), **plain}


def _table(target: Region, numbers: Numbers) -> dict[str, Any]:
    """Cells of a region on a grid of its frame: those of its midpoints, first axis slowest."""
    if target.dim not in FINE or not np.isfinite(target.slack).all():
        raise Refused(f"the widget cannot judge {target}: give one of 2 or 3 bounded dimensions")
    slack, side = torch.tensor(target.slack), FINE[target.dim]
    low, high = (torch.tensor(corner) for corner in target.frame())
    room = slack + 0.01 * (high - low).max()  # its frame may be known from draws only
    low, high = low - room, high + room
    unit = (torch.arange(side) + 0.5) / side
    u = low + (high - low) * torch.cartesian_prod(*[unit] * target.dim)
    zero = torch.zeros(1, target.dc)
    cells = target.cells(target.anchor(zero) + u, zero)
    return {"low": low.tolist(), "high": high.tolist(), "side": side, "cells": numbers.add(cells)}


def _anchor(stage: Stage) -> list[list[float]] | None:
    """Per coordinate of y, the factors of the condition's and a shift; None: the condition."""
    size = len(stage.condition)
    shift, here = stage.origin([0.0] * size), torch.tensor(stage.condition).double()
    rows = torch.stack([stage.origin(unit) - shift for unit in torch.eye(size).tolist()], 1)
    if not torch.allclose(rows @ here + shift, stage.origin(stage.condition)):
        raise Refused("the widget needs a region whose anchor is linear in the condition")
    if torch.equal(rows, torch.eye(size).double()) and not shift.any():
        return None
    return torch.cat([rows, shift[:, None]], 1).tolist()


def member_of(member: Denoiser, numbers: Numbers) -> dict[str, Any]:
    """A member as plain values, its weights among the numbers.

    Raises
    ------
    Refused
        For another kind than networks and mixtures.
    """
    for known, send in _SENT.items():
        if isinstance(member, known):
            found: dict[str, Any] = send(member, numbers)
            return found
    raise Refused(f"the widget cannot run a {type(member).__name__}: give networks or mixtures")


def _network(network: MLP, numbers: Numbers) -> dict[str, Any]:
    shape = network.architecture
    if shape.maskable or shape.width % 8:
        raise Refused(
            f"a widget's network must have a width that is a multiple of 8 and no mask, "
            f"not width={shape.width}, maskable={shape.maskable}"
        )

    def layer(linear: nn.Module) -> dict[str, Any]:
        assert isinstance(linear, nn.Linear)
        return {"weight": numbers.add(linear.weight), "bias": numbers.add(linear.bias)}

    return {
        "kind": "network",
        **{k: v for k, v in asdict(shape).items() if k not in ("depth", "time", "init")},
        "features": numbers.add(network.features),
        "layers": [layer(linear) for linear in network.layers],
        "head": layer(network.head),
        "offset": network.offset.double().tolist(),
        "residual": network.residual.double().tolist(),
    }


def _mixture(mixture: ExactMixture, numbers: Numbers) -> dict[str, Any]:
    parts = {name: getattr(mixture, name) for name in ("means", "variances", "basis")}
    flat = {name: value.flatten().tolist() for name, value in parts.items()}
    return {
        "kind": "mixture",
        "framed": True,
        "log_weights": mixture.log_weights.tolist(),
        **flat,
    }


def _normal(normal: Normal, numbers: Numbers) -> dict[str, Any]:
    return {
        "kind": "mixture",
        "framed": False,
        "log_weights": [0.0],
        "means": normal.mean.tolist(),
        "variances": normal.variance.tolist(),
        "basis": torch.eye(len(normal.mean)).flatten().tolist(),
    }


_SENT: dict[type, Callable[..., dict[str, Any]]] = {
    MLP: _network,
    ExactMixture: _mixture,
    Normal: _normal,
}
