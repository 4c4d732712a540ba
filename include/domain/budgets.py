"""Budgets: money that an approval commits, a booking consumes, and a cancellation frees.

What moves is an entry, and the database keeps the sums of a budget's entries beside it. Every function that moves money
locks its budgets in the order of their ids, so that two requests cannot have the same money; the caller has locked the
cases before. It says whether there is money, never whether a person may spend it.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from psycopg.types.json import Jsonb
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from sqlalchemy import Connection, Engine, text

from include.contracts.documents import DocumentError, read
from include.data import database
from include.data.money import known, minor_units, parse_amount
from include.domain.purchasing import purchasing

CENT = Decimal("0.01")
LARGEST = Decimal(10) ** 15


class BudgetInvalid(ValueError):
    """Rows of budgets that cannot be kept; the message names each and what is wrong with it."""


class NothingCommitted(LookupError):
    """A case consumes although nothing was ever committed for it, so that nobody knows of which budget."""


class Budget(NamedTuple):
    """The money of one cost centre for one category in one period, as one case sees it.

    :param available: what the case may still commit; what it has moved itself is not held against it.
    """

    id: int
    amount: Decimal
    committed: Decimal
    consumed: Decimal
    currency: str
    available: Decimal


class Difference(NamedTuple):
    """A budget whose sums are not those of its entries; there must never be one."""

    budget_id: int
    committed: Decimal
    consumed: Decimal
    entries_committed: Decimal
    entries_consumed: Decimal


def find(connection: Connection, wanted: Mapping[int, tuple[str, str, date]]) -> dict[int, Budget]:
    """Return the budget of each case's cost centre, category and day; a case for which there is none is left out."""
    rows = connection.execute(
        text("""
            select w.case_id, b.id, b.amount, b.committed, b.consumed, b.currency,
                   b.amount - b.committed - b.consumed + coalesce(own.moved, 0)
            from jsonb_to_recordset(:wanted) as w(case_id bigint, cost_centre text, category text, day date)
            join budgets b on b.cost_centre = w.cost_centre and b.category = w.category
                          and w.day between b.starts and b.ends
            left join lateral (select sum(e.committed + e.consumed) as moved from budget_entries e
                               where e.case_id = w.case_id and e.budget_id = b.id) own on true"""),
        {
            "wanted": Jsonb(
                [
                    {"case_id": case_id, "cost_centre": cost_centre, "category": category, "day": day}
                    for case_id, (cost_centre, category, day) in wanted.items()
                ]
            )
        },
    )
    return {case_id: Budget(*budget) for case_id, *budget in rows}


@dataclass
class _Held:
    """What one case has moved so far.

    :param settled: it has consumed or freed something, so that its commitment stands as it was approved.
    """

    budget_id: int | None = None
    committed: Decimal = Decimal(0)
    commitments: int = 0
    settled: bool = False
    freed: dict[str, Decimal] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)


@dataclass
class _Books:
    """The locked budgets, what the cases hold of them, and the entries to be written."""

    available: dict[int, Decimal]
    held: dict[int, _Held]
    entries: list[dict[str, Any]] = field(default_factory=list)

    def enter(
        self, case_id: int, budget_id: int, key: str, kind: str, *,
        committed: Decimal = Decimal(0), consumed: Decimal = Decimal(0), over: bool = False,
    ) -> None:  # fmt: skip
        self.entries.append(
            {
                "case_id": case_id, "budget_id": budget_id, "key": key, "kind": kind,
                "committed": str(committed), "consumed": str(consumed), "over": over,
            }
        )  # fmt: skip
        held = self.held[case_id]
        held.keys.add(key)
        held.committed += committed
        self.available[budget_id] -= committed + consumed


def _open(connection: Connection, case_ids: Sequence[int], budget_ids: Sequence[int] = ()) -> _Books:
    """Lock the budgets that are named and those that the cases have moved, then read what the cases hold.

    The second query sees what was committed while the first one waited.
    """
    values = {"cases": list(case_ids), "budgets": list(budget_ids)}
    locked = connection.execute(
        text("""
            select id, amount - committed - consumed as available from budgets
            where id = any(:budgets) or id in (select budget_id from budget_entries where case_id = any(:cases))
            order by id for update"""),
        values,
    )
    books = _Books({row.id: row.available for row in locked}, {each: _Held() for each in case_ids})
    for entry in connection.execute(
        text("""
            select case_id, budget_id, key, kind, committed from budget_entries where case_id = any(:cases)
            order by id"""),
        values,
    ):
        held = books.held[entry.case_id]
        held.keys.add(entry.key)
        held.committed += entry.committed
        if entry.kind == "commit":
            held.budget_id = entry.budget_id
            held.commitments += 1
        elif not entry.key.startswith(_commitment(entry.case_id)):
            held.settled = True
            if entry.kind == "release":
                held.freed[entry.key] = -entry.committed
    return books


def _close(connection: Connection, books: _Books) -> None:
    if books.entries:
        connection.execute(
            text("""
                insert into budget_entries (budget_id, case_id, key, kind, committed, consumed, over)
                select budget_id, case_id, key, kind, committed, consumed, over
                from jsonb_to_recordset(:rows) as v(budget_id bigint, case_id bigint, key text, kind text,
                                                    committed numeric, consumed numeric, over boolean)"""),
            {"rows": Jsonb(books.entries)},
        )


