"""Sample purchases for the demo: requests, suppliers, budgets and exchange rates.

All of it is made up: the companies do not exist, and the rates are round figures near those of a real day, not a
bank's. The same number gives the same request; only the dates move, so that the samples are always recent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Purchase:
    """One request as the portal posts it, and what becomes of it.

    :param name: what the demo calls it.
    :param ends: what should become of it: by_rule, approved, rejected, waiting, mismatch or set_aside.
    :param note: that in words.
    """

    name: str
    ends: str
    note: str
    payload: Json


SUPPLIERS: Mapping[str, Json] = {
    "S-100": {
        "name": "Papierhaus Łukasz Müller GmbH",
        "email": "bestellung@papierhaus.example",
        "country": "DE",
        "currency": "EUR",
        "orders_by_mail": True,
        "language": "de",
    },
    "S-200": {
        "name": "Rechenwerk AG",
        "email": "orders@rechenwerk.example",
        "country": "CH",
        "currency": "CHF",
        "orders_by_mail": True,
        "language": "de",
    },
    "S-300": {
        "name": "Northwind Software Inc.",
        "email": "sales@northwind-software.example",
        "country": "US",
        "currency": "USD",
        "orders_by_mail": True,
        "language": "en",
    },
    "S-400": {
        "name": "Škoda Nářadí s.r.o.",
        "email": "objednavky@naradi.example",
        "country": "CZ",
        "currency": "CZK",
        "orders_by_mail": False,
        "language": "en",
    },
    "S-500": {"name": "Gestern & Söhne KG", "country": "DE", "currency": "EUR", "blocked": True},
}
"""Key -> record in the ERP; S-500 is blocked."""

_BUDGETS = (
    ("4100", "marketing", 250_000),
    ("4100", "services", 80_000),
    ("4100", "travel", 40_000),
    ("4100", "office", 15_000),
    ("5200", "hardware", 120_000),
    ("5200", "software", 150_000),
    ("5200", "services", 60_000),
    ("5200", "office", 5_000),
    ("6300", "material", 300_000),
    ("6300", "tools", 60_000),
    ("6300", "services", 40_000),
    ("6300", "office", 5_000),
)
_RATES = (("USD", "1.15"), ("GBP", "0.88"), ("CHF", "0.93"), ("CZK", "24.20"), ("PLN", "4.24"), ("JPY", "178.00"))


def suppliers() -> dict[str, Json]:
    """Return the suppliers that the ERP has: key -> record."""
    return {key: {"active": True, "blocked": False, **record} for key, record in SUPPLIERS.items()}


def budgets(day: date | None = None) -> list[Json]:
    """Return the budgets of the year of `day`, as `include.domain.budgets.load_budgets` takes them.

    On the first day of a year also those of the year before: the first requests are some minutes old.
    """
    today = day or datetime.now(UTC).date()
    return [
        {
            "cost_centre": centre,
            "category": category,
            "starts": f"{year}-01-01",
            "ends": f"{year}-12-31",
            "amount": str(amount),
            "currency": "EUR",
        }
        for year in sorted({(today - timedelta(days=1)).year, today.year})
        for centre, category, amount in _BUDGETS
    ]


def rates(day: date | None = None) -> list[tuple[date, str, str, Decimal]]:
    """Return made-up rates of `day` and of the day before: day, base, currency, units of it for one of the base."""
    today = day or datetime.now(UTC).date()
    return [
        (each, "EUR", currency, Decimal(rate))
        for each in (today - timedelta(days=1), today)
        for currency, rate in _RATES
    ]


def purchases(*, mailing: str, now: datetime | None = None) -> list[Purchase]:
    """Return the sample requests.

    :param mailing: goes into the sender's own ids: another mailing of the same requests is other deliveries.
    """
    at = now or datetime.now(UTC)
    samples = [
        Purchase(
            "pens",
            "by_rule",
            "below the lowest band: approved by rule, and ordered",
            _request(
                "anna.schmidt", "4100", "office", "S-100", _line("Ballpoint pens, box of 50", "3", "21.50", "box")
            ),
        ),
        Purchase(
            "chairs",
            "approved",
            "one stage: Maria Keller approves it by an answer over Airflow's own API",
            _request(
                "anna.schmidt",
                "4100",
                "office",
                "S-100",
                _line("Office chair, black", "4", "289.00"),
                _line("Floor mat", "4", "35.90"),
                why="Four colleagues join the team in December.",
            ),
        ),
        Purchase(
            "video wall",
            "rejected",
            "one stage: Tom Berger rejects it",
            _request(
                "ben.fischer",
                "5200",
                "hardware",
                "S-200",
                _line("Video wall, 4 panels", "1", "4200.00"),
                currency="CHF",
                why="For the entrance hall.",
            ),
        ),
        Purchase(
            "licences",
            "waiting",
            "several stages in US dollars, a costly licence: left waiting for its first decision",
            _request(
                "ben.fischer",
                "5200",
                "software",
                "S-300",
                _line("Observability platform, yearly licence", "40", "780.00", "seat", tax="0"),
                currency="USD",
                why="The present contract ends this year.",
            ),
        ),
        Purchase(
            "drills",
            "mismatch",
            "approved and delivered; its invoice is dearer than ordered, and waits for accounts payable",
            _request(
                "lena.hoffmann",
                "6300",
                "tools",
                "S-400",
                _line("Cordless drill", "10", "149.00", tax="0"),
                why="Worn out.",
            ),
        ),
        Purchase(
            "stand",
            "set_aside",
            "from a supplier who is blocked: set aside with its reason",
            _request("anna.schmidt", "4100", "marketing", "S-500", _line("Exhibition stand", "1", "9800.00")),
        ),
    ]
    for number, sample in enumerate(samples, 1):
        sample.payload["id"] = f"purchase-{mailing}-{number}"
        sample.payload["requested_at"] = (at - timedelta(minutes=number)).isoformat()
        sample.payload["needed_by"] = (at + timedelta(days=30)).date().isoformat()
    return samples


def _line(description: str, quantity: str, unit_price: str, unit: str = "piece", *, tax: str = "0.19") -> Json:
    return {
        "description": description,
        "quantity": quantity,
        "unit": unit,
        "unit_price": unit_price,
        "tax_rate": tax,
    }


def _request(
    requester: str, cost_centre: str, category: str, supplier: str, *lines: Json, currency: str = "EUR", why: str = ""
) -> Json:
    return {
        "requester": requester,
        "cost_centre": cost_centre,
        "category": category,
        "supplier": supplier,
        "currency": currency,
        "justification": why or None,
        "lines": list(lines),
    }
