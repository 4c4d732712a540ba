"""The declaration of sources: what is refused when it is read, and where unsigned sources exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.environment import UnknownEnvironment
from include.intake.signatures import Scheme
from include.intake.sources import SecretMissing, SourcesInvalid, load, source, sources

GOOD = """
sources:
  a-form:
    title: A form
    workflow: lead_to_client
    scheme: typeform
    secret: SECRET_OF_A_FORM
    mapping: {record: lead, fields: {email: email}}
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "sources.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_shipped_source_can_be_read_and_proves_itself_in_production() -> None:
    shipped = load(environment="production")
    leads = {"website", "typeform", "hubspot", "partner", "import", "crm"}
    purchasing = {"purchase-portal", "purchase-form", "purchase-import", "warehouse", "erp-receipts"}
    stock = {"stock-requests", "stock-form", "stock-import", "pos", "retail-sales"}
    handed = {name for name, each in shipped.items() if each.is_handoff}
    assert handed >= {"goods-receipt", "stock-back-order", "stock-held", "replenishment-transfer"}
    assert set(shipped) - handed == leads | purchasing | stock | {"receipt-import", "invoices", "invoice-import"}
    assert all(shipped[name].scheme is not Scheme.NONE and shipped[name].secret for name in set(shipped) - handed)


def test_unsigned_sources_exist_in_development_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYBILL_ENVIRONMENT", "development")
    unsigned = source("try-it")
    assert unsigned.secrets() == []
    for elsewhere in ("production", "staging", ""):
        monkeypatch.setenv("WAYBILL_ENVIRONMENT", elsewhere)
        assert "try-it" not in sources()
        with pytest.raises(SecretMissing):
            unsigned.secrets()
    monkeypatch.setenv("WAYBILL_ENVIRONMENT", "Development")
    with pytest.raises(UnknownEnvironment, match="development, staging, production"):
        sources()


def test_a_source_without_its_secret_accepts_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    declared = load(written(tmp_path, GOOD))["a-form"]
    for nothing in ("", "   "):
        monkeypatch.setenv("SECRET_OF_A_FORM", nothing)
        with pytest.raises(SecretMissing, match="SECRET_OF_A_FORM"):
            declared.secrets()
    monkeypatch.setenv("SECRET_OF_A_FORM", "new old")
    assert declared.secrets() == ["new", "old"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("scheme: typeform", "scheme: rot13", "scheme"),
        ("scheme: typeform", "scheme: none", "secret"),
        ("    secret: SECRET_OF_A_FORM\n", "", "secret"),
        ("secret: SECRET_OF_A_FORM", "secret: s3cr3t-itself", "secret"),
        ("title: A form", "titel: A form", "titel"),
        ("{email: email}", "{emial: email}", "emial"),
        ("{email: email}", "{email: 'a['}", "JMESPath"),
        ("workflow: lead_to_client", "workflow: lead_to_client\n    max_bytes: 99999999999", "max_bytes"),
        ("a-form:", "A Form:", "name"),
        ("sources:", "source:", "sources"),
        ("sources:", "sources: [", "cannot be read"),
    ],
)
def test_a_faulty_declaration_says_where(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(SourcesInvalid, match=said):
        load(written(tmp_path, GOOD.replace(old, new)))


def test_an_unknown_source_is_named_with_those_there_are() -> None:
    with pytest.raises(KeyError, match="website"):
        source("webiste")


@pytest.mark.parametrize(
    ("document", "own_id"),
    [
        ({"eventId": 1, "subscriptionId": 2, "objectId": 3, "occurredAt": 4}, "1:2:3:4"),
        ({"eventId": 1, "subscriptionId": 2, "objectId": 3}, None),
        ({"eventId": True, "subscriptionId": 2, "objectId": 3, "occurredAt": 4}, None),
        ({"eventId": "a\n", "subscriptionId": "\0", "objectId": 3, "occurredAt": 4}, None),
        ({"eventId": "x" * 300, "subscriptionId": 2, "objectId": 3, "occurredAt": 4}, None),
    ],
)
def test_an_id_of_parts_needs_all_of_them(document: dict[str, object], own_id: str | None) -> None:
    assert source("hubspot").own_id(document) == own_id
