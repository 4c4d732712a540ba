"""What people paste into the form of a count."""

from __future__ import annotations

import pytest

from include.approvals.forms import FormRefused
from include.domain.stock_count.entry import read_lines


def test_the_file_that_came_with_the_sheet_is_read() -> None:
    pasted = (
        '\ufeffitem,title,lot,counted,unit,note\r\nFLOUR,"Flour, fine",L1,12.5,kg,\r\nBOLT-8,Bolts,,0,pcs,empty\r\n'
    )
    assert read_lines(pasted) == [
        {"item": "FLOUR", "lot": "L1", "quantity": "12.5", "unit": "kg"},
        {"item": "BOLT-8", "quantity": "0", "unit": "pcs", "note": "empty"},
    ]


def test_a_spreadsheets_columns_are_read() -> None:
    assert read_lines("SKU\tcounted\nBOLT-8\t3\n'-X1\t4\n") == [
        {"item": "BOLT-8", "quantity": "3"},
        {"item": "-X1", "quantity": "4"},
    ]
    assert read_lines("item;counted\nBOLT-8;12\n\n") == [{"item": "BOLT-8", "quantity": "12"}]


def test_what_is_not_counted_yet_is_left_for_later() -> None:
    pasted = "item,title,lot,counted,unit,note\nFLOUR,Flour,L1,,kg,\nBOLT-8,Bolts,,4,pcs,\n"
    assert read_lines(pasted) == [{"item": "BOLT-8", "quantity": "4", "unit": "pcs"}]


def test_json_is_read() -> None:
    pasted = '[{"item": "BOLT-8", "counted": 12}, {"item": "FLOUR", "lot": "L1", "counted": "0.5", "note": null}]'
    assert read_lines(pasted) == [
        {"item": "BOLT-8", "quantity": "12"},
        {"item": "FLOUR", "lot": "L1", "quantity": "0.5"},
    ]


@pytest.mark.parametrize(
    ("pasted", "told"),
    [
        ("", "nothing is counted"),
        ("item,counted\n", "nothing is counted"),
        ("item,counted\nBOLT-8,\n", "nothing is counted"),
        ("item,counted,note\nBOLT-8,,cannot reach it\n", "line 1 needs item and counted"),
        ("item,counted\n,4\n", "line 1 needs item and counted"),
        ("item,expected\nBOLT-8,4\n", "no column 'expected'"),
        ("item,counted\nBOLT-8,4,5\n", "more values"),
        ("item,counted\nBOLT-8,4\nLAMP,1\nBOLT-8,3\n", "BOLT-8 stands in lines 1 and 3"),
        ('[{"item": "BOLT-8", "counted": 1.5}]', "in quotes"),
        ('[{"item": "BOLT-8", "counted": {}}]', "in quotes"),
        ("[1]", "in quotes"),
        ("[{", "not JSON"),
    ],
)
def test_what_cannot_be_read_is_told(pasted: str, told: str) -> None:
    with pytest.raises(FormRefused, match=told):
        read_lines(pasted)
