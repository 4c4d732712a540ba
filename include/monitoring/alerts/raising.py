"""Alerts: raised once per trouble, counted while it lasts, told to the owner, and taken back when it heals.

A message is an effect: it is written to the ledger here, and delivered from there. This module sends nothing.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, Engine, RowMapping, text

from include.contracts.model import OnCall
from include.contracts.registry import contract, contract_of_dag, load_teams
from include.environment import base_url, current
from include.integrations import ledger
from include.integrations.systems import Effect, Mode
from include.monitoring.alerts.messages import (
    MOST_REASONS,
    Alert,
    Kind,
    Links,
    Message,
    Names,
    Numbers,
    escalation,
    recovery,
    render,
)
from include.monitoring.alerts.quiet import hush, maintained_until, quiet_in_maintenance, system_of
from include.monitoring.alerts.touched import touched

log = logging.getLogger(__name__)

STEP = "alerts"
"""The step of every effect that is an alert."""
FALLBACK_TEAM = "platform"
"""Who is told about what no contract names."""
REMIND_AFTER = timedelta(hours=4)
"""Trouble that goes on for longer gets a new message: the old one has scrolled away."""
LASTING = (
    Kind.SYSTEM_DOWN,
    Kind.DAG_IMPORT_ERROR,
    Kind.SCHEDULE_MISSED,
    Kind.AIRFLOW_SILENT,
    Kind.INBOX_GROWING,
    Kind.LEDGER_GROWING,
    Kind.CONNECTION_MISSING,
    Kind.CANARY_MISSING,
)
"""What is found once for as long as it lasts, so that no further occurrence brings the new message."""
UPDATE_EVERY = timedelta(seconds=30)
"""Shortest time between two updates of one message; Slack allows about one call a second per channel."""
SECOND_ROUTE_ATTEMPTS = 3
SECOND_ROUTE_AFTER = timedelta(minutes=5)
"""A message that the chat did not take after so many attempts, or in this time, goes by mail as well."""
BY_BOTH_ROUTES = (Kind.CANARY_MISSING,)
"""What puts the chat itself in doubt goes by mail as well, at once."""
ESCALATE_EVERY = timedelta(minutes=15)
"""What gets as late meanwhile is in the next mail: a backlog that turns late case by case is no mail for each."""
NOT_TAKEN = "The chat does not take this alert."
REPOSITORY = Path(__file__).resolve().parents[3]
LONGEST_CAUSE = 200


@dataclass(frozen=True)
class Trouble:
    """Something that went wrong, as the one who noticed it describes it. No personal data in any of it.

    :param cause: what tells this trouble from another at the same step, e.g. the error's type.
    :param occurrence: identity of this one time; reported twice, it counts once.
    :param facts: what the message says beside; `dag_id`, `run_id`, `task_id`, `map_index`, `try_number` make its link.
    """

    kind: Kind
    workflow: str
    occurrence: str
    step: str | None = None
    cause: str = ""
    dag_id: str | None = None
    run_id: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """What is the same trouble: at most one alert is open for it."""
        return "|".join((self.kind, self.workflow, self.step or "", self.cause[:LONGEST_CAUSE]))

    @property
    def run(self) -> str | None:
        """The run it happened in; a run's id alone may be another DAG's too."""
        return f"{self.dag_id}/{self.run_id}" if self.run_id else None


@dataclass(frozen=True)
class Raised:
    """What raising came to: the alert, whether it is new, and whether this occurrence was counted."""

    alert_id: int
    new: bool
    counted: bool


@dataclass(frozen=True)
class Route:
    """Who is told, and where."""

    owner: str
    channel: str
    email: str


def route(workflow: str, step: str | None = None) -> Route:
    """Return who answers for a workflow's step by the contract; the platform team for what has no contract."""
    try:
        team = contract(workflow).answers_for(step)
    except KeyError:
        team = load_teams()[FALLBACK_TEAM]
    return Route(team.id, team.chat, team.email)


def workflow_of(dag_id: str) -> str:
    """Return the workflow that a DAG carries; a DAG that no contract names stands for itself."""
    try:
        return contract_of_dag(dag_id).workflow
    except KeyError:
        return dag_id


