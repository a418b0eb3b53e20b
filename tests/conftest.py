"""What the tests share: untouched global randomness, one thread, and small known worlds."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import settings

from dualdiff.compose import Blend, Weighted
from dualdiff.denoisers import Denoiser, Predict
from dualdiff.energy import Energy, Observation
from dualdiff.exact import ExactBox, ExactDisc, ExactMixture
from dualdiff.experiments.store import Store
from dualdiff.models import in_units_of, wrap
from dualdiff.networks import MLP, Architecture, Unconditional
from dualdiff.plots import use_style
from dualdiff.process import Process
from dualdiff.regions import Disc

# A busy machine fails no test, and a test that fails here fails everywhere: the examples are the
# same in every run. `pytest --hypothesis-profile search` draws new ones.
settings.register_profile("search", deadline=None)
settings.register_profile("fixed", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("fixed")
torch.set_num_threads(1)  # small matrices: threads cost more than they give

LONG = "book labs grading sweep submission continual own_scenario notebooks".split()
"""Files that take minutes, the longest first: at the end of all others they would run alone.

They run chapters, labs, sweeps and whole studies; ``-m "not long"`` leaves them out.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of :data:`LONG` go first, and are marked."""
    names = [f"test_{name}" for name in LONG]
    items.sort(key=lambda item: names.index(item.path.stem) if item.path.stem in names else 99)
    for item in items:
        if item.path.stem in names:
            item.add_marker("long")


@pytest.fixture(autouse=True)
def _global_randomness_untouched() -> Iterator[None]:
    """The contract of the module, checked around every single test."""
    before = torch.random.get_rng_state()
    yield
    assert torch.equal(before, torch.random.get_rng_state()), "the global RNG was used"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Shared by all tests of a file: what they ask for differs by its configuration."""
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def drawing() -> Iterator[None]:
    """Figures in the style of the book, closed at the end."""
    with plt.rc_context():
        use_style()
        yield
    plt.close("all")


def generator(seed: int = 0) -> torch.Generator:
    """A seeded CPU generator."""
    return torch.Generator().manual_seed(seed)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Another default type of numbers meanwhile."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


ASYMMETRIC_MIXTURE = {
    "weights": (0.2, 0.5, 0.3),
    "means": ((-1.5, 0.3, 0.5), (0.4, -0.8, 0.0), (1.0, 1.2, -0.6)),
    "covariances": (
        ((0.20, 0.05, 0.0), (0.05, 0.10, 0.02), (0.0, 0.02, 0.15)),
        ((0.05, -0.02, 0.01), (-0.02, 0.20, 0.0), (0.01, 0.0, 0.08)),
        ((0.10, 0.0, 0.03), (0.0, 0.04, 0.0), (0.03, 0.0, 0.12)),
    ),
}


def mixture(process: Process) -> ExactMixture:
    """Three components, no symmetry: a sign error cannot hide."""
    return ExactMixture(process, **ASYMMETRIC_MIXTURE)


class Quick(ExactMixture):
    """An exact mixture bound in few float32 operations: laws of samplers need many samples."""

    def _bind(self, c: torch.Tensor) -> Predict:
        centre = self.process.encode_y(self.process.decode_c(c))
        pairs = list(zip(self.log_weights.tolist(), self.means.float(), strict=True))

        def predict(y: torch.Tensor, t: int) -> torch.Tensor:
            signal, noise = self.process.signal(t), self.process.noise(t)
            variance = signal**2 * self.variances + noise**2
            precision = (self.basis / variance.unsqueeze(1) @ self.basis.mT).float()
            x = torch.sub(y.float(), centre, alpha=signal)
            pulls, logs = [], []
            for (log_weight, mean), matrix, log in zip(
                pairs, precision, variance.log().sum(1).tolist(), strict=True
            ):
                residual = x - signal * mean
                pulls.append(residual @ matrix if y.shape[1] > 1 else residual * matrix)
                logs.append((residual * pulls[-1]).sum(1, keepdim=True) / -2 + log_weight - log / 2)
            if len(pulls) == 1:
                return (noise * pulls[0]).to(y.dtype)
            shares = torch.stack(logs).softmax(0)
            return (noise * (shares * torch.stack(pulls)).sum(0)).to(y.dtype)

        return predict


