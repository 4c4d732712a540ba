"""The step `validate`: sets requests aside that cannot be posted, each with its reasons; parts the lines of feeds.

The rules are in `expectations`. Of a feed only the faulty lines stop: they are rejected where nobody can do anything,
else held as a case of their own, in which a person corrects them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from sqlalchemy import Connection, text

from include.cases import store
from include.cases.model import Reason, StepResult, Work
from include.data.frames import read_frame
from include.data.validation import documents
from include.data.validation.runner import check
from include.domain.stock_request.expectations import (
    LINE_FAULTS,
    LINE_RULES,
    OVERFULL,
    REQUESTS,
    bound,
    observed,
    request_suite,
)
from include.domain.stock_request.feeds import feed
from include.domain.stock_request.kinds import kinds
from include.domain.stock_request.read_request import posted
from include.domain.stock_request.reading import numbered
from include.intake.handoffs import Handoff, hand_over
from include.intake.received import received

HELD_SOURCE = "stock-held"
PARTED = "feed parted"
"""Event: how many lines of a feed were rejected and held, by reason."""
FINAL = frozenset({"line.unreadable", "item.missing", "quantity.missing", "quantity.zero"})
"""Faults of a feed's line that nobody can put right."""
_WEIGHT = {rule.code: weight for weight, rule in enumerate(LINE_RULES)}
_MARK = """
    update stock_request_lines l set verdict = v.verdict, reason = v.reason
    from unnest(cast(:cases as bigint[]), cast(:lines as integer[]), cast(:verdicts as text[]),
                cast(:reasons as text[])) as v(case_id, line, verdict, reason)
    where l.case_id = v.case_id and l.line = v.line"""


def validate(work: Work) -> StepResult:
    """Check the requests of a batch; what is posted already is not judged again."""
    connection = work.connection
    ids = sorted(set(work.case_ids) - posted(connection, work.case_ids))
    requests = read_frame(connection, REQUESTS, {"ids": ids})
    reasons = {case_id: [_not_read()] for case_id in set(ids) - set(requests["case_id"].tolist())}
    if requests.empty:
        return StepResult(quarantine=reasons)
    faults = [dict(row) for row in connection.execute(text(LINE_FAULTS), {"ids": ids, **bound()}).mappings()]
    frame = observed(requests, (fault for fault in faults if not fault["feed"]), _overfull(connection, ids))
    checked = check(frame, request_suite, "case_id")
    documents.offer(checked.outcome, run_id=work.run_id)
    parted = [fault for fault in faults if fault["feed"] and fault["case_id"] not in checked.failures]
    _part(work, requests, parted)
    return StepResult(quarantine=checked.failures | reasons)


def preload() -> None:
    """Pay for imports, the suite and page templates once, in the process whose children run this step."""
    nobody = dict.fromkeys(
        ("kind", "requester", "origin", "destination", "reason", "reference", "source", "origin_kind", "origin_active"),
    ) | dict.fromkeys(("destination_kind", "destination_active", "transfer_state", "transfer_destination"))
    frame = observed(pd.DataFrame([{"case_id": 0, "feed": False, **nobody}], dtype=object), [], {})
    checked = check(frame, request_suite, "case_id")
    if checked.outcome is not None:
        documents.rendered(checked.outcome)


def _overfull(connection: Connection, ids: Sequence[int]) -> dict[int, str]:
    rows = connection.execute(text(OVERFULL), {"ids": list(ids)})
    return {
        row.case_id: f"{row.volume.normalize():f} m³ come to {row.code}, where {row.there.normalize():f} of"
        f" {row.capacity.normalize():f} are full"
        for row in rows
    }


