"""Steps `open_client`, `handoff` and `log`: a won deal has one client, and finance one case about it."""

from __future__ import annotations

from sqlalchemy import text

from include.cases import store
from include.cases.model import StepResult, Work
from include.contracts.registry import contract
from include.integrations.systems import Effect, Provider

BILLING = "client_billing_setup"


def plan_client(work: Work, crm: Provider) -> list[Effect]:  # noqa: ARG001 - every plan is given its provider
    """Close each deal as won, open its client once, and plan the contact's last lifecycle stage."""
    work.connection.execute(
        text("""
            update deals set state = 'won', amount = coalesce(change.amount, deals.amount),
                             currency = coalesce(change.currency, deals.currency), reason = change.reason,
                             closed_at = change.occurred_at, closed_by = change.case_id
            from deal_changes change
            where change.case_id = any(:ids) and deals.id = change.deal_id and deals.state <> 'won'"""),
        work.values,
    )
    work.connection.execute(
        text("""
            insert into clients (deal_id, contact_id, company_id, case_id, since)
            select deals.id, deals.contact_id, deals.company_id, change.case_id, change.occurred_at
            from deal_changes change join deals on deals.id = change.deal_id
            where change.case_id = any(:ids) order by change.case_id
            on conflict (deal_id) do nothing"""),
        work.values,
    )
    rows = work.connection.execute(
        text("""
            select case_id, coalesce(known.merged_into, known.id)::text, clients.company_id::text
            from clients join directory_contacts known on known.id = contact_id
            where case_id = any(:ids) order by case_id"""),
        work.values,
    )
    return [
        Effect.of(
            work,
            system="crm",
            operation="upsert_contact",
            case_id=case_id,
            target=contact,
            payload={"key": contact, "properties": {"lifecycle_stage": "customer"}, "company_key": company},
        )
        for case_id, contact, company in rows
    ]


def hand_to_finance(work: Work) -> None:
    """Open one case in the billing workflow for each case that opened a client."""
    opened = list(
        work.connection.execute(text("select case_id from clients where case_id = any(:ids)"), work.values).scalars()
    )
    billing = contract(BILLING)
    store.hand_over(
        work.connection,
        to=BILLING,
        stage=billing.step_ids[0] if billing.steps else "received",
        owner=billing.owner.id,
        case_ids=opened,
        waits=billing.status == "declared",
    )


def log(work: Work) -> StepResult:
    """Close each case: it opened the client, or the client was there already."""
    rows = work.connection.execute(
        text("""
            select cases.id, clients.id is not null from cases left join clients on clients.case_id = cases.id
            where cases.id = any(:ids)"""),
        work.values,
    )
    return StepResult(close={case_id: "client opened" if opened else "already a client" for case_id, opened in rows})
