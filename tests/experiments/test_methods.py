"""Laws of every way to sample several models at once."""

import math

import pytest
import torch
from conftest import Quick, generator, line
from torch import Tensor

from dualdiff.correct import Corrected
from dualdiff.denoisers import Denoiser, Predict
from dualdiff.experiments.aggregate import amdm
from dualdiff.experiments.methods import METHODS, Sample, on_states
from dualdiff.process import Process
from dualdiff.samplers import DDPM

PROCESS = Process.log_snr(45, dy=1, dc=1)  # AMDM aggregates over 40 steps
GENERAL = line(PROCESS, (0.7, -0.5, 0.4), (0.3, 1.0, 0.2))
SPECIALISED = line(PROCESS, (1.0, 0.4, 0.3))
ALL = pytest.mark.parametrize("name", METHODS)


def method(name: str, general: Denoiser = GENERAL, specialised: Denoiser = SPECIALISED) -> Sample:
    return METHODS[name].make({"general": general, "specialised": specialised})


class Counting(Denoiser):
    """A member that counts what it is asked."""

    def __init__(self, member: Denoiser) -> None:
        super().__init__()
        self.process, self.member, self.calls = member.process, member, 0

    def forward(self, y: Tensor, t: int | Tensor, c: Tensor) -> Tensor:
        self.calls += 1
        return self.member(y, t, c)

    def _bind(self, c: Tensor) -> Predict:
        predict = self.member.bind(c)

        def counted(y: Tensor, t: int) -> Tensor:
            self.calls += 1
            return predict(y, t)

        return counted


class Broken(Quick):
    def _bind(self, c: Tensor) -> Predict:
        return lambda y, t: y * math.nan


@ALL
def test_chunks_change_no_sample(name: str) -> None:
    c = torch.linspace(-2, 2, 22).unsqueeze(1)
    one, other = (method(name)(c, generator(1), draws=50, chunk=chunk) for chunk in (1, 10**6))
    assert one.samples.shape == (22, 50, 1)  # more than a block of noise
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    assert one.samples[0, 0] != one.samples[0, 1]
    moved = method(name)(c, generator(2), draws=50, chunk=10**6)
    assert not torch.allclose(moved.samples, other.samples, atol=1e-2)


@ALL
def test_shapes_of_what_was_seen(name: str) -> None:
    run = method(name)(torch.zeros(3, 1), generator(2), draws=100)
    groups = 100 // METHODS[name].group
    assert run.samples.shape == (3, 100, 1)
    assert run.log_weights.shape == run.accepted.shape == run.disagreement.shape == (3, 100)
    assert run.unique.shape == (3, groups) and run.effective.shape[:2] == (3, groups)
    for share in (run.unique, run.effective, run.accepted):
        assert ((share > 0) & (share <= 1 + 1e-5)).all()
    assert not run.log_weights.any()  # every method gives samples that need no weights


@ALL
def test_progress_counts_every_sample_and_calls_every_network(name: str) -> None:
    seen: list[int] = []
    members = [Counting(GENERAL), Counting(SPECIALISED)]
    c = torch.zeros(2, 1)
    run = method(name, *members)(c, generator(3), draws=100, progress=seen.append)
    assert sum(seen) == 200
    assert run.calls == sum(member.calls for member in members) > 0  # one chunk
    seen.clear()
    c = torch.zeros(22, 1)
    many = method(name, *members)(c, generator(3), draws=50, chunk=1, progress=seen.append)
    assert sum(seen) == 22 * 50 and len(seen) == 2
    assert many.calls == run.calls  # per sample, whatever the number of chunks


@ALL
def test_conditions_do_not_mix(name: str) -> None:
    """The members' law is one of y - c: the samples of two far conditions stay at their own."""
    c = torch.tensor([[-20.0], [20.0], [-20.0]])
    run = method(name)(c, generator(4), draws=100)
    offsets = run.samples - c.unsqueeze(1)
    assert offsets.abs().max() < 6
    for row in offsets[:, :, 0]:  # about where both members agree
        assert row.std() > 0.05 and -0.7 < row.mean() < 0.9


@ALL
def test_fewer_steps_are_passed_on(name: str) -> None:
    options = {"sampler": DDPM(42), "draws": 50}
    members = [Counting(GENERAL), Counting(SPECIALISED)]
    run = method(name, *members)(torch.zeros(1, 1), generator(5), **options)
    full = method(name)(torch.zeros(1, 1), generator(5), draws=50)
    assert run.calls == sum(member.calls for member in members) < full.calls
    with pytest.raises(ValueError, match="sampler must be DDPM with variance 'beta'"):
        method(name)(torch.zeros(1, 1), generator(5), sampler=DDPM(variance="posterior"), draws=50)