def describe(error: object) -> tuple[str, str]:
    """Return an error's type, and the file and line of Waybill's where it arose.

    Its message is left out: what a database or a system says may quote a person's data.
    """
    if not isinstance(error, BaseException):
        return "", ""
    where = ""
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if path.is_relative_to(REPOSITORY) and ".venv" not in path.parts:
            where = f"{path.relative_to(REPOSITORY)}:{frame.lineno}"
    return type(error).__name__[:LONGEST_CAUSE], where


class Explained(Exception):
    """An error that is worded for people and without personal data, so that the alert about it says the same.

    :param reasons: what is wrong, each a whole sentence.
    :param touches: whom it touches, where that is nobody's case.
    """

    def __init__(self, message: str = "", *, reasons: Sequence[str] = (), touches: str = "") -> None:
        super().__init__(message)
        self.reasons = tuple(reasons)
        self.touches = touches


def explain(error: object) -> dict[str, Any]:
    """Return what an error says for people, as facts of an alert; of any other error nothing.

    They are there even when they are empty: those of an earlier failure do not hold for this one.
    """
    reasons = error.reasons if isinstance(error, Explained) else ()
    return {
        "reasons": list(reasons[:MOST_REASONS]),
        "more_reasons": max(0, len(reasons) - MOST_REASONS),
        "touches": error.touches if isinstance(error, Explained) else "",
    }


