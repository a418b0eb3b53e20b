"""Laws every denoiser obeys, and the thesis's network in particular."""

import copy
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest
import torch
from conftest import (
    KINDS_OF_ROWS,
    OFFSET,
    SPREAD,
    containers,
    denoisers,
    generator,
    needs_cuda,
    standardised,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from dualdiff.checks import check_denoiser
from dualdiff.compose import Weighted
from dualdiff.denoisers import Denoiser, evaluating
from dualdiff.lora import add_lora
from dualdiff.networks import MLP, Architecture, Unconditional, octaves, time_features
from dualdiff.process import Process
from dualdiff.samplers import sample

ALL = denoisers()


@pytest.mark.parametrize("name", ALL)
def test_denoisers_keep_the_laws(name: str) -> None:
    check_denoiser(ALL[name], generator(8)).raise_if_failed()


@needs_cuda
@pytest.mark.parametrize("name", ALL)
def test_on_cuda_the_noise_is_that_of_the_cpu(name: str) -> None:
    """Called and bound."""
    denoiser = ALL[name]
    there = copy.deepcopy(denoiser).to("cuda")
    y, c = torch.randn(2, 64, 3, generator=generator(8))
    with torch.no_grad():
        for t in (1, 20, 39):
            expected = denoiser(y, t, c)
            for found in (there(y, t, c), there.bind(c)(y.cuda(), t)):
                torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("shape", [(4, 2), (4, 1), (1, 3), (5, 3), (3,), (4, 3, 1), ()])
def test_wrong_shapes_are_refused_bound_as_called(name: str, shape: tuple[int, ...]) -> None:
    denoiser, wrong, c = ALL[name], torch.zeros(shape), torch.zeros(4, 3)
    with pytest.raises(ValueError, match="must have shape") as called:
        denoiser(wrong, 0, c)
    with pytest.raises(ValueError, match="must have shape") as bound:
        denoiser.bind(c)(wrong, 0)
    assert str(bound.value) == str(called.value)
    with pytest.raises(ValueError, match=r"c must have shape \[4, 3\]"):
        denoiser(c, 0, wrong)


@pytest.mark.parametrize("name", ALL)
def test_nothing_and_nan_are_the_same_bound_and_called(name: str) -> None:
    denoiser, bad = ALL[name], torch.ones(4, 3)
    bad[1, 2], bad[2] = math.nan, math.inf
    with torch.no_grad():
        for rows in (torch.zeros(0, 3), bad):
            c = torch.zeros(len(rows), 3)
            called, bound = denoiser(rows, 7, c), denoiser.bind(c)(rows, 7)
            assert bound.shape == called.shape and bound.dtype == called.dtype
            assert torch.equal(bound.isfinite().all(1), called.isfinite().all(1))
        assert called.isfinite().all(1).tolist() == [True, False, False, True]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("t", [-1, 40, 0.5, torch.tensor([0, 1, -1, 2]), torch.tensor([0, 1])])
def test_steps_outside_the_process_are_refused(name: str, t: object) -> None:
    y, c = torch.zeros(4, 3), torch.zeros(4, 3)
    with pytest.raises(ValueError, match="t must be"):
        ALL[name](y, t, c)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="t must be|takes one t"):
        ALL[name].bind(c)(y, t)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", KINDS_OF_ROWS)
def test_inputs_of_any_type_give_the_same_noise(name: str, kind: str) -> None:
    whole = torch.randint(4, (2, 5, 3), generator=generator(12)).float()
    y, c = (containers(rows)[kind] for rows in whole)
    with torch.no_grad():
        expected = ALL[name](*(whole[0], 20, whole[1]))
        torch.testing.assert_close(ALL[name](y, 20, c).float(), expected, rtol=1e-4, atol=1e-5)
        called, predict = ALL[name](y, 20, c), ALL[name].bind(c)
    scale = expected.abs().clamp(min=1)
    for bound in (predict(whole[0], 20), predict(y, 20)):
        assert ((bound - expected) / scale).abs().max() < 2e-5
    assert bound.dtype == called.dtype


# --- bound equals called, whatever somebody has done to a denoiser -------------------------------


class Clamped(MLP):
    def forward(
        self, y: Tensor, t: int | Tensor, c: Tensor, masked: Tensor | bool = False
    ) -> Tensor:
        return super().forward(y, t, c, masked).clamp(-0.2, 0.2)


