"""Models from elsewhere and for later: wrapped, seen in other units, saved and loaded."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from conftest import generator
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from dualdiff.compose import Weighted, joint
from dualdiff.correct import product
from dualdiff.denoisers import Denoiser
from dualdiff.exact import ExactBox
from dualdiff.lora import add_lora
from dualdiff.models import about, from_diffusers, in_units_of, load, save, wrap
from dualdiff.networks import MLP, Architecture, Unconditional
from dualdiff.process import Process
from dualdiff.resampling import Resampling
from dualdiff.samplers import DDIM, DDPM, sample
from dualdiff.stopping import train

PROCESS = Process.linear(20, dy=3, dc=2)
Y, C = torch.randn(7, 3, generator=generator(1)), torch.randn(7, 2, generator=generator(2))
TIMES = (0, 7, 19, torch.tensor([0, 3, 5, 9, 12, 18, 19]))


def linear(inputs: int, outputs: int) -> nn.Linear:
    with torch.random.fork_rng():
        return nn.Linear(inputs, outputs)


def network(seed: int = 0, process: Process = PROCESS, **options: Any) -> MLP:
    found = MLP(process, Architecture(8, 1, **options), generator(seed))
    nn.init.normal_(found.head.weight, generator=generator(seed + 10))
    return found.eval()


# --- wrap ---------------------------------------------------------------------------------------


class Says(nn.Module):
    """A module that says in its own way what a denoiser says."""

    def __init__(self, denoiser: MLP, how: str) -> None:
        super().__init__()
        self.denoiser, self.how = denoiser, how

    def forward(self, y: Tensor, t: Tensor, c: Tensor) -> Tensor:
        assert t.shape == (len(y),)
        process, eps = self.denoiser.process, self.denoiser(y, t, c)
        clean = (y - process.noise(t) * eps) / process.signal(t)
        spoken = {"eps": eps, "x0": clean, "v": process.signal(t) * eps - process.noise(t) * clean}
        found: Tensor = spoken[self.how]
        return found


@pytest.mark.parametrize("how", ["eps", "x0", "v"])
@pytest.mark.parametrize("t", TIMES, ids=str)
def test_a_wrapped_module_predicts_the_noise(how: str, t: Any) -> None:
    """Whatever it speaks of; at T - 1 clean data are the noise divided by a small number."""
    inner = network()
    outer = wrap(Says(inner, how), PROCESS, predicts=how)  # type: ignore[arg-type]
    torch.testing.assert_close(outer(Y, t, C), inner(Y, t, C), atol=1e-4, rtol=1e-4)
    if isinstance(t, int):
        assert torch.equal(outer.bind(C)(Y, t), outer(Y, t, C))


def test_a_module_may_be_asked_in_its_own_way() -> None:
    """Its weights are those of the denoiser, so that it can be moved and trained."""
    layer = linear(4, 3)

    def call(module: nn.Module, y: Tensor, t: Tensor, c: Tensor) -> Tensor:
        found: Tensor = module(torch.cat([y, t[:, None] / 20], 1))
        return found

    outer = wrap(layer, PROCESS, call=call)
    assert [*outer.parameters()] == [*layer.parameters()]
    assert torch.equal(outer(Y, 5, C), layer(torch.cat([Y, torch.full((7, 1), 0.25)], 1)))
    before = layer.weight.detach().clone()
    train(outer, Y, C, epochs=2, batch_size=4, generator=generator())
    assert not torch.equal(before, layer.weight)


def test_a_wrapped_module_learns_by_low_rank_updates() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = linear(5, 3)

        def forward(self, y: Tensor, t: Tensor, c: Tensor) -> Tensor:
            found: Tensor = self.layer(torch.cat([y, c], 1))
            return found

    outer = wrap(Plain(), PROCESS)
    small = add_lora(outer, 1, generator())
    assert torch.equal(small(Y, 3, C), outer(Y, 3, C))
    train(small, Y, C, epochs=2, batch_size=4, generator=generator())
    assert not torch.equal(small(Y, 3, C), outer(Y, 3, C))
    assert sum(p.numel() for p in small.parameters() if p.requires_grad) == 5 + 3


class Asked(nn.Module):
    """A module of two arguments, and perhaps more."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.forward = {  # type: ignore[assignment]
            (): lambda y, t: y,
            ("more",): lambda y, t, *more: y,
            ("default",): lambda y, t, c=None, d=None: y,
        }[names]


