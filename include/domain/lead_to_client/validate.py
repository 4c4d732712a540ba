"""The step `validate`: sets leads aside that nobody could work with, each with its reasons; the others go on.

The rules are in `expectations`. What is unusual about a batch leaves an event and stops nothing.
"""

from __future__ import annotations

import logging

import pandas as pd

from include.cases import store
from include.cases.model import Reason, StepResult, Work
from include.data.frames import read_frame
from include.data.validation import documents
from include.data.validation.runner import Checked, check
from include.domain.lead_to_client.expectations import (
    FEWEST_FOR_A_SHARE,
    LONGEST,
    batch_suite,
    by_source,
    lead_suite,
    observed,
)

log = logging.getLogger(__name__)

LEADS = """
    select case_id, source, submitted_at, email, phone, full_name, company, country, region, city, postal_code,
           language, job_title, company_size, interest, message, consent, consent_at, external_id,
           jsonb_build_object('email', raw->'email', 'phone', raw->'phone', 'country', raw->'country',
                              'consent', raw->'consent')
           || coalesce((select jsonb_object_agg(field, value order by id) from corrections
                        where corrections.case_id = leads.case_id), '{}') as sent
    from leads where case_id = any(:ids) order by case_id"""


def validate(work: Work) -> StepResult:
    """Check the leads of a batch; the ones that fail are quarantined with one reason per fault."""
    leads = read_frame(work.connection, LEADS, work.values)
    unread = set(work.case_ids) - set(leads["case_id"].tolist())
    reasons = {case_id: [_not_normalised()] for case_id in unread}
    if leads.empty:
        return StepResult(quarantine=reasons)
    frame = observed(leads, pd.Timestamp.now(tz="UTC"))
    checked = check(frame, lead_suite, "case_id")
    sources = by_source(frame, set(checked.failures))
    enough = sources[sources["leads"] >= FEWEST_FOR_A_SHARE]
    unusual = check(enough, batch_suite, "source")  # a single lead is not kept waiting for it
    _warn(work, frame, checked, sources, unusual)
    for found in (checked, unusual):
        documents.offer(found.outcome, run_id=work.run_id)
    return StepResult(quarantine=checked.failures | reasons)


def preload() -> None:
    """Pay for imports, suites and page templates once, in the process whose children run this step."""
    columns = (*LONGEST, "phone", "country", "language", "submitted_at", "company_size", "consent", "consent_at")
    nobody = dict.fromkeys(columns) | {"case_id": 0, "source": "", "sent": {}}
    frame = observed(pd.DataFrame([nobody], dtype=object), pd.Timestamp.now(tz="UTC"))
    for checked in (check(frame, lead_suite, "case_id"), check(by_source(frame, {0}), batch_suite, "source")):
        if checked.outcome is not None:
            documents.rendered(checked.outcome)


def _not_normalised() -> Reason:
    return Reason("lead.not_normalised", "The case came here without its fields. Release it, so that it starts again.")


def _warn(work: Work, frame: pd.DataFrame, checked: Checked, sources: pd.DataFrame, unusual: Checked) -> None:
    """Leave events: on each lead its own warnings, and on a source's first lead what is unusual about the source."""
    store.record_each(
        work.connection,
        "validation.warning",
        {case_id: {"codes": codes} for case_id, codes in checked.warnings.items()},
    )
    figures = {row["source"]: row for row in sources.to_dict("records")}
    first_of = frame.groupby("source")["case_id"].min().to_dict()
    for source, codes in unusual.warnings.items():
        shares = {
            str(name): round(float(value), 3)
            for name, value in figures[source].items()
            if str(name).endswith("_share") and pd.notna(value)
        }
        detail = {"codes": codes, "source": source, "leads": int(figures[source]["leads"]), **shares}
        log.warning("the leads of %s are unusual: %s", source, detail)
        store.record(work.connection, "validation.warning", [int(first_of[source])], detail)
