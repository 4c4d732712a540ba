"""Who a person is in the tables: their contacts, cases and deals, and the values by which they are recognised.

Read only. Several contacts that were merged are one person; companies are nobody's personal data.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from include.data.matching.people import ROLE_ADDRESSES
from include.data.normalise.email import email as read_email

NOTHING = "$."
"""A pattern that matches nothing."""
ANY_ADDRESS = r"[\w.+-]+(?:@|%40)[\w-]+(?:\.[\w-]+)+|\+\d{7,15}(?!\d)"
"""Any e-mail address, and any telephone number in E.164."""
AFTER_ESCAPE = r"(?<=\\[nrtbf])|(?<=\\u[0-9A-Fa-f]{4})|(?<=%[0-9A-Fa-f]{2})"
"""Where a word begins behind a line break or a `<` as JSON writes them, or behind a byte as a form sends it."""
PLAIN = re.compile(r"[a-z0-9._-]+", re.IGNORECASE)
"""What is written the same in a text, in JSON and in a form."""
SHORTEST_NAME = 3  # characters; shorter ones are parts of too many words
SHORTEST_NUMBER = 6  # characters of a telephone number as it was typed


class Unknown(LookupError):
    """Nothing is known of whom somebody asks about."""


@dataclass(frozen=True)
class Person:
    """Whose data are meant; one person, or all whose time is over.

    :param asked: the addresses that were asked by, where it was by an address.
    :param emails: addresses and the keys that they are compared by, in lower case.
    :param pattern: a regular expression for what names them in rows that are about them.
    :param addresses: one for what names them anywhere: e-mail addresses that nobody else has.
    """

    contacts: tuple[UUID, ...]
    cases: tuple[int, ...]
    deals: tuple[UUID, ...]
    asked: tuple[str, ...]
    emails: tuple[str, ...]
    pattern: str
    addresses: str

    @property
    def values(self) -> dict[str, Any]:
        """The bound values of the inventory's `rows`."""
        return {
            "contacts": list(self.contacts),
            "contact_keys": [str(contact) for contact in self.contacts],
            "cases": list(self.cases),
            "deals": list(self.deals),
            "deal_keys": [str(deal) for deal in self.deals],
            "emails": list(self.emails),
            "pattern": self.pattern,
            "addresses": self.addresses,
            "hints": [f"%{_escaped(_hint(email))}%" for email in self.emails],
            "any_address": ANY_ADDRESS,
        }


def by_email(connection: Connection, address: str) -> Person:
    """Return whom an e-mail address names, by any of their spellings of it.

    An address that several share, such as info@, names all of them.

    :raises Unknown: when it is no address.
    """
    read = read_email(address)
    if read is None:
        raise Unknown("this cannot be an e-mail address: write it as name@domain")
    return _of(connection, _contacts_of_keys(connection, [read.key]), [], {read.key, read.address})


def by_contact(connection: Connection, contact_id: UUID) -> Person:
    """Return whom a contact of the directory stands for.

    :raises Unknown: when there is no such contact.
    """
    known = connection.execute(
        text("select true from directory_contacts where id = :id"), {"id": contact_id}
    ).scalar_one_or_none()
    if not known:
        raise Unknown(f"there is no contact {contact_id}")
    return _of(connection, {contact_id}, [], set())


def by_case(connection: Connection, case_id: int) -> Person:
    """Return the person whom a case is about, with all their other cases.

    :raises Unknown: when there is no such case, or it is not about a person.
    """
    found = connection.execute(
        text("""
            select c.workflow, l.case_id is not null as lead, l.email_key, l.contact_id,
                   coalesce(d.contact_id, cl.contact_id) as dealt
            from cases c left join leads l on l.case_id = c.id
            left join deal_changes ch on ch.case_id = c.id left join deals d on d.id = ch.deal_id
            left join clients cl on cl.case_id in (c.id, c.parent_id)
            where c.id = :id limit 1"""),
        {"id": case_id},
    ).one_or_none()
    if found is None:
        raise Unknown(f"there is no case {case_id}")
    contact = found.contact_id or found.dealt
    if contact is None and not found.lead and found.workflow != "lead_to_client":
        raise Unknown(
            f"case {case_id} is not about a person; ask by the e-mail address of whom it mentions, if it mentions any"
        )
    keys = {found.email_key} if contact is None and found.email_key else set()
    return _of(connection, {contact} if contact else _contacts_of_keys(connection, keys), [case_id], keys)


