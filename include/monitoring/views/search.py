"""Finds cases: by what somebody knows of one, and by where it stands, in the tables of all workflows.

Every way of finding is a look into an index, and takes no more than its newest hits, so that it is quick among
millions. It only reads; for who may only look, addresses and numbers that stand in a name are masked here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from include.approvals.people import people
from include.contracts.registry import contracts
from include.data.normalise.companies import company
from include.data.normalise.email import email
from include.data.normalise.phone import phone
from include.intake.sources import sources
from include.monitoring.service_levels.facts import TROUBLED
from include.monitoring.views.masking import without_contacts

ON_A_PAGE = 50
MOST_HITS = 500
"""Newest cases that one way of finding may give."""
MOST_NAMES = 20
"""Companies whose names begin alike that are looked up, in alphabetical order."""
SHORTEST_NAME = 2
"""Letters of a company's name that are enough to look for it."""
FEWEST_DIGITS = 7
"""Digits of a telephone number, without its country, that are enough to look for it."""
LARGEST_ID = 2**63 - 1
LAST_LETTER = 0x10FFFF
"""Behind all others, in the order of the collation C."""
IN_PROGRESS = ("pending", "running")
OPEN = ("pending", "running", "waiting", "quarantined")
STATES = (*OPEN, "finished", "rejected")
LATENESS = ("late", "late_soon")
GROUPS = {"open": "not closed", "in_progress": "in progress", "late": "late", "late_soon": "late soon"}
"""What may be asked for as a state and is several, or open and more -> its name."""


@dataclass(frozen=True)
class Filters:
    """Which cases are listed; None does not restrict.

    :param state: one of `STATES` or of `GROUPS`.
    :param step: where it stands now; a closed case stands nowhere, so only open ones are found.
    :param owner: who has it now: the id of a person or a team; only open ones are found.
    """

    workflow: str | None = None
    state: str | None = None
    step: str | None = None
    owner: str | None = None

    @property
    def states(self) -> tuple[str, ...]:
        """The states that they admit."""
        if self.state == "in_progress":
            return IN_PROGRESS
        if self.state in GROUPS:
            return OPEN
        if self.step or self.owner:
            return tuple(state for state in OPEN if self.state in (None, state))
        return (self.state,) if self.state else STATES

    @property
    def late(self) -> bool | None:
        """Whether only late cases are admitted, or only those that soon will be; None does not restrict."""
        return self.state == "late" if self.state in LATENESS else None

    @property
    def admit_all(self) -> bool:
        """Whether nothing is restricted."""
        return not (self.workflow or self.state or self.step or self.owner)


@dataclass(frozen=True)
class Found:
    """One line of a list of cases.

    :param due_at: when the first of its service levels is due; None where none is.
    :param due_step: whose that is; None for the whole case.
    :param about: the company or the number that people call it by.
    :param by: what it was found by: `e-mail`, `number`, ...; None in a list without a search.
    """

    id: int
    workflow: str
    state: str
    step: str
    owner: str
    created_at: datetime
    due_at: datetime | None
    due_step: str | None
    codes: list[str]
    about: str | None
    by: str | None = None


@dataclass(frozen=True)
class Page:
    """Part of a list, newest first.

    :param before: what to ask for to have the next page; None on the last one.
    :param not_all: of some way of finding only the newest `MOST_HITS` were taken.
    """

    cases: list[Found]
    before: int | None
    not_all: bool = False


def search(connection: Connection, query: str, filters: Filters, *, clear: bool, before: int | None = None) -> Page:
    """Return the cases that fit what was typed: an id, key, number, e-mail address, telephone number or company.

    :param clear: with addresses and telephone numbers in what a case is about.
    :param before: the id below which the page begins.
    """
    hits: dict[int, str] = {}
    not_all = False
    for by, statement, values in _ways(" ".join(query.replace("\0", "").split())):
        ids = list(connection.execute(text(statement), {**values, "most": MOST_HITS}).scalars())
        not_all = not_all or len(ids) >= MOST_HITS
        hits = {**dict.fromkeys(ids, by), **hits}
    picked = f"""
        select id from cases
        where id = any(:ids) and (cast(:late as boolean) is null or id in ({_LATE}))
          and (cast(:workflow as text) is null or workflow = :workflow) and state = any(:states)
          and (cast(:step as text) is null or stage = :step) and (cast(:owner as text) is null or owner = :owner)
          and id < :before order by id desc limit :limit"""
    shown = connection.execute(text(picked), {**_values(filters, before), "ids": list(hits)}).scalars()
    return _page(connection, list(shown), hits, clear=clear, not_all=not_all)


