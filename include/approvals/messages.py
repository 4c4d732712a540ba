"""Messages about approvals: what everybody concerned should have been told, and the effects that are missing for it.

Looks at the tables and plans what should exist, so planning again changes nothing. How it is worded is wording.py's
part; sending is the ledger's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from include.approvals import asking, rounds, wording
from include.approvals.asking import DID, Given, Stage, Standing
from include.approvals.delegations import deputies_now
from include.approvals.people import Person, people
from include.approvals.wording import Matter, Place, Words, when
from include.contracts.registry import contract
from include.integrations.systems import Effect

STEP = "approve"
"""The step of every effect that is about an approval."""
SECOND_ROUTE_ATTEMPTS = 3
SECOND_ROUTE_AFTER = timedelta(minutes=15)
"""What the chat did not take in so many attempts and this time goes by mail as well."""
LOOKS_BACK = timedelta(days=4)
"""Rounds that closed longer ago have no message on its way any more: the ledger gives up after three days."""
MOST_ROUNDS = 200


@dataclass(frozen=True)
class _About:
    """What one message is about; kept with it, for a later update of it.

    :param kind: ask, question or outcome.
    :param part: grows with each question that is answered; the same stage is then asked again.
    :param reminder: 0 for the first message, else the number of the reminder.
    """

    kind: str
    round: int
    part: int
    person: str
    stage: int
    reminder: int = 0

    def name(self, number: int) -> str:
        """Its identity within the case, for the ledger."""
        name = f"round-{number}/"
        name += f"part-{self.part}/" if self.part > 1 else ""
        name += f"stage-{self.stage}/" if self.kind == "ask" else f"{self.kind}/"
        return name + self.person + (f"/reminder-{self.reminder}" if self.reminder else "")


@dataclass(frozen=True)
class _Told:
    """One message that the ledger has: its latest content, and what an update of it needs."""

    about: _About
    target: str
    operation: str
    key: str
    state: str
    payload: Mapping[str, Any]
    posted: Mapping[str, Any] | None
    updates: int


@dataclass(frozen=True)
class _View:
    """A round with all that its messages say."""

    asked: Standing
    digest: str
    closed_at: datetime | None
    may_decide: Sequence[str]
    stands_in_for: Mapping[str, Sequence[str]]
    escalated: frozenset[str]
    reminders: int

    @property
    def part(self) -> int:
        """The part of the round that is asked now."""
        return 1 + sum(1 for given in self.asked.given if given.answer == "answer")

    def place(self, about: _About) -> Place:
        return Place(self.asked.id, about.stage, self.digest)


def plan_stage(connection: Connection, round_id: int) -> list[Effect]:
    """Return what asks everybody whom a round waits for now: its approvers, or the requester who has a question.

    Those who were asked in an earlier round of the case hear that it is over.
    """
    view = _view(connection, round_id)
    if view is None:
        return []
    told = _told(connection, view.asked.case_id)
    effects = _asks(view, told)
    others = {one.about.round for one in told.values() if one.about.round != round_id and one.payload["about"]["open"]}
    for other in sorted(others):
        effects += plan_closed(connection, other)
    return effects


def plan_reminders(connection: Connection, round_id: int, persons: Iterable[str]) -> list[Effect]:
    """Return a further message to each of those who are reminded, as long as they can still act."""
    view = _view(connection, round_id)
    if view is None:
        return []
    wanted = {person: about for person, about in _wanted(view).items() if person in set(persons)}
    told = _told(connection, view.asked.case_id)
    return [
        effect
        for about in wanted.values()
        for effect in _post(view, _About(**{**about.__dict__, "reminder": view.reminders}), told)
    ]


def plan_closed(connection: Connection, round_id: int) -> list[Effect]:
    """Return what brings the messages of a round up to date: the outcome in place of the buttons, once it is there.

    A message that is not sent yet takes the newer content. One that is on its way is left alone until it has arrived,
    and `outdated` finds it then. When the round is over, its requester hears how it ended.
    """
    view = _view(connection, round_id)
    if view is None:
        return []
    told = _told(connection, view.asked.case_id)
    effects = [effect for one in told.values() if one.about.round == round_id for effect in _up_to_date(view, one)]
    return effects + _outcome(view, told)


def outdated(connection: Connection, case_ids: Sequence[int] | None = None, now: datetime | None = None) -> list[int]:
    """Return rounds, of some cases or of all, some of whose messages are not true any more or reached nobody.

    :param now: by default this moment; a deputy stands in by the date at the place of who is away.
    """
    now = now or rounds.clock_of(connection)
    places = {person.id: person.today(now) for person in people()}
    return list(
        connection.execute(
            text("""
                with lately as (
                    select id, case_id, number, state, requester,
                           1 + (select count(*) from approval_decisions d
                                where d.round_id = r.id and d.answer = 'answer') as part
                    from approval_rounds r
                    where (state in ('open', 'asked') or closed_at > now() - :back)
                      and (cast(:case_ids as bigint[]) is null or case_id = any(:case_ids))
                ), told as (
                    select distinct on (e.target) r.*, e.system, e.state as sent, e.attempts, e.created_at, e.target,
                           e.operation, e.payload->'about' as about, (e.payload->'about'->>'stage')::int as stage
                    from lately r join effects e on e.case_id = r.case_id and e.step = :step
                                                and (e.payload->'about'->>'round')::bigint = r.id
                    where e.system = 'chat' order by e.target, e.id desc
                )
                select distinct id from told where (about->>'open')::boolean and (
                    sent not in ('sending', 'unknown', 'dead') and (
                        state <> case about->>'kind' when 'ask' then 'open' else 'asked' end
                        or (about->>'part')::int <> part
                        or about->>'kind' = 'ask' and (
                            exists (select from approval_stages s
                                    where s.round_id = told.id and s.number = stage and s.state <> 'open')
                            or exists (select from approval_decisions d join approval_stages s on s.id = d.stage_id
                                       where d.round_id = told.id and s.number = stage
                                         and d.answer in ('approve', 'reject')
                                         and about->>'person' in (d.person, d.seat))))
                    or operation = 'post_message'
                       and (sent = 'dead' or sent = 'failed' and attempts >= :attempts and created_at < now() - :after)
                       and not exists (select from effects mail where mail.case_id = told.case_id and mail.step = :step
                                           and mail.system = 'mail' and mail.target = told.target))
                union
                select r.id from lately r
                join approval_stages s on s.round_id = r.id and s.state = 'open' and s.asked_at is not null
                join approval_seats seat on seat.stage_id = s.id
                join delegations d on d.person = seat.person and d.ended_at is null
                join unnest(cast(:persons as text[]), cast(:todays as date[])) as place(person, today)
                     on place.person = d.person and place.today between d.starts and d.ends
                where r.state = 'open' and d.deputy <> r.requester
                  and not exists (select from effects e where e.case_id = r.case_id and e.step = :step
                                      and e.payload->'about'->>'person' = d.deputy
                                      and (e.payload->'about'->>'round')::bigint = r.id
                                      and (e.payload->'about'->>'part')::int = r.part
                                      and (e.payload->'about'->>'stage')::int = s.number)
                order by 1 limit :limit"""),
            {
                "back": LOOKS_BACK,
                "case_ids": None if case_ids is None else list(case_ids),
                "step": STEP,
                "attempts": SECOND_ROUTE_ATTEMPTS,
                "after": SECOND_ROUTE_AFTER,
                "limit": MOST_ROUNDS,
                "persons": list(places),
                "todays": list(places.values()),
            },
        ).scalars()
    )


def plan_second_route(connection: Connection, round_id: int) -> list[Effect]:
    """Return a mail in place of each message that asks for something and that the chat does not take."""
    view = _view(connection, round_id)
    if view is None:
        return []
    rows = connection.execute(
        text("""
            select target from effects
            where case_id = :case_id and step = :step and system = 'chat' and operation = 'post_message'
              and (state = 'dead' or state = 'failed' and attempts >= :attempts and created_at < now() - :after)
              and (payload->'about'->>'open')::boolean and (payload->'about'->>'round')::bigint = :round_id"""),
        {
            "case_id": view.asked.case_id,
            "step": STEP,
            "attempts": SECOND_ROUTE_ATTEMPTS,
            "after": SECOND_ROUTE_AFTER,
            "round_id": round_id,
        },
    ).scalars()
    told = _told(connection, view.asked.case_id)
    effects = []
    for target in rows:
        about = told[target].about
        person = people().by_id.get(about.person)
        if person is not None and _is_open(view, about):
            effects.append(_mail(view, about, person, _words(view, about)))
    return effects


def link(asked: Standing, task_id: str) -> str:
    """Return where a task of a round's run is answered in Airflow."""
    try:
        dag_id = next(dag_id for dag_id in contract(asked.workflow).dags if dag_id.endswith("_decision"))
    except (KeyError, StopIteration):
        dag_id = asked.workflow
    return wording.link(dag_id, asked.run_id, task_id)


