"""Deputies: who stands in for whom, on which days. The deputy of a deputy does not stand in.

A delegation is resolved when somebody decides, so what is ended or over lets nobody decide any more.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Connection, text

from include.approvals.people import People, Person, people

LONGEST = timedelta(days=366)
"""Somebody who stays away longer is replaced in people.yaml."""
ONE_DAY = timedelta(days=1)
"""Somewhere it is tomorrow already, and somewhere it is yesterday still."""


class DelegationInvalid(ValueError):
    """A delegation that cannot be; the message says why, to whoever made it."""


class NotTheirs(DelegationInvalid):
    """A delegation that somebody else may enter or end, and not whoever tries."""


@dataclass(frozen=True)
class Delegation:
    """One delegation, first and last day included, by the date at the place of who is stood in for."""

    id: int
    person: str
    deputy: str
    starts: date
    ends: date
    reason: str


def delegate(  # noqa: PLR0917 - the parts of one sentence
    connection: Connection, person: str, deputy: str, starts: date, ends: date, reason: str, actor: str
) -> int:
    """Let `deputy` decide for `person` from `starts` to `ends`; whether `actor` may say so is the caller's to check.

    :returns: the delegation's id.
    :raises DelegationInvalid: when one of them cannot decide, or the days or the reason are not good.
    """
    known = people()
    for each in (person, deputy):
        if not known.decides(each):
            raise DelegationInvalid(f"{known.name(each)} is nobody who decides; name a person who works here")
    if person == deputy:
        raise DelegationInvalid(f"{known.name(person)} cannot stand in for themselves")
    if ends < starts:
        raise DelegationInvalid(f"the last day, {ends}, is before the first, {starts}")
    if ends < known.by_id[person].today(datetime.now(UTC)):
        raise DelegationInvalid(f"the last day, {ends}, is over")
    if ends - starts > LONGEST:
        raise DelegationInvalid("a delegation is for a year at most; name somebody else in people.yaml instead")
    if not reason.strip():
        raise DelegationInvalid("say why, such as «on leave»: it stays beside every decision that is made by it")
    return int(
        connection.execute(
            text("""
                insert into delegations (person, deputy, starts, ends, reason, actor)
                values (:person, :deputy, :starts, :ends, :reason, :actor) returning id"""),
            {
                "person": person,
                "deputy": deputy,
                "starts": starts,
                "ends": ends,
                "reason": reason.strip(),
                "actor": actor,
            },
        ).scalar_one()
    )


def end(connection: Connection, delegation_id: int, actor: str) -> bool:
    """End a delegation now; what was decided by it stands.

    :returns: whether it was there and not ended yet.
    """
    return bool(
        connection.execute(
            text("""
                update delegations set ended_at = now(), ended_by = :actor
                where id = :id and ended_at is null"""),
            {"id": delegation_id, "actor": actor},
        ).rowcount
    )


def enter(
    connection: Connection,
    account: str,
    *,
    person: str | None,
    deputy: str | None,
    starts: date | None,
    ends: date | None,
    reason: str,
) -> tuple[int, bool]:
    """Enter a delegation as whoever an account of Airflow belongs to; the same again adds nothing.

    :param person: who is away; by default whoever enters it.
    :param starts: by default today, at that person's place.
    :returns: the delegation's id, and whether it is new.
    :raises DelegationInvalid: when it cannot be, or is not theirs to enter.
    """
    actor = _one_person(account)
    person = person or actor.id
    _may_enter(actor, person)
    if deputy is None or ends is None:
        raise DelegationInvalid("choose a deputy and the last day, or name a delegation to end")
    # Two who enter at once wait for each other, so that neither adds what the other has.
    connection.execute(text("select pg_advisory_xact_lock(hashtext('waybill.delegations'))"))
    today = people().by_id[person].today(datetime.now(UTC))
    for known in _found(connection, [person], first=None, last=ends):
        same = (known.deputy, known.ends, known.reason) == (deputy, ends, reason.strip())
        if same and (known.starts == starts or (starts is None and known.starts <= today)):
            return known.id, False
    number = delegate(connection, person, deputy, starts or today, ends, reason, f"user:{account}")
    _record(connection, "delegation.entered", number)
    return number, True


def end_by(connection: Connection, delegation_id: int, account: str) -> bool:
    """End a delegation as whoever an account of Airflow belongs to.

    :returns: False when it was ended before.
    :raises DelegationInvalid: when there is none, or it is not theirs to end.
    """
    actor = _one_person(account)
    person = connection.execute(text("select person from delegations where id = :id"), {"id": delegation_id}).scalar()
    if person is None:
        raise DelegationInvalid(f"there is no delegation {delegation_id}")
    _may_enter(actor, person)
    ended = end(connection, delegation_id, f"user:{account}")
    if ended:
        _record(connection, "delegation.ended", delegation_id)
    return ended


def _record(connection: Connection, kind: str, delegation_id: int) -> None:
    connection.execute(
        text("""
            insert into events (workflow, kind, actor, run_id, detail)
            values ('approvals', :kind, author(), nullif(current_setting('waybill.run', true), ''),
                    jsonb_build_object('delegation', cast(:id as bigint)))"""),
        {"kind": kind, "id": delegation_id},
    )


def may_enter_for(account: str) -> list[Person]:
    """Return for whom an account may enter a delegation: for its person, first, and those whom they decide about."""
    person = people().by_airflow(None, account)
    if person is None or not person.decides:
        return []
    nearest = [each for each in people() if each.decides and people().next_in_line(each.id) == person]
    return [person, *nearest]


def _one_person(account: str) -> Person:
    person = people().by_airflow(None, account)
    if person is None or not person.decides:
        raise NotTheirs(f"the account {account!r} is no one person's, and gives nobody's decisions away")
    return person


def _may_enter(actor: Person, person: str) -> None:
    """Only the person themselves, or the manager of somebody who cannot: the nearest above who is here."""
    known = people()
    if actor.id == person:
        return
    manager = known.next_in_line(person)
    if manager is None or manager.id != actor.id:
        raise NotTheirs(
            f"who decides for {known.name(person)} is said by themselves or by their manager, and not by {actor.name}"
        )


def current(connection: Connection, now: datetime) -> list[Delegation]:
    """Return the delegations that hold now or later, by the date at each person's place, soonest first."""
    known = people().by_id
    found = _found(connection, None, first=None, last=now.astimezone(UTC).date() - ONE_DAY)
    return [each for each in found if each.person not in known or each.ends >= known[each.person].today(now)]


