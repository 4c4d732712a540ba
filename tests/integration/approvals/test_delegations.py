"""A person gives away their own decisions only; their manager may do it for them, and a shared account never."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from include.approvals.delegations import DelegationInvalid, deputies, end_by, enter
from include.data.database import authored
from tests.support.approvals import today
from tests.support.work import rows

LAST_DAY = today("maria.keller") + timedelta(days=5)


def enters(engine: Engine, account: str, **more: Any) -> tuple[int, bool]:
    wanted = {"person": None, "deputy": "tom.berger", "starts": None, "ends": LAST_DAY, "reason": "on leave", **more}
    with authored(engine, actor=f"user:{account}") as connection:
        return enter(connection, account, **wanted)


def ends(engine: Engine, account: str, number: int) -> bool:
    with authored(engine, actor=f"user:{account}") as connection:
        return end_by(connection, number, account)


def stand_in(engine: Engine, person: str = "maria.keller") -> list[str]:
    with engine.connect() as connection:
        return deputies(connection, [person], LAST_DAY).get(person, [])


def test_a_person_names_their_deputy_and_says_so_once(engine: Engine) -> None:
    number, new = enters(engine, "maria.keller")
    assert new
    assert enters(engine, "maria.keller") == (number, False)
    assert rows(engine, "select person, deputy, actor, reason from delegations") == [
        {"person": "maria.keller", "deputy": "tom.berger", "actor": "user:maria.keller", "reason": "on leave"}
    ]
    assert stand_in(engine) == ["tom.berger"]


def test_a_manager_enters_it_for_somebody_who_is_ill(engine: Engine) -> None:
    enters(engine, "ines.vogt", person="maria.keller")
    assert stand_in(engine) == ["tom.berger"]


def test_where_the_manager_has_left_the_next_above_does(engine: Engine, edit_people: Callable[..., None]) -> None:
    edit_people("ines.vogt", active=False)
    with pytest.raises(DelegationInvalid, match="no one person's"):
        enters(engine, "ines.vogt", person="maria.keller")
    assert enters(engine, "karl.brandt", person="maria.keller")[1]


@pytest.mark.parametrize("account", ["anna.schmidt", "tom.berger", "petra.lang", "karl.brandt", "admin", "nobody"])
def test_nobody_else_gives_away_or_ends_what_is_not_theirs(engine: Engine, account: str) -> None:
    with pytest.raises(DelegationInvalid):
        enters(engine, account, person="maria.keller")
    assert stand_in(engine) == []
    number, _ = enters(engine, "maria.keller")
    with pytest.raises(DelegationInvalid):
        ends(engine, account, number)
    assert stand_in(engine) == ["tom.berger"]


def test_a_shared_account_is_refused_for_itself_too(engine: Engine) -> None:
    with pytest.raises(DelegationInvalid, match="'admin' is no one person's"):
        enters(engine, "admin")


def test_it_is_ended_early_once_and_may_be_entered_anew(engine: Engine) -> None:
    number, _ = enters(engine, "maria.keller")
    assert ends(engine, "ines.vogt", number)
    assert not ends(engine, "maria.keller", number)
    assert stand_in(engine) == []
    with pytest.raises(DelegationInvalid, match="no delegation 4711"):
        ends(engine, "maria.keller", 4711)
    again, new = enters(engine, "maria.keller")
    assert new
    assert again != number


@pytest.mark.parametrize("missing", [{"deputy": None}, {"ends": None}, {"reason": " "}, {"deputy": "maria.keller"}])
def test_what_is_missing_is_said(engine: Engine, missing: dict[str, Any]) -> None:
    with pytest.raises(DelegationInvalid):
        enters(engine, "maria.keller", **missing)