# -- what should be told


def _wanted(view: _View) -> dict[str, _About]:
    """Whom the round waits for now, and about what they are asked."""
    asked, stage = view.asked, view.asked.current
    if stage is None:
        return {}
    if asked.state == "asked":
        return {asked.requester: _About("question", asked.id, view.part, asked.requester, stage.number)}
    if asked.state != "open":
        return {}
    return {person: _About("ask", asked.id, view.part, person, stage.number) for person in view.may_decide}


def _asks(view: _View, told: Mapping[str, _Told]) -> list[Effect]:
    return [effect for about in _wanted(view).values() for effect in _post(view, about, told)]


def _outcome(view: _View, told: Mapping[str, _Told]) -> list[Effect]:
    """What the requester hears of the end; not of one that they brought about, or that another round follows."""
    asked = view.asked
    if asked.state not in ("approved", "rejected", "expired"):
        return []
    last = max((stage.number for stage in asked.stages if _given_in(view, stage.number)), default=1)
    return _post(view, _About("outcome", asked.id, view.part, asked.requester, last), told)


def _post(view: _View, about: _About, told: Mapping[str, _Told]) -> list[Effect]:
    """The message to one person, by the chat or, for who is not on it, by mail."""
    person = people().by_id.get(about.person)
    if person is None:
        return []
    known = told.get(_target(view, about))
    if known is not None:
        return _up_to_date(view, known)
    words = _words(view, about)
    if not person.slack:
        return [_mail(view, about, person, words)]
    payload = {"channel": person.slack, **_content(view, about, words)}
    return [_effect(view, about, "post_message", payload)]


