"""Feeds: what they call goods, how they write moments, and that what they declare exists."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from include.domain.stock_request.feeds import Feed, feed, feeds
from include.intake.sources import load
from include.samples.retail import FEES, Dirt, rows
from include.stock.warehouse import warehouse


def retail() -> Feed:
    found = feed("retail-sales")
    assert found
    return found


def test_what_feeds_declare_exists() -> None:
    assert set(feeds()) <= set(load(environment="any"))
    for declared in feeds().values():
        assert warehouse().locations[declared.location].negative
        if declared.learned:
            assert declared.learned.group in warehouse().groups
            assert declared.learned.unit in warehouse().units
    assert feed("stock-requests") is None
    assert feed(None) is None


@pytest.mark.parametrize("code", [*FEES, "post", "Bank Charges", "B", "m", "gift_0001_90"])
def test_codes_that_are_no_goods(code: str) -> None:
    assert not retail().stocks(code)


@pytest.mark.parametrize("code", ["85123A", "22423", "POSTER", "DCGS0003", "15056BL", "M1"])
def test_codes_of_goods(code: str) -> None:
    assert retail().stocks(code)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("12/1/2010 8:26", datetime(2010, 12, 1, 8, 26, tzinfo=UTC)),
        ("7/4/2011 8:26", datetime(2011, 7, 4, 7, 26, tzinfo=UTC)),
        ("2011-07-04 08:26:00", datetime(2011, 7, 4, 7, 26, tzinfo=UTC)),
        ("2011-07-04T08:26:00+02:00", datetime(2011, 7, 4, 6, 26, tzinfo=UTC)),
        ("13/1/2010 8:26", None),
        ("soon", None),
        ("0001-01-01", None),
    ],
)
def test_moments_are_month_and_day_of_the_shops_own_clock(written: str, read: datetime | None) -> None:
    assert retail().moment(written, "Europe/Berlin") == read


def test_a_declaration_that_cannot_be_right_is_refused() -> None:
    for wrong in ({"not_stocked": ["("]}, {"zone": "Mars/Olympus"}, {"negative": "maybe"}):
        with pytest.raises(ValidationError):
            Feed(title="x", location="SHOP", **wrong)


def test_the_made_up_file_is_the_same_each_time_and_has_the_dirt_of_the_real_one() -> None:
    _, *made = rows(10_000, seed=3)
    assert made == [*rows(10_000, seed=3)][1:]
    assert made != [*rows(10_000, seed=4)][1:]
    dirt = Dirt.of(10_000)
    assert len(made) == 10_000
    assert len({row[0] for row in made}) == dirt.invoices
    assert len(made) - len({tuple(row) for row in made}) == dirt.duplicates
    assert sum(1 for row in made if int(row[3]) < 0 and not row[0].startswith("C")) == dirt.lost
    assert sum(1 for row in made if row[0].startswith("C")) == dirt.returned
    assert sum(1 for row in made if not row[6]) == dirt.without_customer
    assert sum(1 for row in made if not row[2]) == dirt.without_description
