"""Samplers against diffusers, against exact laws, and their order of convergence."""

import inspect
import math
import subprocess
import sys
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import (
    ASYMMETRIC_MIXTURE,
    KINDS_OF_ROWS,
    containers,
    default_dtype,
    generator,
    line,
    mixture,
    needs_cuda,
)
from diffusers.schedulers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from scipy import stats
from torch import nn

from dualdiff import metrics
from dualdiff.checks import check_sampler
from dualdiff.chunks import BLOCK, Streams, chunked, parts_for
from dualdiff.compose import Weighted, joint
from dualdiff.denoisers import Denoiser
from dualdiff.exact import ExactBox, exact_denoiser
from dualdiff.experiments.scenarios import BOOK, make_scenario
from dualdiff.networks import MLP, Architecture
from dualdiff.process import Process, transition
from dualdiff.regions import Disc
from dualdiff.samplers import (
    DDIM,
    DDPM,
    SAMPLERS,
    CollapseWarning,
    DPMSolverPP,
    Sampler,
    State,
    sample,
    trajectory,
)

PROCESS = Process.linear(100)
BETAS = PROCESS.beta.float().numpy()
Y, EPS, NOISE, C = torch.randn(4, 16, 3, generator=generator(1))


def ours(sampler: Sampler, t: int, following: int, memory: object = None) -> State:
    """One step of ours with a fixed noise prediction and fixed noise."""
    return sampler.step(PROCESS, lambda y, t: EPS, State(Y, t, memory), following, lambda: NOISE)


def theirs(scheduler, t: int, monkeypatch, **options) -> torch.Tensor:  # type: ignore[no-untyped-def]
    """One step of diffusers with the same noise."""
    for module in ("ddpm", "ddim"):
        path = f"diffusers.schedulers.scheduling_{module}.randn_tensor"
        monkeypatch.setattr(path, lambda shape, **_: NOISE)
    return scheduler.step(EPS, t, Y, **options).prev_sample


