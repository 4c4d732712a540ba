"""Sample stock for the demo: items, what lies where at the beginning, and a day of requests.

All of it is made up. The same mailing gives the same requests; only the dates move, so that the samples are recent.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

Json = dict[str, Any]
Ends = Literal["posted", "approval", "on_the_way", "back_order", "parted", "set_aside"]

ITEMS = """\
code,title,group,unit,decimals,tracking,abc,hazard,temperature,volume,standard_cost,active,expires,units
BOLT-8,"Bolts M8, zinc plated",material,pcs,0,none,C,,,0.00002,0.12,yes,,box=100;pallet=24000
SCREW-5,Wood screws 5 x 60,material,pcs,0,none,C,,,0.00001,0.05,yes,,box=200
CABLE-3,Cable 3 x 1.5 mm²,material,m,1,none,B,,,0.0002,0.86,yes,,reel=100
LAMP-D1,Desk lamp Nordlicht,goods,pcs,0,none,A,,,0.012,38.50,yes,,carton=6
CHAIR-B,"Office chair, black",goods,pcs,0,none,A,,,0.4,189.00,yes,,
MUG-W,"Mug, white",goods,pcs,0,none,B,,,0.0008,2.10,yes,,box=12;pallet=480
SOLVENT-1,Cleaning solvent,material,l,2,none,B,flammable,,0.001,4.75,yes,,canister=5
GLUE-C,Two-component glue,material,pcs,0,lot,B,,,0.0004,11.90,yes,yes,box=10
TONER-K,"Toner, black",spares,pcs,0,none,B,,,0.004,64.00,yes,,
CHOC-70,"Chocolate 70 %, chilled",goods,pcs,0,lot,A,,cold,0.0003,1.40,yes,yes,box=24
VACC-T,Test kits,goods,pcs,0,lot,A,,cold,0.0005,12.30,yes,yes,box=20
DRILL-18,"Cordless drill, 18 V",spares,pcs,0,serial,A,,,0.01,142.00,yes,,
LADDER-3,"Ladder, 3 m",spares,pcs,0,none,C,,,0.2,96.00,yes,,
LAMP-D0,"Desk lamp, the old one",goods,pcs,0,none,C,,,0.012,29.00,no,,carton=6
"""
"""Master data as `stock_items` takes it."""

FAULTY_ITEM = 'MUG-R,"Mug, red",goods,pcs,0,none,B,,,0.0008,two euros,yes,,box=12\n'
"""A further row of `ITEMS` that has a cost which is no number."""

RULES = """\
item,location,method,from,requester,minimum,maximum,multiple
CHAIR-B,SHOP,min_max,MAIN,olaf.winter,5,10,
LAMP-D1,SHOP,min_max,MAIN,olaf.winter,20,40,6
"""
"""Rules of replenishment as `replenishment_rules` takes them: the shop is filled from the main warehouse."""


@dataclass(frozen=True)
class StockRequest:
    """A request as its sender posts it, and what should become of it.

    :param name: what the demo calls it.
    :param source: of sources.yaml.
    :param note: in words what becomes of it.
    """

    name: str
    source: str
    ends: Ends
    note: str
    payload: Json


def opening_stock(*, mailing: str, now: datetime | None = None) -> list[StockRequest]:
    """Return the receipts by which the first stock comes: what lies where, and what one of its unit cost.

    :param mailing: goes into the sender's own ids: another mailing of the same receipts is other deliveries.
    """
    at = (now or datetime.now(UTC)) - timedelta(days=1)
    good, soon, gone = (_day(at, days) for days in (240, 12, -3))
    main = [
        _line("BOLT-8", "2", "pallet", unit_cost="2640.00"),
        _line("SCREW-5", "40", "box", unit_cost="10.00"),
        _line("CABLE-3", "6", "reel", unit_cost="80.00"),
        _line("LAMP-D1", "30", "carton", unit_cost="216.00"),
        _line("CHAIR-B", "25", unit_cost="179.00"),
        _line("MUG-W", "1", "pallet", unit_cost="936.00"),
        _line("SOLVENT-1", "30", "canister", unit_cost="22.50"),
        _line("GLUE-C", "40", lot="G-2601", expires_on=good, unit_cost="11.20"),
        _line("GLUE-C", "10", lot="G-2512", expires_on=soon, unit_cost="10.90"),
        _line("TONER-K", "18", unit_cost="61.00"),
        *(_line("DRILL-18", "1", lot=f"DR-{number}", unit_cost="139.00") for number in range(1001, 1007)),
        _line("LADDER-3", "4", unit_cost="92.00"),
    ]
    cold = [
        _line("CHOC-70", "50", "box", lot="C-0612", expires_on=good, unit_cost="30.00"),
        _line("CHOC-70", "4", "box", lot="C-0301", expires_on=gone, unit_cost="28.80"),
        _line("VACC-T", "15", "box", lot="V-77", expires_on=good, unit_cost="236.00"),
    ]
    shop = [
        _line("LAMP-D1", "12", unit_cost="36.00"),
        _line("MUG-W", "10", "box", unit_cost="23.40"),
        _line("CHAIR-B", "3", unit_cost="179.00"),
    ]
    places = {"MAIN": main, "COLD": cold, "SHOP": shop}
    requests = [
        _request(
            f"opening stock of {place}",
            "posted",
            f"{len(lines)} receipts",
            "receipt",
            *lines,
            to=place,
            requester="lena.hoffmann",
            reason="Opening stock",
        )
        for place, lines in places.items()
    ]
    return _sent(requests, f"opening-{mailing}", at)


def a_day_of_requests(*, mailing: str, now: datetime | None = None) -> list[StockRequest]:
    """Return a day of requests of every kind; some need a person, some cannot be posted."""
    at = now or datetime.now(UTC)
    requests = [
        _request(
            "an order of lamps",
            "posted",
            "there is enough in the main warehouse",
            "issue",
            _line("LAMP-D1", "2", "carton"),
            _line("MUG-W", "5", "box"),
            **{"from": "MAIN", "reference": "SO-4711"},
        ),
        _request(
            "ladders for a customer",
            "back_order",
            "4 of 6 are there; the rest waits for stock",
            "issue",
            _line("LADDER-3", "6"),
            **{"from": "MAIN", "reference": "SO-4712"},
        ),
        _request(
            "chairs for a fair",
            "approval",
            "so much of a valuable item needs its keeper",
            "issue",
            _line("CHAIR-B", "15"),
            **{"from": "MAIN", "reference": "SO-4713"},
        ),
        _request(
            "cable for the workshop",
            "posted",
            "counted in metres, asked for in reels",
            "consumption",
            _line("CABLE-3", "1.5", "reel"),
            _line("SOLVENT-1", "2.25"),
            **{"from": "MAIN"},
        ),
        _request(
            "mugs for the shop",
            "on_the_way",
            "waits in transit until the shop says that they arrived",
            "transfer",
            _line("MUG-W", "10", "box"),
            _line("LAMP-D1", "1", "carton"),
            **{"from": "MAIN", "to": "SHOP", "number": f"TR-{mailing}"},
        ),
        _request(
            "a chair comes back",
            "posted",
            "a customer's return",
            "return",
            _line("CHAIR-B", "1"),
            to="SHOP",
            reason="Changed their mind",
            requester="olaf.winter",
        ),
        _request(
            "toner goes back",
            "posted",
            "below what needs a person",
            "supplier_return",
            _line("TONER-K", "2"),
            **{"from": "MAIN", "reason": "Wrong type delivered"},
        ),
        _request(
            "two screws too few",
            "posted",
            "so small a difference is put right by rule",
            "adjustment",
            _line("SCREW-5", "-2"),
            **{"from": "MAIN", "reason": "Counted in passing"},
        ),
        _request(
            "lamps that nobody finds",
            "approval",
            "a difference of this value needs a person",
            "adjustment",
            _line("LAMP-D1", "-8"),
            **{"from": "MAIN", "reason": "Not on the shelf and not in the books"},
        ),
        _request(
            "chocolate past its day",
            "approval",
            "written off once somebody has approved it",
            "write_off",
            _line("CHOC-70", "4", "box", lot="C-0301"),
            **{"from": "COLD", "reason": "Past its day"},
        ),
        _request(
            "drill by number",
            "posted",
            "the one piece that is named",
            "consumption",
            _line("DRILL-18", "1", lot="DR-1003"),
            **{"from": "MAIN", "reason": "For the caretaker"},
        ),
        _request(
            "expired chocolate for a customer",
            "set_aside",
            "the lot is past its day",
            "issue",
            _line("CHOC-70", "1", "box", lot="C-0301"),
            **{"from": "COLD"},
        ),
        _request(
            "solvent into the cold store",
            "set_aside",
            "the place may not hold what is flammable",
            "receipt",
            _line("SOLVENT-1", "2", "canister"),
            to="COLD",
        ),
        _request(
            "an unknown item in an unknown unit",
            "set_aside",
            "there is no such item, and lamps do not come in buckets",
            "issue",
            _line("BOLD-8", "5"),
            _line("LAMP-D1", "1", "bucket"),
            **{"from": "MAIN"},
        ),
        _request(
            "half a chair",
            "set_aside",
            "chairs are counted in whole pieces",
            "issue",
            _line("CHAIR-B", "0.5"),
            **{"from": "MAIN"},
        ),
        _request(
            "from a place that is not there",
            "set_aside",
            "no location has this code",
            "issue",
            _line("MUG-W", "1"),
            **{"from": "ATTIC"},
        ),
        _request(
            "an adjustment without a reason",
            "set_aside",
            "adjustments say why",
            "adjustment",
            _line("MUG-W", "-1"),
            **{"from": "MAIN"},
        ),
    ]
    return _sent([*requests, _till(mailing)], mailing, at)


def _till(mailing: str) -> StockRequest:
    """What the shop's till reports: each line stands for itself."""
    lines = [
        {"item": "MUG-W", "quantity": 3, "price": "6.90"},
        {"item": "LAMP-D1", "quantity": 1, "price": "79.00"},
        {"item": "CHAIR-B", "quantity": 5, "price": "329.00"},
        {"item": "MUG-X", "quantity": 1, "price": "6.90"},
        {"item": "MUG-W", "quantity": 0, "price": "6.90"},
    ]
    return StockRequest(
        "the till of the shop",
        "pos",
        "parted",
        "five chairs were sold where the books have four; an unknown mug is held, a line of none rejected",
        {"shop": "SHOP", "type": "sale", "receipt": f"Z-{mailing}", "lines": lines},
    )


def _line(item: str, quantity: str, unit: str = "", **more: str) -> Json:
    return {"item": item, "quantity": quantity, **({"unit": unit} if unit else {}), **more}


def _request(name: str, ends: Ends, note: str, kind: str, *lines: Json, **more: str) -> StockRequest:
    payload: Json = {"kind": kind, "requester": "lena.hoffmann", **more, "lines": list(lines)}
    return StockRequest(name, "stock-requests", ends, note, payload)


def _sent(requests: list[StockRequest], mailing: str, at: datetime) -> list[StockRequest]:
    """Give each its own id and moment, in the order of the list."""
    for number, request in enumerate(requests, 1):
        request.payload["id"] = f"stock-{mailing}-{number}"
        request.payload["occurred_at"] = (at - timedelta(minutes=10 + len(requests) - number)).isoformat()
    return requests


def _day(at: datetime, days: int) -> str:
    day: date = (at + timedelta(days=days)).date()
    return day.isoformat()
