"""By when a case and its steps are due: over nights, holidays and changes of the clock, and with a clock that stops."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.contracts.model import Contract, ServiceLevel, Stop
from include.contracts.registry import contract
from include.data.business_time import between, calendar_of
from include.monitoring.service_levels.clock import Level, Move, levels

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = timedelta(hours=1)
# Around both changes of the clock in 2026, Easter, the first of May and Christmas with New Year.
moments = st.one_of(
    *(
        st.datetimes(start, start + timedelta(days=10), timezones=st.just(UTC))
        for start in (datetime(2026, 3, 25), datetime(2026, 4, 29), datetime(2026, 10, 20), datetime(2026, 12, 22))
    )
)
amounts = st.timedeltas(timedelta(minutes=1), timedelta(hours=60))
gaps = st.lists(st.timedeltas(timedelta(0), timedelta(hours=30)), min_size=1, max_size=12)
states = st.sampled_from(["pending", "running", "waiting", "asked", "quarantined"])


def berlin(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=BERLIN)


def declared(country: str = "DE", zone: str | None = None, **level: object) -> Contract:
    """The lead's contract, with another service level and an owner elsewhere."""
    lead = contract("lead_to_client")
    terms = {"within": 4 * HOUR, "business_hours": True, "clock": "received", **level}
    owner = lead.owner.model_copy(update={"country": country, "zone": zone})
    return lead.model_copy(update={"service_level": ServiceLevel(**terms), "owner": owner})  # type: ignore[arg-type]


def whole(of: Contract, *moves: Move, received: datetime | None = None) -> Level:
    found = levels(of, received or moves[0].at, moves)[0]
    assert found.step is None
    return found


def story(start: datetime, steps: list[timedelta], kinds: list[str]) -> list[Move]:
    moves, at = [], start
    for gap, state in zip([timedelta(0), *steps], kinds, strict=False):
        at += gap
        moves.append(Move(at, "normalise", state))
    return moves


def test_business_hours_keep_the_wall_clock_over_the_change_to_summer_time():
    level = whole(declared(), Move(berlin(2026, 3, 27, 16), "capture", "pending"))
    assert level.due_at == berlin(2026, 3, 30, 12)
    assert level.due_at.astimezone(UTC).hour == 10
    assert level.warn_at == berlin(2026, 3, 30, 11, 12)
    assert level.escalate_at == berlin(2026, 3, 30, 14)


def test_business_hours_keep_the_wall_clock_over_the_change_to_winter_time():
    level = whole(declared(), Move(berlin(2026, 10, 23, 16), "capture", "pending"))
    assert level.due_at == berlin(2026, 10, 26, 12)
    assert level.due_at.astimezone(UTC).hour == 11


def test_hours_by_the_clock_are_elapsed_time_when_the_clock_changes():
    level = whole(declared(business_hours=False), Move(berlin(2026, 3, 29, 1), "capture", "pending"))
    assert level.due_at == berlin(2026, 3, 29, 1).astimezone(UTC) + 4 * HOUR == berlin(2026, 3, 29, 6)


def test_a_holiday_of_the_owners_country_does_not_count():
    christmas_eve = datetime(2026, 12, 24, 14, tzinfo=UTC)
    german = whole(declared("DE"), Move(christmas_eve, "capture", "pending"))
    american = whole(declared("US"), Move(christmas_eve, "capture", "pending"))
    assert german.due_at == berlin(2026, 12, 28, 11)
    assert american.due_at == datetime(2026, 12, 24, 13, tzinfo=ZoneInfo("America/New_York"))


def test_a_team_in_another_zone_of_its_country_has_its_own_hours():
    level = whole(
        declared("US", "America/Los_Angeles"), Move(datetime(2026, 6, 1, 12, tzinfo=UTC), "capture", "pending")
    )
    assert level.due_at == datetime(2026, 6, 1, 13, tzinfo=ZoneInfo("America/Los_Angeles"))


