"""Reads and writes the directory, a batch in one statement each.

Decides nothing: who is whom comes from `resolve`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from include.data.frames import copy_rows
from include.data.matching.people import Person
from include.data.matching.thresholds import LARGEST_BLOCK

PERSON_COLUMNS = (
    "email",
    "email_key",
    "phone",
    "first_name",
    "last_name",
    "full_name",
    "name_key",
    "company_key",
    "domain",
    "country",
    "city",
    "postal_code",
)
FOLLOWED = (
    "phone",
    "first_name",
    "last_name",
    "full_name",
    "name_key",
    "company_key",
    "domain",
    "country",
    "city",
)
"""What a contact takes over from a lead that names it exactly; its address only where it had none."""

Key = tuple[str, str]


def _array(values: Iterable[int | UUID]) -> str:
    # psycopg adapts a long list value by value, which costs more than the query; numbers and ids need no quoting
    return "{" + ",".join(map(str, values)) + "}"


def lock(connection: Connection) -> None:
    """Hold the directory until the transaction ends, so that two batches cannot both add the same person."""
    connection.execute(text("select pg_advisory_xact_lock(hashtextextended('waybill.directory', 0))"))


def new_ids(connection: Connection, number: int) -> list[UUID]:
    """Return fresh ids, in ascending order."""
    return list(connection.execute(text("select uuidv7() from generate_series(1, :n)"), {"n": number}).scalars())


def forget(connection: Connection, ids: Iterable[UUID]) -> dict[Key, UUID]:
    """Let nobody be found by some contacts any more; they stay as they are.

    :returns: the keys that they had.
    """
    contacts = {"ids": list(ids)}
    connection.execute(text("delete from contact_blocks where contact_id = any(:ids)"), contacts)
    gone = connection.execute(
        text("delete from contact_keys where contact_id = any(:ids) returning kind, value, contact_id"), contacts
    )
    return {(row.kind, row.value): row.contact_id for row in gone}


def empty(connection: Connection, ids: Iterable[UUID]) -> None:
    """Take all that is known of some contacts away; their ids stay."""
    blank = ", ".join(f"{name} = null" for name in (*PERSON_COLUMNS, "company_id"))
    connection.execute(
        text(f"update directory_contacts set {blank}, updated_at = now() where id = any(:ids)"), {"ids": list(ids)}
    )


def owners_of_keys(connection: Connection, keys: Iterable[Key]) -> dict[Key, Person]:
    """Return who owns each key; of a merged contact, its survivor."""
    wanted = sorted(set(keys))
    found = connection.execute(
        text(f"""
            select k.kind, k.value, s.id, {", ".join(f"s.{name}" for name in PERSON_COLUMNS)}
            from unnest(cast(:kinds as text[]), cast(:values as text[])) as w(kind, value)
            join contact_keys k on k.kind = w.kind and k.value = w.value
            join directory_contacts c on c.id = k.contact_id
            join directory_contacts s on s.id = coalesce(c.merged_into, c.id)"""),
        {"kinds": [kind for kind, _ in wanted], "values": [value for _, value in wanted]},
    )
    return {(row[0], row[1]): Person(row[2], **dict(zip(PERSON_COLUMNS, row[3:], strict=True))) for row in found}


def _person(contact_id: UUID, fields: Sequence[Any]) -> Person:
    return Person(contact_id, **dict(zip(PERSON_COLUMNS, fields, strict=True)))


def in_blocks(connection: Connection, blocks: Iterable[int]) -> dict[int, list[UUID]]:
    """Return the contacts of each block; those of more than `LARGEST_BLOCK` are left out."""
    found = connection.execute(
        text("""
            select w.block, b.ids
            from unnest(cast(:blocks as bigint[])) as w(block)
            cross join lateral (
                select array_agg(contact_id) as ids
                from (select contact_id from contact_blocks where block = w.block limit :most + 1)
            ) b
            where cardinality(b.ids) <= :most"""),
        {"blocks": _array(set(blocks)), "most": LARGEST_BLOCK},
    )
    return {row[0]: row[1] for row in found}


def people(connection: Connection, ids: Iterable[UUID]) -> tuple[dict[UUID, Person], dict[UUID, UUID]]:
    """Return the contacts as they are, and the survivor of each.

    A merged contact keeps its own fields: they are one more way to recognise its survivor.
    """
    found = connection.execute(
        text(f"""
            select id, coalesce(merged_into, id), {", ".join(PERSON_COLUMNS)}
            from directory_contacts where id = any(cast(:ids as uuid[]))"""),
        {"ids": _array(ids)},
    ).all()
    known = {row[0]: _person(row[0], row[2:]) for row in found}
    return known, {row[0]: row[1] for row in found}


def survivors(connection: Connection, ids: Iterable[UUID]) -> dict[UUID, UUID]:
    """Return for each contact the one that stands for it today: itself, or what it was merged into."""
    found = connection.execute(
        text("select id, coalesce(merged_into, id) from directory_contacts where id = any(:ids)"),
        {"ids": list(ids)},
    )
    return {row[0]: row[1] for row in found}


def companies_of(connection: Connection, leads: Sequence[Person]) -> list[UUID | None]:
    """Return each lead's company, adding the unknown ones.

    A company is its domain; without one it is its name in its country. One known by name only gets the
    domain of the first lead that brings it, and another domain is another company (a subsidiary).
    """
    by_domain: dict[str, dict[str, Any]] = {}
    by_name: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    known = connection.execute(
        text("""
            select id, name_key, domain, country, city from directory_companies where domain = any(:domains)
            union
            select c.id, c.name_key, c.domain, c.country, c.city
            from unnest(cast(:names as text[])) as w(name_key)
            cross join lateral (
                select * from directory_companies d where d.name_key = w.name_key order by d.id limit :most
            ) c
            order by id"""),
        {
            "domains": sorted({lead.domain for lead in leads if lead.domain}),
            "names": sorted({lead.company_key for lead in leads if lead.company_key}),
            "most": LARGEST_BLOCK,
        },
    )
    added: list[dict[str, Any]] = []
    changed: dict[UUID, dict[str, Any]] = {}

    def remember(company: dict[str, Any]) -> None:
        if company["domain"]:
            by_domain[company["domain"]] = company
        if company["name_key"]:
            by_name[company["name_key"]].append(company)

    for row in known.mappings():
        remember(dict(row))
    places: list[dict[str, Any] | None] = []
    for lead in leads:
        company = by_domain.get(lead.domain or "") or _by_name(by_name.get(lead.company_key or "", ()), lead)
        if company is None and (lead.domain or lead.company_key):
            company = {
                "id": None,
                "name": lead.company or lead.company_key or lead.domain,
                "name_key": lead.company_key,
                "domain": lead.domain,
                "country": lead.country,
                "city": lead.city,
            }
            added.append(company)
            remember(company)
        elif company is not None:
            blanks = {
                name: value
                for name, value in (
                    ("domain", lead.domain),
                    ("name_key", lead.company_key),
                    ("country", lead.country),
                )
                if value and not company[name]
            }
            if blanks:
                if "name_key" in blanks:
                    company["name"] = lead.company or lead.company_key
                company.update(blanks)
                remember(company)
                if company["id"]:
                    changed[company["id"]] = company
        places.append(company)
    for company, company_id in zip(added, new_ids(connection, len(added)) if added else (), strict=True):
        company["id"] = company_id
    columns = ("id", "name", "name_key", "domain", "country", "city")
    if added:
        copy_rows(
            connection,
            "directory_companies",
            columns,
            ([company[name] for name in columns] for company in added),
        )
    if changed:
        connection.execute(
            text("""
                update directory_companies c set
                    domain = coalesce(c.domain, v.domain), name_key = coalesce(c.name_key, v.name_key),
                    name = case when c.name_key is null then coalesce(v.name, c.name) else c.name end,
                    country = coalesce(c.country, v.country)
                from jsonb_to_recordset(:rows)
                     as v(id uuid, name text, name_key text, domain text, country text)
                where c.id = v.id"""),
            {
                "rows": Jsonb(
                    [
                        {"id": str(company_id)}
                        | {name: company.get(name) for name in ("name", "name_key", "domain", "country")}
                        for company_id, company in changed.items()
                    ]
                )
            },
        )
    return [company["id"] if company else None for company in places]


def _by_name(candidates: Sequence[dict[str, Any]], lead: Person) -> dict[str, Any] | None:
    fitting = [company for company in candidates if not (lead.domain and company["domain"])]
    for company in fitting:
        if company["country"] == lead.country:
            return company
    if lead.country is None and len(fitting) == 1:
        return fitting[0]
    return next((company for company in fitting if lead.country and company["country"] is None), None)


def add_contacts(connection: Connection, contacts: Iterable[tuple[UUID, Mapping[str, Any], UUID | None]]) -> None:
    """Add contacts: id, fields, company."""
    copy_rows(
        connection,
        "directory_contacts",
        ("id", *PERSON_COLUMNS, "company_id"),
        (
            [contact_id, *(fields.get(name) for name in PERSON_COLUMNS), company_id]
            for contact_id, fields, company_id in contacts
        ),
    )


def add_keys(connection: Connection, keys: Mapping[Key, UUID]) -> None:
    """Give contacts their keys.

    :raises sqlalchemy.exc.IntegrityError: when somebody owns one already; the lock rules that out.
    """
    if keys:
        connection.execute(
            text("""
                insert into contact_keys (kind, value, contact_id)
                select * from unnest(cast(:kinds as text[]), cast(:values as text[]),
                                     cast(:ids as uuid[]))"""),
            {
                "kinds": [kind for kind, _ in keys],
                "values": [value for _, value in keys],
                "ids": _array(keys.values()),
            },
        )


def add_blocks(connection: Connection, blocks: Iterable[tuple[int, UUID]]) -> None:
    """Put contacts into blocks, in addition to those that they are in."""
    rows = set(blocks)
    if rows:
        connection.execute(
            text("""
                insert into contact_blocks (block, contact_id)
                select * from unnest(cast(:blocks as bigint[]), cast(:ids as uuid[])) as v(block, contact_id)
                order by block on conflict do nothing"""),
            {"blocks": _array(block for block, _ in rows), "ids": _array(contact_id for _, contact_id in rows)},
        )


def follow(
    connection: Connection,
    news: Mapping[UUID, tuple[Mapping[str, Any], Mapping[str, Any]]],
) -> None:
    """Bring contacts up to date; what is blank in the news never overwrites.

    :param news: contact -> (fields that replace, fields that only fill blanks), `company_id` among them.
    """
    columns = (*PERSON_COLUMNS, "company_id")
    types = {"company_id": "uuid"}
    listed = ", ".join(
        f"new_{name} {types.get(name, 'text')}, fill_{name} {types.get(name, 'text')}" for name in columns
    )
    values = {name: f"coalesce(v.new_{name}, c.{name}, v.fill_{name})" for name in columns}
    rows = [
        {"id": str(contact_id)}
        | {f"new_{name}": _plain(value) for name, value in replacing.items() if value}
        | {f"fill_{name}": _plain(value) for name, value in filling.items() if value}
        for contact_id, (replacing, filling) in news.items()
    ]
    if rows:
        connection.execute(
            text(f"""
                update directory_contacts c
                set {", ".join(f"{name} = {value}" for name, value in values.items())}, updated_at = now()
                from jsonb_to_recordset(:rows) as v(id uuid, {listed})
                where c.id = v.id
                  and ({", ".join(f"c.{name}" for name in columns)})
                      is distinct from ({", ".join(values.values())})"""),
            {"rows": Jsonb(rows)},
        )


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, UUID) else value


def ask(
    connection: Connection, questions: Mapping[tuple[UUID, UUID], tuple[int | None, float, Mapping[str, str]]]
) -> dict[int, list[int]]:
    """Write possible duplicates for a person to decide; a pair that is known is not asked again.

    :param questions: pair, smaller id first -> (case, probability, evidence).
    :returns: case -> the pairs that were new.
    """
    written: defaultdict[int, list[int]] = defaultdict(list)
    if questions:
        found = connection.execute(
            text("""
                insert into possible_duplicates (contact_a, contact_b, case_id, score, evidence)
                select * from unnest(cast(:a as uuid[]), cast(:b as uuid[]), cast(:cases as bigint[]),
                                     cast(:scores as float8[]), cast(:evidence as jsonb[]))
                on conflict (contact_a, contact_b) do nothing returning id, case_id"""),
            {
                "a": [pair[0] for pair in questions],
                "b": [pair[1] for pair in questions],
                "cases": [case_id for case_id, _, _ in questions.values()],
                "scores": [probability for _, probability, _ in questions.values()],
                "evidence": [Jsonb(dict(evidence)) for _, _, evidence in questions.values()],
            },
        )
        for pair_id, case_id in found:
            if case_id is not None:
                written[case_id].append(pair_id)
    return dict(written)
