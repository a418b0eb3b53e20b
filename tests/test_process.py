"""Laws of the forward process."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import KINDS_OF_ROWS, containers, generator, standardised
from hypothesis import given
from hypothesis import strategies as st

from dualdiff.process import FLAT, Process, floating, spread

WHOLE = torch.tensor([[0.0, 1, 3], [2, 0, 1], [1, 3, 2], [3, 1, 0]])


def test_linear_betas_are_the_thesis_schedule() -> None:
    process = Process.linear()
    expected = torch.linspace(1e-3, 0.2, 100, dtype=torch.float64)
    torch.testing.assert_close(process.beta, expected, rtol=1e-12, atol=0)
    assert process.steps == 100


@given(st.floats(-12, 5), st.floats(0.1, 10), st.integers(2, 300))
def test_log_snr_is_linear(low: float, span: float, steps: int) -> None:
    abar = Process.log_snr(steps, low + span, low).alpha_bar
    expected = torch.linspace(low + span, low, steps, dtype=torch.float64)
    torch.testing.assert_close(torch.logit(abar), expected, rtol=1e-6, atol=1e-6)


def test_diffuse_has_the_stated_moments() -> None:
    process, n, t = Process.linear(), 200_000, 40
    y = torch.tensor([[1.5, -2.0, 0.5]]).expand(n, 3)
    eps = torch.randn(n, 3, generator=generator())
    noised = process.diffuse(y, t, eps)
    noise = process.noise(t)
    mean_error = (noised.mean(0) - process.signal(t) * y[0]).abs() / (noise / math.sqrt(n))
    assert mean_error.max() < 4  # standard errors
    spread_error = (noised.std(0) - noise).abs() / (noise / math.sqrt(2 * n))
    assert spread_error.max() < 4


def test_one_step_and_a_batch_of_steps_agree() -> None:
    process = Process.log_snr(50)
    y, eps = torch.randn(2, 4, 3, generator=generator())
    for t in (0, 17, 49):
        batch = process.diffuse(y, torch.full((4,), t), eps)
        torch.testing.assert_close(process.diffuse(y, t, eps), batch)
        assert process.signal(t) ** 2 + process.noise(t) ** 2 == pytest.approx(1, abs=1e-12)
    assert process.alpha_bar_at(-1) == 1


def test_encode_and_decode_are_inverse_and_standardise() -> None:
    rows = torch.randn(1000, 3, generator=generator()) * torch.tensor([1.0, 5.0, 0.1]) + 3
    process = Process.linear().standardised(rows, rows * 2)
    torch.testing.assert_close(process.decode_y(process.encode_y(rows)), rows)
    torch.testing.assert_close(process.decode_c(process.encode_c(rows)), rows)
    coded = process.encode_y(rows)
    torch.testing.assert_close(coded.mean(0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(coded.std(0), torch.ones(3))
    relative = Process.linear().standardised(rows + 1, rows * 2, relative=True)
    torch.testing.assert_close(relative.y_std, (rows + 1 - rows * 2).std(0))


def test_spread_has_no_unit_of_zero() -> None:
    """A flat direction gets a hundredth of the widest; the others their standard deviation."""
    rows = torch.randn(500, 3, generator=generator()) * torch.tensor([4.0, 0.5, 0.0]) + 7
    found = spread(rows)
    torch.testing.assert_close(found[:2], rows[:, :2].std(0))
    assert found[2] == FLAT * found[0] == pytest.approx(0.04, rel=0.1)
    torch.testing.assert_close(spread(rows[:, :2]), rows[:, :2].std(0))
    c = torch.randn(500, 3, generator=generator(1))
    process = Process.linear().standardised(c + rows, c, relative=True)
    torch.testing.assert_close(process.y_std, found, rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="y_std must be positive"):
        Process.linear().standardised(rows, c)


def test_equality_and_the_named_difference() -> None:
    process = standardised(Process.linear(10))
    assert process == standardised(Process.linear(10))
    assert process.difference(Process.linear(10)) == "their means of the target (y_mean) differ"
    assert "10 and 11 timesteps" in str(process.difference(standardised(Process.linear(11))))
    schedule = replace(process, alpha_bar=process.alpha_bar * 0.99)
    assert "alpha_bar" in str(process.difference(schedule))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Process.linear(0), "steps=0"),
        (lambda: Process.linear(10, 0.2, 0.1), "first=0.2"),
        (lambda: Process.linear(10, 0.1, 1.0), "last=1.0"),
        (lambda: Process.log_snr(10, -8, 12), "low < high"),
        (lambda: replace(Process.linear(), alpha_bar=torch.ones(3)), "decrease strictly"),
        (lambda: replace(Process.linear(), alpha_bar=torch.ones(2, 2)), "vector of T"),
        (lambda: replace(Process.linear(), y_std=torch.tensor([1.0, 0.0, 1.0])), "y_std"),
        (lambda: replace(Process.linear(), c_mean=torch.tensor([math.nan] * 3)), "c_mean"),
        (lambda: replace(Process.linear(), c_mean=torch.zeros(2)), "one entry per dimension"),
        (lambda: Process.linear().standardised(torch.ones(1, 3), torch.ones(1, 3)), "two rows"),
    ],
)
def test_bad_values_are_named(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call()


# --- types --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS_OF_ROWS)
def test_numbers_are_the_same_in_every_container(kind: str) -> None:
    given_rows = containers(WHOLE)[kind]
    rows = floating("rows", given_rows)
    assert rows.dtype in (torch.float32, torch.float64)
    torch.testing.assert_close(rows.float(), WHOLE, rtol=0, atol=0)
    units = Process.linear().standardised(WHOLE, WHOLE.flip(0))
    same = Process.linear().standardised(given_rows, containers(WHOLE.flip(0))[kind])
    assert same == units
    for code in ("encode_y", "decode_y", "encode_c", "decode_c"):
        expected = getattr(units, code)(WHOLE)
        torch.testing.assert_close(getattr(units, code)(given_rows).float(), expected)


@pytest.mark.parametrize("kind", [k for k in KINDS_OF_ROWS if "frame" not in k])
def test_a_process_of_any_container_is_the_same_process(kind: str) -> None:
    row = containers(1 + WHOLE[:1])[kind][0]
    abar = Process.linear().alpha_bar
    expected = Process(abar, *(1 + WHOLE[:1].expand(4, -1)))
    assert Process(abar.tolist(), row, row, row, row) == expected
    coded = Process(abar.float(), row, row, row, row).encode_c(torch.ones(1, 3))
    torch.testing.assert_close(coded.float(), expected.encode_c(torch.ones(1, 3)))


@pytest.mark.parametrize(
    "rows",
    [
        [["a", "b"]],
        [[1.0, 2.0], [3.0]],
        [[1j, 0]],
        torch.zeros(2, 2) * 1j,
        {"a": 1},
        [[None, {}]],
        np.ma.masked_array([[1.0, -999.0]], mask=[[False, True]]),
        np.ma.masked_array([1, 2], mask=True),
        (np.ones(2), np.ma.masked_array([1.0, -999.0], mask=[False, True])),
        [[1.0, np.ma.masked]],
        [torch.ones(2, requires_grad=True)] * 2,
        ([torch.ones((), requires_grad=True), 1.0],),
    ],
    ids=[
        *("text", "ragged", "complex list", "complex tensor", "mapping", "objects"),
        *("masked", "all masked", "masked row", "masked number", "gradients", "deep gradients"),
    ],
)
def test_what_is_not_numbers_is_refused_by_name(rows: object) -> None:
    with pytest.raises(ValueError, match="temperature must be"):
        floating("temperature", rows)


def test_rows_of_another_dimension_do_not_broadcast() -> None:
    process = Process.linear(dy=3, dc=2)
    for code in (process.encode_y, process.decode_y):
        with pytest.raises(ValueError, match=r"y must have shape \[..., 3\], not \[4, 1\]"):
            code(torch.zeros(4, 1))
    for code in (process.encode_c, process.decode_c):
        with pytest.raises(ValueError, match=r"c must have shape \[..., 2\], not \[4, 1\]"):
            code(torch.zeros(4, 1))
    with pytest.raises(ValueError, match="y must have shape"):
        process.standardised(torch.zeros(4, 2), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="needs dy = dc, not 3 and 2"):
        process.standardised(torch.eye(3), torch.eye(3)[:, :2], relative=True)


def test_a_mask_that_hides_nothing_is_none() -> None:
    rows = np.ma.masked_array([[1.0, 2.0]], mask=[[False, False]])
    for given_rows in (rows, [rows[0]]):
        assert floating("rows", given_rows).tolist() == [[1.0, 2.0]]


OUTSIDE = [-1, 100, 1.0, "3", None, *map(torch.tensor, ([0, -1], [99, 100], [0.5], [True], -1))]


@pytest.mark.parametrize("t", OUTSIDE)
def test_timesteps_outside_the_process_are_refused(t: object) -> None:
    process, y = Process.linear(), torch.zeros(2, 3)
    calls = (process.timestep, process.signal, process.noise, lambda t: process.diffuse(y, t, y))
    for call in calls:
        with pytest.raises(ValueError, match="from 0 to 99"):
            call(t)  # type: ignore[operator]


@given(st.lists(st.integers(0, 99), max_size=5))
def test_steps_in_any_integers_are_the_same_steps(steps: list[int]) -> None:
    process = Process.linear()
    for name in ("signal", "noise"):
        level = getattr(process, name)
        expected = torch.tensor([level(t) for t in steps], dtype=torch.float32).unsqueeze(1)
        for kind in (torch.uint8, torch.int32, torch.int64):
            assert torch.equal(level(torch.tensor(steps, dtype=kind)), expected)
        for t in steps:
            assert level(np.int64(t)) == level(t) and type(level(t)) is float
            assert level(torch.tensor(t)) == torch.tensor(level(t), dtype=torch.float32)


def test_betas_become_a_process() -> None:
    beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    process = Process.from_alphas(torch.cumprod(1 - beta, 0), dy=2)
    torch.testing.assert_close(process.beta, beta)
    with pytest.raises(ValueError, match="betas go through Process.from_alphas"):
        Process(beta, process.y_mean, process.y_std, process.c_mean, process.c_std)