@pytest.mark.parametrize("names", [("more",), ("default",)])
def test_a_module_that_can_be_asked_is_taken(names: tuple[str, ...]) -> None:
    assert torch.equal(wrap(Asked(*names), PROCESS)(Y, 3, C), Y)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_traced_module_is_taken_as_it_is() -> None:
    """What it takes cannot be read from it; it may be asked all the same."""
    wrap(torch.jit.trace(linear(5, 3), torch.ones(1, 5)), PROCESS)


def test_a_module_without_conditions_is_asked_without() -> None:
    assert torch.equal(wrap(Asked(), Process.linear(20, dy=3, dc=0))(Y, 3, C[:, :0]), Y)
    assert torch.equal(wrap(Asked(), PROCESS, call=lambda m, y, t, c: m(y, t))(Y, 3, C), Y)


# --- diffusers ----------------------------------------------------------------------------------

SHAPE = (1, 8, 8)


def unet(seed: int, sample_size: Any = 8, **options: Any) -> diffusers.UNet2DModel:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return diffusers.UNet2DModel(
            sample_size=sample_size,
            in_channels=1,
            out_channels=1,
            block_out_channels=(8, 16),
            norm_num_groups=4,
            down_block_types=("DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D"),
            **options,
        ).eval()


def scheduler(**options: Any) -> diffusers.DDPMScheduler:
    return diffusers.DDPMScheduler(
        num_train_timesteps=20, beta_start=1e-3, beta_end=0.2, clip_sample=False, **options
    )


@pytest.mark.parametrize("variance", ["beta", "posterior"])
@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_one_member_is_sampled_as_diffusers_does(
    variance: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same start and noise through their own loop, for all they predict."""
    name = {"beta": "fixed_large", "posterior": "fixed_small"}[variance]
    model, plan = unet(0), scheduler(variance_type=name, prediction_type=kind)
    ours = from_diffusers(model, plan, SHAPE)
    numbers = [torch.randn(4, 64, generator=generator(k)) for k in range(20)]
    supply = iter(numbers)
    monkeypatch.setattr("dualdiff.chunks.Streams.__call__", lambda self: next(supply).clone())
    found = sample(ours, torch.zeros(4, 0), generator(), sampler=DDPM(variance=variance))
    supply = iter([x.view(4, *SHAPE) for x in numbers])
    monkeypatch.setattr(
        "diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *_, **__: next(supply)
    )
    images = next(supply)
    plan.set_timesteps(20)
    with torch.no_grad():
        for t in plan.timesteps:
            images = plan.step(model(images, t).sample, t, images).prev_sample
    scale = float(images.abs().max())
    assert math.isfinite(scale) and scale > 0
    torch.testing.assert_close(found[:, 0].view_as(images), images, atol=1e-5 * scale, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("steps", [20, 4])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_a_scheduler_of_scaled_inputs_has_the_same_network(
    kind: str, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Euler's steps in y / sqrt(alpha_bar) are those of DDIM in y, over the same timesteps."""
    plan = diffusers.EulerDiscreteScheduler(
        num_train_timesteps=19 + (steps == 20),
        beta_start=1e-3,
        beta_end=0.2,
        prediction_type=kind,
    )
    model, noise = unet(0), torch.randn(4, 64, generator=generator())
    monkeypatch.setattr("dualdiff.chunks.Streams.__call__", lambda self: noise.clone())
    ours = from_diffusers(model, plan, SHAPE)
    found = sample(ours, torch.zeros(4, 0), generator(), sampler=DDIM(steps=steps))
    plan.set_timesteps(steps)  # whole numbers
    assert bool((plan.timesteps == plan.timesteps.round()).all())
    images = noise.view(4, *SHAPE) * (1 + plan.sigmas[0] ** 2).sqrt()
    with torch.no_grad():
        for t in plan.timesteps:
            eps = model(plan.scale_model_input(images, t), t).sample
            images = plan.step(eps, t, images).prev_sample
    scale = float(images.abs().max())
    torch.testing.assert_close(found[:, 0].view_as(images), images, atol=1e-5 * scale, rtol=1e-5)


CONTINUOUS = {"timestep_type": "continuous", "prediction_type": "v_prediction"}


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (diffusers.FlowMatchEulerDiscreteScheduler(), "alphas_cumprod"),
        (diffusers.EDMEulerScheduler(), "alphas_cumprod"),
        (diffusers.EulerDiscreteScheduler(**CONTINUOUS), "'discrete', not .* 'continuous'"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_scheduler_of_other_noise_or_times_is_refused(plan: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        from_diffusers(unet(0), plan, SHAPE)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 16, 16), (1, 8, 16), (8, 8), (64,)])
