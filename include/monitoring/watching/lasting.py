"""Trouble that lasts: raised once for as long as it does, raised again when it is back, resolved when it is over."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import text

from include.monitoring.alerts.messages import Kind
from include.monitoring.alerts.raising import Alerts, Trouble


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
