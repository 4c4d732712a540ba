"""Which environment this is, and so whether anything leaves it.

The only place that reads `WAYBILL_ENVIRONMENT`, `WAYBILL_EFFECT_MODE` and `WAYBILL_PAUSE_CALENDAR`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, get_args

Name = Literal["development", "staging", "production"]
EffectMode = Literal["live", "capture", "shadow"]

USUAL_MODE: dict[Name, EffectMode] = {"development": "live", "staging": "capture", "production": "live"}
"""Development is live because its providers are the built-in ones, until somebody connects a real system."""


DEFAULT_BASE_URL = "http://127.0.0.1:8080"


class UnknownEnvironment(ValueError):
    """A setting of the environment has a value that means nothing."""


@dataclass(frozen=True)
class Environment:
    """The environment's name and what it does with effects."""

    name: Name
    effect_mode: EffectMode

    @property
    def is_development(self) -> bool:
        """Whether this is somebody's own machine, where unsigned sources exist."""
        return self.name == "development"


def base_url() -> str:
    """Return where the UI answers: `WAYBILL_BASE_URL`, else Airflow's own setting, else this machine."""
    return (os.environ.get("WAYBILL_BASE_URL") or os.environ.get("AIRFLOW__API__BASE_URL") or DEFAULT_BASE_URL).rstrip(
        "/"
    )


def current() -> Environment:
    """Read the environment. One that does not say what it is counts as staging: nothing leaves, everything is signed.

    :raises UnknownEnvironment: when a variable holds none of its possible values.
    """
    name = os.environ.get("WAYBILL_ENVIRONMENT") or "staging"
    if name not in get_args(Name):
        raise UnknownEnvironment(f"WAYBILL_ENVIRONMENT is {name!r}; write one of {', '.join(get_args(Name))}")
    mode = os.environ.get("WAYBILL_EFFECT_MODE") or USUAL_MODE[name]  # type: ignore[index]
    if mode not in get_args(EffectMode):
        raise UnknownEnvironment(f"WAYBILL_EFFECT_MODE is {mode!r}; write one of {', '.join(get_args(EffectMode))}")
    return Environment(name, mode)  # type: ignore[arg-type]


def calendar_paused() -> bool:
    """Say whether DAGs that run daily, weekly or monthly are paused when Airflow first sees them.

    :raises UnknownEnvironment: when the variable is neither `true` nor `false`.
    """
    said = os.environ.get("WAYBILL_PAUSE_CALENDAR") or "false"
    if said not in ("true", "false"):
        raise UnknownEnvironment(f"WAYBILL_PAUSE_CALENDAR is {said!r}; write true or false")
    return said == "true"