def containers(rows: torch.Tensor) -> dict[str, object]:
    """The same whole numbers ``[n, d]`` from 0 to 3 in everything that people keep rows in."""
    whole = rows.numpy().astype(np.int64)
    kinds = "float16 bfloat16 float32 float64 uint8 int8 int16 int32 int64".split()
    arrays = {
        f"array {kind}": whole.astype(kind) for kind in ("f2", "f4", "f8", ">f8", ">i4", "u1", "i8")
    }
    read_only = whole.astype(float)
    read_only.setflags(write=False)
    frame = pd.DataFrame(whole, columns=[f"x{i}" for i in range(whole.shape[1])])
    mixed = frame.astype({frame.columns[0]: "float32"}).astype({frame.columns[-1]: "Int64"})
    return {
        **{f"tensor {kind}": rows.to(getattr(torch, kind)) for kind in kinds},
        "tensor with gradient": rows.clone().requires_grad_(),
        "tensor strided": rows.repeat_interleave(2, 1)[:, ::2],
        **arrays,
        "array column order": np.asfortranarray(whole.astype(float)),
        "array backwards": whole[::-1].astype(float)[::-1],
        "array read only": read_only,
        "array of objects": whole.astype(object),
        "lists": whole.tolist(),
        "tuples": tuple(map(tuple, whole.tolist())),
        "list of arrays": list(whole),
        "frame": frame,
        "frame of several types": mixed,
        "frame of objects": frame.astype(object),
    }


KINDS_OF_ROWS = list(containers(torch.zeros(2, 2)))


def line(process: Process, *components: tuple[float, float, float]) -> Quick:
    """A mixture on a line (dy = 1): weight, mean and variance of every component."""
    weights, means, variances = zip(*components, strict=True)
    return Quick(process, weights, [[m] for m in means], [[[v]] for v in variances])


def standardised(process: Process) -> Process:
    """The process in units that differ per dimension."""
    y = torch.tensor([[0.0, 1.0, 2.0], [1.0, 3.0, 2.5], [4.0, 0.0, 1.0]])
    return process.standardised(y, y.flip(0) - 1)


OFFSET, SPREAD = torch.tensor([0.1, -0.2, 0.3]), torch.tensor([0.5, 0.7, 0.3])


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
"""For tests with "cuda" in their names, by which `tests/on_cuda.py` finds them."""


def denoisers() -> dict[str, Denoiser]:
    """One of every kind, all on one process where they can be: every law is tested on each."""
    process = Process.linear(40)
    units = standardised(Process.log_snr(40))
    tuned = Architecture(16, 2, "silu", "sinusoidal", preconditioned=True)
    framed = Architecture(16, 2, "relu", "sinusoidal", preconditioned=True, object_frame=True)
    bare_frame = Architecture(16, 1, object_frame=True)
    waves = Architecture(16, 2, "silu", "sinusoidal", preconditioned=True, fourier=3)
    framed_waves = Architecture(16, 1, object_frame=True, fourier=2)
    maskable = MLP(process, Architecture(16, 2, fourier=2, maskable=True), generator(6))
    thesis = MLP(process, Architecture(16, 3), generator(1))
    second = MLP(process, Architecture(16, 0), generator(2))
    box = ExactBox(process, (-1.0, -1.0, 0.0), (0.0, 0.0, 0.5))
    pair = Weighted({"a": thesis, "b": second}, {"a": 0.7, "b": 1.5})
    return {
        "mlp thesis": thesis,
        "mlp without hidden layers": second,
        "mlp tuned": MLP(units, tuned, generator(3)),
        "mlp object frame": MLP(units, framed, generator(4), OFFSET, SPREAD),
        "mlp bare object frame": MLP(units, bare_frame, generator(5), OFFSET, SPREAD),
        "mlp fourier": MLP(units, waves, generator(3)),
        "mlp fourier object frame": MLP(units, framed_waves, generator(5), OFFSET, SPREAD),
        "mlp maskable": maskable,
        "unconditional": Unconditional(maskable),
        "box": box,
        "standardised box": ExactBox(units, (-1.0, 0.2, 0.0), (0.0, 0.7, 0.5)),
        "disc": ExactDisc(process, Disc(1.0, centre=(0.3, -0.2), height=2.0)),
        "mixture": mixture(process),
        "standardised mixture": mixture(units),
        "quick mixture": Quick(units, **ASYMMETRIC_MIXTURE),
        "weighted": pair,
        "weights by step": Weighted(
            {"a": thesis, "b": box}, {"a": torch.linspace(-0.5, 1, 40), "b": 1.0}
        ),
        "nested": Weighted({"pair": pair, "box": box}, {"pair": 0.5, "box": 0.25}),
        "blend": Blend({"a": thesis, "b": box}, _gate),
        "wrapped": wrap(Said(second), process, predicts="v"),
        "moved units": in_units_of(thesis, replace(process, y_mean=OFFSET)),
        "energy": Energy(pair, lambda y, noise: -(y**2).sum(1) / (1 + noise)),
        "energy of observations": Energy(
            mixture(units), Observation(units, [[1.0, 0.0, -1.0]], [0.5], 0.5), jacobian=False
        ),
    }


def _gate(y: torch.Tensor, t: int | torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    share = torch.sigmoid((y * c).sum(1, keepdim=True))
    return torch.cat([share, 1 - share], 1)


class Said(torch.nn.Module):
    """A module that is no denoiser, and one inside."""

    def __init__(self, inner: Denoiser) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, y: torch.Tensor, t: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.inner(y, t, c)
        return found