def _up_to_date(view: _View, one: _Told) -> list[Effect]:
    """What makes a message say what is true now: nothing, when it does already or is on its way."""
    content = _content(view, one.about, _words(view, one.about))
    if one.state in ("sending", "unknown", "dead") or content.items() <= dict(one.payload).items():
        return []
    if one.state in ("pending", "failed"):
        payload = {**one.payload, **content}
        return [Effect(one.key, "chat", one.operation, view.asked.case_id, STEP, one.target, payload)]
    payload = {"channel": one.payload["channel"], **content, "posted": dict(one.posted or {})}
    return [_effect(view, one.about, "update_message", payload, suffix=f"/{one.updates + 1}")]


def _mail(view: _View, about: _About, person: Person, words: Words) -> Effect:
    payload = {
        "to": person.email,
        "subject": f"[Waybill] {words.subject}",
        "text": words.mail,
        "html": words.html,
        "headers": {"Auto-Submitted": "auto-generated"},
        "about": {**about.__dict__, "open": _is_open(view, about)},
    }
    return _effect(view, about, "send_mail", payload)


def _content(view: _View, about: _About, words: Words) -> dict[str, Any]:
    return {
        "text": words.text,
        "blocks": words.blocks,
        "about": {**about.__dict__, "open": _is_open(view, about)},
    }


