"""Which of Airflow's runs name a person, because somebody typed them there; and that they are deleted with them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from include.integrations.systems import Mode
from include.monitoring.watching.airflow import signed_in
from include.privacy.erase import Erased, erase, plan, tell_systems
from include.privacy.person import by_case, by_email
from tests.standins.airflow import Airflow, airflow_standin
from tests.support.people import ADA, lead
from tests.support.work import change, receive, rows

pytestmark = pytest.mark.airflow

EFFECTS = """
    select target, state, error, available_at > now() + interval '23 hours' as later from effects
    where operation = 'delete_run' order by id"""


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Airflow]:
    """An Airflow that is connected, and into whose forms people were typed."""
    with airflow_standin() as standin:
        standin.typed = [
            {"dag_id": dag, "dag_run_id": f"manual__{number}", "conf": typed}
            for number, (dag, typed) in enumerate(
                [
                    ("lead_import", {"rows": "email\nADA.Lovelace@engines.example"}),
                    ("lead_import", {"rows": "email\nada.lovelace@engines.example.org"}),
                    ("person_data", {"email": "ada.lovelace@engines.example"}),
                    ("lead_replay", {"corrections": {"email": "ben@engines.example"}}),
                ],
                1,
            )
        ]
        account = {"conn_type": "http", "host": standin.url, "login": "watcher", "password": standin.password}
        monkeypatch.setenv("AIRFLOW_CONN_WAYBILL_AIRFLOW", json.dumps(account))
        yield standin


def forget(engine: Engine, case: int, run: str = "") -> Erased:
    from waybill.typed import runs_as_watcher

    with engine.begin() as connection:
        person = by_case(connection, case)
        return erase(connection, person, actor="user:olga", reason="letter 17", mode=Mode.LIVE, run=run,
                     typed=runs_as_watcher(person) or ())  # fmt: skip


def tell(engine: Engine) -> dict[str, int]:
    from waybill.systems import provider

    change(engine, "update effects set available_at = now() where operation = 'delete_run' and state = 'failed'")
    return tell_systems(engine, provider("airflow"), "airflow")


def left(airflow: Airflow) -> list[str]:
    return [row["dag_run_id"] for row in airflow.typed]


def test_runs_are_found_by_any_spelling_of_the_address_and_only_whole_ones(engine: Engine, airflow: Airflow) -> None:
    from waybill.typed import PAGE, runs_naming

    [ada] = lead(engine, ADA)
    with engine.connect() as connection:
        person = by_case(connection, ada)
    others = [{"dag_id": "lead_import", "dag_run_id": f"m{n}", "conf": {"rows": "a@b.example"}} for n in range(PAGE)]
    airflow.typed = [*others, *airflow.typed]
    with signed_in(airflow.account) as api:
        assert api is not None
        assert runs_naming(api, person) == ["lead_import/manual__1", "person_data/manual__3"]


def test_they_are_deleted_with_the_person_and_the_erasing_run_a_day_later(engine: Engine, airflow: Airflow) -> None:
    [ada] = lead(engine, ADA)
    done = forget(engine, ada, run="manual__3")
    assert done.runs == ["lead_import/manual__1", "person_data/manual__3"]
    assert left(airflow) == ["manual__1", "manual__2", "manual__3", "manual__4"], "written before it is attempted"
    assert tell(engine)["sent"] == 1
    assert left(airflow) == ["manual__2", "manual__3", "manual__4"]
    assert [(row["state"], row["later"]) for row in rows(engine, EFFECTS)] == [("sent", False), ("pending", True)]


def test_who_is_in_no_table_is_still_deleted_there(engine: Engine, airflow: Airflow) -> None:
    with engine.begin() as connection:
        person = by_email(connection, ADA["email"])
        done = erase(connection, person, actor="user:olga", reason="letter 17", mode=Mode.LIVE,
                     typed=["lead_import/manual__1"])  # fmt: skip
    assert done.id is None
    assert tell(engine)["sent"] == 1
    assert "manual__1" not in left(airflow)


def test_a_run_that_is_not_over_is_deleted_when_it_is_and_one_that_is_gone_is_deleted(
    engine: Engine, airflow: Airflow
) -> None:
    [ada] = lead(engine, ADA)
    airflow.typed[0]["state"] = "running"
    forget(engine, ada)
    del airflow.typed[2]
    assert tell(engine)["sent"] == 1
    [running, _] = rows(engine, EFFECTS)
    assert (running["state"], "not over yet" in running["error"]) == ("failed", True)
    airflow.typed[0]["state"] = "success"
    assert tell(engine)["sent"] == 1
    assert left(airflow) == ["manual__2", "manual__4"]


def test_an_account_that_may_not_delete_is_told_of_and_an_airflow_that_is_away_is_asked_again(
    engine: Engine, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    [ada] = lead(engine, ADA)
    forget(engine, ada)
    airflow.password = "another"
    tell(engine)
    assert {row["state"] for row in rows(engine, EFFECTS)} == {"failed"}
    assert "does not take the account" in rows(engine, EFFECTS)[0]["error"]
    with monkeypatch.context() as away:
        away.setenv("AIRFLOW_CONN_WAYBILL_AIRFLOW", "http://watcher:secret@127.0.0.1:9")
        tell(engine)
    assert "does not answer" in rows(engine, EFFECTS)[0]["error"]
    airflow.password, airflow.may_delete = airflow.account.password.get_secret_value(), False  # type: ignore[union-attr]
    tell(engine)
    found = rows(engine, EFFECTS)
    assert {row["state"] for row in found} == {"dead"}
    assert "may not delete runs" in found[0]["error"]
    assert len(airflow.typed) == 4


def test_runs_in_which_approvers_named_them_go_too(engine: Engine, airflow: Airflow) -> None:
    """A comment is a field of the answer, which Airflow keeps with the run that asked."""
    [ada] = lead(engine, ADA)
    commented, shown, other = receive(engine, 3, workflow="purchase_approval", source="purchase-portal")
    for case, title, part in ((commented, "Bolts", 2), (shown, f"Bolts for {ADA['email']}", 1), (other, "Bolts", 1)):
        change(
            engine,
            """insert into approval_rounds (case_id, workflow, number, requester, title, shown, digest, policy, part,
                                            run_id)
               values (:case, 'purchase_approval', 1, 'olga', :title, '[]', repeat('0', 64), 'p', :part,
                       'r' || :case)""",
            case=case,
            title=title,
            part=part,
        )
    change(
        engine,
        """insert into approval_decisions (round_id, person, account, answer, route, comment, digest)
           select id, 'olga', 'olga', 'withdraw', 'airflow', 'Ask Ada.Lovelace@engines.example', digest
           from approval_rounds where case_id = :case""",
        case=commented,
    )
    change(engine, "update approval_rounds set state = 'withdrawn', closed_at = now()")
    change(engine, "update cases set state = 'finished', outcome = 'x', closed_at = now() where workflow like 'purch%'")
    expected = [
        f"purchase_decision/purchase_approval_{commented}_1",
        f"purchase_decision/purchase_approval_{commented}_1_2",
        f"purchase_decision/purchase_approval_{shown}_1",
    ]
    with engine.connect() as connection:
        assert plan(connection, by_case(connection, ada)).runs == expected
    airflow.typed = [
        {"dag_id": "purchase_decision", "dag_run_id": run.partition("/")[2], "conf": {}} for run in expected
    ]
    assert forget(engine, ada).runs == expected
    tell(engine)
    assert airflow.typed == []
    assert rows(engine, "select comment from approval_decisions") == [{"comment": "Ask [erased]"}]


def test_what_becomes_of_them_is_said_in_a_sentence() -> None:
    from waybill.typed import MOST_TOLD, told

    assert told([], []) == ""
    assert "could not be asked" in told(None, [])
    assert told(None, ["purchase_decision/x"]).endswith("stays under Effects: purchase_decision/x.")
    assert told([], [f"lead_import/{n}" for n in range(MOST_TOLD + 2)]).endswith("and 2 more.")