def listed(connection: Connection, filters: Filters, *, clear: bool, before: int | None = None) -> Page:
    """Return the newest cases that stand where `filters` say.

    :param clear: with addresses and telephone numbers in what a case is about.
    :param before: the id below which the page begins.
    """
    if filters.admit_all:
        picked = "select id from cases where id < :before order by id desc limit :limit"
    elif filters.late is not None:
        picked = f"""
            select id from cases where id in ({_LATE}) and id < :before
              and (cast(:workflow as text) is null or workflow = :workflow)
              and (cast(:step as text) is null or stage = :step) and (cast(:owner as text) is null or owner = :owner)
            order by id desc limit :limit"""
    elif filters.step:
        picked = _AT_STEP
    elif filters.owner:
        picked = f"""
            select id from cases
            where owner = :owner and state in {OPEN} and state = any(:states) and id < :before
              and (cast(:workflow as text) is null or workflow = :workflow)
            order by id desc limit :limit"""
    else:
        picked = """
            select found.id from unnest(cast(:workflows as text[])) w, unnest(cast(:states as text[])) s,
                 lateral (select id from cases where workflow = w and state = s and id < :before
                          order by id desc limit :limit) found
            order by found.id desc limit :limit"""
    shown = connection.execute(text(picked), _values(filters, before)).scalars()
    return _page(connection, list(shown), {}, clear=clear)


def _values(filters: Filters, before: int | None) -> dict[str, Any]:
    return {
        "workflow": filters.workflow,
        "workflows": [filters.workflow] if filters.workflow else list(contracts()),
        "states": list(filters.states),
        "late": filters.late,
        "step": filters.step,
        "owner": filters.owner,
        "before": LARGEST_ID if before is None else min(before, LARGEST_ID),
        "limit": ON_A_PAGE + 1,
    }


_LATE = f"select case_id from ({TROUBLED}) as troubled where late = :late"

# The step is in no index, so all that is open is read, by the indexes of its states; what else is asked is left for
# afterwards, or the planner would rather go through all cases from the newest one.
_AT_STEP = """
    with standing as materialized (
        select id, workflow, state, stage, owner from cases where state = 'pending'
        union all select id, workflow, state, stage, owner from cases where state = 'running'
        union all select id, workflow, state, stage, owner from cases where state in ('quarantined', 'waiting')
    )
    select id from standing
    where stage = :step and state = any(:states) and id < :before
      and (cast(:workflow as text) is null or workflow = :workflow)
      and (cast(:owner as text) is null or owner = :owner)
    order by id desc limit :limit"""

_DETAILS = r"""
    select c.id, c.workflow, c.state, c.stage as step, c.owner, c.created_at, first.due_at, first.step as due_step,
           coalesce((select array_agg(distinct r->>'code') from jsonb_array_elements(c.reasons) r), '{}') as codes,
           case c.workflow
               when 'lead_to_client' then (select company from leads where case_id = c.id)
               when 'deal_to_client' then
                   (select k.name from deal_changes h join deals d on d.id = h.deal_id
                    join directory_companies k on k.id = d.company_id where h.case_id = c.id)
               when 'client_billing_setup' then
                   (select k.name from clients n join directory_companies k on k.id = n.company_id
                    where n.case_id = c.parent_id limit 1)
               when 'purchase_approval' then
                   (select concat_ws(' · ', coalesce(o.number, r.number), r.supplier_name)
                    from purchase_requests r left join purchase_orders o using (case_id) where r.case_id = c.id)
               when 'goods_receipt' then
                   (select concat_ws(' · ', number, order_number) from goods_receipts where case_id = c.id)
               when 'supplier_invoice' then
                   (select concat_ws(' · ', number, supplier_name) from supplier_invoices where case_id = c.id)
               when 'stock_request' then (select number from stock_requests where case_id = c.id)
               when 'stock_count' then (select number from count_sheets where case_id = c.id)
               when 'replenishment' then
                   (select item || ' · ' || location from replenishment_needs where case_id = c.id)
               when 'stock_difference' then
                   case when c.key like '%/id:/many/%' then 'many places'
                        else regexp_replace(c.key, '^.*/id:(.+)/(.+)/\d+$', '\1 · \2') end
           end as about
    from cases c left join lateral (
        select due_at, step from service_levels
        where case_id = c.id and ended_at is null and due_at is not null and c.closed_at is null
        order by due_at limit 1
    ) first on true
    where c.id = any(:picked) order by c.id desc"""


