"""From a source's payload to Waybill's field names, as the source's mapping in sources.yaml says.

Values stay as they were sent: cleaning them is the workflow's part. A payload that does not fit gives reasons,
never an error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any, Literal

import jmespath
import orjson
from jmespath.exceptions import JMESPathError
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from include.cases.model import Reason
from include.intake.bodies import Unreadable, parse_object, with_numbers_as_written

RECORDS: dict[str, tuple[str, ...]] = {
    "lead": (
        *(
            "email",
            "phone",
            "first_name",
            "last_name",
            "full_name",
            "company",
            "website",
            "country",
            "region",
            "city",
        ),
        *(
            "postal_code",
            "language",
            "job_title",
            "company_size",
            "interest",
            "message",
            "consent",
            "consent_at",
        ),
        *(
            "submitted_at",
            "external_id",
            "score",
            "utm_source",
            "utm_medium",
            "utm_campaign",
            "utm_term",
            "utm_content",
        ),
        *("gclid", "fbclid", "msclkid", "referrer", "landing_page"),
    ),
    "deal": ("deal_key", "object_id", "stage", "amount", "currency", "reason", "occurred_at"),
    "purchase_request": (
        *("number", "requester", "department", "cost_centre", "category", "supplier", "supplier_name"),
        *("supplier_email", "supplier_country", "currency", "total", "needed_by", "justification", "attachments"),
        *("requested_at", "risk", "entered_by", "lines"),
    ),
    "goods_receipt": ("number", "order", "kind", "received_by", "received_on", "lines"),
    "supplier_invoice": (
        *("number", "supplier", "supplier_name", "order", "kind", "corrects", "invoice_date", "due_date"),
        *("currency", "net", "tax", "gross", "lines"),
    ),
    "stock_request": (
        *("number", "kind", "requester", "entered_by", "from", "to", "reason", "reference", "sheet", "occurred_at"),
        "lines",
    ),
    "count_sheet": ("number", "location", "counter", "planned_for", "blind", "lines"),
    "replenishment_need": ("need",),
    "stock_difference": ("scope", "found_on", "file", "lines"),
}
"""The fields that a mapping may fill, by the kind of record that the source sends."""

ITEMS: dict[str, tuple[str, ...]] = {
    "purchase_request": ("item", "description", "quantity", "unit", "unit_price", "tax_rate", "account"),
    "goods_receipt": ("order_line", "item", "quantity", "lot", "expires_on", "condition", "note"),
    "supplier_invoice": ("order_line", "item", "description", "quantity", "unit_price", "tax_rate"),
    "stock_request": (
        *("item", "description", "quantity", "unit", "lot", "expires_on", "unit_cost", "price", "country", "note"),
        *("occurred_at", "row"),
    ),
    "count_sheet": ("item", "lot", "class"),
    "stock_difference": ("item", "location", "lot", "waybill", "erp"),
}
"""The fields of one line, of the records that have lines; their numbers are read as they are written."""

Scalar = str | int | float | bool
Getter = Callable[[Any], Any]


@dataclass(frozen=True)
class Mapped:
    """A payload in Waybill's field names.

    :param fields: every field of the record; None where the sender gave nothing.
    :param reasons: why the payload does not fit; empty when it does.
    """

    fields: dict[str, Any]
    reasons: list[Reason] = field(default_factory=list)


def compiled(path: str) -> Getter:
    """Return a function that looks `path` (JMESPath) up in a document.

    Plain names with dots, which most paths are, skip the interpreter: it would cost ten times as much.

    :raises ValueError: when `path` is not JMESPath.
    """
    try:
        expression = jmespath.compile(path)
    except JMESPathError as error:
        raise ValueError(f"{path!r} is not a JMESPath expression: {error}") from error
    names = _plain_names(expression.parsed)
    if names is None:
        return expression.search

    def look_up(document: Any) -> Any:
        for name in names:
            if not isinstance(document, dict):
                return None
            document = document.get(name)
        return document

    return look_up


def _plain_names(node: Mapping[str, Any]) -> tuple[str, ...] | None:
    if node["type"] == "field":
        return (node["value"],)
    if node["type"] == "subexpression":
        parts = [_plain_names(child) for child in node["children"]]
        if all(part is not None for part in parts):
            return tuple(name for part in parts for name in part or ())
    return None


def _path(value: str) -> str:
    compiled(value)
    return value


Path = Annotated[str, Field(min_length=1), BeforeValidator(_path)]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Paths = Annotated[list[Path], BeforeValidator(_as_list)]


class Part(BaseModel):
    """A part of the mapping's declaration: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Rule(Part):
    """Where one field comes from. In YAML a text is `path` with one entry, a list is `path` with several."""

    path: Paths = Field(default_factory=list, description="The first of these that holds something is taken")
    join: Paths = Field(default_factory=list, description="All of these that hold something, put together")
    separator: str = " "
    value: Scalar | None = Field(default=None, description="Taken when the payload holds nothing")
    values: dict[str, Scalar] = Field(
        default_factory=dict, description="Translation of what was found; case does not count"
    )
    otherwise: Scalar | None = Field(default=None, description="Taken when `values` does not have what was found")
    read_as: Literal["epoch_seconds", "epoch_milliseconds"] | None = Field(
        default=None, description="A number that is a moment; becomes ISO 8601 in UTC"
    )

    @model_validator(mode="after")
    def _comes_from_somewhere(self) -> Rule:
        if not (self.path or self.join) and self.value is None:
            raise ValueError("a field needs `path`, `join` or `value`")
        if self.path and self.join:
            raise ValueError("`path` and `join` exclude each other")
        return self

    @field_validator("values")
    @classmethod
    def _fold(cls, values: dict[str, Scalar]) -> dict[str, Scalar]:
        return {key.casefold(): value for key, value in values.items()}

    @cached_property
    def getters(self) -> list[Getter]:
        """The compiled paths."""
        return [compiled(path) for path in self.path or self.join]

    @cached_property
    def is_plain(self) -> bool:
        """Whether what was found is taken as it is."""
        return not (self.join or self.values or self.read_as)

    @cached_property
    def first_name(self) -> str | None:
        """The name under which what is taken as it is usually stands; None where it takes more to find it."""
        names = _plain_names(jmespath.compile(self.path[0]).parsed) if self.is_plain and self.path else None
        return names[0] if names and len(names) == 1 else None