class Alerts:
    """The alerts of one Waybill.

    :param mode: what this environment does with effects; outside production an alert is captured as any effect is.
    :param address: base URL of the API server, for the links.
    """

    def __init__(self, engine: Engine, *, mode: Mode | None = None, address: str | None = None) -> None:
        self.engine = engine
        self._mode = mode or Mode(current().effect_mode)
        self._links = Links(address or base_url())

    def raise_alert(self, trouble: Trouble) -> Raised:
        """Open an alert and write its message to the ledger, or count one more on the alert that is open."""
        with self.engine.begin() as connection:
            return self.raise_in(connection, trouble)

    def raise_in(self, connection: Connection, trouble: Trouble) -> Raised:
        """Do the same inside the caller's transaction."""
        values = {"fingerprint": trouble.fingerprint, "occurrence": trouble.occurrence}
        connection.execute(
            text("select pg_advisory_xact_lock(hashtextextended(:fingerprint, 0))"),
            {"fingerprint": trouble.fingerprint},
        )
        known = connection.execute(
            text(
                "select alert_id from alert_occurrences where fingerprint = :fingerprint and occurrence = :occurrence"
            ),
            values,
        ).scalar()
        if known is not None:
            return Raised(known, new=False, counted=False)
        told = route(trouble.workflow, trouble.step)
        until = maintained_until(
            connection,
            workflow=trouble.workflow,
            system=system_of(trouble.kind, trouble.cause, trouble.facts),
        )
        row = (
            connection.execute(
                text("""
                    insert into alerts (kind, fingerprint, workflow, step, cause, dag_id, owner, channel, email, facts,
                                        seen_event, quiet, quiet_until, shown)
                    values (:kind, :fingerprint, :workflow, :step, :cause, :dag_id, :owner, :channel, :email,
                            cast(:facts as jsonb) || cast(:quiet as jsonb),
                            (select coalesce(max(id), 0) from events),
                            case when cast(:until as timestamptz) is not null then 'maintenance' end, :until,
                            cast(:until as timestamptz) is null)
                    on conflict (fingerprint) where state = 'open' do update set
                        count = alerts.count + 1, version = alerts.version + 1, last_at = now(),
                        facts = alerts.facts || cast(:facts as jsonb),
                        dag_id = coalesce(excluded.dag_id, alerts.dag_id),
                        seen_event = excluded.seen_event,
                        message = alerts.message
                            + (alerts.quiet is null and alerts.message_at < now() - :remind_after)::int,
                        message_at = case when alerts.quiet is null and alerts.message_at < now() - :remind_after
                                          then now() else alerts.message_at end,
                        update_key = case when alerts.quiet is null and alerts.message_at < now() - :remind_after
                                          then null else alerts.update_key end
                    returning *, (message_at = now() and shown) as posts"""),
                {
                    **values,
                    "kind": trouble.kind,
                    "workflow": trouble.workflow,
                    "step": trouble.step,
                    "cause": trouble.cause[:LONGEST_CAUSE],
                    "dag_id": trouble.dag_id,
                    "owner": told.owner,
                    "channel": told.channel,
                    "email": told.email,
                    "facts": Jsonb(dict(trouble.facts)),
                    "quiet": Jsonb(quiet_in_maintenance(until) if until else {}),
                    "remind_after": REMIND_AFTER,
                    "until": until,
                },
            )
            .mappings()
            .one()
        )
        connection.execute(
            text("""
                insert into alert_occurrences (fingerprint, occurrence, alert_id, run_id)
                values (:fingerprint, :occurrence, :alert_id, :run_id)"""),
            {**values, "alert_id": row["id"], "run_id": trouble.run},
        )
        if row["posts"]:
            alert = _alert(row)
            numbers = touched(connection, alert)
            self._write(connection, [self._post(alert, numbers)])
            self._told(connection, [alert])
        return Raised(row["id"], new=row["count"] == 1, counted=True)

    def reword(self, connection: Connection, alert_id: int) -> None:
        """Word a message that is not sent yet anew, once it is known what the alert is about."""
        row = (
            connection.execute(text("select * from alerts where id = :id and told = version"), {"id": alert_id})
            .mappings()
            .one_or_none()
        )
        if row is not None:
            alert = _alert(row)
            self._write(connection, [self._post(alert, touched(connection, alert))])

    def reported(self, kind: Kind, trouble: Trouble, *, cause: str | None = None) -> bool:
        """Tell whether an alert of `kind`, or one with that cause, counts something of the same run already."""
        with self.engine.connect() as connection:
            return bool(
                connection.execute(
                    text("""
                        select exists (select from alert_occurrences join alerts on alerts.id = alert_id
                                       where alert_occurrences.run_id = :run and kind = :kind
                                         and (cast(:cause as text) is null or cause = :cause))"""),
                    {"run": trouble.run, "kind": kind, "cause": cause},
                ).scalar_one()
            )

    def is_open(self, kind: Kind, workflow: str) -> bool:
        """Tell whether an alert of `kind` is open for a workflow."""
        with self.engine.connect() as connection:
            return bool(
                connection.execute(
                    text("select exists (select from alerts where state = 'open' and kind = :k and workflow = :w)"),
                    {"k": kind, "w": workflow},
                ).scalar_one()
            )

    def recover(
        self,
        *,
        resolution: str,
        kinds: Sequence[Kind],
        workflow: str | None = None,
        step: str | None = None,
        dag_id: str | None = None,
        ids: Sequence[int] | None = None,
    ) -> int:
        """Resolve the open alerts that match; `publish` tells those who were told of the trouble.

        :param resolution: how it healed, in words that end a sentence.
        :returns: how many were open.
        """
        with self.engine.begin() as connection:
            return connection.execute(
                text("""
                    update alerts set state = 'resolved', resolved_at = now(), resolution = :resolution,
                                      version = version + 1, quiet = null, quiet_until = null
                    where state = 'open' and kind = any(:kinds)
                      and (cast(:workflow as text) is null or workflow = :workflow)
                      and (cast(:step as text) is null or step = :step)
                      and (cast(:dag_id as text) is null or dag_id = :dag_id)
                      and (cast(:ids as bigint[]) is null or id = any(:ids))"""),
                {
                    "resolution": resolution,
                    "kinds": list(kinds),
                    "workflow": workflow,
                    "step": step,
                    "dag_id": dag_id,
                    "ids": None if ids is None else list(ids),
                },
            ).rowcount

    def publish(self) -> int:
        """Bring the ledger up to the alerts that changed since: counts into the messages, recoveries, once each.

        A message that is not sent yet takes the newer content; one that was sent gets an update, one at a time, so
        that an older update which is late cannot overwrite a newer one.

        :returns: how many effects were written.
        """
        with self.engine.begin() as connection:
            rows = (
                connection.execute(
                    text("""
                        select a.*, post.state as post_state, post.answer as post_answer,
                               (post.payload->>'count')::int as post_count,
                               a.updated_at > now() - :update_every as updated_lately,
                               a.facts->'escalated' is not null
                                   or exists (select from effects mail where mail.key =
                                       a.workflow || '/alert/' || a.id || '/' || a.message || '/send_mail') as mailed
                        from alerts a
                        join effects post on post.key = a.workflow || '/alert/' || a.id || '/' || a.message
                                                        || '/post_message'
                        where a.told < a.version and (a.quiet is null or a.quiet = 'acknowledged')
                        order by a.id for update of a, post skip locked"""),
                    {"update_every": UPDATE_EVERY},
                )
                .mappings()
                .all()
            )
            effects: list[Effect] = []
            told: list[Alert] = []
            for row in rows:
                alert = _alert(row)
                planned = self._changes(connection, alert, row)
                if planned is not None:
                    effects += planned
                    told.append(alert)
            written = self._write(connection, effects)
            self._told(connection, told)
        return written

    def _changes(self, connection: Connection, alert: Alert, row: RowMapping) -> list[Effect] | None:
        """The effects that tell what is new about an alert; None when it has to wait."""
        resolved, state = alert.state == "resolved", row["post_state"]
        if state == "dead":
            return self._mail_recovery(connection, alert) if resolved and row["mailed"] else []
        if state == "pending" or (state == "failed" and resolved):
            numbers = touched(connection, alert)
            effects = [self._post(alert, numbers)]
            return effects + (self._mail_recovery(connection, alert) if resolved and row["mailed"] else [])
        if state != "sent":
            return None
        former = connection.execute(
            text("select state, (payload->>'count')::int from effects where key = :key for update"),
            {"key": row["update_key"]},
        ).one_or_none()
        if (former and former[0] in ("sending", "failed", "unknown")) or (row["updated_lately"] and not resolved):
            return None
        replaces = former is not None and former[0] == "pending"
        key = row["update_key"] if replaces else f"{_prefix(alert)}/update_message/{alert.version}"
        numbers = touched(connection, alert)
        shown = former[1] if former else row["post_count"]
        effects = [self._update(alert, numbers, key, row["post_answer"] or {}, shown)]
        if resolved:
            if alert.kind != Kind.CANARY:  # nobody needs to be called back to a test
                effects.append(self._recovered(alert, numbers))
            if row["mailed"]:
                effects += self._mail_recovery(connection, alert)
        return effects

    def speak_again(self) -> int:
        """Tell anew what was quiet until now and still lasts; return how many those are."""
        with self.engine.begin() as connection:
            hush(connection)
            return self._tell_anew(
                connection,
                """
                    update alerts set quiet = null, quiet_until = null, message = message + shown::int,
                        shown = true, message_at = now(), update_key = null, version = version + 1,
                        facts = jsonb_set(facts, '{quiet,over}', 'true')
                    where state = 'open' and quiet_until <= now() returning *""",
            )

    def remind(self) -> int:
        """Tell anew what lasts for longer than `REMIND_AFTER` and nobody has quieted; return how many those are."""
        with self.engine.begin() as connection:
            return self._tell_anew(
                connection,
                """
                    update alerts set message = message + 1, message_at = now(), update_key = null,
                        version = version + 1
                    where state = 'open' and quiet is null and kind = any(:lasting)
                      and message_at < now() - :remind_after returning *""",
                {"lasting": list(LASTING), "remind_after": REMIND_AFTER},
            )

    def second_route(self) -> int:
        """Write a mail, once per message, for each open alert that the chat does not take, or cannot be trusted with.

        :returns: how many mails were written.
        """
        with self.engine.begin() as connection:
            rows = (
                connection.execute(
                    text("""
                        select a.* from alerts a
                        join effects post on post.key = a.workflow || '/alert/' || a.id || '/' || a.message
                                                        || '/post_message'
                        where a.state = 'open' and a.quiet is null and post.system = 'chat'
                          and (a.kind = any(:at_once) or post.state = 'dead' or (post.state <> 'sent' and
                               (post.attempts >= :attempts or a.message_at < now() - :after)))
                          and not exists (select from effects mail where mail.key =
                              a.workflow || '/alert/' || a.id || '/' || a.message || '/send_mail')
                        order by a.id for update of a skip locked"""),
                    {
                        "attempts": SECOND_ROUTE_ATTEMPTS,
                        "after": SECOND_ROUTE_AFTER,
                        "at_once": list(BY_BOTH_ROUTES),
                    },
                )
                .mappings()
                .all()
            )
            effects = []
            for row in rows:
                alert = _alert(row)
                message = render(alert, touched(connection, alert), _names(alert), self._links)
                note = "The chat may not show this alert." if alert.kind in BY_BOTH_ROUTES else NOT_TAKEN
                effects.append(_mail(alert, message, f"{_prefix(alert)}/send_mail", note))
            return self._write(connection, effects)

    def escalate(self, connection: Connection, alert_id: int) -> bool:
        """Tell the next in line about an open alert: its channel, its team by mail, and the pager if that takes mail.

        :returns: false, and nothing is told, while the alert is quiet, or was escalated in the last `ESCALATE_EVERY`.
        """
        row = (
            connection.execute(
                text("""
                    update alerts set facts = facts || jsonb_build_object('escalated', jsonb_build_object(
                        'at', now(), 'times', coalesce((facts->'escalated'->>'times')::int, 0) + 1))
                    where id = :id and state = 'open' and quiet is null
                      and coalesce((facts->'escalated'->>'at')::timestamptz < now() - :every, true)
                    returning *"""),
                {"id": alert_id, "every": ESCALATE_EVERY},
            )
            .mappings()
            .one_or_none()
        )
        if row is None:
            return False
        alert, on_call = _alert(row), next_in_line(row["workflow"], row["step"])
        note = f"Escalated, for nobody has ended this. Next in line is {on_call.name}, {on_call.reach}."
        numbers, names = touched(connection, alert), _names(alert)
        message = render(alert, numbers, names, self._links)
        prefix = f"{_prefix(alert)}/escalated/{alert.facts['escalated']['times']}"
        effects = [
            _chat(
                alert,
                escalation(alert, numbers, names, self._links, note),
                operation="post_message",
                key=f"{prefix}/post_message",
                target=f"{_target(alert)}/escalated",
            ),
            _mail(alert, message, f"{prefix}/send_mail", note),
        ]
        if pager := _pager(alert):
            effects.append(_mail(replace(alert, email=pager), message, f"{prefix}/pager/send_mail", note))
        self._write(connection, effects)
        return True

    def problem(self, part: str, error: BaseException, detail: Mapping[str, Any] | None = None) -> None:
        """Count a failure of the alerts themselves, where people look; never raises."""
        kind, where = describe(error)
        log.error("%s failed: %s at %s", part, kind, where or "an unknown place")
        try:
            with self.engine.begin() as connection:
                connection.execute(
                    text("insert into alert_problems (part, error, detail) values (:part, :error, :detail)"),
                    {
                        "part": part,
                        "error": f"{kind} at {where}" if where else kind,
                        "detail": Jsonb(dict(detail or {})),
                    },
                )
        except Exception as second:
            log.error("and it could not be counted: %s", type(second).__name__)

    def _write(self, connection: Connection, effects: Sequence[Effect]) -> int:
        return ledger.write(connection, effects, self._mode) if effects else 0

    def _tell_anew(self, connection: Connection, update: str, values: Mapping[str, Any] | None = None) -> int:
        """Post the alerts that `update` gives a new message, and returns."""
        alerts = [_alert(row) for row in connection.execute(text(update), values or {}).mappings().all()]
        self._write(connection, [self._post(alert, touched(connection, alert)) for alert in alerts])
        self._told(connection, alerts)
        return len(alerts)

    def _told(self, connection: Connection, alerts: Sequence[Alert]) -> None:
        if alerts:
            connection.execute(
                text("""
                    update alerts set told = v.version, updated_at = now(),
                        update_key = coalesce((
                            select key from effects where key = workflow || '/alert/' || alerts.id || '/' || message
                                                                || '/update_message/' || v.version), update_key),
                        message_ref = coalesce((
                            select answer from effects where key = workflow || '/alert/' || alerts.id || '/' || message
                                                                   || '/post_message'), message_ref)
                    from unnest(cast(:ids as bigint[]), cast(:versions as integer[])) as v(id, version)
                    where alerts.id = v.id"""),
                {"ids": [alert.id for alert in alerts], "versions": [alert.version for alert in alerts]},
            )

    def _post(self, alert: Alert, numbers: Numbers) -> Effect:
        message = render(alert, numbers, _names(alert), self._links)
        return _chat(
            alert, message, operation="post_message", key=f"{_prefix(alert)}/post_message", target=_target(alert)
        )

    def _update(self, alert: Alert, numbers: Numbers, key: str, posted: Mapping[str, Any], shown: int | None) -> Effect:
        """`milestone` marks a tenfold count: a chat that cannot edit posts again for those only."""
        message = render(alert, numbers, _names(alert), self._links)
        extra = {"posted": dict(posted), "milestone": len(str(alert.count)) > len(str(shown or 1))}
        return _chat(alert, message, operation="update_message", key=key, target=_target(alert), extra=extra)

    def _recovered(self, alert: Alert, numbers: Numbers) -> Effect:
        message = recovery(alert, numbers, _names(alert), self._links)
        key = f"{_prefix(alert)}/recovered/post_message"
        return _chat(alert, message, operation="post_message", key=key, target=f"{_target(alert)}/recovered")

    def _mail_recovery(self, connection: Connection, alert: Alert) -> list[Effect]:
        message = recovery(alert, touched(connection, alert), _names(alert), self._links)
        mails = [_mail(alert, message, f"{_prefix(alert)}/recovered/send_mail", "")]
        if "escalated" in alert.facts and (pager := _pager(alert)):
            key = f"{_prefix(alert)}/recovered/pager/send_mail"
            mails.append(_mail(replace(alert, email=pager), message, key, ""))
        return mails