def test_another_shape_than_the_unet_has_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="in_channels 1 and sample_size 8, not"):
        from_diffusers(unet(0), scheduler(), shape)


def test_the_sides_of_a_unet_are_two_numbers_or_unknown() -> None:
    for size, shape in (((8, 16), (1, 8, 16)), (None, (1, 16, 8))):
        assert from_diffusers(unet(0, size), scheduler(), shape).process.dy == 128
    for shape in ((1, 16, 8), (1, 8), (1, 8, 16, 2)):
        with pytest.raises(ValueError, match=r"sample_size .8, 16., not"):
            from_diffusers(unet(0, (8, 16)), scheduler(), shape)


def test_two_unets_are_composed_sampled_and_corrected() -> None:
    unets, plan = {"one": unet(0), "two": unet(1)}, scheduler()
    members = {name: from_diffusers(model, plan, SHAPE) for name, model in unets.items()}
    both = Weighted(members, {"one": 0.5, "two": 0.5})
    images = sample(both, torch.zeros(6, 0), generator())[:, 0].view(-1, *SHAPE)
    corrected = product(both, torch.zeros(1, 0), generator(), draws=4, resampling=Resampling(4))
    assert images.shape == (6, *SHAPE) and corrected.samples.shape == (1, 4, 64)
    assert bool(torch.isfinite(images).all() and torch.isfinite(corrected.samples).all())
    eps = [member(Y.new_ones(2, 64), 3, Y.new_ones(2, 0)) for member in members.values()]
    told = both(Y.new_ones(2, 64), 3, Y.new_ones(2, 0))
    torch.testing.assert_close(told, (eps[0] + eps[1]) / 2)


def test_classes_of_a_unet_are_a_condition() -> None:
    model = unet(0, num_class_embeds=3)
    nn.init.normal_(model.class_embedding.weight, generator=generator())
    ours = from_diffusers(model, scheduler(), SHAPE)
    assert (ours.process.dy, ours.process.dc) == (64, 1)
    y = torch.randn(3, 64, generator=generator())
    expected = model(y.view(-1, *SHAPE), 4, class_labels=torch.tensor([0, 1, 2])).sample
    assert torch.equal(ours(y, 4, torch.tensor([[0.0], [1.0], [2.0]])), expected.flatten(1))
    assert not torch.equal(ours(y, 4, torch.zeros(3, 1)), expected.flatten(1))


