"""A rule is read as it is written, and says everything that keeps it from being carried out."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from include.domain.replenishment.rules import Rule, read_rule, unfit
from include.stock.items import Item
from tests.support.replenishment import BOUGHT, FETCHED

BOLT = Item("BOLT-8", "Bolts M8", "material", "pcs")


def rule(**more: Any) -> Rule:
    found = read_rule({**BOUGHT, **more})
    assert isinstance(found, Rule), found
    return found


def test_shares_and_currencies_are_read_as_people_write_them() -> None:
    found = rule(service_level="97.5 %", tax_rate="19%", currency="eur", maximum="")
    assert (found.service_level, found.tax_rate, found.currency) == (Decimal("0.975"), Decimal("0.19"), "EUR")
    assert found.maximum is None


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"method": "sometimes"}, "method: Input should be 'reorder_point', 'min_max' or 'off'"),
        ({"item": ""}, "item: is missing"),
        ({"colour": "red"}, "colour: there is no such column"),
        ({"min_quantity": "a few"}, "min_quantity: "),
        ({"service_level": "1"}, "service_level: Input should be less than 1"),
        ({"service_level": "0.3"}, "service_level: Input should be greater than or equal to 0.5"),
        ({"from_location": "SHOP"}, "clear supplier or from_location"),
        ({"method": "min_max", "minimum": "5"}, "needs minimum and maximum"),
        ({"minimum": "5", "maximum": "4"}, "maximum is below minimum"),
        ({"multiple": "0"}, "multiple: Input should be greater than 0"),
        ({"review_days": "0"}, "review_days: "),
        ({"unit_price": "-1"}, "unit_price: "),
        ({"lead_time_days": "soon"}, "lead_time_days: "),
    ],
)
def test_a_row_that_cannot_be_a_rule_says_why(more: dict[str, Any], told: str) -> None:
    found = read_rule({**BOUGHT, **more})
    assert isinstance(found, list)
    assert told in "; ".join(found)


def test_a_good_rule_fits() -> None:
    assert unfit(rule(), BOLT) == []
    fetched = read_rule(FETCHED)
    assert isinstance(fetched, Rule)
    assert unfit(fetched, BOLT) == []


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"supplier": None}, "rule.supplier"),
        ({"unit_price": None}, "rule.price"),
        ({"currency": "XXY"}, "rule.price"),
        ({"tax_rate": "0.13"}, "rule.tax_rate"),
        ({"cost_centre": "9999"}, "rule.cost_centre"),
        ({"category": "cake"}, "rule.category"),
        ({"category": "hardware"}, "rule.category"),
        ({"category": "tools"}, "rule.category"),
        ({"location": "SHOP"}, "rule.category"),
        ({"location": "TRANSIT"}, "rule.location"),
        ({"requester": "nobody"}, "rule.requester"),
        ({"requester": None}, "rule.requester"),
        ({"multiple": "2.5"}, "rule.multiple"),
        ({"supplier": None, "from_location": "CUSTOMER"}, "rule.from_location"),
    ],
)
def test_what_cannot_be_carried_out_is_named(more: dict[str, Any], code: str) -> None:
    assert code in [reason.code for reason in unfit(rule(**more), BOLT)]


def test_an_item_that_is_gone_is_the_only_reason() -> None:
    assert [reason.code for reason in unfit(rule(supplier=None), None)] == ["item.inactive"]
