"""Which sources are feeds, and how their lines are taken: reads and checks feeds.yaml.

What a line means is read_request's part, what becomes of it validate's.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from include.contracts.documents import read
from include.data.normalise.values import moment_in
from include.intake.sources import source

FILE = Path(__file__).with_name("feeds.yaml")


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from None
    return text


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"{name!r} is no time zone; write one such as Europe/London") from None
    return name


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Learned(_Strict):
    """What an item is entered with that a feed named first, until a person completes it."""

    group: str
    unit: str
    decimals: Annotated[int, Field(ge=0, le=6)] = 0


class Feed(_Strict):
    """How the lines of one source are taken."""

    title: str
    location: str = Field(description="Where it happened, unless the line says it")
    zone: Annotated[str, AfterValidator(_zone)] | None = Field(
        default=None, description="Of moments that name none; the warehouse's own by default"
    )
    dates: tuple[str, ...] = Field(
        default=(), description="Forms of dates beside ISO 8601; the source's, in sources.yaml"
    )
    negative: Literal["adjustment", "reject"] = Field(
        default="reject", description="An issue of negative quantities only: stock that is gone otherwise, or a fault"
    )
    duplicates: Literal["reject", "keep"] = Field(
        default="keep", description="A row of a document that says in all columns what one before it says"
    )
    unknown_items: Literal["learn", "hold", "reject"] = "hold"
    learned: Learned | None = None
    not_stocked: list[Annotated[str, AfterValidator(_pattern)]] = Field(
        default_factory=list, description="Patterns of codes that are no goods; the whole code must match, in any case"
    )

    @cached_property
    def _not_stocked(self) -> re.Pattern[str]:
        return re.compile("|".join(f"(?:{pattern})" for pattern in self.not_stocked) or r"(?!)", re.IGNORECASE)

    def stocks(self, code: str) -> bool:
        """Whether a code of the feed means goods."""
        return not self._not_stocked.fullmatch(code)

    def moment(self, written: str, zone: str) -> datetime | None:
        """Return the moment that the feed writes, in UTC; None where it cannot be read.

        :param zone: of moments without one, where the feed declares none.
        """
        return _moment(written.strip(), self.dates, self.zone or zone)


class _File(_Strict):
    feeds: dict[str, Feed]


@cache
def feeds() -> dict[str, Feed]:
    """Return the feeds by the name of their source, read once; forms of dates are as their sources declare them."""
    declared = _File.model_validate(read(FILE)).feeds
    return {name: each.model_copy(update={"dates": tuple(source(name).dates)}) for name, each in declared.items()}


def feed(source: str | None) -> Feed | None:
    """Return how the lines of a source are taken; None for a source that is no feed."""
    return feeds().get(source) if source else None


@lru_cache(50_000)
def _moment(written: str, forms: tuple[str, ...], zone: str) -> datetime | None:
    found = moment_in(written, forms)
    if found is None or not 1900 <= found.year < 2200:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)
