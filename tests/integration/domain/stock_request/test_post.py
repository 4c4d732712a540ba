"""What is asked for moves once, as far as it is there; what is not there goes as its kind says."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from tests.support.stock import document, lines, of, on_hand, prepare, reasons, request, state, stock, work
from tests.support.work import assert_balanced, change, rows


@pytest.fixture(autouse=True)
def _warehouse(engine: Engine) -> None:
    prepare(engine)


def test_smoke(engine: Engine) -> None:
    stock(engine, "BOLT-8", 10)
    case = request(engine, "issue")
    work(engine)
    print(state(engine, case), rows(engine, "select * from cases"), lines(engine, case), of(engine, case))
    assert state(engine, case) == ("finished", "log", "posted")
    assert on_hand(engine, "BOLT-8") == 5
