"""What one would fit to a table without diffusion: neighbours, boosted quantiles, a flow."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dualdiff.experiments.members import Rows
from dualdiff.experiments.overlap import score_each
from dualdiff.experiments.weighting import FOLDS
from dualdiff.files import Tensors
from dualdiff.randomness import one_thread

Keep = Callable[[str, Callable[[], Tensors]], Tensors]
"""Gives named tensors: loads what it has under a name, or makes them."""
Sampler = Callable[[Tensor, int, torch.Generator], Tensor]
"""Conditions ``[n, dc]``, draws and a generator to samples ``[n, draws, dy]``."""
NEIGHBOURS, WIDTHS = (5, 10, 20, 50, 100), (0.0, 0.2, 0.5)
LEVELS = (0.02, *np.arange(0.1, 0.95, 0.1).round(1).tolist(), 0.98)
BOOSTED_ROWS = 10_000
"""General rows at most that quantiles are boosted on beside the special ones."""
EPOCHS, PATIENCE, BATCH = 200, 20, 128
GENERAL_EPOCHS, GENERAL_BATCH = 20, 512


def _parts(special: Rows) -> Iterator[tuple[Rows, Rows]]:
    """Special rows without every fourth, and those, four times."""
    y, c = special
    for k in range(FOLDS):
        out = torch.arange(len(y)) % FOLDS == k
        yield (y[~out], c[~out]), (y[out], c[out])


def _joined(special: Rows, general: Rows | None, most: int | None = None) -> Rows:
    if general is None:
        return special
    y, c = (torch.cat([few, many[:most]]) for few, many in zip(special, general, strict=True))
    return y, c


def neighbours(
    special: Rows, general: Rows | None, generator: torch.Generator, keep: Keep
) -> Sampler:
    r"""Targets of the k nearest rows, with Gaussian noise of width h on them.

    Distances are Euclidean in the conditions. Number and width are those with the least energy
    score on special rows that are left out, a fourth at a time.
    """
    from sklearn.neighbors import NearestNeighbors

    def sampler(few: Rows, k: int, width: float) -> Sampler:
        y, c = _joined(few, general)
        index = NearestNeighbors(n_neighbors=min(k, len(y))).fit(c.numpy())

        def draw(c: Tensor, draws: int, generator: torch.Generator) -> Tensor:
            near = torch.from_numpy(index.kneighbors(c.numpy(), return_distance=False))
            pick = torch.randint(near.shape[1], (len(c), draws), generator=generator)
            found = y[near.gather(1, pick)]
            return found + width * torch.randn(found.shape, generator=generator)

        return draw

    scores = {}
    for choice in product((*NEIGHBOURS, len(special[0])), WIDTHS):
        each = [
            score_each(sampler(few, *choice)(judge[1], 50, generator), judge[0])
            for few, judge in _parts(special)
        ]
        scores[choice] = float(torch.cat(each).mean())
    return sampler(special, *min(scores, key=scores.__getitem__))


def boosted(special: Rows, general: Rows | None, generator: torch.Generator, keep: Keep) -> Sampler:
    r"""Gradient-boosted quantiles of a target given the conditions and the targets before it.

    Samples invert the quantiles at uniform numbers, linearly between levels. With general rows
    there is one more feature: whether a row is special. A fifth of the rows says when to stop.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    y, c = _joined(special, general, BOOSTED_ROWS)
    if general is not None:
        c = torch.cat([c, (torch.arange(len(c)) < len(special[0])).float()[:, None]], 1)
    models: list[list[Any]] = []
    with threadpool_limits(1):
        for i in range(y.shape[1]):
            features = torch.cat([c, y[:, :i]], 1).numpy()
            models.append([])
            for level in LEVELS:
                one = HistGradientBoostingRegressor(
                    loss="quantile",
                    quantile=level,
                    max_leaf_nodes=15,
                    early_stopping=True,
                    validation_fraction=0.2,
                    random_state=int(torch.randint(2**31, (), generator=generator)),
                )
                models[-1].append(one.fit(features, y[:, i].numpy()))

    def draw(c: Tensor, draws: int, generator: torch.Generator) -> Tensor:
        rows = c.repeat_interleave(draws, 0)
        if general is not None:
            rows = torch.cat([rows, rows.new_ones(len(rows), 1)], 1)
        found: list[Tensor] = []
        levels = torch.tensor(LEVELS)
        for some in models:
            features = torch.cat([rows, *found], 1).numpy()
            with threadpool_limits(1):
                each = np.stack([one.predict(features) for one in some], 1)
            ends = torch.from_numpy(np.sort(each, 1)).float()  # quantiles must not cross
            u = torch.rand(len(rows), generator=generator)
            at = torch.searchsorted(levels, u).clamp(1, len(levels) - 1)[:, None]
            low, high = ends.gather(1, at - 1)[:, 0], ends.gather(1, at)[:, 0]
            a, b = levels[at[:, 0] - 1], levels[at[:, 0]]
            found.append((low + (high - low) * (u - a) / (b - a))[:, None])
        return torch.cat(found, 1).view(len(c), draws, -1)

    return draw


