"""The step `look_up_supplier`: what the ERP knows of each request's supplier. It reads, and changes nothing there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import text

from include.cases.model import Work
from include.data.normalise.email import email
from include.data.normalise.places import country
from include.data.normalise.text import given
from include.integrations.systems import Effect, ErpProvider, Json


def look_up_supplier(work: Work, erp: ErpProvider) -> list[Effect]:
    """Write beside each request how its supplier stands in the ERP; what the ERP says counts, not what was typed.

    Plans no effects: a step with a system is how an ERP that is away makes its cases wait.
    """
    rows = work.connection.execute(
        text("select case_id, supplier from purchase_requests where case_id = any(:ids) and supplier is not null"),
        work.values,
    ).all()
    known = erp.read("supplier", sorted({row.supplier for row in rows})) if rows else {}
    found = [{"case_id": row.case_id, **_standing(known.get(row.supplier))} for row in rows]
    work.connection.execute(
        text("""
            update purchase_requests r set
                supplier_state = v.state, supplier_record = v.record,
                supplier_name = coalesce(v.name, supplier_name),
                supplier_email = case when v.record is null then supplier_email else v.email end,
                supplier_country = coalesce(v.country, supplier_country), updated_at = now()
            from jsonb_to_recordset(:rows) as v(case_id bigint, state text, record jsonb, name text, email text,
                                                country text)
            where r.case_id = v.case_id"""),
        {"rows": Jsonb(found)},
    )
    return []


def _standing(record: Mapping[str, Any] | None) -> Json:
    if record is None:
        return {"state": "new", "record": None}
    address = email(record.get("email"))
    return {
        "state": "blocked" if record.get("blocked") else "active" if record.get("active", True) else "inactive",
        "record": dict(record),
        "name": given(record.get("name")),
        "email": address.address if address else None,
        "country": country(record.get("country")),
    }
