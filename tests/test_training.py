"""Training: it learns, it repeats, it refuses what cannot be learnt from."""

import math
from collections import Counter, deque
from functools import partial

import numpy as np
import pytest
import torch
from conftest import KINDS_OF_ROWS, OFFSET, SPREAD, containers, default_dtype, generator

from dualdiff.experiments.scenarios import cabinet
from dualdiff.lora import add_lora, clone, merge_lora
from dualdiff.networks import MLP, Architecture, Unconditional
from dualdiff.process import Process
from dualdiff.randomness import one_thread
from dualdiff.samplers import sample
from dualdiff.steps import Optimisation
from dualdiff.training import Prior, epoch_losses, fit, noise_loss

PROCESS = Process.linear()
Y, C = cabinet().pairs("general", 512, generator(1))
RECIPES = {
    "thesis": (Architecture(32, 1), Optimisation()),
    "tuned": (
        Architecture(32, 1, "silu", "sinusoidal", preconditioned=True),
        Optimisation("adamw", 1e-2, "cosine", ema=0.1),
    ),
}


def train(recipe: str, seed: int = 0, epochs: int = 12) -> tuple[MLP, list[float]]:
    architecture, optimisation = RECIPES[recipe]
    process = PROCESS if recipe == "thesis" else Process.log_snr().standardised(Y, C)
    network = MLP(process, architecture, generator(seed))
    how = {"epochs": epochs, "batch_size": 64, "optimisation": optimisation}
    steps = fit(network, Y, C, generator=generator(seed + 100), **how)  # type: ignore[arg-type]
    return network, list(epoch_losses(steps))


MASKABLE = Architecture(32, 1, "silu", "scaled", maskable=True)


def started(**change: object) -> object:
    network = MLP(PROCESS, MASKABLE, generator())
    arguments = {"denoiser": network, "y": Y, "c": C, "epochs": 1, "batch_size": 64, **change}
    return fit(**arguments, generator=generator())  # type: ignore[arg-type]


def updated(rank: int = 1, alpha: float = 1.0) -> MLP:
    return add_lora(small_network("thesis"), rank, generator(), alpha=alpha)


@pytest.mark.parametrize("recipe", RECIPES)
def test_training_reduces_the_loss_on_fresh_rows(recipe: str) -> None:
    network, losses = train(recipe)
    assert len(losses) == 12
    fresh = MLP(network.process, network.architecture, generator(0))
    y, c = cabinet().pairs("general", 4000, generator(2))
    y, c = network.process.encode_y(y), network.process.encode_c(c)
    with torch.no_grad():
        before, after = (float(noise_loss(m, y, c, generator(3))) for m in (fresh, network))
    assert after < 0.9 * before


@pytest.mark.parametrize("recipe", RECIPES)
def test_training_is_reproducible(recipe: str) -> None:
    (one, losses), (two, again), (other, _) = train(recipe, 0), train(recipe, 0), train(recipe, 1)
    assert losses == again
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one.head.weight, other.head.weight)


def test_the_number_of_threads_changes_no_weight() -> None:
    """A batch so large that two threads would share its sums, and round them otherwise."""
    y, c = cabinet().pairs("general", 8192, generator(1))
    threads, found = torch.get_num_threads(), []
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            network = MLP(PROCESS, Architecture(), generator(0))
            deque(fit(network, y, c, epochs=4, batch_size=4096, generator=generator(1)), maxlen=0)
            assert torch.get_num_threads() == n
            found.append(network.state_dict())
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(*found, rtol=0, atol=0)


@pytest.mark.skipif(not torch.set_flush_denormal(False), reason="the processor has no such mode")
def test_numbers_that_are_too_small_are_zero_for_a_step_alone() -> None:
    small = torch.tensor(1e-39)
    for outside in (False, True):
        try:
            torch.set_flush_denormal(outside)
            with one_thread(denormals=False):
                assert float(small * 0.5) == 0
            assert (float(small * 0.5) == 0) == outside
            with one_thread():
                assert (float(small * 0.5) == 0) == outside
        finally:
            torch.set_flush_denormal(False)


def test_loss_of_a_perfect_and_of_a_silent_network() -> None:
    """A silent network's loss is the variance of the noise, 1, within its standard error."""
    network = MLP(PROCESS, Architecture(8, 0), generator())
    for parameter in network.head.parameters():
        torch.nn.init.zeros_(parameter)
    y = torch.randn(50_000, 3, generator=generator(5))
    loss = noise_loss(network, y, y, generator(6)).item()
    assert abs(loss - 1) < 4 * math.sqrt(2 / y.numel())