class Shift:
    """A mixin in front of a network."""

    def forward(self, y: Tensor, t: int | Tensor, c: Tensor) -> Tensor:
        return super().forward(y, t, c) + 0.5  # type: ignore[misc]


class Shifted(Shift, MLP):
    pass


class Columns(MLP):
    def columns(self, c: Tensor, masked: Tensor | bool = False) -> Tensor:
        return super().columns(c, masked) * 2


class Doubled(Weighted):
    def forward(self, y: Tensor, t: int | Tensor, c: Tensor) -> Tensor:
        return 2 * super().forward(y, t, c)


class Plain(Denoiser):
    """The contract and nothing else."""

    def __init__(self, process: Process) -> None:
        super().__init__()
        self.process = process

    def forward(self, y: Tensor, t: int | Tensor, c: Tensor) -> Tensor:
        return self.process.noise(t) * y + 0.1 * c


def _in_the_middle(layer: Callable[[], nn.Module]) -> Callable[[MLP], object]:
    def change(network: MLP) -> None:
        network.layers[0] = nn.Sequential(network.layers[0], layer())

    return change


def _without_bias(network: MLP) -> None:
    network.head = nn.Linear(network.head.in_features, 3, bias=False)
    nn.init.constant_(network.head.weight, 0.01)


CHANGES: dict[str, Callable[[MLP], object]] = {
    "nothing": lambda network: None,
    "double": lambda network: network.double(),
    "forward hook": lambda n: n.register_forward_hook(lambda m, x, out: out * 3),
    "hook on a layer": lambda n: n.layers[0].register_forward_hook(lambda m, x, out: out + 1),
    "hook before": lambda n: n.register_forward_pre_hook(lambda m, x: (x[0] * 2, *x[1:])),
    "norm": _in_the_middle(lambda: nn.LayerNorm(8)),
    "dropout": _in_the_middle(lambda: nn.Dropout(0.5)),
    "another activation": lambda n: setattr(n, "activation", nn.Tanh()),
    "forward of the instance": lambda n: setattr(n, "forward", lambda *args: args[0] - 1),
    "forward of a layer": lambda n: setattr(n.head, "forward", lambda h: h[:, :3] * 0.1),
    "forward of the activation": lambda n: setattr(n.activation, "forward", torch.tanh),
    "no bias": _without_bias,
    "evaluation": lambda n: n.eval(),
    "frozen": lambda n: n.requires_grad_(False),
}
KINDS_OF_NETWORK: dict[str, type[MLP]] = {
    "MLP": MLP,
    "own forward": Clamped,
    "mixin": Shifted,
    "own columns": Columns,
}
NETWORK = st.tuples(
    st.sampled_from(sorted(KINDS_OF_NETWORK)),
    st.lists(st.sampled_from(sorted(CHANGES)), max_size=2, unique=True),
    st.booleans(),
    st.sampled_from(["relu", "silu"]),
    st.integers(0, 2),
    st.booleans(),
)


def build(process: Process, what: tuple, seed: int) -> MLP:  # type: ignore[type-arg]
    kind, changes, lora, activation, depth, preconditioned = what
    shape = Architecture(8, depth, activation, preconditioned=preconditioned, fourier=depth)
    network = KINDS_OF_NETWORK[kind](process, shape, generator(seed))
    if lora and kind == "MLP":
        network = add_lora(network, 2, generator(seed))
    for change in sorted(changes, key="double".__eq__):  # last: new layers are float32
        CHANGES[change](network)
    return network


def check_bound(denoiser: Denoiser) -> None:
    y, c = torch.randn(2, 6, 3, generator=generator(3))
    for t in (0, 5, 11):
        torch.manual_seed(t)
        expected = denoiser(y, t, c).detach()
        torch.manual_seed(t)
        found = denoiser.bind(c)(y, t)
        assert found.dtype == expected.dtype
        assert ((found - expected) / expected.abs().amax().clamp(min=1)).abs().max() < 2e-5


@pytest.mark.parametrize("kind", KINDS_OF_NETWORK)
@pytest.mark.parametrize("change", CHANGES)
@torch.random.fork_rng()  # dropout and fresh layers draw from the global generator
def test_bound_equals_called_after_any_change(change: str, kind: str) -> None:
    check_bound(build(Process.log_snr(12), (kind, [change], False, "silu", 1, True), 1))


