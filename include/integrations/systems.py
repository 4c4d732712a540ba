"""What a system is to the ledger: operations, their delivery semantics, and the outcome of each effect.

Holds no client of any system; those are the providers beside this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from include.cases.model import Work

Json = dict[str, Any]


class Mode(StrEnum):
    """What an environment does with effects."""

    LIVE = "live"
    CAPTURE = "capture"
    SHADOW = "shadow"


class Settle(StrEnum):
    """How an effect is settled whose outcome nobody knows."""

    RESEND = "resend"
    """The system recognises the effect by its key: sending again changes nothing. Exactly once in effect."""
    LOOKUP = "lookup"
    """The system is asked whether it has the effect. Exactly once in effect."""
    ASSUME_SENT = "assume sent"
    """Neither is possible, and twice is worse than never: at most once."""


@dataclass(frozen=True)
class Operation:
    """One thing that a system can be asked to do.

    :param compensation: the operation that takes it back, where there is one.
    """

    name: str
    settle: Settle
    compensation: str | None = None


@dataclass(frozen=True)
class Effect:
    """One intended change in an outside system, before the ledger has it.

    :param key: business identity; the same key is the same effect, however often it is planned.
    :param not_before: when it may be sent at the earliest, where people are to have time to take it back.
    """

    key: str
    system: str
    operation: str
    case_id: int | None
    step: str
    target: str
    payload: Json
    not_before: datetime | None = None

    @classmethod
    def of(cls, work: Work, *, system: str, operation: str, case_id: int, target: str, payload: Json) -> Effect:
        """Return the effect that `work`'s step intends for a case."""
        key = f"{work.workflow}/{case_id}/{work.step}/{operation}/{target}"
        return cls(key, system, operation, case_id, work.step, target, payload)


@dataclass(frozen=True)
class PendingEffect:
    """An effect that the ledger has claimed for sending."""

    id: int
    key: str
    operation: str
    target: str
    payload: Json
    attempts: int


@dataclass(frozen=True)
class Sent:
    """The system has it. `answer` is what a later step may need, such as the system's own id."""

    answer: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """The system certainly does not have it.

    :param retry_after: seconds that the system asked to be left alone, if it did.
    :param permanent: trying again cannot help; a person must act.
    """

    error: str
    retry_after: float | None = None
    permanent: bool = False


@dataclass(frozen=True)
class Unknown:
    """The system may or may not have it."""

    error: str


Outcome = Sent | Failed | Unknown


class Provider(Protocol):
    """Delivers the effects of one system, in bulk."""

    name: str
    operations: Mapping[str, Operation]
    """In the order in which a case's effects depend on each other."""
    batch_size: int

    def apply(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:
        """Deliver `effects`; one outcome each, in the same order. Raises for none of them."""
        ...

    def settle(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:
        """Ask the system about effects of unknown outcome: Sent, Failed (it has them not), or still Unknown."""
        ...


class CrmProvider(Provider, Protocol):
    """A provider of the `crm` role: it can also be read, by Waybill's own keys."""

    def read(self, kind: str, keys: Sequence[str]) -> Mapping[str, Json]:
        """Return what the CRM knows now of each company, contact or deal (`kind`) among `keys`."""
        ...


class ErpProvider(Provider, Protocol):
    """A provider of the `erp` role: it can also be read, by Waybill's own keys."""

    def read(self, kind: str, keys: Sequence[str]) -> Mapping[str, Json]:
        """Return what the ERP knows now of each of `keys`; what it does not know is left out.

        :param kind: `supplier` -> name, active, blocked, email, currency, country, orders_by_mail, language;
            `order` -> id, number, state; `product` -> title, unit, group, tracking, standard_cost, active;
            `stock`, whose keys are codes of locations -> everything that is there, under "ITEM|LOCATION|LOT", as item,
            location, lot and quantity. An ERP that keeps no lots says an empty one.
        :raises SystemTrouble: when the ERP cannot be asked.
        """
        ...