def _alert(row: RowMapping) -> Alert:
    return Alert(**{name: row[name] for name in Alert.__dataclass_fields__})


def next_in_line(workflow: str, step: str | None) -> OnCall:
    """Return who is told when nobody acts."""
    return load_teams()[route(workflow, step).owner].on_call


def _pager(alert: Alert) -> str | None:
    """The address at which the next in line is reached, where that is by mail."""
    reach = next_in_line(alert.workflow, alert.step).reach
    return reach if "@" in reach else None


def _names(alert: Alert) -> Names:
    try:
        declared = contract(alert.workflow)
    except KeyError:
        return Names(alert.workflow, alert.step)
    titles = {step.id: step.title for step in declared.steps}
    return Names(declared.title, titles.get(alert.step or "", alert.step))


def _prefix(alert: Alert) -> str:
    return f"{alert.workflow}/alert/{alert.id}/{alert.message}"


def _target(alert: Alert) -> str:
    return f"alert/{alert.id}/{alert.message}"


def _chat(
    alert: Alert, message: Message, *, operation: str, key: str, target: str, extra: Mapping[str, Any] | None = None
) -> Effect:
    payload = {"channel": alert.channel, "text": message.text, "blocks": message.blocks, "count": alert.count}
    return Effect(key, "chat", operation, None, STEP, target, payload | dict(extra or {}))


def _mail(alert: Alert, message: Message, key: str, note: str) -> Effect:
    payload = {
        "to": alert.email,
        "subject": f"[Waybill] {message.subject}",
        "text": "\n\n".join(part for part in (note, message.text) if part),
        "html": (f"<p>{note}</p>" if note else "") + message.html,
        "headers": {"Auto-Submitted": "auto-generated"},
    }
    return Effect(key, "mail", "send_mail", None, STEP, alert.email, payload)
