"""Laws of denoisers."""

from __future__ import annotations

import torch
from torch import Tensor

from dualdiff.checks.report import Law, Report, close, report
from dualdiff.denoisers import Denoiser, device_of, evaluating
from dualdiff.denoisers import check_denoiser as refuse_others

ROWS = 64


def check_denoiser(denoiser: Denoiser, generator: torch.Generator) -> Report:
    """The laws of a :class:`~dualdiff.denoisers.Denoiser`, in evaluation mode.

    The noise has the shape and type of y and is finite from the first step to the last; bound is as
    called; a batch is its rows one by one, also where each has a step of its own; the same call
    gives the same noise; and where there is a ``log_density`` the noise is its gradient. The
    generator draws the points at which it is asked; what is no Denoiser or has no process is
    refused. Arguments, report and errors: :mod:`dualdiff.checks`.
    """
    refuse_others("denoiser", denoiser)
    with evaluating([denoiser]):
        return report(denoiser, laws(denoiser, generator))


def laws(denoiser: Denoiser, generator: torch.Generator) -> dict[str, Law]:
    """The laws by their sentences."""
    process = denoiser.process
    y, c = (
        torch.randn(ROWS, d, generator=generator, dtype=torch.float32).to(device_of([denoiser]))
        for d in (process.dy, process.dc)
    )
    last = process.steps - 1
    steps = sorted({0, min(1, last), process.steps // 2, last})
    fine = y.device.type == "cpu"  # elsewhere products of matrices may be rounded more

    @torch.no_grad()
    def eps(
        rows: slice = slice(None), t: int | Tensor = 0, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        found: Tensor = denoiser(y[rows].to(dtype), t, c[rows])
        return found

    def form() -> tuple[bool, str]:
        found = [eps(t=t) for t in steps]
        whole = all(bool(e.isfinite().all()) and e.shape == y.shape for e in found)
        return whole, f"steps {', '.join(map(str, steps))}, shape {list(found[0].shape)}"

    def kinds() -> tuple[bool, str]:
        single, double = (eps(t=steps[-1], dtype=d) for d in (y.dtype, torch.float64))
        near, seen = close(double.float(), single.float(), 1e-3)
        return near and single.dtype == y.dtype, f"{single.dtype} for {y.dtype}, {seen}"

    def bound() -> tuple[bool, str]:
        predict = denoiser.bind(c)
        found = torch.stack([predict(y, t).clone() for t in steps * 2])
        return close(found, torch.stack([eps(t=t) for t in steps * 2]), 2e-5 if fine else 1e-4)

    def rows() -> tuple[bool, str]:
        t = [*(i * last // 7 for i in range(8)), *steps]  # in no order, some of them twice
        first = slice(len(t))
        alone = torch.cat([eps(slice(i, i + 1), k) for i, k in enumerate(t)])
        found = [eps(first, torch.tensor(t)), *(eps(first, k)[i : i + 1] for i, k in enumerate(t))]
        return close(torch.cat(found), alone.repeat(2, 1), 1e-5 if fine else 1e-3)

    def repeats() -> tuple[bool, str]:
        return close(eps(t=steps[-1]), eps(t=steps[-1]), 0.0)

    def gradient() -> tuple[bool, str]:
        worst, tolerance = 0.0, 1e-3
        for t in steps:
            x, z = y.double().requires_grad_(), c.double()
            with torch.enable_grad():
                total = denoiser.log_density(x, t, z).sum()  # type: ignore[operator]
                (score,) = torch.autograd.grad(total, x)
            found = denoiser(x.detach(), t, z).detach()
            gap = (found + process.noise(t) * score).abs() / found.abs().clamp(min=1)
            worst = max(worst, float(gap.max()))
        return worst <= tolerance, f"largest difference {worst:.1e}, allowed {tolerance:.0e}"

    found: dict[str, Law] = {
        "the noise is finite and has the shape of y, from the first step to the last": form,
        "the noise has the type of y, and one value in all types": kinds,
        "bound to its conditions it is the same function": bound,
        "a batch is its rows one by one, also with a step for each row": rows,
        "the same call gives the same noise": repeats,
    }
    if hasattr(denoiser, "log_density"):
        found["the noise is minus sigma times the gradient of the log density"] = gradient
    return found