def flow(special: Rows, general: Rows | None, generator: torch.Generator, keep: Keep) -> Sampler:
    """A conditional neural spline flow; with general rows it is fine-tuned from one of these.

    Of the general rows a tenth says which epoch to keep. A network without the last fourth of the
    special rows says how many epochs a network of all of them is trained.

    Notes
    -----
    Durkan et al. (2019), "Neural spline flows"; the implementation is that of the package zuko.
    """
    import zuko

    (y, c), seed = special, int(torch.randint(2**31, (), generator=generator))
    with torch.random.fork_rng(devices=[]):  # its weights come from the global generator
        torch.manual_seed(seed)
        network = zuko.flows.NSF(y.shape[1], c.shape[1], transforms=3, hidden_features=(64, 64))

    def start() -> Tensors:
        assert general is not None
        (many, given), cut = general, len(general[0]) // 10
        own = torch.Generator().manual_seed(seed)
        learn, judge = (many[cut:], given[cut:]), (many[:cut], given[:cut])
        _trained(network, learn, GENERAL_EPOCHS, GENERAL_BATCH, own, judge)
        return dict(network.state_dict())

    if general is not None:
        network.load_state_dict(keep("flow", start))
    learn, judge = [*_parts(special)][-1]
    best = _trained(copy.deepcopy(network), learn, EPOCHS, BATCH, generator, judge)
    _trained(network, special, best, BATCH, generator)

    def draw(c: Tensor, draws: int, generator: torch.Generator) -> Tensor:
        noise = torch.randn(draws, len(c), y.shape[1], generator=generator)
        with torch.no_grad(), one_thread():
            found: Tensor = network(c).transform.inv(noise)
        return found.transpose(0, 1)

    return draw


def _trained(
    network: Any,
    rows: Rows,
    epochs: int,
    batch: int,
    generator: torch.Generator,
    judge: Rows | None = None,
) -> int:
    """Train a flow in place; with rows that judge, to its best epoch. The number of epochs."""
    (y, c), best, state, least = rows, epochs, None, math.inf
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    for epoch in range(epochs):
        with one_thread():
            for some in torch.randperm(len(y), generator=generator).split(batch):
                optimiser.zero_grad()
                loss = -network(c[some]).log_prob(y[some]).mean()
                loss.backward()
                optimiser.step()
            if judge is None:
                continue
            with torch.no_grad():
                now = -float(network(judge[1]).log_prob(judge[0]).mean())
        if now < least:
            best, least, state = epoch + 1, now, copy.deepcopy(network.state_dict())
        if epoch + 1 - best >= PATIENCE:
            break
    if state is not None:
        network.load_state_dict(state)
    return best


PEERS: dict[str, tuple[Callable[..., Sampler], bool]] = {
    "neighbours": (neighbours, False),
    "neighbours_all": (neighbours, True),
    "boosted": (boosted, False),
    "boosted_all": (boosted, True),
    "flow": (flow, False),
    "flow_finetuned": (flow, True),
}
"""What makes a sampler of special rows, and whether general rows are given to it, too."""
