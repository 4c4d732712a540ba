"""Erases a person: in every table, and, through the ledger, in the connected CRM and in Airflow's runs.

One transaction, so that a second try and a death half-way change nothing. What stays, and why, is in the inventory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, Engine, text

from include.cases import store
from include.data.database import sign
from include.data.matching import directory
from include.integrations import ledger
from include.integrations.systems import Effect, Mode, Provider
from include.privacy import rows, runs
from include.privacy.mentions import Mentions, search
from include.privacy.person import Person, renewed

STEP = "erase_in_systems"
"""The contract's step under which the ledger has what systems are told."""
OUTCOME = "the person was erased"
OPEN = "('pending', 'waiting', 'quarantined')"


class Refused(ValueError):
    """A person cannot be erased now; the message says why, and what to do first."""


@dataclass(frozen=True)
class Plan:
    """What an erasure would do.

    :param counts: what each table holds.
    :param closes: open cases about the person, which it closes.
    :param obstacles: why it would be refused now; empty when it would not.
    :param notes: what whoever confirms should know.
    :param runs: of Airflow, in which approvals that name the person were asked, each as `dag/run`.
    """

    counts: Sequence[rows.Count]
    closes: Sequence[int] = ()
    obstacles: Sequence[str] = ()
    notes: Sequence[str] = ()
    runs: Sequence[str] = ()

    @property
    def values(self) -> int:
        """How many values it would take away."""
        return sum(count.values for count in self.counts)


@dataclass(frozen=True)
class Erased:
    """What an erasure did.

    :param id: its row in `erasures`; None when there was nothing left to erase.
    :param runs: of Airflow, each as `dag/run`, that are deleted with the person.
    """

    id: int | None
    counts: Sequence[rows.Count] = field(default_factory=list)
    closed: int = 0
    runs: Sequence[str] = ()


def plan(connection: Connection, person: Person) -> Plan:
    """Say what an erasure would do; it reads whole tables, to find mentions in other rows."""
    return _plan(connection, person, search(connection, person))


def _plan(connection: Connection, person: Person, mentions: Mentions) -> Plan:
    obstacles = []
    running = _cases(connection, person, "state = 'running'")
    if running:
        obstacles.append(f"a run works on the cases {_list(running)}: try again when it is over, in some minutes")
    unsettled = _unsettled(connection, person)
    if unsettled:
        obstacles.append(
            f"nobody knows yet what became of effects of the cases {_list(unsettled)}: try again when they are settled"
        )
    named = rows.open_mentions(connection, person, mentions)
    if named:
        obstacles.append(
            f"the open cases {_list(named)} are about something else and need the address: finish or discard them first"
        )
    return Plan(
        rows.counts(connection, person, mentions),
        _cases(connection, person, f"state in {OPEN}"),
        obstacles,
        notes(connection, person),
        runs.asked_in(connection, person, mentions),
    )


def erase(
    connection: Connection,
    person: Person,
    *,
    actor: str,
    reason: str,
    mode: Mode,
    run: str = "",
    typed: Iterable[str] = (),
) -> Erased:
    """Take all personal values of a person away, and plan the same in the CRM and Airflow; again, it changes nothing.

    Their open cases are closed as rejected, for nobody can be answered any more; what was not sent is withdrawn.
    Deliver what is planned with `tell_systems`. Whole tables are read first, before anything is held or changed.

    :param connection: a transaction in `read committed`; it is this erasure's until it ends.
    :param actor: who confirmed it.
    :param reason: kept for good; names and addresses of the person in it are erased too.
    :param typed: the runs of Airflow into whose forms they were typed, each as `dag/run`.
    :raises Refused: while a run works on a case of theirs, an effect's outcome is unknown, or an open case about
        something else needs their address; also when they got another address while the tables were read.
    """
    if not reason.strip():
        raise Refused("an erasure has a reason: say who asked for it, by which letter or ticket")
    sign(connection, actor=actor, run=run, step="erase")
    person = renewed(connection, person)
    mentions = search(connection, person)
    looked_for = set(person.emails)
    directory.lock(connection)
    person = renewed(connection, person)
    if set(person.emails) - looked_for:
        raise Refused("another address of the person came in while the tables were looked through: try again")
    store.lock(connection, person.cases)
    planned = _plan(connection, person, mentions)
    if planned.obstacles:
        raise Refused("; ".join(planned.obstacles))
    told = crm_effects(connection, person)
    gone = sorted({*typed, *planned.runs})
    ledger.write(connection, runs.deletions(STEP, gone, own=run), mode)
    unmarked = connection.execute(
        text("select count(*) from cases where id = any(:cases) and erased_at is null"), person.values
    ).scalar_one()
    if not (planned.values or unmarked):
        return Erased(None, runs=gone)
    erasure = begin(connection, person, kind="request", reason=reason, counts=planned.counts)
    closed = connection.execute(
        text(f"""
            update cases set state = 'rejected', outcome = :outcome, closed_at = now(), updated_at = now()
            where id = any(:cases) and state in {OPEN}"""),
        {**person.values, "outcome": OUTCOME},
    ).rowcount
    take_away(connection, person, told, mode=mode, mentions=mentions)
    return Erased(erasure, planned.counts, closed, gone)