def everybody_of(connection: Connection, case_ids: Iterable[int], contacts: Iterable[UUID]) -> Person:
    """Return cases and contacts together, for an erasure of many at once; their other cases are not meant."""
    ids, people = sorted(case_ids), sorted(contacts)
    deals = connection.execute(
        text("select id from deals where contact_id = any(:contacts)"), {"contacts": people}
    ).scalars()
    return Person(tuple(people), tuple(ids), tuple(deals), (), (), ANY_ADDRESS, NOTHING)


def words_of_cases(connection: Connection, case_ids: Iterable[int]) -> dict[int, str]:
    """Return a pattern for each case of many: the names and numbers of whom it is about, as they were written.

    For all cases at once it would be too long to be looked for.
    """
    found: dict[int, list[RowMapping]] = {}
    for row in connection.execute(
        text("""
            with about as (
                select case_id, contact_id from leads where case_id = any(:cases)
                union select ch.case_id, d.contact_id from deal_changes ch join deals d on d.id = ch.deal_id
                      where ch.case_id = any(:cases)
                union select c.id, cl.contact_id from cases c join clients cl on cl.case_id in (c.id, c.parent_id)
                      where c.id = any(:cases)
            )
            select case_id, array[raw->>'email'] as emails, array[phone, raw->>'phone'] as phones,
                   array[first_name, last_name, full_name] as names
            from leads where case_id = any(:cases)
            union all
            select a.case_id, null, array[c.phone], array[c.first_name, c.last_name, c.full_name]
            from about a join directory_contacts c on c.id = a.contact_id
            union all
            select case_id, array_agg(value #>> '{}') filter (where field = 'email'),
                   array_agg(value #>> '{}') filter (where field = 'phone'),
                   array_agg(value #>> '{}') filter (where field in ('first_name', 'last_name', 'full_name'))
            from corrections where case_id = any(:cases) group by case_id"""),
        {"cases": list(case_ids)},
    ).mappings():
        found.setdefault(row["case_id"], []).append(row)
    return {case: pattern for case, of in found.items() if (pattern := _any_of(_words(of))) != NOTHING}


def renewed(connection: Connection, person: Person) -> Person:
    """Return a person as they are known now; what came since is theirs too."""
    return _of(connection, set(person.contacts), person.cases, set(person.asked))


def _escaped(value: str) -> str:
    return re.sub(r"([\\%_])", r"\\\1", value)


def _hint(address: str) -> str:
    """A part of an address that stands wherever the address does, however that is spelled."""
    return max(PLAIN.findall(address.rpartition("@")[0]), key=len, default="")


def _contacts_of_keys(connection: Connection, keys: Iterable[str]) -> set[UUID]:
    return set(
        connection.execute(
            text("""
                select contact_id from contact_keys where kind = 'email' and value = any(:keys)
                union select contact_id from leads where email_key = any(:keys) and contact_id is not null"""),
            {"keys": list(keys)},
        ).scalars()
    )


def _of(connection: Connection, start: set[UUID], cases: Iterable[int], keys: set[str]) -> Person:
    contacts = sorted(
        connection.execute(
            text("""
                with root as (select coalesce(merged_into, id) as id from directory_contacts where id = any(:start))
                select c.id from directory_contacts c join root on root.id in (c.id, c.merged_into)"""),
            {"start": list(start)},
        ).scalars()
    )
    values = {"contacts": contacts, "keys": sorted(keys), "cases": list(cases)}
    deals = list(connection.execute(text("select id from deals where contact_id = any(:contacts)"), values).scalars())
    ids = connection.execute(
        text("""
            with own as (
                select case_id as id from leads where contact_id = any(:contacts) or email_key = any(:keys)
                union select case_id from leads
                      where email_key is null and contact_id is null and lower(raw->>'email') = any(:keys)
                union select case_id from deal_changes where deal_id = any(:deals)
                union select case_id from clients where contact_id = any(:contacts)
                union select unnest(cast(:cases as bigint[]))
            )
            select id from own
            union select c.id from cases c join own on c.parent_id = own.id
            where c.workflow in ('client_billing_setup', 'deal_to_client')
            order by 1"""),
        {**values, "deals": deals},
    ).scalars()
    case_ids = list(ids)
    if left := _left_behind(connection, contacts, case_ids):
        return _of(connection, {*contacts, *left}, case_ids, keys)
    rows = _rows(connection, contacts, case_ids)
    emails = keys | _emails(rows)
    return Person(
        contacts=tuple(contacts),
        cases=tuple(case_ids),
        deals=tuple(deals),
        asked=tuple(sorted(keys)),
        emails=tuple(sorted(emails)),
        pattern=_any_of([*map(_address, emails), *_words(rows)]),
        addresses=_any_of(_address(value) for value in emails if value.partition("@")[0] not in ROLE_ADDRESSES),
    )