class Answers(Part):
    """A list of answers, as form builders send them, that becomes `answers.<name>` for the other paths.

    :param path: where the list is.
    :param name: what names an answer inside its entry.
    :param kind: what says under which key of the entry the answer stands (`type: email` -> `email: …`).
    """

    path: Path
    name: Path
    kind: Path

    @cached_property
    def getters(self) -> tuple[Getter, Getter, Getter]:
        """The compiled paths."""
        return compiled(self.path), compiled(self.name), compiled(self.kind)

    def read(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answers by name; a chosen option is its label, several are a list of labels."""
        find, name_of, kind_of = self.getters
        entries = find(document)
        found: dict[str, Any] = {}
        for entry in entries if isinstance(entries, list) else ():
            name, kind = name_of(entry), kind_of(entry)
            if isinstance(name, str) and isinstance(kind, str):
                found.setdefault(name, _chosen(entry.get(kind)))
        return found


def _chosen(answer: Any) -> Any:
    """Typeform's `choice` is {label} or {other}, its `choices` {labels, other}; all else is a plain value."""
    if not isinstance(answer, dict):
        return answer
    if isinstance(answer.get("labels"), list):
        return [*answer["labels"], *([answer["other"]] if answer.get("other") else [])]
    return next((answer[key] for key in ("label", "other") if answer.get(key) is not None), answer)


def _as_rule(value: Any) -> Any:
    return {"path": value} if isinstance(value, str | list) else value


Fields = dict[str, Annotated[Rule, BeforeValidator(_as_rule)]]


class Lines(Part):
    """Where the lines of a document are, and how one line becomes fields.

    :param path: the first of these that holds a list is taken; where none does, the document is itself one line, as
        the row of a file is.
    """

    path: Paths = Field(default_factory=list)
    fields: Fields = Field(min_length=1)

    @cached_property
    def getters(self) -> list[Getter]:
        """The compiled paths."""
        return [compiled(path) for path in self.path]

    @cached_property
    def _quick(self) -> list[tuple[str, Rule, str | None]]:
        return [(name, rule, rule.first_name) for name, rule in self.fields.items()]

    def read(self, document: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[Reason]]:
        """Return the lines, and why they do not fit; a document that holds nothing of a line has none."""
        listed = next((entry for getter in self.getters if isinstance(entry := _try(getter, document), list)), None)
        lines: list[dict[str, Any]] = []
        reasons: list[Reason] = []
        for number, entry in enumerate([document] if listed is None else listed, 1):
            if not isinstance(entry, dict):
                reasons.append(Reason("mapping.line", f"Line {number} is not an object with fields.", LINES))
                continue
            line: dict[str, Any] = {}
            for name, rule, key in self._quick:
                found = entry.get(key) if key else None  # hundreds of thousands of lines: most take this way
                if type(found) is int or (type(found) is str and not found.isspace() and found and "\0" not in found):
                    line[name] = found
                    continue
                if found is None and key and len(rule.path) == 1:
                    line[name] = rule.value
                    continue
                try:
                    line[name] = _value(rule, entry)
                except _Unfit as unfit:
                    line[name] = unfit.rest
                    reasons.append(Reason(f"mapping.{unfit.code}", f"Line {number}, {name}: {unfit.message}", LINES))
            if listed is not None or any(value != self.fields[name].value for name, value in line.items()):
                lines.append(line)
        return lines, reasons


LINES = "lines"
"""The field that holds a list of dicts, one for each line of the document."""


class MappingRules(Part):
    """How the payloads of one source become fields."""

    record: Literal[
        "lead", "deal", "purchase_request", "goods_receipt", "supplier_invoice",
        "stock_request", "count_sheet", "replenishment_need", "stock_difference",
    ]  # fmt: skip
    answers: Answers | None = None
    fields: Fields
    lines: Lines | None = None
    require: list[Annotated[list[str], BeforeValidator(_as_list), Field(min_length=1)]] = Field(
        default_factory=list, description="Each entry is a field, or several of which one is enough"
    )
    refuse: dict[Path, str] = Field(
        default_factory=dict,
        description="Path -> what to tell the person who must act when it holds something",
    )

    @model_validator(mode="after")
    def _names_exist(self) -> MappingRules:
        known = RECORDS[self.record]
        named = [*self.fields, *(name for group in self.require for name in group)]
        for name in named:
            if name not in known:
                raise ValueError(f"a {self.record} has no field {name!r}; write one of: {', '.join(known)}")
        if LINES in self.fields:
            raise ValueError("the lines are not a field like the others: write them under `lines` of the mapping")
        items = ITEMS.get(self.record, ())
        if self.lines and not items:
            raise ValueError(f"a {self.record} has no lines")
        for name in self.lines.fields if self.lines else ():
            if name not in items:
                raise ValueError(f"a line of a {self.record} has no field {name!r}; write one of: {', '.join(items)}")
        return self

    @cached_property
    def _refusing(self) -> list[tuple[Getter, str]]:
        return [(compiled(path), message) for path, message in self.refuse.items()]

    def apply(self, body: bytes) -> Mapped:
        """Map one payload. Never raises for anything that a sender can send."""
        fields: dict[str, Any] = dict.fromkeys(RECORDS[self.record])
        try:
            document = parse_object(body)
        except Unreadable as error:
            return Mapped(fields, [Reason(f"mapping.{error.code}", error.detail)])
        if self.record in ITEMS:
            document = with_numbers_as_written(body)
        reasons = [
            Reason("mapping.refused", message)
            for getter, message in self._refusing
            if not _blank(_try(getter, document))
        ]
        if self.answers:
            document = {**document, "answers": self.answers.read(document)}
        for name, rule in self.fields.items():
            try:
                fields[name] = _value(rule, document)
            except _Unfit as unfit:
                reasons.append(Reason(f"mapping.{unfit.code}", unfit.message, name))
                fields[name] = unfit.rest
        if self.lines:
            fields[LINES], unfit_lines = self.lines.read(document)
            reasons += unfit_lines
        unfit_fields = {reason.field for reason in reasons}
        for group in self.require:
            if all(_blank(fields[name]) and name not in unfit_fields for name in group):
                said = " or ".join(group)
                reasons.append(
                    Reason("mapping.missing", f"The payload has no {said}. Ask the sender for it.", group[0])
                )
        return Mapped(fields, reasons)


class _Unfit(Exception):
    """A value that a field cannot take; `rest` is what can be kept of it."""

    def __init__(self, code: str, message: str, rest: Any = None) -> None:
        super().__init__(code)
        self.code, self.message, self.rest = code, message, rest


def _blank(value: Any) -> bool:
    return value is None or (not value.strip() if isinstance(value, str) else value in ([], {}))


def _try(getter: Getter, document: Any) -> Any:
    try:
        return getter(document)
    except JMESPathError:  # a function of the path was given a type that it does not take
        return None


def _value(rule: Rule, document: Mapping[str, Any]) -> Any:
    found: Any = None
    if rule.join:
        parts = [_plain(value) for getter in rule.getters if not _blank(value := _try(getter, document))]
        found = rule.separator.join(_as_text(part) for part in parts) if parts else None
    else:
        found = _first(rule.getters, document)
    if found is None:
        return rule.value
    if rule.is_plain:
        return found
    if rule.read_as:
        return _moment(found, 1 if rule.read_as == "epoch_seconds" else 1000)
    if rule.values:
        translated = rule.values.get(_as_text(found).casefold(), rule.otherwise)
        if translated is None:
            known = ", ".join(rule.values)
            raise _Unfit("value", f"{_as_text(found)[:100]!r} is not one of: {known}", found)
        return translated
    return found


def _first(getters: list[Getter], document: Mapping[str, Any]) -> Any:
    """The first value that can be taken; where none can and one should have been, its fault."""
    fault: _Unfit | None = None
    for getter in getters:
        candidate = _try(getter, document)
        if not _blank(candidate):
            try:
                return _plain(candidate)
            except _Unfit as unfit:
                fault = fault or unfit
    if fault:
        raise fault
    return None


def _plain(value: Any) -> Any:
    """A value that a field can hold: a scalar as it is, a list of scalars as one text."""
    if isinstance(value, str):
        if "\0" in value:
            raise _Unfit(
                "control_character",
                "The value holds a NUL character, which no text may.",
                value.replace("\0", ""),
            )
        return value
    if isinstance(value, list) and all(isinstance(part, Scalar) for part in value):
        return ", ".join(_as_text(_plain(part)) for part in value)
    if isinstance(value, dict | list):
        kind = "an object" if isinstance(value, dict) else "a list of objects"
        raise _Unfit("type", f"The payload has {kind} where one value is expected.")
    return value


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _moment(value: Any, per_second: int) -> str:
    try:
        number = float(value)
        if isinstance(value, bool) or not math.isfinite(number):
            raise ValueError
        return datetime.fromtimestamp(number / per_second, UTC).isoformat()
    except (TypeError, ValueError, OverflowError, OSError):
        raise _Unfit("moment", "The value is not a moment: a number since 1970 is expected.", value) from None
