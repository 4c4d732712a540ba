"""Whether the alerts themselves are well: somebody looks, what is found can leave, and does.

An alert about the business is no illness here; it is what the alerts are for.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from include.environment import current
from include.integrations.ledger import WITHDRAWN
from include.monitoring.alerts.messages import Kind
from include.monitoring.alerts.raising import STEP
from include.monitoring.watching import signs
from include.monitoring.watching.watch import silent_after

ILLNESSES = (Kind.AIRFLOW_SILENT, Kind.CONNECTION_MISSING, Kind.CANARY_MISSING)
"""Open alerts of these kinds say that alerts may not arrive."""
UNTOLD_AFTER = timedelta(minutes=15)
"""An alert that neither chat nor mail took for so long is untold; so is a mail, for an escalation goes by no other."""
STUMBLED_WITHIN = timedelta(hours=1)
"""The alerts themselves failed lately, so that something may not have been told."""
NO_ALERT = "metrics"
"""The part of `alert_problems` that tells nothing to anybody when it works."""


def unwell(connection: Connection, *, since: datetime | None = None) -> list[str]:
    """Return what is wrong with the alerts, as sentences; nothing when they are well.

    :param since: when Waybill was started, if it was lately; nobody could look before.
    """
    found = []
    here = current()
    if here.name == "production" and here.effect_mode != "live":
        found.append(f"This production sends nothing: WAYBILL_EFFECT_MODE is {here.effect_mode}.")
    look = signs.silent(connection, [signs.LOOK], 2 * silent_after(), watched_since=since)
    if look:
        found.append(f"No task has looked for trouble since {look[signs.LOOK]:%Y-%m-%d %H:%M} UTC.")
    open_now = connection.execute(
        text("select kind, cause from alerts where state = 'open' and kind = any(:kinds) order by id"),
        {"kinds": list(ILLNESSES)},
    )
    found += [
        f"{kind.replace('_', ' ').capitalize()}: {cause or 'see the page of alerts'}." for kind, cause in open_now
    ]
    untold = connection.execute(
        text("""
            select count(*) from alerts a
            join effects post on post.key = a.workflow || '/alert/' || a.id || '/' || a.message || '/post_message'
            where a.state = 'open' and post.state <> 'sent' and a.message_at < now() - :after
              and not exists (select from effects mail where mail.state = 'sent' and mail.key =
                  a.workflow || '/alert/' || a.id || '/' || a.message || '/send_mail')"""),
        {"after": UNTOLD_AFTER},
    ).scalar_one()
    if untold:
        found.append(f"{untold} alerts could be told neither by chat nor by mail.")
    unsent = connection.execute(
        text("""
            select count(*) from effects
            where system = 'mail' and step = :alerts and created_at < now() - :after
              and (state in ('pending', 'failed') or state in ('sending', 'unknown')
                   or (state = 'dead' and not starts_with(error, :withdrawn)))"""),
        {"alerts": STEP, "after": UNTOLD_AFTER, "withdrawn": WITHDRAWN},
    ).scalar_one()
    if unsent:
        found.append(f"{unsent} mails about alerts were not sent: see the page of effects, system mail.")
    stumbled = connection.execute(
        text("select count(*) from alert_problems where at > now() - :within and part <> :no_alert"),
        {"within": STUMBLED_WITHIN, "no_alert": NO_ALERT},
    ).scalar_one()
    if stumbled:
        found.append(f"In the last hour the alerts themselves failed, times: {stumbled}.")
    return found