@given(NETWORK, NETWORK, st.floats(-0.5, 2), st.sampled_from(["one", "sum", "nested", "own"]))
@torch.random.fork_rng()  # dropout and fresh layers draw from the global generator
def test_bound_equals_called_for_random_denoisers(
    first: tuple,  # type: ignore[type-arg]
    second: tuple,  # type: ignore[type-arg]
    weight: float,
    how: str,
) -> None:
    process = standardised(Process.log_snr(12))
    a, b = build(process, first, 1), build(process, second, 2)
    denoiser: Denoiser = a
    if how != "one":
        members, weights = {"a": a, "b": b}, {"a": weight, "b": 1.0}
        denoiser = (Doubled if how == "own" else Weighted)(members, weights)
    if how == "nested":
        outer = {"sum": denoiser, "plain": Plain(process)}
        denoiser = Weighted(outer, {"sum": 0.5, "plain": 1.0})
    check_bound(denoiser)


def test_the_quick_way_is_taken_where_nothing_was_changed() -> None:
    """The law above would hold without any quick way."""
    assert [name for name in ALL if not ALL[name]._bindable()] == [
        "wrapped",
        "energy",
        "energy of observations",
    ]
    assert add_lora(ALL["mlp thesis"], 2, generator())._bindable()  # type: ignore[arg-type]
    assert not build(Process.linear(), ("own forward", [], False, "relu", 1, False), 1)._bindable()


@pytest.mark.parametrize("name", ["mlp thesis", "mlp tuned"])
def test_autocast_means_the_same_bound_and_called(name: str) -> None:
    """Each rounds in its own places; bound, the head and the time are not rounded."""
    network, y, c = ALL[name], *torch.randn(2, 500, 3, generator=generator(3))
    with torch.no_grad():
        exact = network(y, 9, c)
        with torch.autocast("cpu", torch.bfloat16):
            called, bound = network(y, 9, c), network.bind(c)(y, 9)
    error, of_call = ((each - exact).square().mean().sqrt() for each in (bound, called))
    assert bound.dtype == torch.float32
    assert 0 < error <= of_call


def test_what_is_bound_in_inference_mode_works_outside() -> None:
    for name, denoiser in ALL.items():
        with torch.inference_mode():
            c = torch.ones(2, 3)
            inside = denoiser.bind(c)(torch.ones(2, 3), 4)
        predict = denoiser.bind(c)
        assert torch.equal(predict(torch.ones(2, 3), 4), inside), name


class Misshapen(Plain):
    """One whose result would be stretched, or taken apart, unseen."""

    def __init__(self, process: Process, found: Callable[[Tensor], object], bound: bool) -> None:
        super().__init__(process)
        self.found, self.bound = found, bound

    def forward(self, y: Tensor, t: int | Tensor, c: Tensor) -> Tensor:
        return y if self.bound else self.found(y)  # type: ignore[return-value]

    def _bind(self, c: Tensor):  # type: ignore[no-untyped-def]
        return (lambda y, t: self.found(y)) if self.bound else None


@pytest.mark.parametrize("bound", [False, True])
@pytest.mark.parametrize(
    "found",
    [
        lambda y: y.mean(1, keepdim=True),
        lambda y: y[0],
        lambda y: y[:1],
        lambda y: y.mean(),
        lambda y: y.unsqueeze(0),
        lambda y: y[:, [0, 1, 2, 0]],
        lambda y: (y, y),
        lambda y: None,
        lambda y: y.numpy(),
    ],
)
def test_noise_of_another_shape_is_refused(found, bound: bool) -> None:  # type: ignore[no-untyped-def]
    process = Process.linear(5)
    denoiser, c = Misshapen(process, found, bound), torch.zeros(5, 3)
    plain = Plain(process)
    rule = Weighted({"bad": denoiser, "good": plain}, {"bad": 1.0, "good": 1.0})
    for each in (denoiser, rule):
        with pytest.raises(ValueError, match=r"Misshapen must give .*\[5, 3\], not"):
            sample(each, c, generator())
        if not bound:
            with pytest.raises(ValueError, match=r"Misshapen must give .*\[5, 3\], not"):
                each(c, 2, c)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_evaluation_by_several_threads_ends_with_the_last(threads: int) -> None:
    """They come and go in any order, also by an error; all find the mode they asked for."""
    network = build(Process.linear(), ("MLP", ["dropout"], False, "relu", 1, False), 1)
    network.layers[1].eval()
    before = {name: module.training for name, module in network.named_modules()}
    inside, left = Barrier(threads), [Event() for _ in range(threads + 1)]
    left[0].set()

    def work(i: int) -> bool:
        with pytest.raises(ZeroDivisionError), evaluating([network, network]):
            inside.wait(10)
            assert left[i].wait(10)  # out one after the other
            found = not any(module.training for module in network.modules())
            raise ZeroDivisionError
        left[i + 1].set()
        return found

    with ThreadPoolExecutor(threads) as pool:
        assert all(pool.map(work, range(threads)))
    assert {name: module.training for name, module in network.named_modules()} == before


