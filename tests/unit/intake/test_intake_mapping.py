"""From payloads to fields, and reasons for what does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from include.intake.mapping import ITEMS, RECORDS, Mapped, MappingRules, compiled
from include.intake.sources import load, map_fields

EXAMPLES = Path(__file__).parent / "examples"
SOURCES = list(load(environment="any"))


def lead(fields: dict[str, object], **more: object) -> MappingRules:
    return MappingRules.model_validate({"record": "lead", "fields": fields, **more})


def mapped(rules: MappingRules, payload: object) -> Mapped:
    return rules.apply(json.dumps(payload).encode())


def codes(result: Mapped) -> list[tuple[str, str | None]]:
    return [(reason.code, reason.field) for reason in result.reasons]


def test_typeforms_documented_payload_is_read() -> None:
    result = map_fields("typeform", (EXAMPLES / "typeform.json").read_bytes())
    given_fields = {name: value for name, value in result.fields.items() if value is not None}
    assert given_fields == {
        "email": "laura@example.com",
        "phone": "+491701234567",
        "full_name": "Laura Ørsted",
        "company": "Nordlicht GmbH",
        "website": "https://nordlicht.example",
        "country": "Germany",
        "company_size": 42,
        "interest": "Warehouse, Transport, Customs 🛃",
        "consent": True,
        "consent_at": "2026-01-18T18:17:02Z",
        "submitted_at": "2026-01-18T18:17:02Z",
        "external_id": "abc123456",
        "score": 9,
        "utm_source": "newsletter",
        "utm_campaign": "winter",
        "message": "Please call in the afternoon.",
        "job_title": "Something else",
    }
    assert result.reasons == []


def test_typeform_questions_without_a_speaking_ref_are_found_by_their_type() -> None:
    payload = {
        "form_response": {
            "answers": [
                {"type": "email", "email": "a@example.com", "field": {"ref": "01ABC", "type": "email"}},
                {"type": "phone_number", "phone_number": "+4930123", "field": {"ref": "01ABD", "type": "phone_number"}},
            ]
        }
    }
    fields = map_fields("typeform", json.dumps(payload).encode()).fields
    assert (fields["email"], fields["phone"]) == ("a@example.com", "+4930123")


@pytest.mark.parametrize(
    ("value", "stage"), [("closedwon", "won"), ("closedlost", "lost"), ("presentationscheduled", "open")]
)
def test_hubspots_deal_stage_becomes_won_lost_or_open(value: str, stage: str) -> None:
    event = {
        "eventId": 100,
        "subscriptionId": 7,
        "portalId": 1,
        "appId": 2,
        "occurredAt": 1711234567890,
        "subscriptionType": "deal.propertyChange",
        "attemptNumber": 0,
        "objectId": 123,
        "propertyName": "dealstage",
        "propertyValue": value,
        "changeSource": "CRM",
    }
    result = map_fields("hubspot", json.dumps(event).encode())
    assert result.reasons == []
    assert result.fields["stage"] == stage
    assert result.fields["object_id"] == 123
    assert result.fields["occurred_at"] == "2024-03-23T22:56:07.890000+00:00"


def test_a_hubspot_event_about_another_property_is_an_open_deal() -> None:
    event = {
        "objectId": 1,
        "subscriptionType": "deal.propertyChange",
        "propertyName": "amount",
        "propertyValue": "closedwon",
    }
    assert map_fields("hubspot", json.dumps(event).encode()).fields["stage"] == "open"


def test_the_first_path_that_holds_something_is_taken() -> None:
    rules = lead({"email": ["email", "contact.email", "e"]})
    assert mapped(rules, {"email": "  ", "contact": {"email": None}, "e": "x"}).fields["email"] == "x"
    assert mapped(rules, {"email": {"value": "?"}, "e": "x"}) == Mapped(mapped(rules, {"e": "x"}).fields)


def test_values_stay_as_they_were_sent() -> None:
    rules = lead({"company_size": "n", "phone": "p", "message": "m", "consent": "c"})
    fields = mapped(rules, {"n": "0042", "p": " +49 ", "m": "\u202eשלום\u202c 🚚", "c": False}).fields
    assert (fields["company_size"], fields["phone"], fields["message"], fields["consent"]) == (
        "0042",
        " +49 ",
        "\u202eשלום\u202c 🚚",
        False,
    )


def test_constants_joins_and_translations() -> None:
    rules = lead(
        {
            "utm_source": {"value": "fair"},
            "language": {"path": "lang", "value": "en"},
            "full_name": {"join": ["first", "last"]},
            "message": {"join": ["subject", "tags"], "separator": ": "},
            "country": {"path": "land", "values": {"Deutschland": "DE"}, "otherwise": "other"},
        }
    )
    fields = mapped(
        rules, {"first": "Ada", "last": "", "subject": "Hi", "tags": ["a", 2], "land": "DEUTSCHLAND"}
    ).fields
    assert fields["utm_source"] == "fair"
    assert fields["language"] == "en"
    assert fields["full_name"] == "Ada"
    assert fields["message"] == "Hi: a, 2"
    assert fields["country"] == "DE"


def test_each_misfit_is_a_reason_with_its_field_and_the_others_are_kept() -> None:
    rules = lead(
        {
            "email": "email",
            "phone": "phone",
            "company": "company",
            "submitted_at": {"path": "at", "read_as": "epoch_seconds"},
            "country": {"path": "land", "values": {"d": "DE"}},
        },
        require=[["email", "phone"], "message", "company"],
        refuse={"_more": "too many columns"},
    )
    payload = {"email": "a\0b", "company": {"a": 1}, "at": "soon", "land": "x", "_more": ["y"]}
    result = mapped(rules, payload)
    assert codes(result) == [
        ("mapping.refused", None),
        ("mapping.control_character", "email"),
        ("mapping.type", "company"),
        ("mapping.moment", "submitted_at"),
        ("mapping.value", "country"),
        ("mapping.missing", "message"),
    ]
    assert result.fields["email"] == "ab"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"\xff", "mapping.not_json"),
        (b"[]", "mapping.not_an_object"),
        (b'{"a":' * 70 + b"1" + b"}" * 70, "mapping.too_deep"),
    ],
)
def test_a_body_that_is_no_object_is_a_reason_too(body: bytes, code: str) -> None:
    assert codes(map_fields("website", body)) == [(code, None)]


def test_a_source_that_is_gone_is_a_reason_too() -> None:
    assert codes(map_fields("of-last-year", b"{}")) == [("mapping.source", None)]


def test_a_lead_without_a_way_to_answer_it_is_a_reason() -> None:
    assert codes(map_fields("website", b'{"name":"Ada"}')) == [("mapping.missing", "email")]


@pytest.mark.parametrize(
    "declared",
    [
        {"record": "lead", "fields": {"emial": "email"}},
        {"record": "lead", "fields": {"email": "a["}},
        {"record": "lead", "fields": {"email": {}}},
        {"record": "lead", "fields": {"email": {"path": "a", "join": ["b"]}}},
        {"record": "lead", "fields": {"email": "a"}, "require": ["stage"]},
        {"record": "lead", "fields": {"email": "a"}, "required": ["email"]},
        {"record": "ghost", "fields": {"email": "a"}},
        {"record": "lead", "fields": {"email": "a"}, "lines": {"fields": {"item": "sku"}}},
        {"record": "goods_receipt", "fields": {"order": "a", "lines": "items"}},
        {"record": "goods_receipt", "fields": {"order": "a"}, "lines": {"fields": {}}},
        {"record": "goods_receipt", "fields": {"order": "a"}, "lines": {"fields": {"unit_price": "price"}}},
    ],
)
def test_a_mapping_that_cannot_work_is_refused_when_it_is_read(declared: object) -> None:
    with pytest.raises(ValidationError):
        MappingRules.model_validate(declared)


def receipt(**more: object) -> MappingRules:
    return MappingRules.model_validate(
        {
            "record": "goods_receipt",
            "fields": {"order": "order", "number": "no"},
            "lines": {
                "path": ["lines", "parcel.items"],
                "fields": {"item": ["item", "sku"], "quantity": ["quantity", "qty"], "condition": {"value": "good"}},
            },
            **more,
        }
    )


def test_the_lines_of_a_document_are_read_by_the_first_path_that_holds_a_list() -> None:
    payload = {"order": "PO-1", "lines": "two", "parcel": {"items": [{"sku": "A", "qty": 2}, {"item": "B"}]}}
    result = mapped(receipt(), payload)
    assert result.reasons == []
    assert result.fields["lines"] == [
        {"item": "A", "quantity": 2, "condition": "good"},
        {"item": "B", "quantity": None, "condition": "good"},
    ]


def test_a_row_of_a_file_is_one_line() -> None:
    result = mapped(receipt(), {"order": "PO-1", "sku": "A", "qty": "2"})
    assert result.fields["lines"] == [{"item": "A", "quantity": "2", "condition": "good"}]


def test_a_document_with_an_empty_list_has_no_lines_and_says_so_where_they_are_required() -> None:
    assert codes(mapped(receipt(require=["lines"]), {"order": "PO-1", "lines": []})) == [("mapping.missing", "lines")]


def test_a_document_that_holds_nothing_of_a_line_has_none() -> None:
    rules = MappingRules.model_validate(
        {
            "record": "goods_receipt",
            "fields": {"order": "order"},
            "lines": {"fields": {"item": "sku", "condition": {"value": "good"}}},
        }
    )
    assert mapped(rules, {"order": "PO-1"}).fields["lines"] == []


def test_what_is_wrong_with_a_line_names_the_line_and_keeps_the_others() -> None:
    result = mapped(receipt(), {"lines": [{"sku": "A\0"}, "no line", {"sku": {"x": 1}}, {"sku": "D"}]})
    assert codes(result) == [
        ("mapping.control_character", "lines"),
        ("mapping.line", "lines"),
        ("mapping.type", "lines"),
    ]
    assert [line["item"] for line in result.fields["lines"]] == ["A", None, "D"]
    assert "Line 2" in result.reasons[1].message
    assert "Line 3, item" in result.reasons[2].message


def test_numbers_of_lines_keep_every_digit_and_never_become_floats() -> None:
    body = b'{"order": 12345678901234567890, "lines": [{"quantity": 0.10}, {"quantity": 3}, {"qty": 1e300}]}'
    result = receipt().apply(body)
    assert result.fields["order"] == "12345678901234567890"
    assert [line["quantity"] for line in result.fields["lines"]] == ["0.10", 3, "1e300"]


def test_a_purchase_request_of_the_portal_is_read() -> None:
    body = b"""{"id": "r-1", "requester": {"id": "anna.schmidt"}, "cost_centre": "4100", "category": "travel",
        "supplier": {"name": "\u0141uk\u00e1\u0161 s.r.o.", "country": "CZ"},
        "total": {"amount": 119.00, "currency": "EUR"},
        "attachments": [{"url": "https://files.example/1"}, {"url": "https://files.example/2"}],
        "lines": [{"description": "Booth", "qty": 1, "price": 100.00, "vat": 0.19}]}"""
    result = map_fields("purchase-portal", body)
    assert result.reasons == []
    known = {name: value for name, value in result.fields.items() if value is not None}
    assert known == {
        "requester": "anna.schmidt",
        "cost_centre": "4100",
        "category": "travel",
        "supplier_name": "\u0141uk\u00e1\u0161 s.r.o.",
        "supplier_country": "CZ",
        "currency": "EUR",
        "total": "119.00",
        "attachments": "https://files.example/1, https://files.example/2",
        "lines": [
            {
                "item": None,
                "description": "Booth",
                "quantity": 1,
                "unit": None,
                "unit_price": "100.00",
                "tax_rate": "0.19",
                "account": None,
            }
        ],
    }


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [
        "email",
        "phone",
        "name",
        "company",
        "consent",
        "lead",
        "created",
        "form_response",
        "answers",
        "hidden",
        "objectId",
        "occurredAt",
        "propertyValue",
        "subscriptionType",
        "stage",
        "utm",
        "_more",
        "interest",
        "lines",
        "items",
        "quantity",
        "price",
        "attachments",
    ]
)
PAYLOADS = st.recursive(
    VALUES, lambda inner: st.dictionaries(NAMES, inner, max_size=6) | st.lists(inner, max_size=3), max_leaves=12
)


@given(st.sampled_from(SOURCES), st.dictionaries(NAMES, PAYLOADS, max_size=8))
def test_no_payload_breaks_a_mapping_and_every_field_is_a_plain_value(name: str, payload: dict[str, object]) -> None:
    result = map_fields(name, json.dumps(payload).encode())
    record = load(environment="any")[name].mapping.record
    assert tuple(result.fields) in (RECORDS[record],)
    lines = result.fields.pop("lines", None) or []
    for value in [*result.fields.values(), *(value for line in lines for value in line.values())]:
        assert value is None or isinstance(value, str | int | float | bool)
        assert not (isinstance(value, str) and "\0" in value)
    if record in ITEMS:
        assert all(set(line) <= set(ITEMS[record]) for line in lines)


@given(st.lists(NAMES, min_size=1, max_size=4), VALUES)
def test_plain_paths_find_what_jmespath_finds(names: list[str], value: object) -> None:
    import jmespath

    path = ".".join(names)
    document: object = value
    for name in reversed(names):
        document = {name: document}
    for probe in (document, value, {names[0]: value}):
        assert compiled(path)(probe) == jmespath.search(path, probe)
