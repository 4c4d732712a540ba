"""The sample leads: the same each time, for senders that exist, and with what the demo promises to show."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from include.intake.sources import load, map_fields
from include.samples.leads import samples

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def test_the_same_number_gives_the_same_leads() -> None:
    assert samples(60, mailing="x", now=NOW) == samples(60, mailing="x", now=NOW)


def test_another_mailing_is_other_deliveries_of_the_same_people() -> None:
    first, second = (samples(60, mailing=name, now=NOW) for name in ("a", "b"))
    ids = [{s.payload["event_id"] for s in mailing if "event_id" in s.payload} for mailing in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_every_sender_is_a_declared_source() -> None:
    assert {sample.source for sample in samples(60, mailing="x")} <= set(load(environment="any"))


def test_leads_that_are_not_meant_to_be_set_aside_fit_their_source() -> None:
    for sample in samples(200, mailing="x", now=NOW):
        mapped = map_fields(sample.source, json.dumps(sample.payload).encode())
        if not sample.note.startswith("quarantined"):
            assert not mapped.reasons, (sample.note, sample.payload, mapped.reasons)


def test_they_hold_what_the_demo_shows() -> None:
    notes = [sample.note.split(":")[0].split(",")[0] for sample in samples(60, mailing="x")]
    assert notes.count("the same person") >= 2
    assert notes.count("perhaps the same person") >= 2
    assert notes.count("quarantined") >= 5


def test_nobody_in_them_can_exist() -> None:
    for sample in samples(60, mailing="x"):
        text = json.dumps(sample.payload)
        for word in text.replace('"', " ").split():
            if "@" in word and "." in word.rpartition("@")[2]:
                assert word.rstrip(",").lower().endswith(".example"), word
