"""The study: a scenario, the five configurations, a recipe and a seed give one tidy table."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from dualdiff import metrics
from dualdiff.compose import joint
from dualdiff.denoisers import MLP, Architecture, Denoiser
from dualdiff.exact import exact_denoiser
from dualdiff.process import Process
from dualdiff.profiles import Profile
from dualdiff.samplers import DDPM, sample
from dualdiff.scenarios import Region, Scenario
from dualdiff.store import Store, provenance
from dualdiff.train import Optimisation, clone, epoch_losses, fit

CONFIGURATIONS = ("general", "specialised", "finetuned", "joint", "finetuned_joint")
MAKES_TABLES = "process denoisers exact compose samplers train scenarios metrics study".split()
COLUMNS = ("scenario", "recipe", "profile", "seed", "configuration", "metric")


@dataclass(frozen=True)
class Recipe:
    """How members are built and trained, apart from how much.

    Parameters
    ----------
    name : str
    schedule : {"linear", "log_snr"}
        Linear betas 1e-3 .. 0.2, or log-SNR falling linearly from 12 to -8; T = 100 for both.
    standardised : bool
        Whether targets and conditions are standardised with the general training rows.
    architecture : Architecture
    optimisation : Optimisation
    general_batch, specialised_batch : int
        Batch sizes of the thesis.
    """

    name: str
    schedule: Literal["linear", "log_snr"] = "linear"
    standardised: bool = False
    architecture: Architecture = field(default_factory=Architecture)
    optimisation: Optimisation = field(default_factory=Optimisation)
    general_batch: int = 2048
    specialised_batch: int = 64

    def process(self, y: Tensor, c: Tensor) -> Process:
        """The process that all members of this recipe share, from the general training rows."""
        process = Process.linear() if self.schedule == "linear" else Process.log_snr()
        if self.standardised:
            process = process.standardised(y, c, relative=self.architecture.object_frame)
        return process

    def with_object_frame(self) -> Recipe:
        """The same recipe in the frame of the object."""
        framed = replace(self.architecture, object_frame=True)
        return replace(self, name=f"{self.name} + object frame", architecture=framed)


RECIPES = {
    "thesis": Recipe("thesis"),
    "tuned": Recipe(
        "tuned",
        schedule="log_snr",
        standardised=True,
        architecture=Architecture(activation="silu", time="sinusoidal", preconditioned=True),
        optimisation=Optimisation("adamw", learning_rate=1e-2, decay="cosine", ema=0.05),
    ),
}


def stream(seed: int, *labels: object, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of its own for every purpose, so that no step's numbers depend on another's."""
    digest = hashlib.sha256(repr((seed, *labels)).encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:7], "big"))


def code_version(*modules: str) -> str:
    """Hash of the source files that make a result: a change in them makes it anew."""
    folder = Path(__file__).parent
    digest = hashlib.sha256()
    for name in modules:
        digest.update((folder / f"{name}.py").read_bytes())
    return digest.hexdigest()[:16]


def _plain(region: Region) -> dict[str, Any]:
    """What training rows depend on: the region without its tolerance and its cells."""
    fields = asdict(region)  # type: ignore[call-overload]
    for evaluation_only in ("height_tolerance", "divisions", "rings", "sectors"):
        fields.pop(evaluation_only, None)
    return {"type": type(region).__name__, **fields}


@dataclass(frozen=True)
class Members:
    """The three trained networks of a study and what belongs to them.

    ``losses`` holds the mean loss of every epoch, ``rows`` the training pairs ``(y, c)``; both by
    name (general, specialised, and finetuned for the losses).
    """

    networks: dict[str, MLP]
    losses: dict[str, Tensor]
    rows: dict[str, tuple[Tensor, Tensor]]

    def configurations(self) -> dict[str, Denoiser]:
        """The thesis's five configurations by name; see :data:`CONFIGURATIONS`."""
        general, specialised = self.networks["general"], self.networks["specialised"]
        finetuned = self.networks["finetuned"]
        return {
            "general": general,
            "specialised": specialised,
            "finetuned": finetuned,
            "joint": joint(general, specialised),
            "finetuned_joint": joint(general, finetuned),
        }


