"""The wording of alerts: complete, safe for Slack, inside Slack's limits."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.monitoring.alerts.messages import Alert, Kind, Links, Names, Numbers, mrkdwn, recovery, render
from tests.standins.slack import bad_blocks

LINKS = Links("https://waybill.example.com/")
NAMES = Names("Lead to client", "Update the CRM")


def alert(kind: str = Kind.TASK_FAILED, *, cause: str = "ConnectError", state: str = "open", **facts: object) -> Alert:
    now = datetime(2026, 11, 21, 1, 0, tzinfo=UTC)
    return Alert(
        7, kind, "lead_to_client", "update_crm", cause, "lead_to_client", "revenue_operations", "#ops",
        "ops@example.com", state, "mended" if state == "resolved" else None, 1, 1, 1, now, now,
        {"dag_id": "lead_to_client", "run_id": "manual__2026-11-21T01:00:00+00:00", **facts},
    )  # fmt: skip


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("state", ["open", "resolved"])
def test_every_kind_says_what_broke_whom_it_touches_whether_it_heals_and_what_to_do(kind: Kind, state: str) -> None:
    message = render(alert(kind, state=state), Numbers(3, 2, [4, 5], {"email.invalid": 2}, 6), NAMES, LINKS)
    for form in (message.text, json.dumps(message.blocks), message.html):
        for part in (
            "What broke",
            "Touches",
            "Heals by itself",
            "Do",
            "/waybill/alerts/7",
            f"/waybill/runbooks/{kind}",
        ):
            assert part in form
    assert not bad_blocks(message.blocks)


@given(st.text(max_size=5000), st.dictionaries(st.text(max_size=200), st.integers(0, 10**9), max_size=30))
def test_any_cause_and_any_reasons_stay_inside_slacks_limits(cause: str, reasons: dict[str, int]) -> None:
    numbers = Numbers(10**6, 10**6, list(range(100)), reasons, 10**6)
    for kind in Kind:
        assert not bad_blocks(render(alert(kind, cause=cause), numbers, NAMES, LINKS).blocks)
        assert not bad_blocks(recovery(alert(kind, cause=cause, state="resolved"), numbers, NAMES, LINKS).blocks)


def test_text_cannot_mention_everybody_or_forge_a_link() -> None:
    assert mrkdwn("<!channel> & <https://evil.example|here>") == (
        "&lt;!channel&gt; &amp; &lt;https://evil.example|here&gt;"
    )
    message = render(alert(cause="<!here>"), Numbers(), NAMES, LINKS)
    assert "<!here>" not in json.dumps(message.blocks[1:])


def test_a_run_id_is_quoted_in_the_link() -> None:
    assert LINKS.run(alert(task_id="update_crm", map_index=3, try_number=2)) == (
        "https://waybill.example.com/dags/lead_to_client/runs/manual__2026-11-21T01%3A00%3A00%2B00%3A00"
        "/tasks/update_crm/mapped/3?try_number=2"
    )


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ("running", "may finish"),
        ("failed", "not slow, but over"),
        ("queued", "still waits to start"),
        ("success", "but late"),
    ],
)
def test_a_missed_deadline_is_worded_by_the_state_of_the_run(state: str, says: str) -> None:
    assert says in render(alert(Kind.DEADLINE_MISSED, cause=state), Numbers(), NAMES, LINKS).text


def test_every_kind_has_a_runbook() -> None:
    from pathlib import Path

    folder = Path(__file__).parents[3] / "docs" / "runbooks"
    assert {path.stem for path in folder.glob("*.md")} >= set(Kind)