def _page(
    connection: Connection, ids: Sequence[int], hits: Mapping[int, str], *, clear: bool, not_all: bool = False
) -> Page:
    """Return the cases of a page; one id more than it takes tells that there is another one."""
    shown = list(ids[:ON_A_PAGE])
    cases = []
    for row in connection.execute(text(_DETAILS), {"picked": shown}).mappings():
        about = row["about"] if clear or not row["about"] else without_contacts(row["about"])
        cases.append(Found(**{**row, "about": about}, by=hits.get(row["id"])))
    return Page(
        cases,
        before=shown[-1] if len(ids) > len(shown) else None,
        not_all=not_all,
    )


Way = tuple[str, str, dict[str, Any]]
"""What is found by, the SQL that gives the cases' ids with the limit `:most`, and its values."""


def _ways(query: str) -> Iterator[Way]:
    """The ways of finding that what was typed may be meant for; the most exact one first."""
    if not query:
        return
    digits = re.sub(r"\D", "", query)
    if re.fullmatch(r"(case )?#?\d{1,19}", query, re.IGNORECASE) and int(digits) <= LARGEST_ID:
        yield "id", "select id from cases where id = :id limit :most", {"id": int(digits)}
    with suppress(ValueError):
        yield "id", _BY_UUID, {"id": UUID(query)}
    yield "key", _BY_KEY, _keys(query)
    numbers = list({query, query.upper()})
    yield "number", _BY_NUMBER, {"numbers": numbers, "bare": re.sub(r"\s", "", query).lower()}
    yield "order", _BY_ORDER, {"numbers": numbers}
    yield "reference", _BY_REFERENCE, {"reference": query.lower()}
    asked = [each.id for each in people() if query.lower() in (each.id, each.email.lower(), each.name.lower())]
    if asked:
        yield "requester", _BY_REQUESTER, {"person": asked[0]}
    if "@" in query:
        read = email(query)
        yield "e-mail", _BY_EMAIL, {"address": query.lower(), "key": read.key if read else query.lower()}
    elif len(digits.lstrip("0")) >= FEWEST_DIGITS and re.fullmatch(r"[+\d\s()./-]+", query):
        # One that says its country is read as leads are: the zero in +49 (0)30 is none of its digits.
        behind = (phone(query, None) or digits).lstrip("+0")[::-1]
        yield "telephone", _BY_PHONE, {"from": behind, "to": _after(behind)}
    elif sum(character.isalpha() for character in query) >= SHORTEST_NAME:
        named = company(query)
        key = (named.key if named else None) or query.lower()
        typed = "cast(:name as text)"
        yield "company", _by_name("leads", "company_key", typed), {"name": key}
        yield "company", _by_name("directory_companies", "name_key", typed, cases=_OF_COMPANIES), {"name": key}
        for table in ("purchase_requests", "supplier_invoices"):
            by_name = _by_name(table, "plain_letters(supplier_name)", "plain_letters(:name)")
            yield "supplier", by_name, {"name": query}


def _keys(query: str) -> dict[str, Any]:
    """Every business key that the text can be: a whole one, or the sender's own id in one of our sources."""
    declared = sources()
    whole = [(workflow, query) for workflow in contracts()]
    parts = [(of.workflow, f"{name}/id:{query}") for name, of in declared.items()]
    workflows, keys = zip(*whole, *parts, strict=True)
    return {"workflows": list(workflows), "keys": list(keys)}


def _after(prefix: str) -> str:
    """The first text behind all that begin with `prefix`."""
    return prefix + chr(LAST_LETTER)


_BY_UUID = """
    select id from (
        select id from cases where delivery_id = :id
        union select case_id from deals where id = :id
        union select case_id from deal_changes where deal_id = :id
        union (select case_id from leads where contact_id = :id order by case_id desc limit :most)
    ) found order by id desc limit :most"""

