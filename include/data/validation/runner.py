"""Runs a Great Expectations suite over a frame and says, row by row, what is wrong and what is only unusual.

It takes no decision about a case. Great Expectations is imported on first use: that takes five seconds.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import pandas as pd

from include.cases.model import Reason

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite
    from great_expectations.core import ExpectationSuiteValidationResult
    from great_expectations.core.batch_definition import BatchDefinition

SuiteMaker = Callable[[], "ExpectationSuite"]


class SuiteBroken(RuntimeError):
    """An expectation could not be computed: the suite and the frame do not fit together."""


@dataclass(frozen=True)
class Checked:
    """What a suite found in a frame.

    :param failures: row id -> one reason per expectation of severity `critical` that the row fails.
    :param warnings: row id -> the codes of the other expectations that it fails.
    :param unmet: the codes of expectations about the frame as a whole that were not met.
    :param outcome: Great Expectations' own result; holds row ids, never values.
    """

    failures: dict[Any, list[Reason]] = field(default_factory=dict)
    warnings: dict[Any, list[str]] = field(default_factory=dict)
    unmet: list[str] = field(default_factory=list)
    outcome: ExpectationSuiteValidationResult | None = None


def meta(code: str, message: str, field_name: str | None = None) -> dict[str, Any]:
    """Return the `meta` of an expectation.

    :param code: of the reason or warning.
    :param message: for the person who must act; `{<column>}` stands for the row's value.
    :param field_name: the canonical field to correct; `{<column>}` takes it from the row.
    """
    return {"code": code, "message": message, "field": field_name}


def preload() -> None:
    """Import what validating needs, so that a process can pay for it once, before its children are forked."""
    _batches()


def check(frame: pd.DataFrame, suite: SuiteMaker, id_column: str) -> Checked:
    """Check `frame` against the suite that `suite` makes; the suite is made once in a process.

    :param id_column: names the rows.
    :raises SuiteBroken: when an expectation raises instead of giving an answer.
    """
    if frame.empty:
        return Checked()
    made = _registered(suite)
    outcome = (
        _batches()
        .get_batch({"dataframe": frame})
        .validate(
            made,
            result_format={
                "result_format": "COMPLETE",
                "unexpected_index_column_names": [id_column],
                "exclude_unexpected_values": True,  # values are personal data, and results are kept and shown
                "include_unexpected_rows": False,
                "return_unexpected_index_query": False,
            },
        )
    )
    return _read(outcome, frame, id_column)


def _read(outcome: ExpectationSuiteValidationResult, frame: pd.DataFrame, id_column: str) -> Checked:
    failures: dict[Any, list[Reason]] = defaultdict(list)
    warnings: dict[Any, list[str]] = defaultdict(list)
    unmet: list[str] = []
    rows = frame.set_index(id_column, drop=False)
    for result in outcome.results:
        config = result.expectation_config
        if config is None or (error := _error(result.exception_info or {})):
            name = f"{config.type} of {config.kwargs.get('column')}" if config else "an expectation"
            raise SuiteBroken(f"{name} could not be computed: {error if config else 'it has no configuration'}")
        if result.success:
            continue
        about = config.meta or {}
        code = about.get("code", config.type)
        ids = _ids(result.result, id_column)
        if not ids:
            unmet.append(code)
        elif config.severity == "critical":
            message, columns = about["message"], [c for c in frame.columns if "{" + c + "}" in about["message"]]
            values = zip(*(rows.loc[ids, column] for column in columns), strict=True) if columns else [()] * len(ids)
            fields = _fields(rows, ids, about.get("field"))
            for row_id, of_row, field in zip(ids, values, fields, strict=True):
                failures[row_id].append(Reason(code, _told(message, columns, of_row), field))
        else:
            for row_id in ids:
                warnings[row_id].append(code)
    return Checked(dict(failures), dict(warnings), unmet, outcome)


def _error(info: Mapping[str, Any]) -> str | None:
    """What was raised; Great Expectations reports it for the expectation, or for each of its metrics."""
    for entry in (info, *(entry for entry in info.values() if isinstance(entry, dict))):
        if entry.get("raised_exception"):
            return str(entry.get("exception_message"))[:300]
    return None


def _ids(result: Mapping[str, Any], id_column: str) -> list[Any]:
    """The ids of the failing rows, as plain Python values."""
    return [
        value.item() if hasattr(value, "item") else value
        for entry in result.get("unexpected_index_list") or []
        for value in entry[id_column]
    ]


def _fields(rows: pd.DataFrame, ids: list[Any], field: str | None) -> list[str | None]:
    """The field to correct in each row: the same for all, or the one that a column of the frame names."""
    if field is None or not field.startswith("{"):
        return [field] * len(ids)
    return list(rows.loc[ids, field.strip("{}")])


def _told(message: str, columns: Iterable[str], values: Iterable[Any]) -> str:
    for column, value in zip(columns, values, strict=True):
        shown = str(value)
        message = message.replace("{" + column + "}", shown if len(shown) <= 100 else shown[:99] + "…")
    return message


@cache
def _registered(suite: SuiteMaker) -> ExpectationSuite:
    _batches()
    registered: ExpectationSuite = _context().suites.add_or_update(suite())
    return registered


@cache
def _context() -> Any:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # it is read at import
    import great_expectations  # noqa: PLC0415
    from great_expectations.data_context.types.base import ProgressBarsConfig  # noqa: PLC0415

    context = great_expectations.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    return context


@cache
def _batches() -> BatchDefinition[Any]:
    asset = _context().data_sources.add_pandas("batches").add_dataframe_asset("frame")
    definition: BatchDefinition[Any] = asset.add_batch_definition_whole_dataframe("whole")
    return definition