def _left_behind(connection: Connection, contacts: list[UUID], cases: list[int]) -> list[UUID]:
    """Return the other contacts that these cases made and left when they were corrected, and that are nobody else's."""
    return list(
        connection.execute(
            text("""
                with made as (
                    select target::uuid as id from effects where case_id = any(:cases) and operation = 'upsert_contact'
                    union select former_contact_id from leads where case_id = any(:cases)
                )
                select c.id from made join directory_contacts c on c.id = made.id
                where not c.id = any(:contacts) and c.merged_into is null
                  and not exists (select from directory_contacts o where o.merged_into = c.id)
                  and not exists (select from leads l where l.contact_id = c.id and not l.case_id = any(:cases))
                  and not exists (select from leads l where l.former_contact_id = c.id and not l.case_id = any(:cases))
                  and not exists (select from deals d where d.contact_id = c.id and not d.case_id = any(:cases))
                  and not exists (select from clients cl where cl.contact_id = c.id)"""),
            {"contacts": contacts, "cases": cases},
        ).scalars()
    )


def _rows(connection: Connection, contacts: list[UUID], cases: list[int]) -> list[RowMapping]:
    return list(
        connection.execute(
            text("""
                select array[email, email_key, raw->>'email'] as emails, array[phone, raw->>'phone'] as phones,
                       array[first_name, last_name, full_name] as names
                from leads where case_id = any(:cases)
                union all
                select array[email, email_key], array[phone], array[first_name, last_name, full_name]
                from directory_contacts where id = any(:contacts)
                union all
                select array_agg(value), null, null from contact_keys
                where contact_id = any(:contacts) and kind = 'email' having count(*) > 0
                union all
                select array_agg(value #>> '{}') filter (where field = 'email'),
                       array_agg(value #>> '{}') filter (where field = 'phone'),
                       array_agg(value #>> '{}') filter (where field in ('first_name', 'last_name', 'full_name'))
                from corrections where case_id = any(:cases) having count(*) > 0"""),
            {"contacts": contacts, "cases": cases},
        ).mappings()
    )


def _emails(rows: Iterable[RowMapping]) -> set[str]:
    """The addresses that can be read, and the keys that they are compared by."""
    found = (read_email(value) for row in rows for value in row["emails"] or () if value)
    return {value for address in found if address for value in (address.address, address.key)}


def _words(rows: Iterable[RowMapping]) -> list[str]:
    """The patterns of names, of numbers as they were typed, and of what was meant to be an address."""
    rows = list(rows)
    names = {value for row in rows for value in row["emails"] or () if value and not read_email(value)}
    names |= {value for row in rows for value in row["names"] or () if value}
    numbers = {value for row in rows for value in row["phones"] or () if value}
    return [
        *_whole(r"\w", (name for name in names if len(name) >= SHORTEST_NAME)),
        *_whole(r"\d", (number for number in numbers if len(number) >= SHORTEST_NUMBER)),
    ]


def _whole(part: str, values: Iterable[str]) -> list[str]:
    """A pattern for any of some values, but not as pieces of longer ones; `part` matches what would prolong one."""
    either = "|".join(re.escape(value) for value in sorted(values, key=len, reverse=True))
    return [rf"(?:(?<!{part})|{AFTER_ESCAPE})(?:{either})(?!{part})"] if either else []


def _address(value: str) -> str:
    """An address by itself, and not as a part of a longer one; also as a form sends it, and as JSON may escape it."""
    return rf"(?:(?<![\w.+-])|{AFTER_ESCAPE}){''.join(map(_spelled, value))}(?![\w-]|\.\w)"


def _spelled(letter: str) -> str:
    if PLAIN.match(letter):
        return re.escape(letter)
    return rf"(?:{re.escape(letter)}|{quote(letter, safe='')}|\\u{ord(letter):04x})"


def _any_of(patterns: Iterable[str]) -> str:
    return "|".join(dict.fromkeys(patterns)) or NOTHING
