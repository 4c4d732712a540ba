"""What every kind of alert must say, and numbers in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MOST_EXAMPLES = 5


@dataclass(frozen=True)
class Wording:
    """The five things that a person needs to know."""

    headline: str
    broke: str
    touches: str
    heals: str
    do: str


def cases_in_words(count: int) -> str:
    """`1 case`, `2,000 cases`."""
    return "1 case" if count == 1 else f"{count:,} cases"


def effects_in_words(count: int) -> str:
    """`1 effect`, `2,000 effects`."""
    return "1 effect" if count == 1 else f"{count:,} effects"


def such_as(examples: Sequence[int]) -> str:
    """The ids of a few cases, as the end of a sentence; nothing where there are none."""
    ids = list(examples)[:MOST_EXAMPLES]
    return f", such as case {', '.join(map(str, ids))}" if ids else ""


def step_in_words(step: str | None) -> str:
    """A step by its title."""
    return f"step “{step}”" if step else "a step"