def test_thesis_learning_rate_falls_by_a_tenth_every_ten_epochs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rates: list[float] = []
    step = torch.optim.Adam.step

    def spy(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Adam, "step", spy)
    network = MLP(PROCESS, Architecture(8, 0), generator())
    list(fit(network, Y[:64], C[:64], epochs=25, batch_size=32, generator=generator()))
    expected = [1e-3 * 0.9 ** (epoch // 10) for epoch in range(25) for _ in range(2)]
    assert rates == pytest.approx(expected)


def test_average_replaces_the_weights_at_the_end() -> None:
    """With a horizon of the whole run the average is the plain mean of all steps' weights."""
    network = MLP(PROCESS, Architecture(8, 0), generator())
    total = torch.zeros_like(network.head.weight)
    how = {"epochs": 5, "batch_size": 32, "optimisation": Optimisation(ema=1.0)}
    for step in fit(network, Y[:64], C[:64], generator=generator(), **how):  # noqa: B007
        total += network.head.weight.detach()
    torch.testing.assert_close(network.head.weight.detach(), total / (step.number + 1))


def test_fine_tuning_a_clone_leaves_the_original() -> None:
    original = MLP(PROCESS, Architecture(8, 0), generator())
    before = [p.detach().clone() for p in original.parameters()]
    copy = clone(original)
    list(fit(copy, Y[:64], C[:64], epochs=1, batch_size=32, generator=generator()))
    assert all(torch.equal(a, b) for a, b in zip(before, original.parameters(), strict=True))
    assert not torch.equal(copy.head.weight, original.head.weight)


def test_a_run_that_never_began_says_so() -> None:
    network = MLP(PROCESS, Architecture(8, 0), generator())
    before = network.head.weight.clone()
    options = {"epochs": 1, "batch_size": 64, "generator": generator()}
    with pytest.warns(UserWarning, match="nothing was trained"):
        fit(network, Y, C, **options)
    assert torch.equal(network.head.weight, before)
    next(fit(network, Y, C, **options))  # begun and left: no warning
    assert not torch.equal(network.head.weight, before)


def test_a_network_that_cannot_learn_is_refused_at_the_call() -> None:
    network = MLP(PROCESS, Architecture(8, 0), generator()).requires_grad_(False)
    options = {"epochs": np.int64(1), "batch_size": 64, "generator": generator()}
    with pytest.raises(ValueError, match="frozen"):
        fit(network, Y, C, **options)
    network.head.bias.requires_grad_(True)  # one is enough
    assert len(list(fit(network, Y, C, **options))) == 8


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_run_that_is_closed_is_over(steps: int) -> None:
    how = Optimisation(ema=0.5)
    options = {"epochs": 2, "batch_size": 128, "optimisation": how}
    networks = [MLP(PROCESS, Architecture(8, 0), generator()) for _ in range(2)]
    closed, left = (fit(n, Y, C, generator=generator(), **options) for n in networks)
    for _ in range(steps):
        next(closed), next(left)
    closed.close()  # type: ignore[attr-defined]
    closed.close()  # type: ignore[attr-defined]
    assert next(closed, None) is None
    same = zip(*(network.parameters() for network in networks), strict=True)
    assert all(torch.equal(a, b) for a, b in same)
    next(left)


def test_random_numbers_of_training_do_not_depend_on_the_default_type() -> None:
    def trained() -> list[torch.Tensor]:
        network = MLP(PROCESS, Architecture(8, 1, maskable=True), generator())
        options = {"epochs": 2, "batch_size": 128, "p_uncond": 0.4, "prior": Prior(Y, C)}
        source = generator(1)
        list(fit(network, Y, C, generator=source, **options))
        low_rank = add_lora(network, 2, source)
        return [*network.state_dict().values(), *low_rank.state_dict().values()]

    expected = trained()
    with default_dtype(torch.float64):
        found = trained()
    assert all(
        a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize("kind", KINDS_OF_ROWS)
def test_rows_of_any_type_train_the_same_network(kind: str) -> None:
    whole = torch.randint(4, (2, 40, 3), generator=generator(5)).float()

    def trained(y, c, prior: Prior) -> list[torch.Tensor]:  # type: ignore[no-untyped-def]
        process = Process.linear(10).standardised(*whole)
        network = MLP(process, Architecture(8, 0), generator(6))
        options = {"epochs": 2, "batch_size": 16, "generator": generator(7), "prior": prior}
        list(fit(network, y, c, **options))
        return list(network.parameters())

    expected = trained(*whole, Prior(*whole.flip(1)))
    y, c, prior_y, prior_c = (containers(rows)[kind] for rows in (*whole, *whole.flip(1)))
    found = trained(y, c, Prior(prior_y, prior_c))  # type: ignore[arg-type]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_training_goes_on_in_double_precision() -> None:
    network = MLP(PROCESS, Architecture(8, 0), generator()).double()
    losses = list(epoch_losses(fit(network, Y, C, epochs=3, batch_size=64, generator=generator())))
    assert network.head.weight.dtype == torch.float64
    assert losses[-1] < losses[0]
    assert sample(network, C[:3], generator()).dtype == torch.float32


def test_divergence_is_reported() -> None:
    network = MLP(PROCESS, Architecture(8, 0), generator())
    huge = Y * 1e30
    with pytest.raises(FloatingPointError, match="training diverged: the loss of epoch 1"):
        list(epoch_losses(fit(network, huge, C, epochs=2, batch_size=64, generator=generator())))


FRAMED = Architecture(16, 1, "silu", "sinusoidal", preconditioned=True, object_frame=True)


def small_network(kind: str) -> MLP:
    """An untrained network of a recipe of the project, or in the frame of the object."""
    if kind == "framed":
        process = Process.log_snr().standardised(Y, C, relative=True)
        return MLP(process, FRAMED, generator(4), OFFSET, SPREAD)
    process = PROCESS if kind == "thesis" else Process.log_snr().standardised(Y, C)
    return MLP(process, RECIPES[kind][0], generator(4))


KINDS = pytest.mark.parametrize("kind", [*RECIPES, "framed"])
SPECIAL = cabinet().pairs("specialised", 64, generator(8))


def adapt(network: MLP, epochs: int = 3, prior: Prior | None = None) -> MLP:
    y, c = SPECIAL
    how = {"epochs": epochs, "batch_size": 32, "generator": generator(9), "prior": prior}
    list(fit(network, y, c, **how))
    return network


def predictions(network: MLP) -> torch.Tensor:
    """Noise predictions of the network called, and bound to the conditions, one below the other."""
    y, c = network.process.encode_y(Y[:40]), network.process.encode_c(C[:40])
    with torch.no_grad():
        called = [network(y, t, c) for t in (0, 30, 99)]
        bound = [network.bind(c)(y, t).clone() for t in (0, 30, 99)]
    return torch.cat([*called, *bound])


@KINDS
def test_lora_starts_as_the_network_itself_and_merged_is_as_unmerged(kind: str) -> None:
    base = small_network(kind)
    low_rank = add_lora(base, 3, generator(5), alpha=2.0)
    assert torch.equal(predictions(low_rank), predictions(base))
    adapt(low_rank)
    unmerged, drawn = predictions(low_rank), sample(low_rank, C[:5], generator(6), draws=3)
    merged = merge_lora(low_rank)
    assert torch.equal(predictions(low_rank), unmerged)
    assert not torch.allclose(predictions(merged), predictions(base), atol=1e-3)  # it has learnt
    torch.testing.assert_close(predictions(merged), unmerged)
    torch.testing.assert_close(sample(merged, C[:5], generator(6), draws=3), drawn)
    assert set(merged.state_dict()) == set(base.state_dict())
    assert all(p.requires_grad for p in merged.parameters())


@KINDS
def test_lora_trains_a_and_b_alone(kind: str) -> None:
    base = small_network(kind)
    before = {k: v.clone() for k, v in base.state_dict().items()}
    low_rank = add_lora(base, 3, generator(5))
    y, c = (part[:40] for part in SPECIAL)
    y, c = base.process.encode_y(y), base.process.encode_c(c)
    noise_loss(low_rank, y, c, generator(7)).backward()
    with_gradient = {name for name, p in low_rank.named_parameters() if p.grad is not None}
    layers = [m for m in low_rank.modules() if isinstance(m, torch.nn.Linear)]
    assert len(with_gradient) == 2 * len(layers)
    assert all(name.endswith(("weight.0.a", "weight.0.b")) for name in with_gradient)
    trained = sum(p.numel() for p in low_rank.parameters() if p.requires_grad)
    assert trained == sum(3 * (m.in_features + m.out_features) for m in layers)
    adapt(low_rank)
    state = low_rank.state_dict()
    for name, value in before.items():
        assert torch.equal(base.state_dict()[name], value)
        original = name.replace(".weight", ".parametrizations.weight.original")
        assert torch.equal(state[original], value)


@KINDS
def test_lora_update_has_its_rank(kind: str) -> None:
    base = small_network(kind)
    merged = merge_lora(adapt(add_lora(base, 2, generator(5))))
    for name, weight in base.named_parameters():
        if weight.ndim == 2:
            values = torch.linalg.svdvals((merged.get_parameter(name) - weight).detach().double())
            assert values[0] > 1e-4 and values[2:].max() < 1e-4 * values[0]


@KINDS
@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_loss_with_a_prior_is_the_sum(kind: str, weight: float) -> None:
    """L = L_specialised + lambda L_prior, on as many random prior pairs as the batch has."""
    y, c = SPECIAL
    network = small_network(kind)
    how = {"epochs": 1, "batch_size": 64, "generator": generator(3)}
    step = next(fit(clone(network), y, c, prior=Prior(Y, C, weight), **how))  # type: ignore[arg-type]
    source = generator(3)
    rows = torch.randperm(64, generator=source)
    encode_y, encode_c = network.process.encode_y, network.process.encode_c
    own = noise_loss(network, encode_y(y)[rows], encode_c(c)[rows], source)
    pick = torch.randint(len(Y), (64,), generator=source)
    old = noise_loss(network, encode_y(Y)[pick], encode_c(C)[pick], source)
    torch.testing.assert_close(step.loss, (own + weight * old).detach())


def test_replay_keeps_the_network_from_drifting() -> None:
    """After fine-tuning the loss on general rows has risen; with replayed rows hardly."""
    general, _ = train("tuned", epochs=40)
    fresh = cabinet().pairs("general", 4_000, generator(11))
    y, c = general.process.encode_y(fresh[0]), general.process.encode_c(fresh[1])

    def loss(network: MLP) -> float:
        with torch.no_grad():
            return float(noise_loss(network, y, c, generator(12)))

    plain = adapt(clone(general), 60)
    replayed = adapt(clone(general), 60, Prior(Y, C))
    start = loss(general)
    assert loss(plain) - start > 3 * abs(loss(replayed) - start)


@pytest.mark.parametrize(
    ("n", "rows"), [(1, 100), (5, 100), (30, 100), (100, 100), (257, 100), (100, None)]
)
def test_sets_of_every_size_get_the_same_steps(n: int, rows: int | None) -> None:
    """Rows per epoch fix the steps; every row is visited equally often, up to one visit."""
    visits: Counter[float] = Counter()
    sizes: list[int] = []

    class Spy(MLP):
        def forward(self, y, t, c, masked=False):  # type: ignore[no-untyped-def]
            visits.update(c[:, 0].tolist())  # conditions are not noised
            sizes.append(len(y))
            return super().forward(y, t, c, masked)

    network = Spy(PROCESS, Architecture(4, 0), generator())
    how = {"epochs": 7, "batch_size": 40, "rows_per_epoch": rows, "generator": generator()}
    steps = list(fit(network, Y[:n], C[:n], **how))  # type: ignore[arg-type]
    assert [(s.number, s.epoch) for s in steps] == [(i, i // 3) for i in range(21)]
    assert sizes == [40, 40, 20] * 7
    assert set(visits) <= set(C[:n, 0].tolist())
    counts = [visits[row] for row in C[:n, 0].tolist()]
    assert sum(counts) == 700 and max(counts) - min(counts) <= 1


BAD = [  # at the call: no step is asked for
    ({"y": Y[:0], "c": C[:0]}, r"y must have shape \[n >= 1, 3\]"),
    ({"y": Y[:, :2]}, r"y must have shape \[n >= 1, 3\]"),
    ({"y": Y * math.nan}, "y must be finite"),
    ({"c": C[:5]}, "same number of rows, not 512 and 5"),
    ({"epochs": 0}, "epochs must be .*at least 1, not 0"),
    ({"batch_size": 0}, "batch_size must be .*at least 1, not 0"),
    ({"rows_per_epoch": 0}, "rows_per_epoch must be .*at least 1, not 0"),
    ({"epochs": 2.0}, "epochs must be an integer.*, not 2.0"),
    ({"batch_size": 64.0}, "batch_size must be an integer.*, not 64.0"),
    ({"rows_per_epoch": 8.5}, "rows_per_epoch must be an integer.*, not 8.5"),
    ({"prior": Prior(Y[:0], C[:0])}, "y must have shape"),
    ({"prior": Prior(Y, C[:5])}, "same number of rows, not 512 and 5"),
    ({"denoiser": MLP(PROCESS, Architecture(8, 0), generator()), "p_uncond": 0.1}, "maskable"),
    *(({"p_uncond": p}, f"p_uncond must be 0, .* not {p}") for p in (-0.1, 1.0, math.nan)),
]
REFUSED = [
    *((partial(started, **change), message) for change, message in BAD),
    *((partial(Prior, Y, C, w), "prior weight must be") for w in (0, -1.0, math.nan, math.inf)),
    (lambda: Optimisation("sgd"), "optimiser"),  # type: ignore[arg-type]
    (lambda: Optimisation(decay="linear"), "decay"),  # type: ignore[arg-type]
    (lambda: Optimisation(learning_rate=0), "learning_rate"),
    (lambda: Optimisation(ema=2.0), "ema"),
    (lambda: updated(rank=0), "rank must be at least 1, not 0"),
    (lambda: updated(alpha=0.0), "alpha must be finite and not zero, not 0.0"),
    (lambda: updated(alpha=math.nan), "alpha must be finite and not zero, not nan"),
    (lambda: add_lora(updated(), 1, generator()), "low-rank updates already"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_bad_values_are_named(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call()


# --- withheld conditions ------------------------------------------------------------------------


def test_without_withholding_a_mask_changes_no_random_number() -> None:
    """p_uncond = 0 draws nothing, so networks trained without it stay what they were."""
    network = MLP(PROCESS, MASKABLE, generator())
    y, c = PROCESS.encode_y(Y), PROCESS.encode_c(C)
    sources = generator(1), generator(1)
    losses = noise_loss(network, y, c, sources[0]), noise_loss(network, y, c, sources[1], 0.0)
    assert torch.equal(*losses)
    assert torch.equal(sources[0].get_state(), sources[1].get_state())


def test_rows_are_withheld_with_their_probability() -> None:
    masks: list[torch.Tensor] = []

    class Spy(MLP):
        def forward(self, y, t, c, masked=False):  # type: ignore[no-untyped-def]
            masks.append(torch.as_tensor(masked).expand(len(y)))
            return super().forward(y, t, c, masked)

    network, n = Spy(PROCESS, MASKABLE, generator()), 20_000
    y = torch.randn(n, 3, generator=generator(2))
    for p in (0.1, 0.5):
        noise_loss(network, y, y, generator(3), p)
        share = float(masks[-1].double().mean())
        assert abs(share - p) < 4 * math.sqrt(p * (1 - p) / n)
    noise_loss(network, y, y, generator(3))
    assert not masks[-1].any()


def test_withheld_conditions_teach_the_marginal() -> None:
    """y = c + noise with a wide c: without c, the best guess is the marginal's.

    On fresh rows the unconditional network is better than the conditional one told a wrong
    condition, worse than the one told the true one, and close to the best there is without c.
    """
    process = Process.linear(20, 0.01, 0.6, dy=1, dc=1)
    network = MLP(process, Architecture(48, 1, "silu", "scaled", maskable=True), generator(4))
    source = generator(5)

    def pairs(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        c = torch.randn(n, 1, generator=source)
        return c + 0.2 * torch.randn(n, 1, generator=source), c

    how = {"epochs": 12, "batch_size": 128, "generator": generator(6), "p_uncond": 0.3}
    deque(fit(network, *pairs(8_000), optimisation=Optimisation("adamw", 5e-3, "cosine"), **how), 0)
    y, c = pairs(8_000)
    t = torch.randint(20, (8_000,), generator=source)
    eps = torch.randn(8_000, 1, generator=source)
    noised = process.diffuse(y, t, eps)
    wrong = c[torch.randperm(8_000, generator=source)]
    null = Unconditional(network)
    # The marginal N(0, 1.04): E[eps | y_t] = sigma y_t / (1.04 abar + sigma^2).
    variance = 1.04 * process.signal(t) ** 2 + process.noise(t) ** 2
    with torch.no_grad():
        guesses = {
            "true": network(noised, t, c),
            "wrong": network(noised, t, wrong),
            "null": null(noised, t, wrong),
            "best": process.noise(t) * noised / variance,
        }
        assert torch.equal(guesses["null"], null(noised, t, c))
    errors = {name: (guess - eps).square() for name, guess in guesses.items()}
    for better, worse in (("true", "null"), ("null", "wrong")):
        gap = errors[worse] - errors[better]
        assert gap.mean() > 4 * gap.std() / math.sqrt(len(gap))
    assert errors["null"].mean() < 1.1 * errors["best"].mean()


def test_a_maskable_network_keeps_its_mask_through_low_rank_updates() -> None:
    base = MLP(PROCESS, MASKABLE, generator(7))
    merged = merge_lora(adapt(add_lora(base, 2, generator(8))))
    y, c = Y[:20], C[:20]
    with torch.no_grad():
        null = Unconditional(merged)
        assert torch.equal(null(y, 3, c), null(y, 3, c + 1))
        assert not torch.allclose(null(y, 3, c), Unconditional(base)(y, 3, c), atol=1e-4)
