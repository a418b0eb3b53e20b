"""Sampling from a general and a specialised diffusion model at once: a module and a book.

The names below, and every module of the package, are loaded when they are asked for.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Denoiser": "denoisers",
    "MLP": "networks",
    "Process": "process",
    "Weighted": "compose",
    "exact_denoiser": "exact",
    "fit": "train",
    "joint": "compose",
    "make_scenario": "scenarios",
    "product": "correct",
    "sample": "samplers",
}
"""The public names, and the module of each."""


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"dualdiff.{_HOMES[name]}"), name)
    if not name.startswith("_"):
        try:
            return import_module(f"dualdiff.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"dualdiff.{name}":
                raise
    raise AttributeError(f"module 'dualdiff' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
