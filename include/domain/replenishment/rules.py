"""Rules of replenishment: how stock of an item at a place is kept up, and whether what a rule says can be carried out.

A rule comes as a row of a file. Its form is checked when it is read; what it refers to (people, cost centres, places)
may change later, so that is checked again whenever something is asked for by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from psycopg.types.json import Jsonb
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from sqlalchemy import Connection, text

from include.approvals.people import people
from include.cases.model import Reason
from include.data import money
from include.domain.purchasing import purchasing
from include.intake.bodies import Unreadable, parse_object
from include.intake.files import opened
from include.stock.items import Item, load_items
from include.stock.warehouse import sync, warehouse

PURCHASE_DECIMALS = 4
"""Places of a quantity that purchasing keeps; a place's stock may have more."""
MOST_TOLD = 200
"""Faulty rows that are named one by one; the rest is counted."""


def _number(value: Any) -> Any:
    """A figure as it is written in a file: digits and a point, as in all of Waybill."""
    try:
        return money.parse_amount(repr(value) if isinstance(value, float) else value)
    except (money.AmountInvalid, TypeError) as error:
        raise ValueError(str(error)) from None


def _share(value: Any) -> Any:
    """A share as `0.95` or `95 %`."""
    told = str(value).strip()
    number = _number(told.removesuffix("%").strip())
    return number / 100 if told.endswith("%") else number


def _upper(value: Any) -> Any:
    return value.strip().upper() if isinstance(value, str) else value


Figure = Annotated[Decimal, BeforeValidator(_number), Field(ge=0, max_digits=18, decimal_places=6)]
Days = Annotated[Decimal, BeforeValidator(_number), Field(ge=0, le=3650, decimal_places=2)]
Share = Annotated[Decimal, BeforeValidator(_share)]