@pytest.mark.parametrize("t", [99, 50, 1, 0])
@pytest.mark.parametrize(
    ("variance", "name"), [("beta", "fixed_large"), ("posterior", "fixed_small")]
)
def test_ddpm_step_equals_diffusers(t, variance, name, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    scheduler = DDPMScheduler(100, trained_betas=BETAS, variance_type=name, clip_sample=False)
    expected = theirs(scheduler, t, monkeypatch)
    torch.testing.assert_close(
        ours(DDPM(variance=variance), t, t - 1).y, expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("t", [90, 50, 0])
def test_ddim_step_equals_diffusers(t, eta, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    scheduler = DDIMScheduler(100, trained_betas=BETAS, clip_sample=False, set_alpha_to_one=True)
    scheduler.set_timesteps(10)  # steps of ten
    expected = theirs(scheduler, t, monkeypatch, eta=eta)
    following = t - 10 if t >= 10 else -1
    torch.testing.assert_close(ours(DDIM(eta=eta), t, following).y, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # inside diffusers
@pytest.mark.parametrize("steps", [5, 20, 100])
def test_dpm_solver_chain_equals_diffusers(steps: int) -> None:
    """A whole chain with a state-dependent prediction, because the method has a memory."""

    def predict(y: torch.Tensor, t: int) -> torch.Tensor:
        return torch.sin(y + 0.01 * t)

    sampler = DPMSolverPP(steps)
    visited = sampler.timesteps(PROCESS)
    scheduler = DPMSolverMultistepScheduler(
        100,
        trained_betas=BETAS,
        algorithm_type="dpmsolver++",
        solver_order=2,
        final_sigmas_type="zero",
    )
    scheduler.set_timesteps(timesteps=visited)
    state, expected = State(Y, visited[0]), Y
    for following, t in zip([*visited[1:], -1], scheduler.timesteps, strict=True):
        state = sampler.step(PROCESS, predict, state, following, lambda: NOISE)
        expected = scheduler.step(predict(expected, int(t)), t, expected).prev_sample
        torch.testing.assert_close(
            state.y, expected, rtol=2e-3, atol=2e-4
        )  # float32 schedule there


@pytest.mark.parametrize("name", SAMPLERS)
def test_timesteps_run_down_to_zero(name: str) -> None:
    """As many as are asked for."""
    for count in (None, 1, 7, 100):
        visited = SAMPLERS[name](count).timesteps(PROCESS)
        assert visited[0] == 99 and len(visited) == (count or 100)
        assert all(a > b for a, b in pairwise(visited))
        assert count == 1 or visited[-1] == 0


# --- exact laws ---------------------------------------------------------------------------------

VARIANTS = [DDPM(100), DDPM(50, "posterior"), DDIM(50, eta=0.5)]


@pytest.mark.parametrize("sampler", [*VARIANTS, *(s(50) for s in SAMPLERS.values())], ids=str)
def test_samplers_keep_the_laws(sampler: Sampler) -> None:
    check_sampler(sampler, generator()).raise_if_failed()


def test_mixture_moments() -> None:
    """DDPM on an exact asymmetric mixture: mean and covariance within standard errors + bias.

    The discretisation bias is measured, not guessed: it must halve (at least) as T doubles.
    """
    weights, means, covariances = (np.array(v) for v in ASYMMETRIC_MIXTURE.values())
    mean = weights @ means
    second = sum(
        w * (s + np.outer(m, m)) for w, m, s in zip(weights, means, covariances, strict=True)
    )
    covariance = second - np.outer(mean, mean)
    n = 20_000
    errors = []
    for steps in (50, 100, 200):
        process = Process.log_snr(steps, high=10, low=-8)
        y = sample(mixture(process), torch.zeros(n, 3), generator(2))[:, 0].double().numpy()
        errors.append(np.abs(np.cov(y.T) - covariance).max())
        centred = y - mean
        mean_se = centred.std(0) / math.sqrt(n)
        products = centred[:, :, None] * centred[:, None, :]
        cov_se = (products.std(0) / math.sqrt(n)).max()
        assert (np.abs(y.mean(0) - mean) < 4 * mean_se + 2 / steps).all()
        assert errors[-1] < 4 * cov_se + 8 / steps
    noise_of_errors = 4 * cov_se
    assert errors[1] < 0.6 * errors[0] + noise_of_errors
    assert errors[2] < 0.6 * errors[1] + noise_of_errors


def _distance_to_law(name: str, steps: int, n: int) -> tuple[float, float]:
    """Total variation of DDPM samples with exact scores, and its floor."""
    scenario = make_scenario(name)
    denoiser = exact_denoiser(scenario.specialised, Process.linear(steps, 0.1 / steps, 20 / steps))
    c = scenario.conditions(n, generator(3))
    y = sample(denoiser, c, generator(4))
    estimate = metrics.total_variation(y, c, scenario.specialised, generator(5))
    assert metrics.accuracy(y, c, scenario.specialised).value >= 0.99
    floor = metrics.total_variation_floor(n, scenario.specialised.n_cells)
    return estimate.value - floor, (estimate.high - estimate.low) / 2


@pytest.mark.parametrize("name", BOOK)
def test_box_and_disc_occupancy(name: str) -> None:
    """Occupancy of equal-mass cells: excess over the sampling floor vanishes as T doubles."""
    coarse, _ = _distance_to_law(name, 50, 20_000)
    fine, error = _distance_to_law(name, 200, 20_000)
    assert fine < coarse / 2 + 1.5 * error  # two doublings of T
    assert fine < 0.02 + 1.5 * error


def test_the_plain_sum_with_exact_scores_is_accurate_and_wrong() -> None:
    """What chapter 1 shows, as a law of the module: accuracy 1, total variation near 0.30."""
    scenario = make_scenario("cabinet")
    general, specialised = (
        exact_denoiser(r, PROCESS) for r in (scenario.general, scenario.specialised)
    )
    c = scenario.conditions(2_000, generator(6))
    scores = {}
    for label, denoiser in (("sum", joint(general, specialised)), ("exact", specialised)):
        y = sample(denoiser, c, generator(7), draws=10)
        assert metrics.accuracy(y, c, scenario.specialised).value >= 0.99
        scores[label] = metrics.total_variation(y, c, scenario.specialised, generator(8))
    assert 0.25 < scores["sum"].low < scores["sum"].high < 0.33
    assert scores["exact"].value < 1.3 * metrics.total_variation_floor(20_000, 125)


@pytest.mark.parametrize(("sampler", "order"), [(DDIM, 1), (DPMSolverPP, 2)])
def test_order_of_convergence(sampler: type[Sampler], order: int) -> None:
    """Slope of log error against log step count, on a process linear in log-SNR."""
    process = Process.log_snr(2048 * 3 + 1, high=6, low=-6)
    denoiser = mixture(process).double()
    start = torch.randn(64, 3, generator=generator(9), dtype=torch.float64)
    condition = torch.zeros(64, 3, dtype=torch.float64)

    def end(count: int) -> torch.Tensor:
        """The state at t = 0, before the last step to clean data that all counts share."""
        rule = sampler(count + 1)
        visited = rule.timesteps(process)
        state = State(start, visited[0])
        for following in visited[1:]:
            state = rule.step(
                process, lambda y, t: denoiser(y, t, condition), state, following, lambda: start
            )
        return state.y

    reference = end(1536)
    counts = [24, 48, 96]
    errors = [float((end(count) - reference).norm()) for count in counts]
    slope = stats.linregress(np.log(counts), np.log(errors)).slope
    assert slope == pytest.approx(-order, abs=0.25)


# --- the loop -----------------------------------------------------------------------------------


def network() -> Denoiser:
    return MLP(PROCESS, Architecture(16, 1), generator(10))


@pytest.mark.parametrize("name", SAMPLERS)
def test_chunk_size_changes_no_sample(name: str) -> None:
    n = 2 * BLOCK + 77
    c = torch.randn(n, 3, generator=generator(11))
    sampler = SAMPLERS[name](10)
    runs = [
        sample(network(), c, generator(12), sampler=sampler, chunk=chunk)
        for chunk in (1, BLOCK, 2 * BLOCK, 10**6)
    ]
    for other in runs[1:]:
        # The same numbers up to the order of additions in matrix products.
        torch.testing.assert_close(other, runs[0], rtol=1e-4, atol=1e-4)
    assert not torch.equal(sample(network(), c, generator(13), sampler=sampler), runs[0])


def test_draws_repeat_the_condition_and_the_generator_moves_on() -> None:
    c = torch.randn(30, 3, generator=generator(14))
    source = generator(15)
    first = sample(network(), c, source, draws=7)
    assert first.shape == (30, 7, 3)
    flat = sample(network(), c.repeat_interleave(7, 0), generator(15))
    torch.testing.assert_close(flat.reshape(30, 7, 3), first)
    assert not torch.equal(sample(network(), c, source, draws=7), first)


def test_trajectory_ends_in_the_samples() -> None:
    c = torch.randn(20, 3, generator=generator(16))
    steps, states = trajectory(network(), c, generator(17))
    assert steps == [*range(99, -2, -1)]
    assert states.shape == (101, 20, 3)
    end = sample(network(), c, generator(17))[:, 0]
    torch.testing.assert_close(PROCESS.decode_y(states[-1]), end)


def test_start_spread() -> None:
    _, wide = trajectory(network(), torch.zeros(5000, 3), generator(18), start_std=2.0)
    error = (wide[0].std() - 2).abs() / (2 / math.sqrt(2 * wide[0].numel()))
    assert error < 4


def request(**options: object) -> torch.Tensor:
    arguments = {"denoiser": small("network"), "c": torch.zeros(4, 3), **options}
    return sample(**arguments, generator=generator())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: request(c=torch.zeros(0, 3)), r"shape \[n >= 1, 3\]"),
        (lambda: request(c=torch.zeros(4, 2)), r"shape \[n >= 1, 3\]"),
        (lambda: request(c=torch.full((4, 3), math.nan)), "must be finite"),
        (lambda: request(draws=0), "draws must be at least 1, not 0"),
        (lambda: request(chunk=0), "chunk must be at least 1, not 0"),
        (lambda: request(start_std=0.0), "start_std must be positive"),
        (lambda: request(sampler=DDIM(9)), "at most the 8 timesteps"),
        (lambda: request(denoiser=lambda y, t, c: y), "not a Denoiser: make it a subclass"),
        (lambda: request(denoiser=nn.Linear(3, 3, device="meta")), "not a Denoiser"),
        (
            lambda: request(denoiser=joint(small("network"), small("network").to("meta"))),
            "denoisers are on cpu and meta",
        ),
        (lambda: DDPM(0), "steps must be at least 1"),
        (lambda: DDPM(variance="large"), "'large'"),  # type: ignore[arg-type]
        (lambda: DDIM(eta=1.5), "eta must be between 0 and 1"),
    ],
)
def test_bad_values_are_named(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("what", ["box", "disc", "mixture"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_diverging_partner_of_an_exact_member_is_reported(what: str, bad: float) -> None:
    class Diverging(Denoiser):
        process = PROCESS

        def forward(self, y, t, c):  # type: ignore[no-untyped-def]
            return y * bad

    exact = {
        "box": ExactBox(PROCESS, (-1.0,) * 3, (1.0,) * 3),
        "disc": exact_denoiser(Disc(1.0, (0.0, 0.0), 0.0), PROCESS),
        "mixture": mixture(PROCESS),
    }[what]
    rule = Weighted({"exact": exact, "bad": Diverging()}, {"exact": 0.5, "bad": 0.5})
    with pytest.raises(FloatingPointError, match="not finite"):
        sample(rule, torch.zeros(5, 3), generator())


def test_a_million_joint_samples_fit_in_one_and_a_half_gigabytes() -> None:
    """Peak memory of a process of its own, torch included; it does not grow with the steps."""
    program = """
import resource, sys, torch
from pathlib import Path
torch.set_num_threads(1)
from dualdiff.chunks import BLOCK, Streams, chunked, parts_for
from dualdiff.compose import joint
from dualdiff.networks import MLP, Architecture
from dualdiff.process import Process, transition
from dualdiff.samplers import DDPM, sample
process = Process.linear()
pair = [MLP(process, Architecture(), torch.Generator().manual_seed(s)) for s in (1, 2)]
c = torch.rand(100_000, 3, generator=torch.Generator().manual_seed(3))
y = sample(joint(*pair), c, torch.Generator().manual_seed(4), sampler=DDPM(3), draws=10)
assert y.shape == (100_000, 10, 3)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
status = Path("/proc/self/status")
if status.exists():  # on Linux the number above may be that of the process that started this one
    peak = int(status.read_text().split("VmHWM:")[1].split()[0])
print(peak * (1 if sys.platform == "darwin" else 1024))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 1.5e9


def test_the_number_of_threads_changes_no_sample_and_progress_counts_every_one() -> None:
    c = torch.randn(2500, 3, generator=generator(19))
    alone = sample(network(), c, generator(20), chunk=1000)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        seen: list[int] = []
        together = sample(network(), c, generator(20), chunk=1000, progress=seen.append)
        assert torch.get_num_threads() == 3  # as it was
        with pytest.raises(ZeroDivisionError):  # also after an error in the middle
            sample(network(), c, generator(20), chunk=1000, progress=lambda n: 1 // 0)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert torch.equal(alone, together)
    assert sorted(seen) == [452, BLOCK, BLOCK]


@pytest.mark.parametrize("n", [1, 3, BLOCK, BLOCK + 1, 3 * BLOCK - 5, 9 * BLOCK])
@pytest.mark.parametrize("threads", [2, 3])
def test_parts_of_blocks_are_the_samples_of_whole_ones(n: int, threads: int) -> None:
    """Few blocks are cut, so that each thread has work; the noise is that of the whole block."""
    c = torch.randn(n, 3, generator=generator(22))
    whole = sample(network(), c, generator(23), sampler=DDPM(5), chunk=BLOCK)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        parts = parts_for(n, torch.device("cpu"))
        cut = sample(network(), c, generator(23), sampler=DDPM(5))
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(cut, whole, rtol=1e-4, atol=1e-4)
    blocks = math.ceil(n / BLOCK)
    assert parts == (1 if blocks % threads == 0 or blocks >= 4 * threads else threads)


@needs_cuda
def test_on_cuda_the_chunk_size_changes_no_sample() -> None:
    c = torch.randn(3 * BLOCK + 7, 3, generator=generator(24))
    there = network().to("cuda")
    runs = [sample(there, c, generator(25), sampler=DDPM(9), chunk=k) for k in (BLOCK, 10**6)]
    assert runs[0].is_cuda
    torch.testing.assert_close(*runs, rtol=1e-3, atol=1e-3)


# --- pieces shared with the correctors ----------------------------------------------------------


@pytest.mark.parametrize(("t", "following"), [(99, 98), (60, 37), (0, -1)])
def test_transition_is_the_forward_step_and_its_posterior(t: int, following: int) -> None:
    """y_t = sqrt(1 - beta) y_t' + sqrt(beta) z, and the mean that DDPM steps to."""
    step = transition(PROCESS, t, following)
    abar, before = PROCESS.alpha_bar_at(t), PROCESS.alpha_bar_at(following)
    assert (1 - step.beta) * before == pytest.approx(abar)
    expected = (Y - step.beta / math.sqrt(1 - abar) * EPS) / math.sqrt(1 - step.beta)
    kept = Y.clone()
    torch.testing.assert_close(step.mean(Y, EPS), expected)
    assert torch.equal(Y, kept)
    noise = math.sqrt(step.beta) * NOISE if following >= 0 else 0
    torch.testing.assert_close(ours(DDPM(), t, following).y, expected + noise)


def test_streams_do_not_depend_on_how_blocks_are_put_together() -> None:
    seeds = [11, 12, 13]
    together = Streams(seeds, 25, 2, torch.device("cpu"), block=10)
    sizes = zip(seeds, (10, 10, 5), strict=True)
    apart = [Streams([seed], n, 2, torch.device("cpu"), 10) for seed, n in sizes]
    for _ in range(3):  # normal and uniform numbers in turn, from one stream
        torch.testing.assert_close(together(), torch.cat([s() for s in apart]), rtol=0, atol=0)
        unit = together.uniform()
        assert torch.equal(unit, torch.cat([s.uniform() for s in apart]))
        assert ((unit >= 0) & (unit < 1)).all()
    first = together()
    kept = first.clone()
    assert not torch.equal(together(), first)
    assert torch.equal(first, kept)


def test_chunks_are_whole_blocks_of_any_size() -> None:
    c = torch.arange(7.0).unsqueeze(1).expand(-1, 3)
    pieces = list(chunked([network()], c, generator(21), 10, 25, block=20))
    assert [(place.start, place.stop) for place, *_ in pieces] == [(0, 40), (40, 70)]
    conditions = torch.cat([condition for _, condition, _ in pieces])
    assert torch.equal(conditions, c.repeat_interleave(10, 0))
    whole = list(chunked([network()], c, generator(21), 10, 1000, block=20))
    normal = torch.cat([random() for *_, random in pieces])
    noise = whole[0][2]()
    assert torch.equal(normal, noise)
    cut = list(chunked([network()], c, generator(21), 10, 1000, block=20, parts=3))
    assert [(place.start, place.stop) for place, *_ in cut] == [(0, 24), (24, 48), (48, 70)]
    assert torch.equal(torch.cat([condition for _, condition, _ in cut]), conditions)
    assert torch.equal(torch.cat([random() for *_, random in cut]), noise)


# --- types, threads, modes ------------------------------------------------------------------------


def small(kind: str) -> Denoiser:
    """A denoiser of each kind in units that integers would spoil."""
    rows = torch.randn(2, 50, 3, generator=generator(31), dtype=torch.float32)
    rows = rows * torch.tensor([0.4, 3.0, 2.5], dtype=torch.float32) + 0.3
    units = Process.linear(8).standardised(*rows)
    net = MLP(units, Architecture(8, 1, preconditioned=True), generator(32))
    box = ExactBox(units, (-1.0, -0.5, 0.0), (0.0, 2.0, 0.5))
    return {"network": net, "box": box, "sum": joint(net, box)}[kind]


@pytest.mark.parametrize("kind", KINDS_OF_ROWS)
@pytest.mark.parametrize("what", ["network", "box", "sum"])
def test_conditions_of_any_type_give_the_same_samples(what: str, kind: str) -> None:
    denoiser = small(what)
    c = torch.randint(4, (5, 3), generator=generator(33)).float()
    expected = sample(denoiser, c, generator(34), draws=2)
    found = sample(denoiser, containers(c)[kind], generator(34), draws=2)  # type: ignore[arg-type]
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)
    _, states = trajectory(denoiser, containers(c)[kind], generator(34))  # type: ignore[arg-type]
    assert torch.equal(states, trajectory(denoiser, c, generator(34))[1])


MODES = {
    "inference": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "gradients": torch.enable_grad,
    "default float64": lambda: default_dtype(torch.float64),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", ["network", "box", "sum"])
def test_modes_of_torch_count_in_threads_as_here(what: str, mode: str) -> None:
    """And those that change no rounding change no sample."""
    c = torch.randn(2 * BLOCK + 1, 3, generator=generator(35))
    runs = []
    before = torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        try:
            with MODES[mode]():  # also what is made in the mode
                runs.append(sample(small(what), c, generator(36), chunk=BLOCK))
        finally:
            torch.set_num_threads(before)
    assert runs[0].dtype == runs[1].dtype == torch.float32
    assert torch.equal(*runs)
    plain = sample(small(what), c, generator(36), chunk=BLOCK)
    assert mode == "autocast" or torch.equal(runs[0], plain)


def test_noise_is_fresh_at_every_call() -> None:
    """A step that asks twice gets independent numbers: their sum has variance 2, theirs apart 1."""

    class Twice(DDPM):
        def step(self, process, predict, state, following, noise):  # type: ignore[no-untyped-def]
            first, second = noise(), noise()
            return State((first + second) / math.sqrt(2), following)

    n = 20_000
    c = torch.zeros(n, 3)
    y = sample(network(), c, generator(37), sampler=Twice(1)).flatten()
    assert abs(float(y.var()) - 1) < 4 * math.sqrt(2 / y.numel())


def test_sampling_is_in_evaluation_mode() -> None:
    net = small("network")
    net.layers[0] = nn.Sequential(net.layers[0], nn.Dropout(0.5))  # type: ignore[index, union-attr]
    c = torch.zeros(4, 3)
    with torch.random.fork_rng():
        runs = [sample(net, c, generator(38)), sample(net.eval(), c, generator(38))]
    assert torch.equal(*runs)
    assert not net.training
    sample(net.train(), c, generator(38))
    assert net.training


# --- ends of the schedule -------------------------------------------------------------------------


def test_a_thousand_steps_of_the_default_betas_sample_the_box() -> None:
    """The signal falls to 1e-24, where the box is a point beside the noise."""
    process = Process.linear(1000)
    box = ExactBox(process, (-1.0, -1.0, 0.0), (0.0, 1.0, 0.5))
    y = sample(box, torch.zeros(2000, 3), generator(40))[:, 0]
    width, middle = torch.tensor([1.0, 2.0, 0.5]), torch.tensor([-0.5, 0.0, 0.25])
    error = width / math.sqrt(12 * len(y))
    assert ((y.mean(0) - middle).abs() < 4 * error).all()


# --- weights that do not add up to one ------------------------------------------------------------


@pytest.mark.parametrize("sampler", [DDIM(), DPMSolverPP()])
def test_a_deterministic_sampler_collapses_where_weights_do_not_add_up_to_one(
    sampler: Sampler,
) -> None:
    """Members that are N(0, 1) at every step: the flow of total weight B ends with a variance of
    abar^(B - 1), here 3e-4, which the warning is about; with B = 1 it stays where it was."""
    process = Process.log_snr(100, dy=1, dc=1)
    unit = line(process, (1.0, 0.0, 1.0))
    c = torch.zeros(4000, 1)
    fine = Weighted({"a": unit, "b": unit}, {"a": 0.25, "b": 0.75})
    kept = float(sample(fine, c, generator(41), sampler=sampler).var())
    for rule in (joint(unit, unit), Weighted({"fine": fine}, {"fine": 2.0})):
        with pytest.warns(CollapseWarning, match="add up to 2"):
            narrow = float(sample(rule, c, generator(41), sampler=sampler).var())
        assert narrow < kept / 100
        sample(rule, c[:5], generator(41))  # no warning: fresh noise holds the variance
    nested = Weighted({"sum": joint(unit, unit)}, {"sum": 0.5})
    sample(nested, c[:5], generator(41), sampler=sampler)


def test_the_warning_of_a_collapse_points_at_the_line_of_the_caller() -> None:
    process = Process.linear(10, dy=1, dc=1)
    unit = line(process, (1.0, 0.0, 1.0))
    for call in (sample, trajectory):
        with pytest.warns(CollapseWarning) as caught:
            here = inspect.currentframe().f_lineno + 1  # type: ignore[union-attr]
            call(joint(unit, unit), torch.zeros(2, 1), generator(), sampler=DDIM())
        assert [(w.filename, w.lineno) for w in caught] == [(__file__, here)]


def test_no_collapse_is_foretold_of_a_rule_that_is_not_its_sum() -> None:
    class Mean(Weighted):
        def forward(self, y, t, c):  # type: ignore[no-untyped-def]
            return super().forward(y, t, c) / 2

    unit = line(Process.linear(10, dy=1, dc=1), (1.0, 0.0, 1.0))
    rule = Mean({"a": unit, "b": unit}, {"a": 1.0, "b": 1.0})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sample(rule, torch.zeros(2, 1), generator(), sampler=DDIM())


# --- starts -------------------------------------------------------------------------------------

LINE = Process.linear(50, dy=1, dc=1)
NORMAL = line(LINE, (1.0, 0.5, 0.3))
ZERO = torch.zeros(1, 1)


@pytest.mark.parametrize("steps", [None, 7])
@pytest.mark.parametrize("from_step", [0, 20, 49])
def test_a_start_is_noised_and_denoised(from_step: int, steps: int | None) -> None:
    """Every step is linear for a Gaussian, so mean and variance of the end follow by recursion."""
    sampler, given, draws = DDPM(steps), 2.0, 20_000
    mean, variance = LINE.signal(from_step) * given, LINE.noise(from_step) ** 2
    visited = [from_step, *(t for t in sampler.timesteps(LINE) if t < from_step), -1]
    for t, following in pairwise(visited):
        step, y = transition(LINE, t, following), torch.tensor([[0.0], [1.0]]).double()
        eps = NORMAL(y, t, torch.zeros(2, 1))
        constant, end = step.mean(y, eps).flatten().tolist()
        mean, variance = constant + (end - constant) * mean, (end - constant) ** 2 * variance
        variance += step.beta * (following >= 0)
    options = {"sampler": sampler, "draws": draws, "start": [[given]], "from_step": from_step}
    found = sample(NORMAL, ZERO, generator(3), **options).flatten().double()
    assert abs(float(found.mean()) - mean) < 4 * math.sqrt(variance / draws)
    assert abs(float(found.var()) - variance) < 4 * variance * math.sqrt(2 / draws)


def test_samples_of_the_law_itself_stay_so() -> None:
    """Restarted from half way, whatever the step: the forward process and its reverse."""
    start = (0.5 + math.sqrt(0.3) * torch.randn(1, 20_000, 1, generator=generator(1))).double()
    for from_step in (5, 30):
        found = sample(
            NORMAL, ZERO, generator(2), draws=20_000, start=start, from_step=from_step
        ).flatten()
        assert stats.kstest(found.numpy(), "norm", (0.5, math.sqrt(0.3))).pvalue > 0.01
    # A deterministic sampler brings a point that was hardly noised back to where it was.
    back = sample(
        NORMAL, ZERO, generator(2), draws=20_000, start=start, from_step=0, sampler=DDIM()
    )
    assert float((back - start).abs().max()) < 6 * LINE.noise(0)


def test_a_start_per_condition_is_one_for_all_its_draws_whatever_the_chunk() -> None:
    c = torch.randn(5, 1, generator=generator(1))
    one = torch.randn(5, 1, generator=generator(2))
    all_of_them = one[:, None].repeat(1, 600, 1)
    runs = [
        sample(NORMAL, c, generator(3), draws=600, start=start, from_step=12, chunk=chunk)
        for start in (one, all_of_them, all_of_them.numpy())
        for chunk in (1024, 4096)
    ]
    assert all(torch.allclose(run, runs[0], atol=1e-6) for run in runs)
    whole = sample(NORMAL, c, generator(3), draws=600, start=one)
    last = sample(NORMAL, c, generator(3), draws=600, start=one, from_step=49)
    assert torch.equal(whole, last) and not torch.equal(whole, runs[0])


def test_a_start_is_in_the_units_of_the_data() -> None:
    units = LINE.standardised(torch.tensor([[3.0], [7.0]]), torch.tensor([[0.0], [1.0]]))
    away = line(units, (1.0, 0.0, 1.0))
    start = torch.full((1, 1000, 1), 6.0)
    found = sample(away, ZERO, generator(1), draws=1000, start=start, from_step=0)
    assert float((found - 6).abs().max()) < 6 * units.noise(0) * float(units.y_std)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"from_step": 3}, "no start"),
        ({"start": torch.zeros(2, 1)}, "shape"),
        ({"start": torch.zeros(1, 3, 1)}, "shape"),
        ({"start": torch.zeros(1)}, "shape"),
        ({"start": [[math.nan]]}, "1 that are not finite"),
        ({"start": [["a"]]}, "start must be numbers|start must be real"),
        ({"start": ZERO, "from_step": 50}, "from 0 to 49"),
        ({"start": ZERO, "from_step": -1}, "from 0 to 49"),
        ({"start": ZERO, "start_std": 0.5}, "start_std must be 1"),
    ],
)
def test_a_start_that_is_none_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sample(NORMAL, ZERO, generator(), draws=2, **options)  # type: ignore[arg-type]