# --- units --------------------------------------------------------------------------------------


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=3), st.floats(0.1, 9), st.integers(0, 19))
@settings(max_examples=30, deadline=None)
def test_a_distribution_in_other_units_is_the_same_distribution(
    mean: list[float], scale: float, t: int
) -> None:
    """The exact score of a box in units of its own against the same seen from other ones."""
    plain = Process.linear(20)
    other = replace(plain, y_mean=torch.tensor(mean), c_std=torch.full((3,), scale))
    low, high = (-1.0, -1.0, 0.0), (1.0, 0.5, 1.0)
    seen = in_units_of(ExactBox(plain, low, high), other)
    own = ExactBox(other, low, high)
    c = other.encode_c(torch.randn(7, 3, generator=generator(3)))
    noise = torch.randn(7, 3, generator=generator(4))
    y = other.diffuse(other.encode_y(other.decode_c(c) - 0.3), t, noise)
    torch.testing.assert_close(seen(y, t, c), own(y, t, c), atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(seen.bind(c)(y, t), seen(y, t, c), atol=1e-4, rtol=1e-4)


def test_there_and_back_is_the_model_itself() -> None:
    model = network()
    other = replace(PROCESS, y_mean=torch.ones(3), c_mean=torch.ones(2))
    assert in_units_of(in_units_of(model, other), PROCESS) is model
    assert in_units_of(model, PROCESS) is model
    # A detour through third units is no other model either.
    third = replace(PROCESS, y_mean=torch.full((3,), 2.0))
    straight, round_about = in_units_of(model, third), in_units_of(in_units_of(model, other), third)
    assert torch.equal(straight(Y, 4, C), round_about(Y, 4, C))
    assert joint(in_units_of(model, other), network(1, other)).process == other


# --- files --------------------------------------------------------------------------------------

SHIFTED = replace(PROCESS, y_mean=torch.tensor([1.0, 2.0, 3.0]).double())
FRAME = Process.linear(20, dy=2, dc=2)
KEPT: dict[str, Callable[[], Denoiser]] = {
    "plain": network,
    "double": lambda: network().double(),  # type: ignore[return-value]
    "tuned": lambda: network(
        activation="silu", time="sinusoidal", preconditioned=True, fourier=2, init="kaiming"
    ),
    "low rank": lambda: add_lora(network(), 2, generator()),
    "unconditional": lambda: Unconditional(network(maskable=True)),
    "sum": lambda: joint(network(0), network(1)),
    "steps": lambda: Weighted(
        {"b": network(0), "a/b": joint(network(1), network(2))},
        {"b": torch.rand(20, generator=generator()).double(), "a/b": 1 / 3},
    ),
    "units": lambda: joint(in_units_of(network(), SHIFTED), network(1, SHIFTED)),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_is_loaded_is_what_was_saved(name: str, tmp_path: Path) -> None:
    """Predictions, samples and all of the process, to the last bit; the global state untouched."""
    model, path, told = KEPT[name](), tmp_path / "model.safetensors", {"targets": ["x", "y", "z"]}
    state = torch.get_rng_state()
    save(path, model, about=told)
    again = load(path)
    assert torch.equal(torch.get_rng_state(), state)
    assert type(again) is type(model) and not again.training and about(path) == told
    for unit in ("alpha_bar", "y_mean", "y_std", "c_mean", "c_std"):
        old, new = getattr(model.process, unit), getattr(again.process, unit)
        assert old.dtype == new.dtype and torch.equal(old, new)
    for t in TIMES:
        assert torch.equal(again(Y, t, C), model(Y, t, C))
    assert torch.equal(sample(again, C, generator(5)), sample(model, C, generator(5)))
    save(tmp_path / "again", again, about=told)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()
    assert {p.name for p in tmp_path.iterdir()} == {"again", path.name}


def test_the_frame_of_the_object_is_kept(tmp_path: Path) -> None:
    shape = Architecture(8, 1, object_frame=True, preconditioned=True)
    moments = torch.tensor([0.5, -0.5]), torch.tensor([0.3, 0.7])
    model = MLP(FRAME, shape, generator(), *moments)
    nn.init.normal_(model.head.weight, generator=generator())
    save(tmp_path / "model", model)
    y = Y[:, :2]
    assert torch.equal(load(tmp_path / "model")(y, 3, C), model(y, 3, C))


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model"
    save(path, network())
    whole = path.read_bytes()
    for damaged in (b"", whole[:-1], whole[:-4] + b"\1\2\3\4", b"no model at all"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="model"):
            load(path)
    path.write_bytes(whole.replace(b'\\"format\\": 1', b'\\"format\\": 9'))
    with pytest.raises(ValueError, match="later version"):
        load(path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none")


class Mine(MLP):
    """A network of one's own class: its code is not in a file."""


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda p: save(p, wrap(Asked("more"), PROCESS)), "Wrapped cannot be saved"),
        (lambda p: save(p, Mine(PROCESS, Architecture(4, 0), generator())), "Mine cannot be saved"),
        (lambda p: save(p, linear(3, 3)), "not a Denoiser"),
        (lambda p: save(p, network(), about={"a": math.nan}), "about must be JSON"),
        (lambda p: save(p, network(), about={"a": torch.ones(1)}), "about must be JSON"),
        (lambda p: wrap(network(), PROCESS), "no Denoiser yet"),
        (lambda p: wrap(linear(3, 3), PROCESS, predicts="x"), "predicts must be"),
        (lambda p: wrap(Asked(), PROCESS), r"module\(y, t, c\).* with call="),
        (lambda p: wrap(linear(3, 3), Process.linear(20, dy=3, dc=0)), r"module\(y, t\).*call="),
        (lambda p: from_diffusers(linear(3, 3), object(), SHAPE), "scheduler must have"),
        (lambda p: from_diffusers(linear(3, 3), scheduler(), SHAPE), "call="),
        (
            lambda p: in_units_of(network(), replace(PROCESS, y_std=torch.full((3,), 2.0))),
            "scales of the target differ",
        ),
        (lambda p: in_units_of(network(), Process.linear(21, dy=3, dc=2)), "only units"),
        (lambda p: in_units_of(network(), Process.linear(20, dy=3, dc=3)), "only units"),
        (lambda p: Process.from_alphas([0.9, 0.95], dy=1), "decrease strictly"),
    ],
)
def test_what_cannot_be_is_refused(call: Callable[[Path], Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        call(tmp_path / "model")
    assert not [*tmp_path.iterdir()]
