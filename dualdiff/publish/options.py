"""What the options of commands have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from dualdiff.experiments.profiles import PROFILES

Command = TypeVar("Command", bound=Callable[..., Any])


def option(*names: str, **settings: Any) -> Callable[[Command], Command]:
    """An option; one without a type or a default of its own is a flag."""
    if not settings.keys() & {"type", "default"}:
        settings["is_flag"] = True
    return click.option(*names, **settings)


OUTPUT: dict[str, Any] = {"type": Path, "metavar": "FOLDER"}
ONE_OF_PROFILES = f"one of {', '.join(PROFILES)}"