@given(moments, amounts, st.sampled_from(["DE", "US", "IL", "JP"]))
def test_exactly_the_promised_business_time_lies_before_the_due_time(
    start: datetime, within: timedelta, country: str
) -> None:
    level = whole(declared(country, within=within), Move(start, "capture", "pending"))
    calendar = calendar_of(country)
    assert level.due_at is not None
    assert level.warn_at is not None
    assert level.escalate_at is not None
    assert between(start, level.due_at, calendar) == within
    assert between(start, level.due_at - timedelta(microseconds=1), calendar) < within
    assert start <= level.warn_at <= level.due_at <= level.escalate_at


@given(moments, amounts, gaps, st.lists(states, min_size=13, max_size=13), st.booleans())
def test_time_that_stands_still_is_not_counted(
    start: datetime, within: timedelta, steps: list[timedelta], kinds: list[str], business: bool
) -> None:
    """Where it is due, the time during which the clock went is what was promised; where it is not, it is less."""
    moves = story(start, steps, kinds)
    of = declared(within=within, business_hours=business, stops_while=[Stop(state="waiting")])
    level = whole(of, *moves)
    calendar = calendar_of("DE")

    def went(until: datetime) -> timedelta:
        total = timedelta(0)
        for move, end in zip(moves, [*(each.at for each in moves[1:]), until], strict=True):
            if move.state not in ("waiting", "asked"):
                stretch = (move.at, max(move.at, min(end, until)))
                total += between(*stretch, calendar) if business else stretch[1] - stretch[0]
        return total

    if level.due_at is None:
        assert moves[-1].state in ("waiting", "asked")
        assert went(moves[-1].at) < within
    else:
        assert went(level.due_at) == within
    stood = sum(
        (after.at - before.at for before, after in pairwise(moves) if before.state in ("waiting", "asked")),
        timedelta(0),
    )
    now_for = moves[-1].at - level.stopped_since if level.stopped_since else timedelta(0)
    assert level.stopped + now_for == stood
    assert (level.stopped_since is not None) == (moves[-1].state in ("waiting", "asked"))


@given(moments, amounts, gaps, st.lists(states, min_size=13, max_size=13), st.integers(1, 12))
def test_what_happens_later_does_not_move_a_due_time_that_has_passed(
    start: datetime, within: timedelta, steps: list[timedelta], kinds: list[str], known: int
) -> None:
    """So it does not matter how late, or how often, somebody looks."""
    moves = story(start, steps, kinds)
    of = declared(within=within, stops_while=[Stop(state="quarantined")])
    early, late = whole(of, *moves[:known]), whole(of, *moves)
    if early.due_at and early.due_at <= moves[-1].at and len(moves) > known and early.due_at <= moves[known].at:
        assert late.due_at == early.due_at
    closed = whole(of, *moves, Move(moves[-1].at + HOUR, "log", "finished"))
    assert closed == replace(
        late, ended_at=moves[-1].at + HOUR, stopped_since=None,
        stopped=late.stopped + (moves[-1].at + HOUR - late.stopped_since if late.stopped_since else timedelta(0)),
    )  # fmt: skip


def test_a_clock_that_stands_has_no_due_time_and_goes_on_from_where_it_stood():
    of = declared(stops_while=[Stop(state="asked")])
    waits = [Move(berlin(2026, 6, 1, 10), "approve", "waiting"), Move(berlin(2026, 6, 1, 11), "approve", "asked")]
    stands = whole(of, *waits)
    assert (stands.due_at, stands.stopped_since) == (None, berlin(2026, 6, 1, 11))
    answered = whole(of, *waits, Move(berlin(2026, 6, 3, 9), "approve", "waiting"))
    assert answered.due_at == berlin(2026, 6, 3, 12)
    assert answered.stopped == berlin(2026, 6, 3, 9) - berlin(2026, 6, 1, 11)
    assert answered.stopped_since is None


