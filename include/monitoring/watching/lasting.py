"""Trouble that lasts: raised once for as long as it does, raised again when it is back, resolved when it is over."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import text

from include.monitoring.alerts.messages import Kind
from include.monitoring.alerts.raising import Alerts, Trouble

MOST_APART = 3
"""Troubles of one kind that are told each by itself."""
MOST_NAMED = 5
TOGETHER = "many at once"
"""The cause of an alert about more than those."""


@dataclass(frozen=True)
class Looked:
    """What one look came to."""

    raised: int
    recovered: int

    def __add__(self, other: Looked) -> Looked:
        """Both together."""
        return Looked(self.raised + other.raised, self.recovered + other.recovered)


def compare(
    alerts: Alerts, kind: Kind, troubles: Sequence[Trouble], resolution: str, *, unsure: Collection[str] = ()
) -> Looked:
    """Make the open alerts of `kind` those that `troubles` describe: raise what is new, resolve what is over.

    :param unsure: causes of which nobody can say now whether they last; their alerts stay as they are.
    """
    raised = raise_lasting(alerts, troubles)
    with alerts.engine.connect() as connection:
        over = list(
            connection.execute(
                text("""
                    select id from alerts where state = 'open' and kind = :kind and fingerprint <> all(:lasting)
                                            and cause <> all(:unsure)"""),
                {"kind": kind, "lasting": [trouble.fingerprint for trouble in troubles], "unsure": list(unsure)},
            ).scalars()
        )
    return Looked(raised, alerts.recover(resolution=resolution, kinds=[kind], ids=over) if over else 0)


def gather(alerts: Alerts, kind: Kind, troubles: Sequence[Trouble], workflow: str) -> list[Trouble]:
    """Make one trouble of many that are found together, for each by itself would hide the others.

    What is told by itself already stays so. What was told together stays together until nothing of it is left, so that
    there is one recovery; each change of it is counted, and its message says how many are left.

    :param workflow: who is told of many.
    """
    with alerts.engine.connect() as connection:
        told = set(
            connection.execute(
                text("select fingerprint from alerts where state = 'open' and kind = :kind"), {"kind": kind}
            ).scalars()
        )
    apart = [trouble for trouble in troubles if trouble.fingerprint in told]
    names = sorted(trouble.cause for trouble in troubles if trouble.fingerprint not in told)
    which = hashlib.sha256("\n".join(names).encode()).hexdigest()
    facts = {"many": len(names), "names": names[:MOST_NAMED], "page": ""}
    together = Trouble(kind, workflow, which, cause=TOGETHER, facts=facts)
    if not names or (len(troubles) <= MOST_APART and together.fingerprint not in told):
        return list(troubles)
    return [*apart, together]


def raise_lasting(alerts: Alerts, troubles: Sequence[Trouble]) -> int:
    """Raise what is not open yet; return how many are new. What was over and is there again is another occurrence."""
    with alerts.engine.connect() as connection:
        before: dict[str, int] = dict(
            connection.execute(
                text("""
                    select fingerprint, max(id) from alerts where state = 'resolved' and fingerprint = any(:lasting)
                    group by fingerprint"""),
                {"lasting": [trouble.fingerprint for trouble in troubles]},
            )
            .tuples()
            .all()
        )
    again = [
        replace(trouble, occurrence=f"{trouble.occurrence} after {before[trouble.fingerprint]}")
        if trouble.fingerprint in before
        else trouble
        for trouble in troubles
    ]
    return sum(alerts.raise_alert(trouble).new for trouble in again)