def exact_configurations(scenario: Scenario) -> dict[str, Denoiser]:
    """General, specialised and joint with exact noise predictions: what no training can beat."""
    process = Process.linear()
    general = exact_denoiser(scenario.general, process)
    specialised = exact_denoiser(scenario.specialised, process)
    return {
        "general": general,
        "specialised": specialised,
        "joint": joint(general, specialised),
    }


def training_rows(
    scenario: Scenario, profile: Profile, seed: int
) -> dict[str, tuple[Tensor, Tensor]]:
    """The training pairs of both sets, original units, on the CPU."""
    sizes = {"general": profile.n_general, "specialised": profile.n_specialised}
    return {
        which: scenario.pairs(which, n, stream(seed, "rows", which)) for which, n in sizes.items()
    }


def _bar(total: int, label: str, quiet: bool) -> Any:
    return tqdm(total=total, desc=label, disable=quiet, leave=False)


def _train(
    network: MLP,
    rows: tuple[Tensor, Tensor],
    job: _Job,
    recipe: Recipe,
    generator: torch.Generator,
    bar: Any,
) -> dict[str, Tensor]:
    """Train in place; the weights and the loss curve as the store keeps them."""
    y, c = (part.to(generator.device) for part in rows)
    run = fit(
        network,
        y,
        c,
        epochs=job.epochs,
        batch_size=job.batch_size,
        generator=generator,
        optimisation=recipe.optimisation,
    )
    losses = []
    for loss in epoch_losses(run):
        losses.append(loss)
        bar.update()
    state = {f"state.{k}": v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    return {**state, "losses": torch.tensor(losses)}


class _Job(NamedTuple):
    """A network to train: on which rows, how long, and what identifies the result."""

    name: str
    rows: str
    epochs: int
    batch_size: int
    config: dict[str, Any]


def _jobs(
    scenario: Scenario, recipe: Recipe, profile: Profile, seed: int, device: torch.device | str
) -> list[_Job]:
    """The three networks in the order of training; only two of them know the specialised rows."""
    base = {
        "recipe": asdict(recipe),
        "seed": seed,
        "conditions": [scenario.condition_low, scenario.condition_high],
        "general": _plain(scenario.general),
        "n_general": profile.n_general,
        "code": code_version("process", "denoisers", "train", "scenarios", "study"),
        "device": torch.device(device).type,
        **provenance(),
    }
    home = {**base, "specialised": _plain(scenario.specialised)}
    home["n_specialised"] = profile.n_specialised
    start = {**home, "general_epochs": profile.general_epochs}
    large, small = recipe.general_batch, recipe.specialised_batch
    return [
        _Job("general", "general", profile.general_epochs, large, base),
        _Job("specialised", "specialised", profile.specialised_epochs, small, home),
        _Job("finetuned", "specialised", profile.finetune_epochs, small, start),
    ]


def train_members(
    scenario: Scenario,
    recipe: Recipe,
    profile: Profile,
    seed: int,
    *,
    store: Store,
    device: torch.device | str = "cpu",
    quiet: bool = True,
) -> Members:
    """Train, or load from the store, the general, specialised and fine-tuned networks.

    Two processes that ask for the same network at the same time train it once. A network is
    identified by everything that made it, the module's source included.

    Parameters
    ----------
    scenario, recipe, profile, seed
        What to train on, how, how much, and the seed of data, weights and order.
    store : Store
    device : torch.device
    quiet : bool
        No progress bars.

    Returns
    -------
    Members
    """
    rows = training_rows(scenario, profile, seed)
    y, c = rows["general"]
    process, offset = recipe.process(y, c), y - c
    frame = recipe.architecture.object_frame
    moments = (offset.mean(0), offset.std(0)) if frame else (None, None)
    networks: dict[str, MLP] = {}
    losses: dict[str, Tensor] = {}
    for job in _jobs(scenario, recipe, profile, seed, device):
        if job.name == "finetuned":
            network = clone(networks["general"])
        else:
            source = stream(seed, "weights", job.name)
            network = MLP(process, recipe.architecture, source, *moments).to(device)

        def make(job: _Job = job, network: MLP = network) -> dict[str, Tensor]:
            generator = stream(seed, "training", job.name, device=device)
            label = f"{scenario.name}, {recipe.name}: train {job.name}"
            with _bar(job.epochs, label, quiet) as bar:
                return _train(network, rows[job.rows], job, recipe, generator, bar)

        config = {"network": job.name, "epochs": job.epochs, **job.config}
        tensors = store.tensors("network", config, make)
        state = {k: v for k, v in tensors.items() if k.startswith("state.")}
        network.load_state_dict({k.removeprefix("state."): v for k, v in state.items()})
        networks[job.name], losses[job.name] = network.eval(), tensors["losses"]
    return Members(networks, losses, rows)


def fresh_samples(
    denoiser: Denoiser,
    scenario: Scenario,
    n: int,
    draws: int,
    seed: int,
    *,
    device: torch.device | str = "cpu",
    progress: Callable[[int], object] | None = None,
) -> tuple[Tensor, Tensor]:
    """Samples ``[n, draws, dy]`` at ``n`` fresh conditions ``[n, dc]``, with the thesis's sampler.

    The conditions depend on the seed alone: every configuration is judged at the same ones.
    """
    conditions = scenario.conditions(n, stream(seed, "test conditions"))
    generator = stream(seed, "test samples", device=device)
    samples = sample(
        denoiser, conditions.to(device), generator, sampler=DDPM(), draws=draws, progress=progress
    )
    return samples.cpu(), conditions


def study(
    scenario: Scenario,
    recipes: Sequence[Recipe | Literal["exact"]],
    profile: Profile,
    seed: int,
    *,
    store: Store,
    device: torch.device | str = "cpu",
    quiet: bool = True,
) -> pd.DataFrame:
    """The tidy table of a scenario under one or several recipes, for every seed of the profile.

    One row per recipe, seed, configuration and metric, with columns ``scenario, recipe, profile,
    seed, configuration, metric, value, low, high`` (a 95 % interval over test conditions). Under
    recipe ``"exact"`` the members are exact and nothing is trained.
    """
    tables = [
        _study_one(scenario, recipe, profile, s, store, device, quiet)
        for recipe in recipes
        for s in range(seed, seed + profile.seeds)
    ]
    return pd.concat(tables, ignore_index=True)


def _study_one(
    scenario: Scenario,
    recipe: Recipe | Literal["exact"],
    profile: Profile,
    seed: int,
    store: Store,
    device: torch.device | str,
    quiet: bool,
) -> pd.DataFrame:
    """The table of one recipe and one seed, made or loaded."""
    name = recipe if isinstance(recipe, str) else recipe.name

    def make() -> pd.DataFrame:
        if isinstance(recipe, str):
            configurations, offsets = exact_configurations(scenario), None
        else:
            members = train_members(
                scenario, recipe, profile, seed, store=store, device=device, quiet=quiet
            )
            configurations = members.configurations()
            offsets = scenario.specialised.offsets(*members.rows["specialised"])
        total = profile.conditions * profile.draws * len(configurations)
        rows: list[tuple[Any, ...]] = []
        with _bar(total, f"{scenario.name}, {name}: sample", quiet) as bar:
            for configuration, denoiser in configurations.items():
                scores = _score(denoiser, scenario, profile, seed, offsets, device, bar.update)
                keys = (scenario.name, name, profile.name, seed, configuration)
                rows += [(*keys, metric, *estimate) for metric, estimate in scores.items()]
        return pd.DataFrame(rows, columns=[*COLUMNS, "value", "low", "high"])

    config = {
        "scenario": {
            "name": scenario.name,
            "general": asdict(scenario.general),  # type: ignore[call-overload]
            "specialised": asdict(scenario.specialised),  # type: ignore[call-overload]
            "conditions": [scenario.condition_low, scenario.condition_high],
        },
        "recipe": name if isinstance(recipe, str) else asdict(recipe),
        "profile": asdict(profile),
        "seed": seed,
        "code": code_version(*MAKES_TABLES),
        "device": torch.device(device).type,
        **provenance(),
    }
    return store.table("study", config, make)


def _score(
    denoiser: Denoiser,
    scenario: Scenario,
    profile: Profile,
    seed: int,
    train_offsets: Tensor | None,
    device: torch.device | str,
    progress: Callable[[int], object],
) -> dict[str, metrics.Estimate]:
    """All metrics of one configuration against the specialised law."""
    samples, conditions = fresh_samples(
        denoiser,
        scenario,
        profile.conditions,
        profile.draws,
        seed,
        device=device,
        progress=progress,
    )
    source = stream(seed, "metrics")
    region = scenario.specialised
    return metrics.evaluate(samples, conditions, region, source, train_offsets=train_offsets)
