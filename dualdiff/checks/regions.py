"""Laws of regions."""

from __future__ import annotations

import torch
from scipy import stats
from torch import Tensor

from dualdiff.checks.report import ERRORS, Report, report
from dualdiff.regions import ATOL, Region

PER_CELL = 600  # draws in a cell of a region, in the mean
AT_MOST = 80_000  # draws in all


def check_region(region: Region, generator: torch.Generator) -> Report:
    """The laws of a :class:`~dualdiff.regions.Region`.

    What it draws is inside and has a cell, cells hold equal mass, distances are zero inside alone,
    never beyond the nearest draw and change no faster than the point moves, the region moves with
    its condition, moments, frame and outlines are those of the draws, and a seed gives the same
    draws. Arguments and report: :mod:`dualdiff.checks`.
    """
    n = min(max(2_000, PER_CELL * region.n_cells), AT_MOST)
    c = 4 * torch.rand(n, region.dc, generator=generator) - 2
    seed = int(torch.randint(2**31, (1,), generator=generator))

    def draws(k: int = 0) -> Tensor:
        return region.draw(c, torch.Generator(generator.device).manual_seed(seed + k))

    y = draws()
    low, high = (torch.tensor(v) for v in region.frame())
    size = float((high - low).max())
    few = c[:300]
    far = y[:300] + size * torch.randn(y[:300].shape, generator=generator)

    def contained() -> tuple[bool, str]:
        share = float(region.contains(y, c).double().mean())
        return share == 1, f"{share:.2%} of {n:,} draws are inside"

    def outside() -> tuple[bool, str]:
        beyond = region.anchor(few) + high + 10 * size + 1
        least = float(region.distance(beyond, few).min())
        missed = bool((region.cells(beyond, few) == -1).all())
        return least >= size and missed, f"at least {least:.3g}, size {size:.3g}"

    def nearest() -> tuple[bool, str]:
        offsets, held = region.offsets(far, few), region.offsets(y, c)
        excess = float((region.distance(far, few) - torch.cdist(offsets, held).amin(1)).max())
        return excess <= 10 * ATOL * (1 + size), f"by at most {excess:.1e} farther"

    def smooth() -> tuple[bool, str]:
        step = 0.1 * size * torch.randn(far.shape, generator=generator)
        change = (region.distance(far + step, few) - region.distance(far, few)).abs()
        worst = float((change / step.norm(dim=1)).max())
        return worst <= 1 + 1e-3, f"at most {worst:.3f} times the way"

    def masses() -> tuple[bool, str]:
        cells = region.cells(y, c)
        counts = torch.bincount(cells.clamp(min=0), minlength=region.n_cells).double()
        if int(cells.min()) < 0 or len(counts) > region.n_cells:
            return False, f"cells from {int(cells.min())} to {int(cells.max())}"
        chance = float(stats.chisquare(counts.numpy()).pvalue) if len(counts) > 1 else 0.5
        # Too even would be as wrong as too uneven: no independent draws.
        return 1e-6 < chance < 1 - 1e-6, f"chi-square over {len(counts)} cells, p = {chance:.2g}"

    def moves() -> tuple[bool, str]:
        # An anchor may turn a condition into anything: offsets are what moves with it.
        other = few + 0.5
        there = region.anchor(other) + region.offsets(far, few)
        gap = (region.distance(there, other) - region.distance(far, few)).abs().max()
        return float(gap) <= 1e-4 * (1 + size), f"distances differ by at most {float(gap):.1e}"

    def moments() -> tuple[bool, str]:
        u = region.offsets(y, c).double()
        (mean, covariance), away = region.moments(), u - u.mean(0)
        products = away.unsqueeze(2) * away.unsqueeze(1)
        # Moments may come from draws themselves, so they have an error of their own.
        room = ERRORS * (1 / n + 1 / 20_000) ** 0.5
        off_mean = (u.mean(0) - mean).abs() - room * covariance.diag().sqrt()
        off_spread = (products.mean(0) - covariance).abs() - room * products.std(0)
        worst = max(float(off_mean.max()), float(off_spread.max()))
        return worst <= 1e-5 * (1 + size), f"mean {[round(v, 3) for v in mean.tolist()]}"

    def framed() -> tuple[bool, str]:
        u, room = region.offsets(y, c), 0.02 * size + 1e-4
        holds = bool(((u >= low - room) & (u <= high + room)).all())
        tight = bool(((u.amin(0) - low <= 0.2 * size) & (high - u.amax(0) <= 0.2 * size)).all())
        if region.dim in (2, 3):
            lines, seen = torch.cat(region.outlines()), torch.stack([low, high])[:, :2]
            ends = torch.stack([lines.amin(0), lines.amax(0)])
            tight = tight and float((ends - seen).abs().max()) <= 0.05 * size
        return holds and tight, f"corners {low.tolist()} and {high.tolist()}"

    def repeats() -> tuple[bool, str]:
        same, other = torch.equal(draws(), y), torch.equal(draws(1), y)
        return same and not other, f"the same again: {same}, with another seed: {other}"

    return report(
        region,
        {
            "what is drawn is inside": contained,
            "a point far away has a positive distance and no cell": outside,
            "the distance is never more than that to the nearest draw": nearest,
            "the distance changes no more than the point moves": smooth,
            "cells have equal mass": masses,
            "the region moves with its condition": moves,
            "moments are those of the draws": moments,
            "frame and outlines are those of the draws": framed,
            "the same seed gives the same draws, another one others": repeats,
        },
    )