def _effect(view: _View, about: _About, operation: str, payload: Mapping[str, Any], suffix: str = "") -> Effect:
    asked = view.asked
    system = "mail" if operation == "send_mail" else "chat"
    key = f"{asked.workflow}/{asked.case_id}/{STEP}/{operation}/{about.name(asked.number)}{suffix}"
    return Effect(key, system, operation, asked.case_id, STEP, _target(view, about), dict(payload))


def _target(view: _View, about: _About) -> str:
    """What a message is called in a log of all messages; an update goes to the target that was posted."""
    return f"{view.asked.workflow}/{view.asked.case_id}/{about.name(view.asked.number)}"


# -- what it says


def _is_open(view: _View, about: _About) -> bool:
    """Whether the person of a message can still act on it."""
    wanted = _wanted(view).get(about.person)
    return wanted is not None and (wanted.kind, wanted.part, wanted.stage) == (about.kind, about.part, about.stage)


def _words(view: _View, about: _About) -> Words:
    if not _is_open(view, about):
        headline, outcome = _ended(view, about)
        return wording.over(_matter(view, about, said=about.kind == "outcome"), headline, outcome)
    words = wording.question if about.kind == "question" else wording.asked
    return words(_matter(view, about, said=True), view.place(about), reminder=about.reminder > 0)


def _matter(view: _View, about: _About, *, said: bool) -> Matter:
    asked, known = view.asked, people()
    stage = asked.stage(about.stage)
    task = "question" if about.kind == "question" else f"stage_{about.stage}"
    return Matter(
        asked.title,
        known.name(asked.requester),
        asked.shown,
        [_sentence(given) for given in asked.given] if said else [],
        _notes(view, about, stage) if stage is not None and _is_open(view, about) else [],
        link(asked, task),
    )


def _notes(view: _View, about: _About, stage: Stage) -> list[str]:
    """Why a person is asked, with whom, and until when by their own clock."""
    known = people()
    if about.kind == "question":
        return ["Your request waits until you answer."]
    notes = [f"You are asked because {stage.why}."]
    stood_in_for = view.stands_in_for.get(about.person)
    if stood_in_for and about.person not in stage.seats:
        notes = [f"You stand in for {_names(stood_in_for)}, who is asked because {stage.why}."]
    elif about.person in view.escalated:
        notes = [f"It comes to you because nobody decided in time: {stage.why}."]
    if len(view.asked.stages) > 1:
        notes.append(f"Stage {stage.number} of {len(view.asked.stages)}.")
    if stage.needed > 1 or len(stage.seats) > 1:
        notes.append(f"{stage.needed} of {_names(stage.seats)} must approve.")
    person = known.by_id.get(about.person)
    if stage.due is not None and person is not None:
        notes.append(f"Please answer by {stage.due.astimezone(person.calendar.zone):%-d %b %Y, %H:%M %Z}.")
    return notes


def _ended(view: _View, about: _About) -> tuple[str, list[str]]:  # noqa: PLR0911 - one for each end
    """How a message ends: a headline, and by whom and when."""
    asked = view.asked
    questions = [given for given in asked.given if given.answer == "ask"]
    answers = [given for given in asked.given if given.answer == "answer"]
    if about.kind == "question" and about.part <= len(answers):
        return f"You answered: {asked.title}", [_by(answers[about.part - 1])]
    mine = f"Your request {asked.title}" if about.kind != "ask" else asked.title
    given = _given_in(view, about.stage)
    stage = asked.stage(about.stage)
    decided = [each for each in given if each.answer in ("approve", "reject")]
    rejected = [each for each in asked.given if each.answer == "reject"]
    withdrawn = [each for each in asked.given if each.answer == "withdraw"]
    asked_for = about.kind == "ask" and about.part <= len(questions)
    if about.kind == "outcome" and asked.state == "approved":
        return f"Approved: {mine}", [_by(each) for each in asked.given if each.answer == "approve"]
    if asked_for and (about.part < view.part or asked.state == "asked"):
        who = people().name(asked.requester)
        return (
            f"{who} is asked for information: {asked.title}",
            [_by(questions[about.part - 1]), "Once it is answered, it is asked again."],
        )
    if stage is not None and stage.state == "approved" and about.kind == "ask":
        return f"Approved: {mine}", [_by(each) for each in decided]
    if rejected:
        return f"Rejected: {mine}", [_by(each) for each in rejected]
    at = f", {when(view.closed_at)}" if view.closed_at else ""
    if withdrawn:
        return f"Withdrawn: {mine}", [_by(each) for each in withdrawn]
    if asked.state == "expired":
        return f"Nobody decided in time: {mine}", [f"The time ran out{at}. Nothing is approved by that."]
    if asked.state == "void":
        return f"Changed: {mine}", [f"What was asked here no longer counts{at}; who is concerned is asked again."]
    own = [each for each in decided if about.person in (each.person, each.seat)]
    if own:
        return f"Decided: {mine}", [*(_by(each) for each in own), "Others are still asked."]
    return f"No longer asked: {mine}", ["Somebody else decides."]