class Rule(BaseModel):
    """How stock of an item at a place is kept up: bought of `supplier`, or brought from `from_location`.

    :param method: reorder_point orders by statistics, min_max between two levels, off not at all.
    :param multiple: it is ordered in packs of so many base units.
    :param lead_time_days: from the need to the goods; None takes it from history.
    :param service_level: share of order cycles that shall see no shortage.
    :param maximum: what an order fills up to.
    :param review_days: what an order shall last beyond the reorder point; how long a refused need is not asked again.
    :param reorder_point: instead of the computed one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    item: str = Field(min_length=1)
    location: str = Field(min_length=1)
    method: Literal["reorder_point", "min_max", "off"]
    supplier: str | None = None
    from_location: str | None = None
    supplier_item: str | None = None
    unit_price: Annotated[Figure, Field(decimal_places=4)] | None = None
    currency: Annotated[str, BeforeValidator(_upper)] | None = None
    tax_rate: Annotated[Share, Field(ge=0, lt=1, decimal_places=4)] | None = None
    cost_centre: str | None = None
    category: str | None = None
    requester: str | None = None
    min_quantity: Figure = Decimal(0)
    multiple: Annotated[Figure, Field(gt=0)] | None = None
    lead_time_days: Days | None = None
    service_level: Annotated[Share, Field(ge=0.5, lt=1, decimal_places=5)] = Decimal("0.95")
    minimum: Figure | None = None
    maximum: Figure | None = None
    review_days: int = Field(default=7, ge=1, le=366)
    reorder_point: Figure | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Rule:
        if self.supplier and self.from_location:
            raise ValueError("it is bought or brought from another place: clear supplier or from_location")
        if self.from_location == self.location:
            raise ValueError("a place cannot be replenished from itself: name another one as from_location")
        if self.method == "min_max" and (self.minimum is None or self.maximum is None):
            raise ValueError("the method min_max needs minimum and maximum")
        if self.minimum is not None and self.maximum is not None and self.maximum < self.minimum:
            raise ValueError("maximum is below minimum")
        return self

    @property
    def by_purchase(self) -> bool:
        """Whether it is bought; else it is brought from another place."""
        return self.from_location is None


COLUMNS = tuple(Rule.model_fields)
ALIASES = {"from": "from_location", "person": "requester", "price": "unit_price"}


def read_rule(row: Mapping[str, Any]) -> Rule | list[str]:
    """Read one row, or say everything that is wrong with it."""
    given = {name: value for name, value in row.items() if not (value is None or str(value).strip() == "")}
    try:
        return Rule.model_validate(given)
    except ValidationError as error:
        return [_fault(fault["loc"], fault["type"], fault["msg"]) for fault in error.errors()]


def _fault(place: tuple[int | str, ...], kind: str, message: str) -> str:
    name = str(place[0]) if place else ""
    if kind == "extra_forbidden":
        return f"{name}: there is no such column" if name != "_more" else "more values than the header has names"
    said = "is missing" if kind == "missing" else message.removeprefix("Value error, ")
    return f"{name}: {said}" if name else said


def unfit(rule: Rule, item: Item | None) -> list[Reason]:
    """Return why nothing can be asked for by a rule; each reason names the column to put right."""
    if item is None or not item.active:
        why = "unknown" if item is None else "not active"
        return [Reason("item.inactive", f"The item {rule.item} is {why}. Enter it, or set the rule off.", "item")]
    found = [*_misplaced(rule, item), *(_unbuyable(rule) if rule.by_purchase else _unfetchable(rule))]
    person = people().by_id.get(rule.requester or "")
    if person is None or not person.decides:
        message = f"“{rule.requester or ''}” is nobody who can ask for it. Write the id of a person who works here."
        found.append(Reason("rule.requester", message, "requester"))
    return found


def _misplaced(rule: Rule, item: Item) -> Iterator[Reason]:
    if not _is_kept(rule.location):
        message = f"{rule.location} is no place where stock is kept. Write one of kind internal of warehouse.yaml."
        yield Reason("rule.location", message, "location")
    places = min(item.decimals, PURCHASE_DECIMALS) if rule.by_purchase else item.decimals
    if rule.multiple is not None and rule.multiple != round(rule.multiple, places):
        message = f"{rule.item} is counted with {places} decimals, and a multiple of {rule.multiple:f} has more."
        yield Reason("rule.multiple", message, "multiple")


def _unbuyable(rule: Rule) -> Iterator[Reason]:
    known = purchasing()
    if not rule.supplier:
        message = "The rule names neither a supplier nor a place to fetch from. Write one of them."
        yield Reason("rule.supplier", message, "supplier")
    if rule.unit_price is None or not money.known(rule.currency or ""):
        message = "A purchase needs unit_price, of one base unit, and currency."
        yield Reason("rule.price", message, "unit_price")
    if rule.tax_rate is None or known.tax(rule.tax_rate) is None:
        message = "A purchase needs a tax_rate that the books have an account for, such as 0.19."
        yield Reason("rule.tax_rate", message, "tax_rate")
    centre, category = known.cost_centres.get(rule.cost_centre or ""), known.categories.get(rule.category or "")
    if centre is None:
        message = f"There is no cost centre “{rule.cost_centre or ''}”. Write one of purchasing.yaml."
        yield Reason("rule.cost_centre", message, "cost_centre")
    if category is None:
        message = f"There is no category “{rule.category or ''}”. Write one of purchasing.yaml."
        yield Reason("rule.category", message, "category")
    elif centre is not None and rule.category not in centre.categories:
        message = f"{rule.category} is not bought on cost centre {rule.cost_centre}; it may buy: "
        yield Reason("rule.category", message + ", ".join(centre.categories) + ".", "category")
    elif category.stock != rule.location:
        goes = f"goes to {category.stock}" if category.stock else "is not kept in stock"
        message = f"What is bought as {rule.category} {goes}, not to {rule.location}."
        advice = "Buy it there and fetch it by a rule with from_location, or correct category."
        yield Reason("rule.category", f"{message} {advice}", "category")


def _unfetchable(rule: Rule) -> Iterator[Reason]:
    if not _is_kept(rule.from_location or ""):
        message = f"{rule.from_location} is no place where stock is kept. Write one of kind internal of warehouse.yaml."
        yield Reason("rule.from_location", message, "from_location")


def _is_kept(code: str) -> bool:
    place = warehouse().locations.get(code)
    return place is not None and place.kind == "internal"


@dataclass
class Imported:
    """What came of an import of rules.

    :param told: lines about faulty rows, up to MOST_TOLD.
    """

    rows: int = 0
    changed: int = 0
    faulty: int = 0
    told: list[str] = field(default_factory=list)

    def tell(self, line: int, faults: Iterable[str]) -> None:
        """Count a faulty row, and say what is wrong with it."""
        self.faulty += 1
        if len(self.told) < MOST_TOLD:
            self.told.append(f"line {line}: {'; '.join(faults)}")


def import_rules(
    connection: Connection, path_or_text: Path | str, *, only_look: bool = False, folder: Path | None = None
) -> Imported:
    """Enter the rules of a file or of pasted rows; a rule that is there is replaced.

    Faulty rows are told and left out, and the others count. The same file again changes nothing. Call it in an authored
    transaction.

    :param only_look: tell what is wrong, and enter nothing.
    :param folder: as for `include.intake.imports.import_rows`.
    :raises include.intake.files.ImportRefused: when it is no table.
    """
    result = Imported()
    read: dict[tuple[str, str], tuple[int, Rule]] = {}
    with opened(path_or_text, folder) as rows:
        for line, body in rows:
            result.rows += 1
            rule = _row(body)
            if isinstance(rule, list):
                result.tell(line, rule)
            elif (rule.item, rule.location) in read:
                first, _ = read[rule.item, rule.location]
                result.tell(line, [f"{rule.item} at {rule.location} stands in line {first} already"])
            else:
                read[rule.item, rule.location] = line, rule
    sync(connection)
    places = set(connection.execute(text("select code from stock_locations")).scalars())
    items = load_items(connection, [item for item, _ in read])
    good = []
    for line, rule in read.values():
        ends = rule.method == "off" and rule.item in items and {rule.location, rule.from_location} <= {*places, None}
        if reasons := [] if ends else unfit(rule, items.get(rule.item)):
            result.tell(line, [reason.message for reason in reasons])
        else:
            good.append(rule)
    if not only_look:
        result.changed = save_rules(connection, good)
    return result


def _row(body: bytes) -> Rule | list[str]:
    try:
        row = parse_object(body)
    except Unreadable as error:
        return [error.detail]
    named = {name.strip().lower(): value for name, value in row.items()}
    return read_rule({ALIASES.get(name, name): value for name, value in named.items()})


_SAVE = f"""
    insert into replenishment_rules as r ({", ".join(COLUMNS)})
    select {", ".join(COLUMNS)} from jsonb_populate_recordset(null::replenishment_rules, :rows)
    order by item, location
    on conflict (item, location) do update set
        {", ".join(f"{name} = excluded.{name}" for name in COLUMNS[2:])}, author = author(), updated_at = now()
    where ({", ".join(f"r.{name}" for name in COLUMNS[2:])})
        is distinct from ({", ".join(f"excluded.{name}" for name in COLUMNS[2:])})"""


def save_rules(connection: Connection, rules: Iterable[Rule]) -> int:
    """Write rules whose items and locations there are; returns how many are new or changed."""
    rows = [rule.model_dump(mode="json") for rule in rules]
    return connection.execute(text(_SAVE), {"rows": Jsonb(rows)}).rowcount if rows else 0
