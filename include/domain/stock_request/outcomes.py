"""What became of the lines of an imported file: for each line that was not posted its reason, by its line in the file.

Only looks; the verdicts are those of the steps. Ask again later for what is still under way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from include.data.exports import write_csv

COLUMNS = ("line", "document", "item", "quantity", "verdict", "reason", "case")
UNDER_WAY = "under way"
POSTED = "posted"

# What a request as a whole waits for, or is set aside for, is what its lines wait for.
_LINES = """
    with cases_of_file as (
        select c.id, c.state, c.stage, c.reasons->0->>'code' as code, c.outcome, substr(d.key, 4) as document
        from deliveries d join cases c on c.delivery_id = d.id
        where d.source = :source and d.key = any(:keys)
    )
    select l.line, f.document, l.item, l.sent_quantity, f.id,
           coalesce(l.verdict, case f.state when 'quarantined' then 'set aside' when 'rejected' then 'rejected'
                                            when 'waiting' then 'waiting' else 'under way' end) as verdict,
           coalesce(l.reason, f.code, case when f.state = 'waiting' then f.stage else f.outcome end) as reason
    from cases_of_file f left join stock_request_lines l on l.case_id = f.id
    order by l.line, f.id"""


@dataclass
class Outcomes:
    """What became of the lines of a file.

    :param verdicts: lines by verdict; documents that nothing was read of yet count as one line under way.
    :param reasons: lines that were not posted by verdict and reason.
    :param path: the file that names each line that was not posted.
    """

    path: Path
    verdicts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def under_way(self) -> int:
        """How many lines nothing is decided about."""
        return self.verdicts[UNDER_WAY]


def write_outcomes(connection: Connection, source: str, keys: Collection[str], target: Path) -> Outcomes:
    """Write a CSV of the lines of some deliveries that were not posted, with their reasons, and count all of them.

    :param keys: of the deliveries, as `include.intake.imports.keys_of` returns them for a file.
    """
    outcomes = Outcomes(target)
    write_csv(target, COLUMNS, _not_posted(connection, source, keys, outcomes))
    return outcomes


def _not_posted(
    connection: Connection, source: str, keys: Collection[str], outcomes: Outcomes
) -> Iterator[tuple[Any, ...]]:
    found = connection.execution_options(yield_per=5_000).execute(
        text(_LINES), {"source": source, "keys": sorted(keys)}
    )
    for row in found:
        outcomes.verdicts[row.verdict] += 1
        if row.verdict in (POSTED, UNDER_WAY):
            continue
        outcomes.reasons[row.verdict, row.reason or ""] += 1
        quantity = None if row.sent_quantity is None else f"{row.sent_quantity.normalize():f}"
        yield row.line, row.document, row.item, quantity, row.verdict, row.reason, row.id