def _commitment(case_id: int) -> str:
    return f"commit/{case_id}"


def commit_all(connection: Connection, wanted: Sequence[tuple[int, int, Decimal, bool]]) -> dict[int, bool]:
    """Commit money for cases, in this order: case, budget, amount, and whether it may exceed the budget.

    A case that asks again has committed already. One that asks for something else, because it was corrected and
    approved anew before anything was ordered, gets that instead of what it has, or keeps what it has.

    :returns: for each case whether its money is committed; False when there is not enough.
    """
    if len({case_id for case_id, *_ in wanted}) < len(wanted):
        raise ValueError("a case commits once")
    books = _open(connection, [case_id for case_id, *_ in wanted], [budget_id for _, budget_id, *_ in wanted])
    answers: dict[int, bool] = {}
    for case_id, budget_id, amount, may_exceed in wanted:
        if _amount(amount) < 0:
            raise ValueError("what is committed is not negative")
        if budget_id not in books.available:
            raise LookupError(f"there is no budget {budget_id}")
        held = books.held[case_id]
        if held.settled or (held.commitments and (held.budget_id, held.committed) == (budget_id, amount)):
            answers[case_id] = True
            continue
        own = held.committed if held.budget_id == budget_id else Decimal(0)
        fits = amount <= books.available[budget_id] + own
        answers[case_id] = fits or may_exceed
        if not answers[case_id]:
            continue
        key = _commitment(case_id) + (f"/{held.commitments + 1}" if held.commitments else "")
        if held.committed and held.budget_id is not None:
            books.enter(case_id, held.budget_id, f"{key}/instead", "release", committed=-held.committed)
        books.enter(case_id, budget_id, key, "commit", committed=amount, over=not fits)
    _close(connection, books)
    return answers


def commit(connection: Connection, case_id: int, budget_id: int, amount: Decimal, *, may_exceed: bool) -> bool:
    """Commit money for one case; see `commit_all`."""
    return commit_all(connection, [(case_id, budget_id, amount, may_exceed)])[case_id]


def release_all(connection: Connection, wanted: Sequence[tuple[int, str]]) -> dict[int, Decimal]:
    """Free what is still committed for cases (case, key), and say how much that was under this key."""
    books = _open(connection, [case_id for case_id, _ in wanted])
    freed: dict[int, Decimal] = {}
    for case_id, key in wanted:
        held = books.held[case_id]
        if key not in held.keys and held.committed and held.budget_id is not None:
            held.freed[key] = held.committed
            books.enter(case_id, held.budget_id, key, "release", committed=-held.committed)
        freed[case_id] = held.freed.get(key, Decimal(0))
    _close(connection, books)
    return freed


def release(connection: Connection, case_id: int, *, key: str) -> Decimal:
    """Free what is still committed for one case; see `release_all`."""
    return release_all(connection, [(case_id, key)])[case_id]


def consume_all(connection: Connection, wanted: Sequence[tuple[int, Decimal, str]]) -> None:
    """Book amounts against the budgets of cases: case, amount, key.

    What is consumed comes out of the case's commitment as far as that reaches. A credit note is a negative amount: it
    gives money back to the budget, and commits none of it. A key that is known already moves nothing.
    """
    books = _open(connection, [case_id for case_id, *_ in wanted])
    for case_id, amount, key in wanted:
        held = books.held[case_id]
        if key in held.keys:
            continue
        if held.budget_id is None:
            raise NothingCommitted(f"nothing was ever committed for case {case_id}; commit before you consume")
        out_of_commitment = max(min(_amount(amount), held.committed), Decimal(0))
        books.enter(case_id, held.budget_id, key, "consume", committed=-out_of_commitment, consumed=amount)
    _close(connection, books)


def consume(connection: Connection, case_id: int, amount: Decimal, *, key: str) -> None:
    """Book an amount against the budget of one case; see `consume_all`."""
    consume_all(connection, [(case_id, amount, key)])


def _amount(amount: Decimal) -> Decimal:
    """What is not rounded would be rounded by the database, and the sums would not be those that were decided on."""
    if parse_amount(amount) != amount or abs(amount) >= LARGEST or amount != amount.quantize(CENT):
        raise ValueError("a budget moves in hundredths: round the amount first")
    return amount


def differences(connection: Connection) -> list[Difference]:
    """Return the budgets whose sums are not those of their entries."""
    rows = connection.execute(
        text("""
            select b.id, b.committed, b.consumed, coalesce(sum(e.committed), 0), coalesce(sum(e.consumed), 0)
            from budgets b left join budget_entries e on e.budget_id = b.id group by b.id
            having (b.committed, b.consumed) <> (coalesce(sum(e.committed), 0), coalesce(sum(e.consumed), 0))
            order by b.id""")
    )
    return [Difference(*row) for row in rows]


