"""What purchasing agrees on is complete, and a fault in it says where it is."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from include.contracts.documents import DocumentError
from include.domain.purchasing import FILE, load, purchasing


def spoilt(tmp_path: Path, old: str, new: str) -> Path:
    path = tmp_path / "purchasing.yaml"
    text = FILE.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


def test_the_shipped_file_can_be_used():
    known = purchasing()
    assert known.company.currency == "EUR"
    assert known.cost_centres["4100"].owner == "maria.keller"
    assert "software" in known.cost_centres["5200"].categories


def test_shares_are_decimals_and_tax_rates_are_found_however_they_are_written():
    known = purchasing()
    assert known.categories["material"].over_delivery == Decimal("0.10")
    found = known.tax(Decimal("0.1900"))
    assert found is not None
    assert found.code == "V19"
    assert known.tax(Decimal("0")) is not None
    assert known.tax(Decimal("0.16")) is None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('over_delivery: "0"', "over_delivery: 0.1", r"categories.marketing.over_delivery: 0.1 is not a share"),
        ('over_delivery: "0"', 'over_delivery: "2"', "less than or equal to 1"),
        ("categories: [marketing,", "categories: [marketting,", "cost centre 4100: 'marketting' is no category"),
        ("[material, tools,", "[material,", "category 'tools' may be bought on no cost centre"),
        ('account: "4610"', 'account: "46 10"', "categories.marketing.account"),
        ("  currency: EUR", "  currency: Euro", "company.currency"),
        ("payable_account", "payables", "payable_account"),
        ('"0.07":', '"7 %":', "taxes"),
    ],
)
def test_a_fault_says_where_it_is(tmp_path, old, new, said):
    with pytest.raises(DocumentError, match=said):
        load(spoilt(tmp_path, old, new))
