"""Laws every denoiser obeys, and the thesis's network in particular."""

import pytest
import torch
from conftest import OFFSET, SPREAD, denoisers, generator, standardised
from torch import nn

from dualdiff.denoisers import MLP, Architecture, time_features
from dualdiff.process import Process

ALL = denoisers()


@pytest.mark.parametrize("name", ALL)
def test_bound_denoiser_is_the_same_function(name: str) -> None:
    denoiser = ALL[name]
    y, c = torch.randn(2, 64, 3, generator=generator(8))
    with torch.no_grad():
        for t in (0, 1, 20, 39):
            expected = denoiser(y, t, c)
            predict = denoiser.bind(c)
            # Tables of exact denoisers interpolate within 1e-5; their noise is O(|y|/sigma) at t=0.
            scale = expected.abs().clamp(min=1)
            for _ in range(2):  # buffers are reused: the second call must not see the first
                assert ((predict(y, t) - expected) / scale).abs().max() < 2e-5


@pytest.mark.parametrize("name", ALL)
def test_a_batch_of_steps_is_its_single_steps(name: str) -> None:
    denoiser = ALL[name]
    y, c = torch.randn(2, 5, 3, generator=generator(9))
    t = torch.tensor([0, 3, 20, 20, 39])
    with torch.no_grad():
        batch = denoiser(y, t, c)
        for i in range(5):
            alone = denoiser(y[i : i + 1], int(t[i]), c[i : i + 1])[0]
            torch.testing.assert_close(batch[i], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_rows_do_not_see_each_other(name: str) -> None:
    denoiser = ALL[name]
    y, c = torch.randn(2, 16, 3, generator=generator(10))
    order = torch.randperm(16, generator=generator(11))
    with torch.no_grad():
        shuffled = denoiser(y[order], 7, c[order])
        torch.testing.assert_close(shuffled, denoiser(y, 7, c)[order], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_wrong_shapes_are_refused(name: str) -> None:
    denoiser = ALL[name]
    with pytest.raises(ValueError, match=r"y must have shape \[n, 3\]"):
        denoiser(torch.zeros(4, 2), 0, torch.zeros(4, 3))
    with pytest.raises(ValueError, match=r"c must have shape \[4, 3\]"):
        denoiser(torch.zeros(4, 3), 0, torch.zeros(5, 3))


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width=0"),
        ({"depth": -1}, "depth=-1"),
        ({"activation": "tanh"}, "'tanh'"),
        ({"time": "fourier"}, "'fourier'"),
    ],
)
def test_bad_architectures_are_named(options: dict, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match=message):
        Architecture(**options)


def test_object_frame_needs_its_moments() -> None:
    with pytest.raises(ValueError, match="object_frame needs dy = dc and the offset"):
        MLP(Process.linear(), Architecture(object_frame=True), generator())
