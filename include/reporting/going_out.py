"""What goes out of an edition, as effects: messages, plots, mails, files, rows, spreadsheets, a webhook.

Messages, mails and webhooks have the figures' digest in their key, so nobody gets the same figures of an interval
twice; those that come back after others are told again, for who was told others must not keep them. Files, rows and
spreadsheets have the revision as well: what lies there is always the newest. A preview says everywhere that it is one,
has files of its own, and goes to people only: programs get what is final.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterator, Sequence
from html import escape
from typing import Any

from sqlalchemy import Engine, text

from include.environment import base_url
from include.integrations import ledger
from include.integrations.systems import Effect, Provider
from include.reporting.catalogue import REPORTS, Readers, readers
from include.reporting.editions import WORKFLOW, Edition
from include.reporting.intervals import Interval
from include.reporting.model import Report, shown

CHAT, MAIL, FILES = "tell_by_chat", "tell_by_mail", "write_files"
WAREHOUSE, SHEETS, WEBHOOK = "load_warehouse", "fill_sheets", "call_webhook"
"""The steps that deliver, each with its system."""
SYSTEMS = {
    CHAT: "chat", MAIL: "mail", FILES: "reporting", WAREHOUSE: "warehouse", SHEETS: "sheets", WEBHOOK: "webhook",
}  # fmt: skip
IF_CONNECTED = (WAREHOUSE, SHEETS, WEBHOOK)
"""The steps of which nothing is planned unless somebody connected their systems."""
KEY_DIGITS = 16
"""Of the digest, in keys: two editions of one interval that share them do not happen."""


def plan(edition: Edition, interval: Interval, connected: Collection[str] = ()) -> list[Effect]:
    """Return what goes out of a published edition.

    :param connected: those of the steps `IF_CONNECTED` whose systems are connected for its report.
    """
    report = REPORTS[edition.report]
    to: Readers = readers()[edition.report]
    same = _told(edition)
    effects = _digests(report, edition, interval, same) if to.chat else []
    if to.mail:
        mail = _mail(report, edition, interval)
        effects += [_effect(MAIL, "send_mail", same, team.id, {**mail, "to": team.email}) for team in to.mail]
    return [*effects, *to_programs(edition, interval, connected)]


def to_programs(edition: Edition, interval: Interval, connected: Collection[str] = ()) -> list[Effect]:
    """Return what goes out of a published edition to other than people; see `plan`."""
    connected = () if edition.preview else connected
    newest = f"{_figures(edition)}/{edition.revision}"
    effects = [_effect(FILES, "write_files", newest, "folder", {"edition": edition.id})]
    if WAREHOUSE in connected:
        effects.append(_effect(WAREHOUSE, "write_rows", newest, "warehouse", {"edition": edition.id}))
    if SHEETS in connected:
        effects.append(_effect(SHEETS, "write_sheets", newest, "sheets", {"edition": edition.id}))
    if WEBHOOK in connected:
        called = _call(REPORTS[edition.report], edition, interval)
        effects.append(_effect(WEBHOOK, "call_webhook", _told(edition), "webhook", called))
    return effects


def _figures(edition: Edition) -> str:
    """Return what the keys have in common of all that is about the same figures of an interval."""
    return f"{edition.place}/{edition.digest[:KEY_DIGITS]}"


def _told(edition: Edition) -> str:
    """Return what the keys have in common of all that tells these figures; no number where they are told first."""
    return _figures(edition) + (f"/again-{edition.returns}" if edition.returns else "")


def deliver(engine: Engine, provider: Provider, step: str) -> int:
    """Deliver what is due of a step; returns how much its system has not taken yet, but for what another task sends."""
    ledger.deliver(engine, provider, system=SYSTEMS[step], scope=ledger.Scope(step=step))
    with engine.connect() as connection:
        return int(
            connection.execute(
                text("""
                    select count(*) from effects where system = :system and step = :step and case_id is null
                       and state not in ('sent', 'dead') and not (state = 'sending' and lease_until > now())"""),
                {"system": SYSTEMS[step], "step": step},
            ).scalar_one()
        )


def link(edition: Edition) -> str:
    """Return the address of an edition's page."""
    return f"{base_url()}/waybill/reports/{edition.id}"


