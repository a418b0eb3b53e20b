"""A robot study of seconds: sizes, recipe and settings that its tests share."""

from dataclasses import replace

import pandas as pd

from dualdiff.robot.settings import SETTINGS, Scale, Setting

TINY = Scale(
    "smoke",
    tasks=20,
    n_specialised=40,
    conditions=30,
    general_steps=4,
    batch=32,
    specialised_epochs=2,
    finetune_epochs=1,
    law_conditions=6,
    draws=8,
    seeds=1,
    budget=4,
)


def small(setting: Setting) -> Setting:
    """The setting with a network of a few weights and few steps."""
    recipe = setting.recipe
    steps = 6 if recipe.schedule == "log_snr" else 25  # the betas of fewer would be above 1
    architecture = replace(recipe.architecture, width=8)
    return replace(setting, recipe=replace(recipe, architecture=architecture, steps=steps))


def found_in(table: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Values by target and metric."""
    keys = zip(table["target"], table["metric"], strict=True)
    return dict(zip(keys, table["value"], strict=True))


def no_work(*_: object) -> None:
    """In the place of what makes a result that must be stored by now."""
    raise AssertionError("something was computed again")


SMALL = {name: small(setting) for name, setting in SETTINGS.items()}