@ALL
@pytest.mark.parametrize("which", [0, 1])
def test_members_that_diverge_are_reported(name: str, which: int) -> None:
    members = [GENERAL, SPECIALISED]
    members[which] = Broken(PROCESS, [1], [[0.0]], [[[1.0]]])
    with pytest.raises(FloatingPointError, match="not finite: a member diverges"):
        method(name, *members)(torch.zeros(2, 1), generator(6), draws=50)


@ALL
def test_bad_requests_are_refused(name: str) -> None:
    for c in (torch.tensor([[0.0], [math.nan]]), torch.tensor([[math.inf]])):
        with pytest.raises(ValueError, match="conditions must be finite"):
            method(name)(c, generator(), draws=50)
    with pytest.raises(ValueError, match=r"conditions must have shape \[n >= 1, 1\]"):
        method(name)(torch.zeros(2, 3), generator(), draws=50)
    with pytest.raises(ValueError, match="draws must be at least 1, not 0"):
        method(name)(torch.zeros(2, 1), generator(), draws=0)
    with pytest.raises(ValueError, match="chunk must be at least 1, not 0"):
        method(name)(torch.zeros(2, 1), generator(), draws=50, chunk=0)
    if METHODS[name].group > 1:
        with pytest.raises(ValueError, match="multiple of the group size 50, not 7"):
            method(name)(torch.zeros(2, 1), generator(), draws=7)


@ALL
def test_members_of_different_processes_are_refused(name: str) -> None:
    other = line(Process.log_snr(45, high=10, dy=1, dc=1), (1.0, 0.0, 1.0))
    with pytest.raises(ValueError, match="cannot compose .* noise schedules"):
        method(name, other)(torch.zeros(1, 1), generator(), draws=50)


def test_corrected_methods_come_nearer_to_the_product() -> None:
    """Two Gaussians: the sum's variance is too small, what is corrected is near the product's."""
    process = Process.log_snr(60, 8, -8, dy=1, dc=1)
    members = line(process, (1.0, -0.5, 0.8)), line(process, (1.0, 0.5, 0.6))
    truth = 1 / (1 / 0.8 + 1 / 0.6)
    variance = {}
    for name in ("sum", "narrow", "smc", "rne", "mala", "hmc", "ula", "smc_mala"):
        run = method(name, *members)(torch.zeros(1, 1), generator(7), draws=2000)
        variance[name] = abs(float(run.samples.double().var()) - truth)
    worst = max(variance[name] for name in variance if name not in ("sum", "narrow"))
    assert worst < min(variance["sum"], variance["narrow"])


# --- several members by name ---------------------------------------------------------------------

COARSE = Process.log_snr(60, 8, -8, dy=1, dc=1)
LAWS = {"world": (-0.5, 0.9), "home": (0.5, 0.6), "walls": (0.1, 0.7)}  # means and variances
THREE = {name: line(COARSE, (1.0, *law)) for name, law in LAWS.items()}


def drawn(name: str, members: dict[str, Denoiser], draws: int = 100) -> Corrected:
    return METHODS[name].make(members)(torch.zeros(1, 1), generator(8), draws=draws)


@ALL
def test_names_are_only_names_and_every_member_is_asked(name: str) -> None:
    counted = {key: Counting(member) for key, member in THREE.items()}
    run = drawn(name, counted)
    assert all(member.calls for member in counted.values())
    assert run.calls == sum(member.calls for member in counted.values())
    renamed = drawn(name, dict(zip("xyz", THREE.values(), strict=True)))
    assert torch.equal(run.samples, renamed.samples)


@ALL
def test_order_matters_to_amdm_alone(name: str) -> None:
    forth, back = drawn(name, THREE), drawn(name, dict(reversed(THREE.items())))
    same = torch.allclose(forth.samples, back.samples, rtol=1e-4, atol=1e-4)
    assert same == (name != "amdm")


def test_the_last_member_leads_where_states_are_composed() -> None:
    alone = on_states(amdm, aggregated=0)
    c, last = torch.zeros(1, 1), {"walls": THREE["walls"]}
    leads, expected = (alone(m)(c, generator(9), draws=50).samples for m in (THREE, last))
    assert torch.equal(leads, expected)


@pytest.mark.parametrize("name", ["smc", "rne", "mala", "hmc", "ula", "smc_mala"])
def test_corrected_methods_come_nearer_to_the_product_of_three(name: str) -> None:
    precision = sum(1 / variance for _, variance in LAWS.values())
    mean = sum(mean / variance for mean, variance in LAWS.values()) / precision
    plain, run = drawn("sum", THREE, 2000), drawn(name, THREE, 2000)
    n = 2000 * float(run.unique.mean())  # copies in a group add nothing
    too_narrow, left = (abs(float(r.samples.double().var()) * precision - 1) for r in (plain, run))
    assert left < too_narrow - 2 * math.sqrt(2 / n)
    assert abs(float(run.samples.double().mean()) - mean) < 4 * math.sqrt(1 / precision / n)