def _parsed(value: Any) -> Any:
    """An amount as it stands in a file; pydantic words what is wrong with it."""
    return parse_amount(value)


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True, coerce_numbers_to_str=True)

    cost_centre: str
    category: str
    starts: date
    ends: date
    amount: Annotated[Decimal, BeforeValidator(_parsed), Field(ge=0, lt=LARGEST, decimal_places=2)]
    currency: str = Field(default_factory=lambda: purchasing().company.currency)

    @model_validator(mode="after")
    def _makes_sense(self) -> _Row:
        centre = purchasing().cost_centres.get(self.cost_centre)
        if centre is None:
            raise ValueError(f"{self.cost_centre!r} is no cost centre of purchasing.yaml")
        if self.category not in centre.categories:
            raise ValueError(f"{self.category!r} is not bought on {self.cost_centre}; see purchasing.yaml")
        if self.ends < self.starts:
            raise ValueError("it ends before it starts")
        if self.currency != purchasing().company.currency:
            raise ValueError(f"a budget is in the company's currency, {purchasing().company.currency}")
        if not known(self.currency) or minor_units(self.currency) > 2:
            raise ValueError(f"budgets are kept in hundredths, and {self.currency} has more decimals")
        return self


def load_budgets(connection: Connection, rows: Iterable[Mapping[str, Any]]) -> int:
    """Enter budgets, or change what there is to spend or when they end; what was moved stays as it is.

    One that is smaller now than what was moved takes no more commitments. BudgetInvalid names every row that cannot be
    kept, and then none is. A budget that is not named stays.

    :returns: how many are new or changed.
    """
    budgets = _checked(rows)
    # Whoever commits locks in the same order; two who load wait for each other before anything is looked at.
    connection.execute(text("select pg_advisory_xact_lock(hashtext('waybill.budgets'))"))
    connection.execute(text("select 1 from budgets order by id for update"))
    changed = connection.execute(
        text("""
            insert into budgets (cost_centre, category, starts, ends, amount, currency)
            select cost_centre, category, starts, ends, amount, currency
            from jsonb_to_recordset(:rows) as v(cost_centre text, category text, starts date, ends date,
                                                amount numeric, currency text)
            on conflict (cost_centre, category, starts) do update set
                ends = excluded.ends, amount = excluded.amount, entered_by = author(), entered_at = now()
            where (budgets.ends, budgets.amount) <> (excluded.ends, excluded.amount)"""),
        {"rows": Jsonb([budget.model_dump(mode="json") for budget in budgets])},
    ).rowcount
    overlapping = connection.execute(
        text("""
            select a.cost_centre, a.category, b.starts, a.ends from budgets a
            join budgets b on b.cost_centre = a.cost_centre and b.category = a.category
                          and a.starts < b.starts and b.starts <= a.ends
            order by 1, 2, 3""")
    ).all()
    if overlapping:
        raise BudgetInvalid(
            "; ".join(
                f"{each.cost_centre} {each.category}: one budget starts on {each.starts}, before another ends"
                f" on {each.ends}: a day has one budget"
                for each in overlapping
            )
        )
    return changed


def _checked(rows: Iterable[Mapping[str, Any]]) -> list[_Row]:
    budgets: dict[tuple[str, str, date], _Row] = {}
    problems = []
    for number, row in enumerate(rows, 1):
        given = {name: value for name, value in row.items() if value not in (None, "")}
        try:
            budget = _Row.model_validate(given)
        except ValidationError as error:
            problems += [
                f"row {number}: " + ": ".join([*(str(part) for part in fault["loc"]), fault["msg"]])
                for fault in error.errors()
            ]
            continue
        if budgets.setdefault((budget.cost_centre, budget.category, budget.starts), budget) is not budget:
            problems.append(f"row {number}: {budget.cost_centre} {budget.category} {budget.starts} is there twice")
    if problems:
        raise BudgetInvalid("; ".join(problems).replace("Value error, ", ""))
    return list(budgets.values())


def read_budgets(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a file: CSV with a header, or YAML with a list under `budgets`."""
    if path.suffix.lower() == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file, restkey="more cells than columns"))
    rows = read(path).get("budgets")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DocumentError(f"{path.name}: write a list of budgets under the key `budgets`")
    return rows


def main(arguments: Sequence[str] | None = None, target: Engine | None = None) -> None:
    """Load a file from the command line: `python -m include.domain.budgets budgets.csv --by maria.keller`."""
    parser = argparse.ArgumentParser(prog="python -m include.domain.budgets", description="Load budgets from a file.")
    parser.add_argument("file", type=Path, help="CSV or YAML: cost_centre, category, starts, ends, amount")
    parser.add_argument("--by", required=True, metavar="PERSON", help="who enters them; kept with each budget")
    chosen = parser.parse_args(arguments)
    try:
        with database.authored(target or database.engine(), actor=f"user:{chosen.by}") as connection:
            changed = load_budgets(connection, read_budgets(chosen.file))
    except (BudgetInvalid, DocumentError, OSError, UnicodeDecodeError) as error:
        parser.exit(1, f"Nothing was loaded. {error}\n")
    print(f"{changed} budgets are new or changed.")


if __name__ == "__main__":
    main()
