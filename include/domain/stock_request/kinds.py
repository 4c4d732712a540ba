"""The kinds of stock requests: between which locations goods move, and what holds for each kind.

Reads kinds.yaml. Which locations there are is the warehouse's part.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from include.contracts.documents import read
from include.contracts.model import Duration
from include.stock.warehouse import virtual

FILE = Path(__file__).with_name("kinds.yaml")
Place = Literal["internal", "transit", "supplier", "customer", "consumption", "scrap", "adjustment"]
Shortage = Literal["back_order", "partial", "exception"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Kind(_Strict):
    """One kind, as kinds.yaml says."""

    title: str
    source: Place = Field(alias="from")
    destination: Place = Field(alias="to")
    by_way_of: Place | None = None
    signed: bool = False
    shortage: Shortage = "exception"
    reason: bool = False
    expired: bool = False
    reserved_for: Duration = timedelta(days=3)

    @property
    def takes(self) -> bool:
        """Whether it takes goods from a location that has to have them."""
        return self.source == "internal"

    @property
    def site(self) -> Literal["origin", "destination"]:
        """The end at which it is entered, and whose users may enter it."""
        return "origin" if self.source == "internal" else "destination"

    def movement(self, origin: str, destination: str, quantity: Decimal) -> tuple[str, str]:
        """Return from where to where a quantity goes.

        :param origin: of the request, as `stock_requests` has it.
        :param destination: the same.
        """
        if self.signed:
            return (origin, destination) if quantity < 0 else (destination, origin)
        return origin, (virtual(self.by_way_of) if self.by_way_of else destination)


class _File(_Strict):
    decided: frozenset[str]
    kinds: dict[str, Kind]


@cache
def _file() -> _File:
    return _File.model_validate(read(FILE))


def kinds() -> dict[str, Kind]:
    """Return the kinds by their names."""
    return _file().kinds


def decided() -> frozenset[str]:
    """Return the sources of requests that were decided on where they come from."""
    return _file().decided
