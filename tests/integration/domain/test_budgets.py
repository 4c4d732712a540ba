"""Money is committed once, spent once, and never by two requests."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from include.cases import store
from include.data.database import authored
from include.domain import budgets
from include.domain.budgets import BudgetInvalid, NothingCommitted, find, load_budgets
from tests.support.work import receive, rows

YEAR = {"starts": "2026-01-01", "ends": "2026-12-31"}
DAY = date(2026, 6, 1)


@contextmanager
def _open(engine: Engine) -> Iterator[Connection]:
    with authored(engine, actor="system:test") as connection:
        yield connection


def _budget(engine: Engine, amount: str = "1000.00", category: str = "marketing") -> int:
    with _open(engine) as connection:
        load_budgets(connection, [{"cost_centre": "4100", "category": category, "amount": amount, **YEAR}])
    [row] = rows(engine, "select id from budgets where category = :category", category=category)
    return int(row["id"])


def _stands(engine: Engine, budget_id: int) -> tuple[str, str]:
    [row] = rows(engine, "select committed, consumed from budgets where id = :id", id=budget_id)
    with engine.connect() as connection:
        assert budgets.differences(connection) == []
    return str(row["committed"]), str(row["consumed"])


def _move(engine: Engine, movement: Callable[..., Any], *values: object, **named: object) -> Any:
    with _open(engine) as connection:
        return movement(connection, *values, **named)


def _commit(engine: Engine, case_id: int, budget_id: int, amount: str, may_exceed: bool = False) -> bool:
    return _move(engine, budgets.commit, case_id, budget_id, Decimal(amount), may_exceed=may_exceed)


def _consume(engine: Engine, case_id: int, amount: str, key: str) -> None:
    _move(engine, budgets.consume, case_id, Decimal(amount), key=key)


def test_an_approval_commits_a_booking_consumes_and_the_rest_is_freed(engine: Engine) -> None:
    budget, [case] = _budget(engine), receive(engine)
    assert _commit(engine, case, budget, "600.00")
    assert _stands(engine, budget) == ("600.00", "0.00")
    _consume(engine, case, "450.10", "consume/1")
    assert _stands(engine, budget) == ("149.90", "450.10")
    assert _move(engine, budgets.release, case, key=f"release/{case}") == Decimal("149.90")
    assert _stands(engine, budget) == ("0.00", "450.10")


def test_what_does_not_fit_is_refused_unless_it_was_approved_so(engine: Engine) -> None:
    budget, [first, second, third] = _budget(engine), receive(engine, 3)
    assert _commit(engine, first, budget, "1000.00")
    assert not _commit(engine, second, budget, "0.01")
    assert _stands(engine, budget) == ("1000.00", "0.00")
    assert _commit(engine, third, budget, "50.00", may_exceed=True)
    assert [row["over"] for row in rows(engine, "select over from budget_entries order by id")] == [False, True]


def test_every_movement_happens_once_however_often_it_is_asked_for(engine: Engine) -> None:
    budget, [case] = _budget(engine), receive(engine)
    for _ in range(3):
        assert _commit(engine, case, budget, "900.00")
    for _ in range(3):
        _consume(engine, case, "300.00", "consume/7")
    for _ in range(3):
        assert _move(engine, budgets.release, case, key="release/x") == Decimal("600.00")
    assert _commit(engine, case, budget, "900.00"), "a case that comes by again has its money already"
    assert _stands(engine, budget) == ("0.00", "300.00")


def test_more_than_was_committed_is_consumed_and_a_credit_note_gives_money_back(engine: Engine) -> None:
    budget, [case] = _budget(engine), receive(engine)
    _commit(engine, case, budget, "100.00")
    _consume(engine, case, "120.00", "consume/1")
    assert _stands(engine, budget) == ("0.00", "120.00")
    _consume(engine, case, "-20.00", "consume/2")
    assert _stands(engine, budget) == ("0.00", "100.00")
    assert _move(engine, budgets.release, case, key="release/x") == 0


def test_a_corrected_request_gets_what_it_asks_for_now_instead_of_what_it_has(engine: Engine) -> None:
    budget, other = _budget(engine), _budget(engine, category="travel")
    [case] = receive(engine)
    assert _commit(engine, case, budget, "900.00")
    assert _commit(engine, case, budget, "950.00"), "its own money is not in its way"
    assert _stands(engine, budget) == ("950.00", "0.00")
    assert not _commit(engine, case, budget, "1000.01")
    assert _stands(engine, budget) == ("950.00", "0.00"), "and it keeps what it has when that is not there"
    assert _commit(engine, case, other, "10.00")
    assert (_stands(engine, budget), _stands(engine, other)) == (("0.00", "0.00"), ("10.00", "0.00"))
    _consume(engine, case, "10.00", "consume/1")
    assert _stands(engine, other) == ("0.00", "10.00")


def test_a_batch_commits_in_its_order_and_each_case_gets_an_answer(engine: Engine) -> None:
    budget, cases = _budget(engine), receive(engine, 4)
    wanted = [(case, budget, Decimal(amount), False) for case, amount in zip(cases, (600, 500, 400, 0), strict=True)]
    answers = _move(engine, budgets.commit_all, wanted)
    assert list(answers.values()) == [True, False, True, True]
    assert _stands(engine, budget) == ("1000.00", "0.00")


def test_a_case_finds_its_budget_by_cost_centre_category_and_day(engine: Engine) -> None:
    budget, [case, other] = _budget(engine), receive(engine, 2)
    _commit(engine, case, budget, "900.00")
    with engine.connect() as connection:
        found = find(
            connection,
            {case: ("4100", "marketing", DAY), other: ("4100", "marketing", date(2026, 12, 31))},
        )
        assert (found[case].id, found[case].available) == (budget, Decimal(1000)), "its own money is not in its way"
        assert (found[other].committed, found[other].available) == (Decimal(900), Decimal(100))
        for wanted in (("4100", "travel", DAY), ("5200", "marketing", DAY), ("4100", "marketing", date(2027, 1, 1))):
            assert find(connection, {case: wanted}) == {}


@pytest.mark.parametrize("amount", ["-0.01", "0.001", "NaN", "1e20"])
def test_what_cannot_be_committed_is_refused(engine: Engine, amount: str) -> None:
    budget, [case] = _budget(engine), receive(engine)
    with pytest.raises(ValueError, match=r"amount|negative|hundredths"):
        _commit(engine, case, budget, amount)
    with pytest.raises(ValueError, match="float"):
        _move(engine, budgets.commit, case, budget, 1.5, may_exceed=False)
    with pytest.raises(LookupError):
        _commit(engine, case, budget + 1, "1.00")
    with pytest.raises(NothingCommitted):
        _consume(engine, case, "1.00", "consume/1")
    assert _stands(engine, budget) == ("0.00", "0.00")


def test_two_requests_at_once_cannot_spend_the_same_money(engine: Engine) -> None:
    budget, cases = _budget(engine), receive(engine, 8)
    together = Barrier(len(cases))

    def ask(case: int) -> bool:
        together.wait()
        return _commit(engine, case, budget, "300.00")

    with ThreadPoolExecutor(len(cases)) as threads:
        answers = list(threads.map(ask, cases))
    assert sum(answers) == 3
    assert _stands(engine, budget) == ("900.00", "0.00")


def test_many_at_once_on_few_budgets_keep_every_sum_and_never_deadlock(engine: Engine) -> None:
    ids = [_budget(engine, "2000.00", category) for category in ("marketing", "travel", "office")]
    cases = receive(engine, 60)

    def work(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(25):
            batch = sorted(chance.sample(cases, 4))
            with _open(engine) as connection:
                store.lock(connection, batch)
                amounts = [Decimal(chance.randrange(30_000)).scaleb(-2) for _ in batch]
                match chance.randrange(4):
                    case 0 | 1:
                        wanted = [(c, chance.choice(ids), a, False) for c, a in zip(batch, amounts, strict=True)]
                        budgets.commit_all(connection, wanted)
                    case 2:
                        budgets.release_all(connection, [(c, f"release/{c}") for c in batch if chance.random() < 0.3])
                    case 3:
                        held = set(connection.execute(text("select case_id from budget_entries")).scalars())
                        consumed = [
                            (c, min(a, Decimal(50)), f"consume/{c}/{chance.randrange(3)}")
                            for c, a in zip(batch, amounts, strict=True)
                            if c in held
                        ]
                        budgets.consume_all(connection, consumed)
                if chance.random() < 0.2:
                    connection.rollback()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    with engine.connect() as connection:
        assert budgets.differences(connection) == []
    assert rows(engine, "select count(*) as n from budget_entries")[0]["n"] > 100
    assert rows(engine, "select 1 from budgets where committed < 0") == []
    held = rows(engine, "select case_id, sum(committed) as held from budget_entries group by 1")
    assert all(row["held"] >= 0 for row in held)
    at_each_commit = rows(
        engine,
        """select kind, over, b.amount,
                  sum(e.committed + e.consumed) over (partition by budget_id order by e.id) as used
           from budget_entries e join budgets b on b.id = budget_id""",
    )
    assert all(row["used"] <= row["amount"] for row in at_each_commit if row["kind"] == "commit" and not row["over"])


MOVEMENTS = st.lists(
    st.tuples(
        st.sampled_from(["commit", "exceed", "release", "consume", "credit"]),
        st.integers(0, 2),
        st.integers(0, 1),
        st.integers(0, 70_000).map(lambda cents: Decimal(cents).scaleb(-2)),
    ),
    max_size=15,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MOVEMENTS)
def test_whatever_happens_to_a_budget_its_sums_are_those_of_its_entries(
    engine: Engine, movements: list[tuple[str, int, int, Decimal]]
) -> None:
    cases = receive(engine, 3)
    ids = [_budget(engine, "1000.00", category) for category in ("marketing", "travel")]
    with engine.connect() as connection:
        transaction = connection.begin()
        connection.execute(text("select set_config('waybill.actor', 'system:test', true)"))
        for number, (kind, which, budget, amount) in enumerate(movements):
            case_id, budget_id, key = cases[which], ids[budget], f"{kind}/{number}/{cases[which]}"
            used = "select committed + consumed from budgets where id = :id"
            if kind in ("commit", "exceed"):
                before = connection.execute(text(used), {"id": budget_id}).scalar_one()
                done = budgets.commit(connection, case_id, budget_id, amount, may_exceed=kind == "exceed")
                after = connection.execute(text(used), {"id": budget_id}).scalar_one()
                assert done or after == before
                assert kind == "exceed" or after <= max(before, Decimal(1000))
            elif kind == "release":
                budgets.release(connection, case_id, key=key)
            else:
                try:
                    budgets.consume(connection, case_id, -amount if kind == "credit" else amount, key=key)
                except NothingCommitted:
                    continue
            assert budgets.differences(connection) == []
            held = connection.execute(text("select sum(committed) from budget_entries group by case_id")).scalars()
            assert all(each >= 0 for each in held)
        transaction.rollback()


def test_the_database_moves_sums_by_entries_only_and_keeps_them(engine: Engine) -> None:
    budget, [case] = _budget(engine), receive(engine)
    _commit(engine, case, budget, "10.00")
    for statement in (
        "update budgets set committed = 0",
        "update budgets set consumed = consumed + 1",
        "update budget_entries set committed = 0",
        "delete from budget_entries",
    ):
        with pytest.raises(DBAPIError, match="refused"), _open(engine) as connection:
            connection.execute(text(statement))
    with pytest.raises(IntegrityError), _open(engine) as connection:
        connection.execute(
            text(
                "insert into budget_entries (budget_id, case_id, key, kind, committed)"
                " values (:b, :c, 'x', 'release', -11)"
            ),
            {"b": budget, "c": case},
        )
    assert _stands(engine, budget) == ("10.00", "0.00")


def test_loading_again_changes_the_amount_and_never_what_was_moved(engine: Engine) -> None:
    budget, [case] = _budget(engine), receive(engine)
    _commit(engine, case, budget, "900.00")
    row = {"cost_centre": "4100", "category": "marketing", "amount": "500", **YEAR}
    assert _move(engine, load_budgets, [row]) == 1
    assert _move(engine, load_budgets, [row]) == 0
    assert _stands(engine, budget) == ("900.00", "0.00")
    assert not _commit(engine, *receive(engine), budget, "1.00")
    with pytest.raises(BudgetInvalid, match="committed"):
        _move(engine, load_budgets, [{**row, "committed": "0"}])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"amount": 1200.5}, "float is no amount"), ({"amount": "1.200,50"}, "no amount"), ({"amount": "-1"}, "amount"),
        ({"amount": "0.001"}, "amount"), ({"amount": None}, "amount"), ({"cost_centre": 9999}, "no cost centre"),
        ({"category": "hardware"}, "not bought on 4100"), ({"ends": "2025-12-31"}, "ends before it starts"),
        ({"starts": "soon"}, "starts"), ({"currency": "USD"}, "currency"), ({"colour": "red"}, "colour"),
        ({"more cells than columns": ["x"]}, "more cells"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_kept_is_named_and_nothing_is_loaded(
    engine: Engine, change: dict[str, object], told: str
) -> None:
    good = {"cost_centre": "4100", "category": "travel", "amount": 100, **YEAR}
    with pytest.raises(BudgetInvalid, match=f"row 2.*{told}"):
        _move(engine, load_budgets, [good, {**good, "category": "marketing", **change}])
    assert rows(engine, "select 1 from budgets") == []


def test_one_day_has_one_budget(engine: Engine) -> None:
    row = {"cost_centre": "4100", "category": "travel", "amount": 100, **YEAR}
    with pytest.raises(BudgetInvalid, match="twice"):
        _move(engine, load_budgets, [row, {**row, "amount": 200}])
    with pytest.raises(BudgetInvalid, match="before another ends"):
        _move(engine, load_budgets, [row, {**row, "starts": "2026-12-31", "ends": "2027-12-31"}])
    assert _move(engine, load_budgets, [row, {**row, "starts": "2027-01-01", "ends": "2027-12-31"}]) == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("budgets.csv", "\ufeffcost_centre,category,starts,ends,amount\n4100,travel,2026-01-01,2026-12-31,1200.50\n"),
        (
            "budgets.yaml",
            'budgets:\n- {cost_centre: 4100, category: travel, starts: 2026-01-01, ends: 2026-12-31,'
            ' amount: "1200.50"}',
        ),
    ],
)  # fmt: skip
def test_budgets_are_loaded_from_a_file_by_a_command(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    budgets.main([str(tmp_path / name), "--by", "frank.weber"], engine)
    assert "1 budgets are new or changed" in capsys.readouterr().out
    [row] = rows(engine, "select amount, entered_by from budgets")
    assert row == {"amount": Decimal("1200.50"), "entered_by": "user:frank.weber"}
    with pytest.raises(SystemExit):
        budgets.main([str(tmp_path / "no.csv"), "--by", "frank.weber"], engine)
    assert "Nothing was loaded" in capsys.readouterr().err


def test_the_file_that_the_documentation_shows_can_be_loaded(engine: Engine, tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "money.md").read_text(encoding="utf-8")
    (tmp_path / "budgets.csv").write_text(page.split("```csv\n")[1].split("```")[0], encoding="utf-8")
    assert _move(engine, load_budgets, budgets.read_budgets(tmp_path / "budgets.csv")) == 2
