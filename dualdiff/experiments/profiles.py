"""How large a run is, and which values the parameters of the notebooks may take.

A name means the same in every chapter, so the parameters are described once, here. This module
imports nothing heavy: the command line checks a value before anything else is loaded.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib.metadata import entry_points
from numbers import Integral, Real
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch

FORMER = {"thesis": ("full", "plain")}
"""Names of before, and what has them now: a profile, a recipe."""
Value = TypeVar("Value")


def present(name: str, known: Collection[str]) -> str:
    """The present name, one of ``known``, of what had another one before, with a note."""
    for new in {*FORMER.get(name, ())} & {*known}:
        warnings.warn(f"{name!r} is called {new!r} now", FutureWarning, stacklevel=3)
        return new
    return name


class Named(dict[str, Value]):
    """A table by name that takes names of before, too."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or bool({*FORMER.get(str(name), ())} & {*self})

    def __missing__(self, name: str) -> Value:
        if name not in self:
            raise KeyError(name)
        return self[present(name, self)]


@dataclass(frozen=True)
class Profile:
    """Sizes of a run. A profile sets how much is computed, never how.

    Parameters
    ----------
    name : str
    n_general, n_specialised : int
        Training pairs of the two sets.
    general_epochs, specialised_epochs, finetune_epochs : int
        Passes over the training pairs.
    conditions, draws : int
        Test conditions and samples drawn for each of them.
    seeds : int
        Training runs, with seeds ``seed``, ``seed + 1``, ...
    theory_samples : int
        Samples behind each histogram of the theory chapter.
    """

    name: str
    n_general: int
    n_specialised: int
    general_epochs: int
    specialised_epochs: int
    finetune_epochs: int
    conditions: int
    draws: int
    seeds: int
    theory_samples: int


PROFILES = Named(
    (profile.name, profile)
    for profile in (
        Profile("smoke", 4_096, 128, 3, 30, 10, 64, 10, 1, 2_000),
        Profile("quick", 55_398, 128, 100, 1_500, 200, 2_000, 10, 1, 20_000),
        Profile("full", 55_398, 128, 100, 1_500, 200, 100_000, 10, 3, 200_000),
    )
)


BOOK = ("cabinet", "round_table")
"""The scenarios of the book and of its tables."""
SCENARIOS: dict[str, Any] = {name: f"dualdiff.experiments.scenarios:{name}" for name in BOOK}
"""Functions that make a scenario, by name: each itself, or where it stands (``module:function``).

An entry of one's own holds in its process; :func:`scenarios` has those of installed packages, too.
"""


@functools.cache
def _installed() -> dict[str, str]:
    return {found.name: found.value for found in entry_points(group="dualdiff.scenarios")}


def scenarios() -> dict[str, Any]:
    """All of :data:`SCENARIOS`, and the entry points ``dualdiff.scenarios`` of others.

    These hold in every process: for the command line, chapters and the workers of a sweep.
    """
    return {**SCENARIOS, **{k: v for k, v in _installed().items() if k not in SCENARIOS}}


def maker_of(scenario: str) -> Callable[..., Any]:
    """What makes a scenario of :func:`scenarios`.

    Raises
    ------
    ValueError
        For an unknown name, and if what it stands for cannot be loaded.
    """
    known = scenarios()
    if scenario not in known:
        raise ValueError(f"name must be one of {', '.join(known)}, got {scenario!r}")
    make: Any = known[scenario]
    try:
        return resolve_name(make) if isinstance(make, str) else make
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"scenario {scenario!r} stands for {make}: {error}") from error


