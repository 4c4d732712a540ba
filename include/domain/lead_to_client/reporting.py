"""Steps `sync_reporting` and `log`: the fact of each lead, and the end of its case.

One fact per case, however often it is written; the funnel is a view over the facts.
"""

from __future__ import annotations

from sqlalchemy import text

from include.cases.model import StepResult, Work

OUTCOMES = {"new": "new contact", "same": "merged", "possible": "new contact, possible duplicate"}


def sync_reporting(work: Work) -> None:
    """Write or renew the fact of each lead; its day is the day of its arrival, in UTC.

    It happened when it was sent, be that long before.
    """
    work.connection.execute(
        text("""
            insert into report_lead_facts (case_id, day, source, campaign, segment, owner, country, match,
                                           contact_id, deal_id, mail, happened_at, received_at, processed_at)
            select leads.case_id, (cases.created_at at time zone 'UTC')::date, leads.source,
                   coalesce(campaign, ''), coalesce(segment, ''), coalesce(assignee, ''), coalesce(country, ''),
                   match, contact_id, deal_id, coalesce(mail, ''),
                   least(leads.submitted_at, cases.created_at), cases.created_at, clock_timestamp()
            from leads join cases on cases.id = leads.case_id
            where leads.case_id = any(:ids)
            on conflict (case_id) do update set
                source = excluded.source, campaign = excluded.campaign, segment = excluded.segment,
                owner = excluded.owner, country = excluded.country, match = excluded.match,
                contact_id = excluded.contact_id, deal_id = excluded.deal_id, mail = excluded.mail,
                happened_at = excluded.happened_at"""),
        work.values,
    )


def log(work: Work) -> StepResult:
    """Close each case with what came of it."""
    rows = work.connection.execute(text("select case_id, match from leads where case_id = any(:ids)"), work.values)
    return StepResult(close={case_id: OUTCOMES[match] for case_id, match in rows})