_BY_KEY = """
    select c.id from unnest(cast(:workflows as text[]), cast(:keys as text[])) as k(workflow, key)
    join cases c on c.workflow = k.workflow and c.key = k.key order by 1 desc limit :most"""

_BY_NUMBER = """
    select id from (
        select case_id as id from purchase_requests where number = any(:numbers)
        union select case_id from purchase_orders where number = any(:numbers)
        union select case_id from stock_requests where number = any(:numbers)
        union select case_id from stock_transfers where number = any(:numbers)
        union select case_id from count_sheets where number = any(:numbers)
        union (select case_id from goods_receipts where number_key = :bare order by 1 desc limit :most)
        union (select case_id from supplier_invoices where number_key = :bare order by 1 desc limit :most)
    ) found order by id desc limit :most"""

_BY_ORDER = """
    select id from (
        select r.case_id as id from purchase_orders o join goods_receipts r on r.order_id = o.case_id
        where o.number = any(:numbers)
        union select i.case_id from purchase_orders o join supplier_invoices i on i.order_id = o.case_id
        where o.number = any(:numbers)
        union select case_id from goods_receipts where order_id is null and order_number = any(:numbers)
        union select case_id from supplier_invoices where order_id is null and order_number = any(:numbers)
    ) found order by id desc limit :most"""

_BY_REFERENCE = """
    select case_id from stock_requests where reference is not null and lower(reference) = :reference
    order by 1 desc limit :most"""

_BY_REQUESTER = """
    select id from (
        (select case_id as id from purchase_requests where requester = :person
         order by requested_at desc nulls last limit :most)
        union (select case_id from stock_requests where requester = :person order by case_id desc limit :most)
    ) found order by id desc limit :most"""

# A person has all addresses of the contacts that were merged into one; merging leaves one step between them.
_BY_EMAIL = """
    with person as (
        select coalesce(c.merged_into, c.id) as id
        from contact_keys k join directory_contacts c on c.id = k.contact_id where k.kind = 'email' and k.value = :key
    ), contact as (
        select id from person union select c.id from person join directory_contacts c on c.merged_into = person.id
    )
    select id from (
        (select case_id as id from leads where email_key = :key order by case_id desc limit :most)
        union (select l.case_id from contact join leads l on l.contact_id = contact.id order by 1 desc limit :most)
        union (select case_id from leads where email_key is null and lower(raw->>'email') = :address
               order by 1 desc limit :most)
        union (select case_id from purchase_requests where lower(supplier_email) = :address order by 1 desc limit :most)
    ) found order by id desc limit :most"""

_BY_PHONE = """
    select id from (
        select case_id as id from leads
        where phone is not null and reverse(phone) collate "C" >= :from and reverse(phone) collate "C" < :to
        limit :most
    ) found order by id desc"""


# Changes of deals, and what was handed over by them to have the client set up.
_OF_COMPANIES = """
    with changes as materialized (
        select h.case_id from directory_companies k join deals d on d.company_id = k.id
        join deal_changes h on h.deal_id = d.id
        where k.name_key collate "C" = few.name order by h.case_id desc limit :most
    )
    select case_id from changes
    union all select c.id from changes join cases c on c.parent_id = changes.case_id
    where c.workflow = 'client_billing_setup'"""


def _by_name(table: str, name: str, beginning: str, *, cases: str | None = None) -> str:
    """Return the SQL for the newest cases of the names that begin with a text.

    :param name: what an index of the table has of a name; `beginning` the same of what was typed.
    :param cases: SQL for the cases of `few.name`, for a table whose rows are not cases themselves.

    It steps from one name to the next in the index, so that a name with a million cases costs what one with ten does.
    """
    name = f'{name} collate "C"'
    between = f"{name} < {beginning} || chr({LAST_LETTER})"
    cases = cases or f"select case_id from {table} where {name} = few.name order by case_id desc limit :most"
    return f"""
        with recursive names as (
            (select {name} as name from {table} where {name} >= {beginning} and {between} order by 1 limit 1)
            union all
            select (select {name} from {table} where {name} > names.name and {between} order by 1 limit 1)
            from names where names.name is not null
        )
        select found.case_id
        from (select name from names where name is not null limit {MOST_NAMES}) few,
             lateral ({cases}) found
        order by 1 desc limit :most"""