def test_a_clock_stops_only_at_the_steps_that_the_contract_names():
    of = declared(stops_while=[Stop(state="waiting", at=["assign"])])
    at = berlin(2026, 6, 1, 10)
    assert whole(of, Move(at, "validate", "waiting")).due_at == at + 4 * HOUR
    assert whole(of, Move(at, "assign", "waiting")).due_at is None


def test_what_was_late_before_the_clock_stopped_stays_late():
    of = declared(stops_while=[Stop(state="waiting")])
    start = berlin(2026, 6, 1, 10)
    level = whole(of, Move(start, "capture", "pending"), Move(start + 5 * HOUR, "validate", "waiting"))
    assert level.due_at == start + 4 * HOUR
    assert level.escalate_at is None


def test_each_step_has_a_level_from_when_the_case_came_to_it():
    start = datetime(2026, 6, 1, 10, tzinfo=UTC)
    seconds = [start + timedelta(seconds=n) for n in range(5)]
    found = levels(
        contract("lead_to_client"),
        start - timedelta(seconds=9),
        [
            Move(seconds[0], "capture", "pending"),
            Move(seconds[1], "normalise", "running"),
            Move(seconds[2], "send_mail", "running"),
            Move(seconds[3], "a_step_that_is_gone", "running"),
            Move(seconds[4], "a_step_that_is_gone", "finished"),
        ],
    )
    received = start - timedelta(seconds=9)
    assert [(each.step, each.started_at, each.ended_at) for each in found] == [
        (None, received, seconds[4]),
        ("capture", received, seconds[1]),
        ("normalise", seconds[1], seconds[2]),
        ("send_mail", received, seconds[3]),
    ]
    assert found[2].due_at == seconds[1] + timedelta(minutes=2)
    assert found[3].due_at == received + timedelta(minutes=15)


def test_a_step_does_not_answer_for_the_time_in_which_its_case_is_set_aside():
    start = datetime(2026, 6, 1, 10, tzinfo=UTC)
    found = levels(
        contract("lead_to_client"),
        start,
        [Move(start, "validate", "running"), Move(start + timedelta(seconds=5), "validate", "quarantined")],
    )
    assert found[1].due_at is None


def test_a_case_that_comes_back_to_a_step_begins_there_anew():
    start = datetime(2026, 6, 1, 10, tzinfo=UTC)
    found = levels(
        contract("lead_to_client"),
        start,
        [
            Move(start, "validate", "running"),
            Move(start + HOUR, "capture", "pending"),
            Move(start + 2 * HOUR, "validate", "running"),
            Move(start + 3 * HOUR, "log", "finished"),
            Move(start + 9 * HOUR, "validate", "pending"),
        ],
    )
    stays = [(each.step, each.visit, each.started_at) for each in found if each.step != "capture"]
    assert stays == [
        (None, 1, start),
        ("validate", 1, start),
        ("validate", 2, start + 2 * HOUR),
        (None, 2, start + 9 * HOUR),
        ("validate", 3, start + 9 * HOUR),
    ]


def test_a_servers_clock_that_is_put_back_makes_no_negative_time():
    start = datetime(2026, 6, 1, 10, tzinfo=UTC)
    found = levels(
        contract("lead_to_client"),
        start,
        [Move(start, "validate", "running"), Move(start - HOUR, "log", "running"), Move(start, "log", "finished")],
    )
    assert all(each.ended_at and each.ended_at >= each.started_at for each in found)


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_a_contract_says_when_to_warn_and_when_to_escalate(share: float):
    of = declared(business_hours=False, warn_at=share, escalate_after=timedelta(minutes=30))
    start = berlin(2026, 6, 1, 10)
    level = whole(of, Move(start, "capture", "pending"))
    assert level.warn_at == start + 4 * HOUR * share
    assert level.escalate_at == start + 4.5 * HOUR