def _effect(step: str, operation: str, place: str, target: str, payload: dict[str, Any]) -> Effect:
    target = f"{place}/{target}"
    return Effect(f"{WORKFLOW}/{target}/{operation}", SYSTEMS[step], operation, None, step, target, payload)


def _headline(report: Report, edition: Edition, interval: Interval) -> str:
    if edition.preview:
        return f"Preview: {report.title}, {interval}"
    again = ", put right" if edition.corrects else ""
    return f"{report.title}, {interval}{again}"


def _lines(report: Report, edition: Edition) -> list[tuple[str, str]]:
    totals = report.figures[0]
    return [
        (column.title, shown(column, value))
        for column, value in zip(totals.columns, edition.tables["totals"][0], strict=True)
    ]


def _digests(report: Report, edition: Edition, interval: Interval, place: str) -> list[Effect]:
    """For each team a message, and the first plot as a reply to it: two effects, so that one needs not the other."""
    from include.reporting.charts import first  # noqa: PLC0415 - plots are heavy, and most who import this draw none

    effects = []
    drawn = first(report, edition.tables)
    for team in readers()[report.name].chat:
        message = _effect(CHAT, "post_message", place, team.id, _message(report, edition, interval, team.notices))
        effects.append(message)
        if drawn:
            title, picture = drawn
            shown_there = {
                "channel": team.notices,
                "text": f"{_headline(report, edition, interval)}: {title}",
                "filename": f"{edition.place.replace('/', '-')}.png",
                "picture": base64.b64encode(picture).decode(),
                "reply_to": message.key,
            }
            effects.append(_effect(CHAT, "post_picture", place, f"{team.id}/plot", shown_there))
    return effects


def _message(report: Report, edition: Edition, interval: Interval, channel: str) -> dict[str, Any]:
    from include.reporting.charts import blocks  # noqa: PLC0415 - as above

    headline = _headline(report, edition, interval)
    lines = [
        f"*{_marked(headline)}*",
        *(f"• {_marked(title)}: {_marked(value)}" for title, value in _lines(report, edition)),
    ]
    for figure in report.figures:
        if drawn := blocks(figure, edition.tables[figure.name]):
            lines.append(f"`{drawn}` {_marked(figure.columns[1].title)} by day")
    lines.append(f"<{link(edition)}|Tables and plots>")
    block = {"type": "section", "text": {"type": "mrkdwn", "text": "\n".join(lines)}}
    return {"channel": channel, "text": headline, "blocks": [block]}


def _mail(report: Report, edition: Edition, interval: Interval) -> dict[str, Any]:
    from include.reporting.documents import DOCUMENTS  # noqa: PLC0415 - as above

    documents = [DOCUMENTS[kind] for kind in readers()[report.name].attach]
    headline = _headline(report, edition, interval)
    lines = _lines(report, edition)
    rows = "".join(f"<tr><td>{escape(title)}</td><td>{escape(value)}</td></tr>" for title, value in lines)
    return {
        "subject": headline,
        "text": "\n".join([headline, "", *(f"{title}: {value}" for title, value in lines), "", link(edition)]) + "\n",
        "html": f"<h3>{escape(headline)}</h3><table>{rows}</table>"
        f'<p><a href="{escape(link(edition))}">Tables and plots</a></p>',
        "headers": {"Auto-Submitted": "auto-generated"},
        "attachments": [
            {
                "filename": each.filename(edition),
                "content_type": each.content_type,
                "base64": base64.b64encode(each.content(report, edition, interval)).decode(),
            }
            for each in documents
        ],
    }


def _call(report: Report, edition: Edition, interval: Interval) -> dict[str, Any]:
    return {
        "type": "report.published",
        "timestamp": edition.written_at.isoformat(),
        "data": {
            "report": edition.report,
            "period": edition.period,
            "since": interval.since.isoformat(),
            "until": interval.until.isoformat(),
            "revision": edition.revision,
            "digest": edition.digest,
            "link": link(edition),
            "figures": {
                figure.name: list(_named(figure.columns, edition.tables[figure.name])) for figure in report.figures
            },
        },
    }


def _named(columns: Sequence[Any], rows: Sequence[Sequence[Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield {column.name: value for column, value in zip(columns, row, strict=True)}


def _marked(line: str) -> str:
    """Nothing that somebody wrote may call a channel or draw a link."""
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