def test_default_network_is_the_thesis_network() -> None:
    """The same numbers as a plain nn.Sequential on [y, c, t] with the same weights."""
    mlp = MLP(Process.linear(), Architecture(), generator())
    sizes = [7, 128, 128, 128, 128]
    plain = nn.Sequential()
    for i, layer in enumerate(mlp.layers):
        assert isinstance(layer, nn.Linear)
        assert (layer.in_features, layer.out_features) == (sizes[i], sizes[i + 1])
        plain.extend([layer, nn.ReLU()])
    plain.append(mlp.head)
    y, c = torch.randn(2, 32, 3, generator=generator(1))
    t = torch.randint(100, (32,), generator=generator(2))
    torch.testing.assert_close(mlp(y, t, c), plain(torch.cat([y, c, t[:, None].float()], 1)))


def test_initial_weights_follow_the_generator_and_pytorchs_law() -> None:
    def new(seed: int) -> MLP:
        return MLP(Process.linear(), Architecture(), generator(seed))

    same, again, other = new(0), new(0), new(1)
    weight = same.layers[1].weight
    assert torch.equal(weight, again.layers[1].weight)
    assert not torch.equal(weight, other.layers[1].weight)
    bound = 128**-0.5
    assert weight.abs().max() <= bound
    # Uniform on [-b, b]: the variance is b^2 / 3, its estimate has standard error sqrt(4/45/n) b^2.
    error = (weight.var() - bound**2 / 3).abs() / (bound**2 * (4 / 45 / weight.numel()) ** 0.5)
    assert error < 4


def test_untrained_preconditioned_network_is_nearly_the_best_linear_guess() -> None:
    """With F = 0 the prediction is sigma / v^2 x, whose loss weight makes every step's loss 1."""
    process = Process.log_snr(50)
    network = MLP(process, Architecture(8, 1, preconditioned=True), generator())
    for parameter in network.head.parameters():
        nn.init.zeros_(parameter)
    y, eps = torch.randn(2, 40_000, 3, generator=generator(5))  # unit-variance data
    for t in (0, 25, 49):
        steps = torch.full((len(y),), t)
        error = (network(process.diffuse(y, t, eps), steps, y) - eps) ** 2
        loss = (error * network.loss_weight(steps)).mean()
        # Mean of 120,000 squared unit normals: standard error sqrt(2 / 120,000).
        assert (loss - 1).abs() < 4 * (2 / 120_000) ** 0.5


def test_object_frame_moves_with_the_object() -> None:
    process = standardised(Process.log_snr(30))
    architecture = Architecture(16, 1, "silu", "sinusoidal", True, True)
    network = MLP(process, architecture, generator(), OFFSET, SPREAD)
    y, c = torch.randn(2, 8, 3, generator=generator(1))
    shift = torch.tensor([2.0, -1.0, 0.5])  # original units
    t = 12
    moved_y = y + process.signal(t) * shift / process.y_std
    moved_c = c + shift / process.c_std
    torch.testing.assert_close(network(moved_y, t, moved_c), network(y, t, c), rtol=1e-4, atol=1e-5)


def test_time_features() -> None:
    assert torch.equal(time_features(5, "raw")[:, 0], torch.arange(5.0))
    features = time_features(100, "sinusoidal")
    assert features.shape == (100, 32) and features.abs().max() <= 1
    distances = torch.cdist(features, features) + 10 * torch.eye(100)
    assert distances.min() > 0.05  # every step can be told from its neighbours


def test_kaiming_keeps_the_size_of_the_signal_and_starts_at_zero() -> None:
    """Root mean square through six layers, where PyTorch's default loses four fifths and more.

    ReLU keeps it; SiLU does so for inputs of one size only, so there it stays of the same order.
    """
    rows = torch.randn(4_000, 7, generator=generator(18))
    for activation, off in (("relu", 1 / 3), ("silu", 2.0)):
        sizes = {}
        for init in ("kaiming", "uniform"):
            architecture = Architecture(256, 5, activation, init=init)  # type: ignore[arg-type]
            network = MLP(Process.linear(), architecture, generator(19))
            with torch.no_grad():
                h = rows
                for layer in network.layers:
                    h = network.activation(layer(h))
                sizes[init] = float(h.square().mean().sqrt())
                if init == "kaiming":
                    assert not network(rows[:, :3], 5, rows[:, 3:6]).any()
        assert 1 / (1 + off) < sizes["kaiming"] < 1 + off and sizes["uniform"] < 0.2


