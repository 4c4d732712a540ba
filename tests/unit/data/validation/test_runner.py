"""The runner and the folder of pages, with a suite of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from include.data.validation import documents
from include.data.validation.runner import Checked, SuiteBroken, check, meta


def small_suite() -> Any:
    import great_expectations as gx
    import great_expectations.expectations as gxe

    return gx.ExpectationSuite(
        name="small",
        expectations=[
            gxe.ExpectColumnValuesToNotBeNull(
                column="name", severity="critical", meta=meta("name.missing", "Row {id} has no name.", "name")
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="age", max_value=120, severity="warning", meta=meta("age.high", "Old.", "age")
            ),
            gxe.ExpectTableRowCountToBeBetween(max_value=3, severity="warning", meta=meta("rows.many", "Many.")),
        ],
    )


def broken_suite() -> Any:
    import great_expectations as gx
    import great_expectations.expectations as gxe

    return gx.ExpectationSuite(name="broken", expectations=[gxe.ExpectColumnValuesToNotBeNull(column="absent")])


def rows(*values: tuple[int, str | None, int]) -> pd.DataFrame:
    return pd.DataFrame(values, columns=["id", "name", "age"]).astype({"name": object})


def test_each_failing_row_has_its_reason_and_a_warning_is_no_reason() -> None:
    found = check(rows((7, None, 10), (8, "Anna", 130), (9, "Bea", 30)), small_suite, "id")
    assert {row: [(r.code, r.message, r.field) for r in reasons] for row, reasons in found.failures.items()} == {
        7: [("name.missing", "Row 7 has no name.", "name")]
    }
    assert found.warnings == {8: ["age.high"]}
    assert found.unmet == []
    assert all(isinstance(row, int) for row in found.failures)


def test_an_expectation_about_the_frame_names_no_row() -> None:
    found = check(rows(*[(n, "Anna", 1) for n in range(4)]), small_suite, "id")
    assert found.unmet == ["rows.many"]
    assert not found.failures


def test_an_empty_frame_has_nothing_to_check() -> None:
    assert check(rows(), small_suite, "id") == Checked()


def test_a_suite_that_does_not_fit_the_frame_is_an_error_and_no_verdict() -> None:
    with pytest.raises(SuiteBroken):
        check(rows((1, "Anna", 1)), broken_suite, "id")


def test_results_hold_no_values() -> None:
    found = check(rows((7, "Zacharias", 777_888)), small_suite, "id")
    assert "777888" not in str(found.outcome)
    assert "Zacharias" not in str(found.outcome)


def test_only_the_latest_pages_are_kept(tmp_path: Path) -> None:
    outcome = check(rows((7, None, 10)), small_suite, "id").outcome
    assert outcome is not None
    (tmp_path / documents.PAGES).mkdir()
    (tmp_path / documents.PAGES / "notes.txt").write_text("not a page")
    written = [documents.publish(outcome, run_id=f"run/../{n}", target=tmp_path, kept=3) for n in range(5)]
    kept = sorted(path.name for path in (tmp_path / documents.PAGES).iterdir())
    assert kept == sorted([*(page.name for page in written[-3:]), "notes.txt"])
    index = (tmp_path / "index.html").read_text()
    assert [page.name in index for page in written] == [False, False, True, True, True]
    assert all(documents.PAGE_NAME.fullmatch(page.name) for page in written)


def test_a_page_names_few_of_many_failing_rows(tmp_path: Path) -> None:
    outcome = check(rows(*[(100_000 + n, None, 10) for n in range(500)]), small_suite, "id").outcome
    assert outcome is not None
    page = documents.publish(outcome, run_id="run", target=tmp_path).read_text()
    assert "100499" not in page
    assert "<script" not in page
    assert len(page) < 100_000
