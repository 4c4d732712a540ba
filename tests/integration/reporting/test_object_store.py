"""Files of reports in an object store, by Airflow's way to it: what is named there is whole, wherever a writer dies."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from io import BytesIO
from typing import Any, ClassVar

import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from airflow.sdk.io.store import _STORE_CACHE, ObjectStore
from fsspec.implementations.memory import MemoryFileSystem
from sqlalchemy import Engine

from include.integrations.ledger import SENDING_LEASE
from include.reporting.catalogue import REPORTS
from include.reporting.going_out import FILES, deliver
from tests.support.reports import at, end_deal, lead, make
from tests.support.work import change, rows
from waybill.reports import report_files

pytestmark = pytest.mark.airflow

PLACE = "/bucket/reports/leads/daily/2026-03-02"


class Crash(BaseException):
    """The process dies."""


class Store(MemoryFileSystem):
    """An object store in this process that can refuse, or kill who writes when half of a file is there."""

    cachable = False
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    writes = 0
    dies_at: int | None = None
    refuses: Exception | None = None

    def pipe_file(self, path: str, value: bytes, **kwargs: Any) -> None:
        if self.refuses:
            raise self.refuses
        self.writes += 1
        dies = self.writes == self.dies_at
        super().pipe_file(path, b"half of it" if dies else value, **kwargs)
        if dies:
            raise Crash

    @property
    def paths(self) -> list[str]:
        return sorted(self.store)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    found = Store()
    found.store.clear()
    monkeypatch.setitem(_STORE_CACHE, "memory", ObjectStore("memory", None, found))
    monkeypatch.setenv("WAYBILL_REPORTS_FOLDER", "memory://bucket/reports")
    return found


def write(engine: Engine) -> int:
    change(engine, "update effects set available_at = now(), lease_until = lease_until - cast(:lease as interval)",
           lease=SENDING_LEASE)  # fmt: skip
    return deliver(engine, report_files(engine), FILES)


def named(store: Store) -> dict[str, Any]:
    """What `edition.json` says."""
    found: dict[str, Any] = json.loads(store.cat_file(f"{PLACE}/edition.json"))
    return found


def leads(store: Store) -> int:
    """How many leads the files tell of that are named; each named file is read."""
    about = named(store)
    tables = {}
    for path in about["files"]:
        content = store.cat_file(f"{PLACE}/{path}")
        if path.endswith(".parquet"):
            tables[path.split("/")[-1]] = pq.read_table(BytesIO(content)).to_pylist()
        else:
            assert b"half of it" not in content
    return int(tables["totals.parquet"][0]["leads"])


def test_an_edition_is_in_the_store_with_every_figure(engine: Engine, store: Store) -> None:
    end_deal(engine, lead(engine, at(2, 9)), at(2, 15), amount="1234567890.12")
    edition = make(engine, "leads")
    assert write(engine) == 0
    about = named(store)
    assert (about["edition"], about["digest"], about["revision"]) == (edition.id, edition.digest, 1)
    figures = [figure.name for figure in REPORTS["leads"].figures]
    assert about["files"] == [f"revision-1/{name}.{kind}" for name in figures for kind in ("csv", "parquet")]
    assert store.paths == sorted([f"{PLACE}/edition.json", *(f"{PLACE}/{path}" for path in about["files"])])
    won = pq.read_table(BytesIO(store.cat_file(f"{PLACE}/revision-1/won_value.parquet"))).to_pylist()
    assert won == [{"currency": "EUR", "deals": 1, "amount": Decimal("1234567890.12")}]
    days = pq.read_table(BytesIO(store.cat_file(f"{PLACE}/revision-1/by_day.parquet"))).to_pylist()
    assert days[0]["day"] == date(2026, 3, 2)
    (effect,) = rows(engine, "select answer from effects where system = 'reporting'")
    assert effect["answer"] == {"folder": "memory://bucket/reports/leads/daily/2026-03-02/revision-1"}


def test_wherever_a_writer_dies_what_is_named_is_whole_and_the_next_one_ends_it(engine: Engine, store: Store) -> None:
    lead(engine, at(2, 9))
    make(engine, "leads")
    write(engine)
    lead(engine, at(2, 10))
    make(engine, "leads")
    files = 2 * len(REPORTS["leads"].figures)
    for dies_at in (1, 4, files):
        store.writes, store.dies_at = 0, dies_at
        with pytest.raises(Crash):
            write(engine)
        assert (named(store)["revision"], leads(store)) == (1, 1), "the last good one stays"
    store.dies_at = None
    assert write(engine) == 0
    assert (named(store)["revision"], leads(store)) == (2, 2)
    assert not [path for path in store.paths if "revision-1" in path], "nobody adds up two revisions"


def test_what_is_named_is_not_written_again(engine: Engine, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    lead(engine, at(2, 9))
    make(engine, "leads")
    write(engine)
    before = store.writes
    change(engine, "update effects set state = 'sending', lease_until = now(), answer = null, sent_at = null "
                   "where system = 'reporting'")  # fmt: skip
    assert write(engine) == 0
    assert store.writes == before


def test_a_store_that_refuses_is_tried_again_and_says_no_secret(engine: Engine, store: Store) -> None:
    lead(engine, at(2, 9))
    make(engine, "leads")
    store.refuses = RuntimeError("AccessDenied for key AKIA-SECRET")
    assert write(engine) == 1
    (effect,) = rows(engine, "select state, error from effects where system = 'reporting'")
    assert (effect["state"], effect["error"]) == (
        "failed",
        "memory://bucket/reports cannot be written: RuntimeError of the object store",
    )
    store.refuses = None
    assert write(engine) == 0
    assert leads(store) == 1