def begin(connection: Connection, person: Person, *, kind: str, reason: str, counts: Iterable[rows.Count]) -> int:
    """Write that there is an erasure, which the database tells in each case; only then does it let values go.

    :returns: the erasure's id.
    """
    return int(
        connection.execute(
            text("""
                insert into erasures (kind, reason, cases, contacts, counts)
                values (:kind, without_mentions(cast(:reason as text), :pattern), :cases, :contacts, :counts)
                returning id"""),
            {
                **person.values,
                "kind": kind,
                "reason": reason.strip(),
                "counts": Jsonb({count.table: count.values for count in counts if count.values}),
            },
        ).scalar_one()
    )


def take_away(
    connection: Connection, person: Person, told: Iterable[Effect], *, mode: Mode, mentions: Mentions
) -> None:
    """Take all values away, withdraw what was not sent, and plan what systems are told. `begin` comes first."""
    connection.execute(
        text("""
            update effects set state = 'dead', error = :error
            where case_id = any(:cases) and state in ('pending', 'failed', 'dead')"""),
        {**person.values, "error": ledger.WITHDRAWN + OUTCOME},
    )
    rows.erase(connection, person, mentions)
    connection.execute(
        text("""
            update possible_duplicates set state = 'kept apart', decided_by = author(), decided_at = now()
            where state = 'open' and (contact_a = any(:contacts) or contact_b = any(:contacts))"""),
        person.values,
    )
    connection.execute(
        text("update cases set erased_at = now() where id = any(:cases) and erased_at is null"), person.values
    )
    ledger.write(connection, told, mode)


def tell_systems(engine: Engine, provider: Provider, system: str = "crm") -> dict[str, int]:
    """Deliver what erasures have planned for a system; return counts."""
    return asdict(ledger.deliver(engine, provider, system=system, scope=ledger.Scope(step=STEP)))


def crm_effects(connection: Connection, person: Person) -> list[Effect]:
    """Return what the CRM is told: to erase each contact with its tasks, and the name of each deal named after one.

    A deal is named after the company that its lead names; a company known by an address alone gives it no name.
    """
    tasks: dict[str, list[str]] = {}
    for contact, task in connection.execute(
        text("""
            select payload->>'contact_key', target from effects
            where case_id = any(:cases) and operation = 'create_task' and state = 'sent' order by id"""),
        person.values,
    ):
        tasks.setdefault(contact, []).append(task)
    effects = [
        _effect("erase_contact", key, {"key": key, "tasks": tasks.get(key, [])})
        for key in person.values["contact_keys"]
    ]
    named = connection.execute(
        text("""
            select distinct d.id::text from deals d
            join effects e on e.case_id = d.case_id and e.operation = 'upsert_deal' and e.target = d.id::text
            join leads l on l.case_id = d.case_id
            where d.id = any(:deals) and l.company is null and e.state = 'sent' order by 1"""),
        person.values,
    ).scalars()
    return effects + [_effect("upsert_deal", key, {"key": key, "properties": {"name": rows.MARKER}}) for key in named]


def _effect(operation: str, target: str, payload: dict[str, Any]) -> Effect:
    return Effect(f"privacy/{STEP}/{operation}/{target}", "crm", operation, None, STEP, target, payload)


def _cases(connection: Connection, person: Person, which: str) -> list[int]:
    return list(
        connection.execute(
            text(f"select id from cases where id = any(:cases) and {which} order by id"), person.values
        ).scalars()
    )


def _unsettled(connection: Connection, person: Person) -> list[int]:
    return list(
        connection.execute(
            text("""
                select distinct case_id from effects where case_id = any(:cases) and state in ('sending', 'unknown')
                order by case_id"""),
            person.values,
        ).scalars()
    )


def notes(connection: Connection, person: Person) -> list[str]:
    """Return what whoever confirms an erasure should know; without anything personal."""
    found = connection.execute(
        text("""
            select (select count(*) from clients where contact_id = any(:contacts)) as clients,
                   (select count(*) from possible_duplicates where state = 'open'
                    and (contact_a = any(:contacts)) <> (contact_b = any(:contacts))) as doubts,
                   (select count(*) from effects where case_id = any(:cases) and operation = 'send_mail'
                    and state = 'sent' and mode = 'live') as mails"""),
        person.values,
    ).one()
    told = []
    if found.clients:
        told.append("They are a client: make sure that no law obliges you to keep the papers, before you confirm.")
    if found.doubts:
        told.append(
            f"{found.doubts} possible duplicates of them are open: decide about them first, or their other data stay."
        )
    if found.mails:
        told.append(f"{found.mails} mails went to them; what a mail server or their own mailbox has stays there.")
    return told


def _list(ids: Sequence[int]) -> str:
    shown = ", ".join(map(str, ids[:10]))
    return f"{shown} and {len(ids) - 10} more" if len(ids) > 10 else shown
