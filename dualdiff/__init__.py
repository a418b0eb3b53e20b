"""Sampling from a general and a specialised diffusion model at once: a module and a book.

The names below, and every module of the package, are loaded when they are asked for.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_ROOMS = {
    "compose": "Blend Weighted joint",
    "correct": "product",
    "data.compare": "compare compare_models",
    "data.pairs": "Pairs",
    "data.table": "Table",
    "denoisers": "Denoiser",
    "energy": "Energy Observation twisted",
    "exact": "exact_denoiser",
    "experiments.scenarios": "make_scenario",
    "judging.run": "judge",
    "models": "from_diffusers in_units_of load save wrap",
    "networks": "MLP",
    "process": "Process",
    "samplers": "sample",
    "stopping": "train",
    "training": "fit",
}
_HOMES = {name: module for module, names in _ROOMS.items() for name in names.split()}
"""The public names, and the module of each."""


def submodules(package: str) -> Callable[[str], Any]:
    """What a package says to a name that it does not have: its module of that name, loaded now."""

    def load(name: str) -> Any:
        if not name.startswith("_"):
            try:
                return import_module(f"{package}.{name}")
            except ModuleNotFoundError as error:
                if error.name != f"{package}.{name}":
                    raise
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return load


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"dualdiff.{_HOMES[name]}"), name)
    return submodules("dualdiff")(name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
