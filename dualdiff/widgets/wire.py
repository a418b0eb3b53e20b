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
from dualdiff.regions import ATOL, Box, Disc, Region
from dualdiff.widgets.base import Refused
from dualdiff.widgets.stages import SIZES, Grid, Stage, StandardNormal


class _Numbers:
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


def wire(stage: Stage) -> dict[str, Any]:
    """The stage as the widget's state: plain values, and one block of float32 ``numbers``."""
    numbers, process = _Numbers(), stage.process
    sent = {
        "title": stage.title,
        "note": stage.note,
        "inside": stage.inside,
        "framed": stage.framed,
        "names": dict(stage.names),
        "condition": list(stage.condition),
        "movable": stage.movable and stage.movable._asdict(),
        "panels": [{**asdict(panel), "ratio": panel.ratio} for panel in stage.panels],
        "floors": {str(n): round(stage.floor(n), 4) for n in SIZES},
        "process": {
            name: getattr(process, name).double().tolist()
            for name in ("alpha_bar", "y_mean", "y_std", "c_mean", "c_std")
        },
        "members": {name: _member(m, numbers) for name, m in stage.members.items()},
        "target": _target(stage.target, numbers),
    }
    return {**sent, "numbers": np.concatenate(numbers.parts).astype("<f4").tobytes()}


def _target(target: Region | Grid, numbers: _Numbers) -> dict[str, Any]:
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
    if isinstance(target, Box):
        return {"kind": "box", **asdict(target), **plain}
    assert isinstance(target, Disc)
    return {"kind": "disc", **asdict(target), "thickness": target.height_tolerance, **plain}


def _member(member: Denoiser, numbers: _Numbers) -> dict[str, Any]:
    for known, send in _SENT.items():
        if isinstance(member, known):
            found: dict[str, Any] = send(member, numbers)
            return found
    raise Refused(f"the widget cannot run a {type(member).__name__}: give networks or mixtures")


def _network(network: MLP, numbers: _Numbers) -> dict[str, Any]:
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


def _mixture(mixture: ExactMixture, numbers: _Numbers) -> dict[str, Any]:
    parts = {name: getattr(mixture, name) for name in ("means", "variances", "basis")}
    flat = {name: value.flatten().tolist() for name, value in parts.items()}
    return {
        "kind": "mixture",
        "framed": True,
        "log_weights": mixture.log_weights.tolist(),
        **flat,
    }


def _normal(normal: StandardNormal, numbers: _Numbers) -> dict[str, Any]:
    dy = normal.process.dy
    return {
        "kind": "mixture",
        "framed": False,
        "log_weights": [0.0],
        "means": [0.0] * dy,
        "variances": [1.0] * dy,
        "basis": torch.eye(dy).flatten().tolist(),
    }


_SENT: dict[type, Callable[..., dict[str, Any]]] = {
    MLP: _network,
    ExactMixture: _mixture,
    StandardNormal: _normal,
}