def _part(work: Work, requests: pd.DataFrame, faults: Iterable[Mapping[str, Any]]) -> None:
    """Reject or hold the faulty lines of feeds, for the weightiest fault of each."""
    of_line: dict[tuple[int, int], tuple[str, str | None]] = {}
    for fault in sorted(faults, key=lambda fault: _WEIGHT.get(fault["code"], -1)):
        of_line.setdefault((fault["case_id"], fault["line"]), (fault["code"], fault["item"]))
    if not of_line:
        return
    sources = dict(zip(requests["case_id"], requests["source"], strict=True))
    verdicts = {
        place: "rejected" if _is_final(code, sources[place[0]]) else "held" for place, (code, _) in of_line.items()
    }
    work.connection.execute(
        text(_MARK),
        {
            "cases": [case_id for case_id, _ in of_line],
            "lines": [line for _, line in of_line],
            "verdicts": list(verdicts.values()),
            "reasons": [code for code, _ in of_line.values()],
        },
    )
    counts: dict[int, dict[str, dict[str, int]]] = defaultdict(lambda: {"rejected": {}, "held": {}})
    held: dict[int, dict[tuple[str, str | None], list[int]]] = defaultdict(lambda: defaultdict(list))
    for (case_id, line), found in sorted(of_line.items()):
        tally = counts[case_id][verdicts[case_id, line]]
        tally[found[0]] = tally.get(found[0], 0) + 1
        if verdicts[case_id, line] == "held":
            held[case_id][found].append(line)
    store.record_each(work.connection, PARTED, counts)
    _hold(work, held)


def _is_final(code: str, source: str | None) -> bool:
    taken_as = feed(source)
    return code in FINAL or (code == "item.unknown" and taken_as is not None and taken_as.unknown_items == "reject")


def _hold(work: Work, held: Mapping[int, Mapping[tuple[str, str | None], Sequence[int]]]) -> None:
    """Hand lines over as cases of their own, as they were sent: one for each fault of each item."""
    if not held:
        return
    ids = list(held)
    requests = {
        row["case_id"]: row
        for row in work.connection.execute(
            text("select * from stock_requests where case_id = any(:ids)"), {"ids": ids}
        ).mappings()
    }
    read = {
        (row.case_id, row.line): row
        for row in work.connection.execute(
            text("""
                select case_id, line, item, sent_quantity, occurred_at from stock_request_lines
                where case_id = any(:ids) and verdict = 'held'"""),
            {"ids": ids},
        )
    }
    handoffs = []
    for delivery in received(replace(work, case_ids=ids)):
        entries, request = dict(numbered(delivery.corrected["lines"])), requests[delivery.case_id]
        for (code, item), numbers in held[delivery.case_id].items():
            lines = [(entries[number], read[delivery.case_id, number]) for number in numbers]
            for below, kind in ((False, request["kind"]), (True, _when_below(request["kind"]))):
                sent = [_as_sent(*line, kind) for line in lines if _is_below(line[1]) is below]
                if not sent:
                    continue
                document = {
                    "kind": kind,
                    "from": request["origin"] if kinds()[kind].source == "internal" else None,
                    "to": request["destination"] if kinds()[kind].destination == "internal" else None,
                    "reason": request["reason"] or f"Reported by {request['source']}",
                    "reference": request["reference"],
                    "occurred_at": request["occurred_at"].isoformat(),
                    "lines": sent,
                }
                key = f"{delivery.case_id}/{code}/{(item or '')[:100]}{'/below' if below else ''}"
                handoffs.append(Handoff(key, document, delivery.case_id))
    hand_over(work.connection, HELD_SOURCE, handoffs)


def _is_below(line: Any) -> bool:
    return line.sent_quantity is not None and line.sent_quantity < 0


def _when_below(kind: str) -> str:
    """The kind that a quantity below zero has where it is not in a feed any more."""
    return "adjustment" if kinds()[kind].takes and not kinds()[kind].signed else kind


def _as_sent(entry: Mapping[str, Any], line: Any, kind: str) -> dict[str, Any]:
    """A line as the feed wrote it; with its moment in a form that is not the feed's own."""
    sent = {**entry, "item": line.item}
    if line.occurred_at is not None:
        sent["occurred_at"] = line.occurred_at.isoformat()
    if line.sent_quantity is not None and not kinds()[kind].signed:
        sent["quantity"] = f"{abs(line.sent_quantity):f}"
    return sent


def _not_read() -> Reason:
    return Reason("request.not_read", "The case came here without its fields. Release it, so that it starts again.")