REFUSED = [
    (lambda: Architecture(width=0), "width=0"),
    (lambda: Architecture(depth=-1), "depth=-1"),
    (lambda: Architecture(activation="tanh"), "'tanh'"),  # type: ignore[arg-type]
    (lambda: Architecture(time="fourier"), "'fourier'"),  # type: ignore[arg-type]
    (lambda: Architecture(fourier=-1), "fourier must be from 0 to 16 octaves, not -1"),
    (lambda: Architecture(fourier=17), "fourier must be from 0 to 16 octaves, not 17"),
    (lambda: Architecture(init="zeros"), "'zeros'"),  # type: ignore[arg-type]
    (lambda: Architecture(object_frame=True, maskable=True), "exclude each other"),
    (lambda: MLP(Process.linear(), Architecture(object_frame=True), generator()), "dy = dc"),
    (lambda: Unconditional(ALL["mlp thesis"]), r"no mask input.*maskable=True"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_bad_networks_are_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# --- waves --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_octaves(dtype: torch.dtype) -> None:
    """The input itself, then a sine and a cosine per octave, each twice as fast as the last."""
    x = torch.randn(6, 3, generator=generator(12), dtype=dtype)
    first = MLP(Process.linear(), Architecture(8, 1, fourier=16), generator())
    assert first.layers[0].weight.shape == (8, 99 + 4)  # beside y condition and step as they are
    assert octaves(x, first.speeds[:0]) is x
    waves = octaves(x, first.speeds)
    assert waves.shape == (6, 99) and torch.equal(waves[:, :3], x)
    for k in range(16):
        angle = 2**k * (math.pi / 4) * x.double()
        found = waves[:, 3 + 6 * k : 9 + 6 * k].double()
        expected = torch.cat([angle.sin(), angle.cos()], 1)
        # The angle is rounded to half a unit in its last place, twice; the wave once more.
        error = torch.finfo(dtype).eps * (1 + float(angle.abs().max()))
        torch.testing.assert_close(found, expected, atol=error, rtol=0)


# --- withheld conditions ------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_unconditional_does_not_see_the_condition(activation: str) -> None:
    architecture = Architecture(16, 2, activation, fourier=1, maskable=True)  # type: ignore[arg-type]
    network = MLP(Process.linear(40), architecture, generator(13))
    null = Unconditional(network)
    assert null.process is network.process
    y, one, other = torch.randn(3, 32, 3, generator=generator(14))
    t = torch.randint(40, (32,), generator=generator(15))
    with torch.no_grad():
        assert torch.equal(null(y, t, one), null(y, t, 100 * other))
        assert torch.equal(null(y, t, one), network(y, t, one, masked=True))
        assert not torch.allclose(network(y, t, one), network(y, t, other), atol=1e-3)
        # A mask is more than a condition of zero: that one is a valid condition.
        zero = torch.zeros_like(one)
        assert not torch.allclose(network(y, t, zero), null(y, t, one), atol=1e-3)
        predict, again = null.bind(one), null.bind(100 * other)
        torch.testing.assert_close(predict(y, 7), null(y, 7, one), rtol=1e-4, atol=1e-5)
        assert torch.equal(predict(y, 7), again(y, 7))


def test_masks_are_row_by_row() -> None:
    network = MLP(Process.linear(40), Architecture(16, 1, maskable=True), generator(16))
    y, c = torch.randn(2, 10, 3, generator=generator(17))
    masked = torch.arange(10) % 3 == 0
    with torch.no_grad():
        mixed = network(y, 5, c, masked)
        torch.testing.assert_close(mixed[masked], Unconditional(network)(y, 5, c)[masked])
        torch.testing.assert_close(mixed[~masked], network(y, 5, c)[~masked])


def test_moving_the_unconditional_moves_its_network() -> None:
    network = MLP(Process.linear(), Architecture(8, 0, maskable=True), generator())
    Unconditional(network).to(torch.float64)
    assert {p.dtype for p in network.parameters()} == {torch.float64}