@dataclass(frozen=True)
class Parameter:
    """A parameter of the notebooks: its type, what it does and what it may be.

    Parameters
    ----------
    name : str
    type : {str, int, float, bool}
        An int is accepted where a float is asked, a bool is a number nowhere.
    help : str
    choices : tuple of str, or function
        For strings: the allowed values, or what gives them.
    minimum, maximum : float
        For numbers: the closed range of allowed values.
    above : float, optional
        For numbers: an open lower end, in place of `minimum`.
    """

    name: str
    type: type
    help: str
    choices: tuple[str, ...] | Callable[[], Collection[str]] = ()
    minimum: float = -math.inf
    maximum: float = math.inf
    above: float | None = None

    @property
    def known(self) -> tuple[str, ...]:
        """The choices as they are now."""
        return tuple(self.choices() if callable(self.choices) else self.choices)

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        if self.type is bool:
            return "True or False"
        if self.choices:
            return "one of " + ", ".join(map(repr, self.known))
        kind = "an integer" if self.type is int else "a number"
        if self.above is not None:
            return f"{kind} above {self.above:g} and at most {self.maximum:g}"
        return f"{kind} from {self.minimum:.15g} to {self.maximum:.15g}"

    def accepts(self, value: Any) -> bool:
        """Whether `value` has the type and lies in the range (a NaN lies in none)."""
        if self.type is bool or isinstance(value, bool):
            return self.type is bool and isinstance(value, bool)
        if self.type is str:
            return isinstance(value, str) and value in Named.fromkeys(self.known)
        if not isinstance(value, Integral if self.type is int else Real):
            return False
        number: Any = value
        low = number >= self.minimum if self.above is None else number > self.above
        return bool(low and number <= self.maximum)

    def check(self, value: Any) -> Any:
        """The value under its present name; one that is not allowed is refused.

        Raises
        ------
        ValueError
            With the parameter, the value and what is allowed.
        """
        if not self.accepts(value):
            raise ValueError(f"parameter {self.name!r} is {value!r}; it must be {self.allowed}")
        return present(value, self.known) if self.choices else value

    def parse(self, text: str) -> Any:
        """The value that `text` spells on a command line, checked."""
        words: dict[str, Any] = {"true": True, "yes": True, "false": False, "no": False}
        value: Any = text
        try:
            value = words.get(text.lower(), text) if self.type is bool else self.type(text)
        except ValueError:
            pass  # stays text, which the check refuses with the right message
        return self.check(value)


PARAMETERS = {
    parameter.name: parameter
    for parameter in (
        Parameter("profile", str, "how much is computed", choices=tuple(PROFILES)),
        Parameter("seed", int, "of every random number", minimum=0, maximum=2**31 - 1),
        Parameter("device", str, "where torch computes", choices=("auto", "cpu", "cuda")),
        Parameter("quiet", bool, "no progress bars"),
        Parameter("scenario", str, "which experiment", choices=scenarios),
        Parameter("recipe", str, "network and training", choices=("plain", "tuned")),
        Parameter(
            "height_tolerance",
            float,
            "height error allowed on the round table",
            above=0,
            maximum=10,
        ),
        Parameter("points", int, "specialised training pairs", minimum=2, maximum=100_000),
        Parameter("distance", float, "of the centres of the two discs", minimum=0, maximum=20),
        Parameter("group", int, "particles that compete with each other", minimum=2, maximum=200),
        Parameter(
            "weight_general", float, "of the general model's noise in the sum", above=0, maximum=10
        ),
        Parameter(
            "weight_specialised",
            float,
            "of the specialised model's noise in the sum",
            above=0,
            maximum=10,
        ),
    )
}


def _known(name: str) -> Parameter:
    if name not in PARAMETERS:
        raise ValueError(f"unknown parameter {name!r}; it must be one of {', '.join(PARAMETERS)}")
    return PARAMETERS[name]


def check(**values: Any) -> None:
    """Refuse unknown names and values that are not allowed.

    Notebooks call it right after their parameters cell, the command line before a kernel starts.

    Raises
    ------
    ValueError
        With the parameter, the value and what is allowed.
    """
    for name, value in values.items():
        _known(name).check(value)
    if values.get("device") == "cuda":
        resolve_device("cuda")


def parse(name: str, text: str) -> Any:
    """The value of parameter `name` that `text` spells, checked.

    Raises
    ------
    ValueError
        If the name is unknown or the value not allowed.
    """
    value = _known(name).parse(text)
    check(**{name: value})
    return value


def resolve_device(name: str) -> torch.device:
    """The device that ``auto``, ``cpu`` or ``cuda`` stands for on this computer.

    Raises
    ------
    ValueError
        For another name, and for ``cuda`` where torch sees no CUDA device.
    """
    import torch

    PARAMETERS["device"].check(name)
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ValueError(
            "parameter 'device' is 'cuda', but torch sees no CUDA device here; "
            "it must be 'auto' or 'cpu'"
        )
    return torch.device("cuda" if name != "cpu" and available else "cpu")