def deputies(connection: Connection, person_ids: Sequence[str], day: date) -> dict[str, list[str]]:
    """Return who stands in for each of `person_ids` on a day; nobody stands in where there is no entry."""
    return _by_person(_found(connection, person_ids, first=day, last=day), people())


def deputies_now(connection: Connection, person_ids: Collection[str], now: datetime) -> dict[str, list[Delegation]]:
    """Return the delegations of each of `person_ids` that hold now, by the date at that person's place."""
    known = people()
    around = now.astimezone(UTC).date()
    found: dict[str, list[Delegation]] = {}
    for delegation in _found(connection, person_ids, first=around + ONE_DAY, last=around - ONE_DAY):
        person = known.by_id.get(delegation.person)
        if (
            person is not None
            and person.decides
            and known.decides(delegation.deputy)
            and delegation.starts <= person.today(now) <= delegation.ends
        ):
            found.setdefault(delegation.person, []).append(delegation)
    return found


def stood_in_for(connection: Connection, deputy: str, now: datetime) -> dict[str, int]:
    """Return those for whom somebody stands in now, each with the delegation that says so."""
    persons = connection.execute(
        text("select distinct person from delegations where deputy = :deputy and ended_at is null"), {"deputy": deputy}
    ).scalars()
    return {
        person: delegation.id
        for person, found in deputies_now(connection, list(persons), now).items()
        for delegation in found
        if delegation.deputy == deputy
    }


def _by_person(found: Sequence[Delegation], known: People) -> dict[str, list[str]]:
    named: dict[str, list[str]] = {}
    for delegation in found:
        if known.decides(delegation.person) and known.decides(delegation.deputy):
            standing_in = named.setdefault(delegation.person, [])
            if delegation.deputy not in standing_in:
                standing_in.append(delegation.deputy)
    return named


def _found(
    connection: Connection, persons: Collection[str] | None, *, first: date | None, last: date
) -> list[Delegation]:
    """Delegations that are not ended, begin on `first` or before, and end on `last` or later."""
    rows = connection.execute(
        text("""
            select id, person, deputy, starts, ends, reason from delegations
            where ended_at is null and ends >= :last
              and (cast(:first as date) is null or starts <= :first)
              and (cast(:persons as text[]) is null or person = any(:persons))
            order by starts, id"""),
        {"first": first, "last": last, "persons": None if persons is None else list(persons)},
    )
    return [Delegation(*row) for row in rows]