def _given_in(view: _View, stage: int) -> list[Given]:
    return [given for given in view.asked.given if given.stage == stage]


def _by(given: Given) -> str:
    """An answer as people read it: approved by Maria Keller, 21 Nov 10:31 UTC."""
    known = people()
    did = {"ask": "Asked", "answer": "Answered", "withdraw": "Withdrawn"}.get(given.answer, DID[given.answer].title())
    stood = f" for {known.name(given.seat)}" if given.seat and given.seat != given.person else ""
    said = f": “{given.comment}”" if given.comment else ""
    return f"{did} by {known.name(given.person)}{stood}, {when(given.at)}{said}"


def _sentence(given: Given) -> str:
    return _by(given)


def _names(persons: Sequence[str]) -> str:
    names = [people().name(person) for person in persons]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


# -- what there is


def _view(connection: Connection, round_id: int) -> _View | None:
    asked = asking.standing(connection, round_id)
    if asked is None:
        return None
    row = connection.execute(
        text("""
            select r.digest, r.closed_at,
                   (select count(*) from events e where e.case_id = r.case_id and e.kind = 'approval.reminded'
                        and (e.detail->>'round')::bigint = r.id) as reminders,
                   (select coalesce(array_agg(seat.person), '{}') from approval_seats seat
                        join approval_stages s on s.id = seat.stage_id
                        where s.round_id = r.id and s.state = 'open' and seat.via = 'escalation') as escalated
            from approval_rounds r where r.id = :id"""),
        {"id": round_id},
    ).one()
    now = rounds.clock_of(connection)
    standing = rounds.get(connection, round_id, now)
    may_decide = standing.may_decide if standing is not None and standing.state == "open" else []
    deputies: dict[str, list[str]] = {}
    if standing is not None and may_decide:
        for person, delegations in deputies_now(connection, standing.waits_for, now).items():
            for delegation in delegations:
                deputies.setdefault(delegation.deputy, []).append(person)
    return _View(asked, row.digest, row.closed_at, may_decide, deputies, frozenset(row.escalated), row.reminders)


def _told(connection: Connection, case_id: int) -> dict[str, _Told]:
    """The latest state of each message in the chat, or of the mail in its place, by target."""
    rows = connection.execute(
        text("""
            select key, system, operation, target, state, payload, answer from effects
            where case_id = :case_id and step = :step and payload ? 'about' order by id"""),
        {"case_id": case_id, "step": STEP},
    ).all()
    told: dict[str, _Told] = {}
    for row in rows:
        about = _About(**{name: value for name, value in row.payload["about"].items() if name != "open"})
        known = told.get(row.target)
        if row.system == "mail" and known is None:
            # a mail cannot be taken back or changed, so it says for ever what is true now
            told[row.target] = _Told(about, row.target, row.operation, row.key, "dead", row.payload, None, 0)
        elif row.operation == "post_message":
            told[row.target] = _Told(about, row.target, row.operation, row.key, row.state, row.payload, row.answer, 0)
        elif row.operation == "update_message" and known is not None:
            told[row.target] = _Told(
                about, row.target, row.operation, row.key, row.state, row.payload, known.posted, known.updates + 1
            )
    return told
