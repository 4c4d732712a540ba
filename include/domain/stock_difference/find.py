"""Finds differences: the daily comparison, and the cases that it opens and looks at again.

The ledger is held against itself first: a balance that is not what its movements say is nobody's difference. Nothing is
opened from half a read: the ERP answers for every place, or nothing is compared.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, text

from include.cases import store
from include.data.database import authored
from include.data.exports import export_folder, write_csv
from include.domain.stock_difference.books import load_lines, look, told, without_accepted, write_lines
from include.domain.stock_difference.comparison import Comparison, Line, Spot
from include.intake.handoffs import Handoff, hand_over
from include.integrations.systems import Provider
from include.stock import check
from include.stock.warehouse import warehouse

WORKFLOW = "stock_difference"
SOURCE = "stock-difference"
MOST = 50
"""Cases of one place each that may be open at once; what is beyond is one case for all of them."""
ONE, MANY = "one", "many"
SHOWN = 5
COLUMNS = ("item", "location", "lot", "waybill", "erp", "difference")

_PREFIX = f"{SOURCE}/id:"
_FOR_ALL = "/many"
_CASES = text("""
    select c.id, c.key,
           c.state = 'waiting' and c.stage = 'decide' and d.decision is null as waits
    from cases c left join stock_differences d on d.case_id = c.id
    where c.workflow = :workflow and c.state not in ('finished', 'rejected') order by c.id""")
_LATEST = text(r"""
    select regexp_replace(key, '/\d+$', '') as base, max(cast(substring(key from '/(\d+)$') as integer)) as latest
    from cases where workflow = :workflow and regexp_replace(key, '/\d+$', '') = any(:bases) group by 1""")


class LedgerBroken(Exception):
    """The stock ledger does not agree with itself; the message says where, and what to run."""


@dataclass(frozen=True)
class Reconciled:
    """What came of a comparison.

    :param compared: items at locations that were compared.
    :param moving: that were not, as something moves there.
    :param differing: that differ, the accepted ones left out.
    :param opened: new cases.
    :param gone: open cases that are about nothing any more.
    :param changed: open cases whose difference is another one.
    :param foreign: items that only the ERP knows.
    :param file: where the differences are listed, when they were too many.
    """

    compared: int
    moving: int
    differing: int
    opened: int
    gone: int
    changed: int
    foreign: int
    file: Path | None


def reconcile(engine: Engine, erp: Provider, *, run: str, into: Path | None = None) -> Reconciled:
    """Compare the stock with the ERP's, open cases for what differs, and look at the open ones again.

    :param into: the folder of the list that is written when there are too many for cases of their own.
    :raises LedgerBroken: when the ledger does not agree with itself.
    :raises SystemTrouble: when the ERP cannot be read.
    """
    with engine.connect() as connection:
        _check(connection)
        found = look(connection, erp)
    with authored(engine, actor="system:reconciliation", run=run) as connection:
        connection.execute(text("select pg_advisory_xact_lock(hashtext('waybill.stock_difference'))"))
        differing = without_accepted(connection, found.lines)
        standing = _standing(connection)
        gone, changed = _look_again(connection, standing, found, differing)
        opened, file = _open(connection, standing, differing, into or export_folder())
    return Reconciled(
        found.compared, len(found.moving), len(differing), opened, gone, changed, len(found.foreign), file
    )


@dataclass
class _Standing:
    """The open cases.

    :param spots: place -> its case.
    :param for_all: the case for all, while it is about something.
    :param waiting: those that wait for a decision.
    """

    spots: dict[Spot, int]
    for_all: int | None
    waiting: set[int]


def open_spots(connection: Connection) -> set[Spot]:
    """Return the places that have an open case of their own."""
    return set(_standing(connection).spots)


def _standing(connection: Connection) -> _Standing:
    standing = _Standing({}, None, set())
    for row in connection.execute(_CASES, {"workflow": WORKFLOW}):
        base = row.key.removeprefix(_PREFIX).rpartition("/")[0]
        if base == _FOR_ALL:
            standing.for_all = row.id
        else:
            item, _, location = base.rpartition("/")
            standing.spots[Spot(item, location)] = row.id
        if row.waits:
            standing.waiting.add(row.id)
    return standing


def rest(differing: Mapping[Spot, Sequence[Line]], alone: Collection[Spot]) -> list[Line]:
    """Return what the case for all is about: everything that has no case of its own, if it is too much for those."""
    spots = [spot for spot in differing if spot not in alone]
    if len(spots) + len(alone) <= MOST:
        return []
    return [line for spot in spots for line in differing[spot]]


def _check(connection: Connection) -> None:
    wrong = check.differences(connection)
    if not wrong:
        return
    places = ", ".join("/".join(filter(None, one.place)) for one in wrong[:SHOWN])
    raise LedgerBroken(
        f"the stock ledger does not agree with itself at {len(wrong)} places, such as {places}:"
        " somebody went around it. Run `python -m include.stock check` to see them, find out who changed the balances,"
        " and put them right with `python -m include.stock rebuild`; nothing was compared with the ERP"
    )


def _look_again(
    connection: Connection, standing: _Standing, found: Comparison, differing: Mapping[Spot, Sequence[Line]]
) -> tuple[int, int]:
    """Bring open cases up to date that wait for a decision, and wake those that changed.

    :returns: how many are about nothing any more, and how many about something else.
    """
    now = {
        case_id: list(differing.get(spot, ()))
        for spot, case_id in standing.spots.items()
        if case_id in standing.waiting and spot not in found.moving
    }
    if standing.for_all in standing.waiting and standing.for_all is not None:
        now[standing.for_all] = rest(differing, standing.spots)
    before = load_lines(connection, list(now))
    changed = {case_id: lines for case_id, lines in now.items() if lines != before[case_id]}
    write_lines(connection, changed)
    store.record_each(connection, "compared", {case_id: told(lines) for case_id, lines in changed.items() if lines})
    store.wake(connection, list(changed))
    gone = {case_id for case_id, lines in changed.items() if not lines}
    if standing.for_all in gone:
        standing.for_all = None
    return len(gone), len(changed) - len(gone)


def _open(
    connection: Connection, standing: _Standing, differing: Mapping[Spot, Sequence[Line]], into: Path
) -> tuple[int, Path | None]:
    """Open cases for what has none: each place its own, or one for all where there are too many.

    :returns: how many are new, and the list of what the one for all is about.
    """
    new = {spot: lines for spot, lines in differing.items() if spot not in standing.spots}
    if not new or standing.for_all is not None:
        return 0, None
    today = warehouse().day_of(datetime.now(UTC)).isoformat()
    if not (lines := rest(differing, standing.spots)):
        number = _numbers(connection, [f"{spot.item}/{spot.location}" for spot in new])
        handoffs = [
            Handoff(f"{base}/{number[base] + 1}", _document(ONE, some, today))
            for (spot, some) in new.items()
            for base in [f"{spot.item}/{spot.location}"]
        ]
        return hand_over(connection, SOURCE, handoffs), None
    file = _write(lines, into / f"stock_differences_{today}.csv")
    latest = _numbers(connection, [_FOR_ALL])[_FOR_ALL]
    document = _document(MANY, lines, today) | {"file": file.name}
    return hand_over(connection, SOURCE, [Handoff(f"{_FOR_ALL}/{latest + 1}", document)]), file


def _numbers(connection: Connection, bases: Sequence[str]) -> dict[str, int]:
    """Return how many cases there were of each place, so that the next one has a key of its own."""
    values = {"workflow": WORKFLOW, "bases": [_PREFIX + base for base in bases]}
    found = {row.base.removeprefix(_PREFIX): row.latest for row in connection.execute(_LATEST, values)}
    return {base: found.get(base, 0) for base in bases}


def _document(scope: str, lines: Iterable[Line], found_on: str) -> dict[str, object]:
    return {
        "scope": scope,
        "found_on": found_on,
        "lines": [
            {
                "item": line.item,
                "location": line.location,
                "lot": line.lot,
                "waybill": f"{line.waybill:f}",
                "erp": f"{line.erp:f}",
            }
            for line in lines
        ],
    }


def _write(lines: Iterable[Line], target: Path) -> Path:
    amounts = ((line, (line.waybill, line.erp, line.difference)) for line in lines)
    write_csv(
        target,
        COLUMNS,
        ((line.item, line.location, line.lot, *(f"{one.normalize():f}" for one in some)) for line, some in amounts),
    )
    return target
