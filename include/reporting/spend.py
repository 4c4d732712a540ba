"""The report on spending: what was booked where, how budgets stand, how long approvals take, and what does not match.

Money counts on the company's day on which it is booked, as in the journal and in the budgets, for then no document
falls between two reports; of which months the documents are is told beside it. Decisions count when they were made.
Only a budget's amount is today's.
"""

from __future__ import annotations

from include.reporting.model import Column, Figure, Kind, Plot, Report, Sum

_BOOKED = """
    select j.cost_centre, j.case_id, j.booked_on, i.invoice_date, j.debit - j.credit as amount
    from journal_lines j join supplier_invoices i using (case_id)
    where j.cost_centre is not null and j.booked_on >= :first and j.booked_on < :end"""

# A stage is decided by its last approval, or by a rejection; one that is still open was not decided.
_DECIDED = """
    select r.workflow, s.rule, d.at - s.opened_at as took, d.at > s.due_at as late, d.answer = 'reject' as rejected
    from (select distinct on (stage_id) stage_id, at, answer from approval_decisions
          where answer in ('approve', 'reject') order by stage_id, id desc) d
    join approval_stages s on s.id = d.stage_id join approval_rounds r on r.id = s.round_id
    where d.at >= :since and d.at < :until and (s.state = 'approved' or d.answer = 'reject')"""
# An order that is changed frees what it had (`commit/…/instead`) and commits anew: only the difference is new.
_COMMITTED = """
    select coalesce(sum(committed), 0) from budget_entries
    where key like 'commit/%' and at >= :since and at < :until"""

_TOOK = "percentile_cont({}) within group (order by extract(epoch from took))"

_SET_ASIDE = """
    select e.workflow, r ->> 'code' as code, e.case_id from events e, jsonb_array_elements(e.detail -> 'reasons') r
    where e.workflow in ('supplier_invoice', 'goods_receipt') and e.kind = 'quarantined'
      and e.at >= :since and e.at < :until"""

SPEND = Report(
    name="spend",
    title="Spending",
    figures=(
        Figure(
            "totals",
            "In short",
            (
                Column("amount", "Booked", Kind.MONEY, signed=True),
                Column("documents", "Invoices and credit notes"),
                Column("committed", "Committed by new and changed orders", Kind.MONEY, signed=True),
                Column("over_budget", "Budgets that are exceeded"),
                Column("decided", "Decisions of approval"),
                Column("took", "Decided after (median)", Kind.SECONDS, optional=True),
                Column("exceptions", "Documents that did not match"),
            ),
            f"""
            select coalesce(sum(amount), 0), count(distinct case_id),
                   ({_COMMITTED}),
                   (select count(*) from (
                        select from budgets b join budget_entries e on e.budget_id = b.id and e.at < :until
                        where b.starts < :end and b.ends >= :first
                        group by b.id having sum(e.committed + e.consumed) > b.amount) over_budget),
                   (select count(*) from ({_DECIDED}) d), (select {_TOOK.format(0.5)} from ({_DECIDED}) d),
                   (select count(distinct case_id) from ({_SET_ASIDE}) a)
            from ({_BOOKED}) b""",
        ),
        Figure(
            "by_cost_centre",
            "Booked by cost centre",
            (
                Column("cost_centre", "Cost centre", Kind.TEXT),
                Column("amount", "Booked", Kind.MONEY, signed=True),
                Column("documents", "Invoices and credit notes"),
            ),
            f"""
            select cost_centre, sum(amount), count(distinct case_id) from ({_BOOKED}) b
            group by cost_centre order by cost_centre""",
            Plot("cost_centre", ("amount",)),
        ),
        Figure(
            "by_day",
            "Booked by day",
            (Column("day", "Day", Kind.DAY), Column("amount", "Booked", Kind.MONEY, signed=True)),
            f"""
            select day::date, coalesce(sum(amount), 0)
            from generate_series(cast(:first as timestamp), cast(:end as timestamp) - interval '1 day', '1 day') day
            left join ({_BOOKED}) b on b.booked_on = day::date group by day order by day""",
            Plot("day", ("amount",)),
        ),
        Figure(
            "by_month",
            "Booked by month of the document",
            (
                Column("month", "Month", Kind.TEXT),
                Column("amount", "Booked", Kind.MONEY, signed=True),
                Column("documents", "Invoices and credit notes"),
            ),
            f"""
            select to_char(invoice_date, 'YYYY-MM') as month, sum(amount), count(distinct case_id) from ({_BOOKED}) b
            group by month order by month""",
            Plot("month", ("amount",)),
        ),
        Figure(
            "budgets",
            "Budgets as they stood at the end",
            (
                Column("cost_centre", "Cost centre", Kind.TEXT),
                Column("category", "Category", Kind.TEXT),
                Column("starts", "From", Kind.DAY),
                Column("amount", "Budget", Kind.MONEY),
                Column("consumed", "Booked", Kind.MONEY, signed=True),
                Column("committed", "Committed", Kind.MONEY),
                Column("used", "Used", Kind.PERCENT, optional=True, signed=True),
            ),
            """
            select b.cost_centre, b.category, b.starts, b.amount, coalesce(sum(e.consumed), 0),
                   coalesce(sum(e.committed), 0), coalesce(sum(e.consumed + e.committed), 0) / nullif(b.amount, 0)
            from budgets b left join budget_entries e on e.budget_id = b.id and e.at < :until
            where b.starts < :end and b.ends >= :first
            group by b.id order by b.cost_centre, b.category, b.starts""",
            Plot("cost_centre", ("consumed", "committed")),
        ),
        Figure(
            "approvals",
            "How long decisions took, by stage",
            (
                Column("workflow", "Workflow", Kind.TEXT),
                Column("rule", "Stage", Kind.TEXT),
                Column("decided", "Decided"),
                Column("rejected", "Rejected"),
                Column("late", "After their time"),
                Column("took", "After (median)", Kind.SECONDS, optional=True),
                Column("slow", "… nine of ten within", Kind.SECONDS, optional=True),
            ),
            f"""
            select replace(workflow, '_', ' '), rule, count(*), count(*) filter (where rejected),
                   count(*) filter (where late), {_TOOK.format(0.5)}, {_TOOK.format(0.9)}
            from ({_DECIDED}) d group by workflow, rule order by workflow, rule""",
            Plot("rule", ("took",)),
        ),
        Figure(
            "exceptions",
            "What did not match",
            (
                Column("workflow", "Workflow", Kind.TEXT),
                Column("code", "Reason", Kind.TEXT),
                Column("times", "Times"),
                Column("cases", "Documents"),
            ),
            f"""
            select replace(workflow, '_', ' '), code, count(*), count(distinct case_id) from ({_SET_ASIDE}) a
            group by workflow, code order by 3 desc, 1, 2""",
            Plot("code", ("cases",)),
        ),
    ),
    sums=(
        Sum("booked by cost centre", ("totals", "amount"), ("by_cost_centre", "amount")),
        Sum("booked by day", ("totals", "amount"), ("by_day", "amount")),
        Sum("booked by month of the document", ("totals", "amount"), ("by_month", "amount")),
        Sum("decisions by stage", ("totals", "decided"), ("approvals", "decided")),
    ),
    controls="""
        select 'debit and credit of the days', coalesce(sum(debit), 0), coalesce(sum(credit), 0) from journal_lines
        where booked_on >= :first and booked_on < :end
        union all
        select 'budgets and the sum of their entries', (select coalesce(sum(committed + consumed), 0) from budgets),
               (select coalesce(sum(committed + consumed), 0) from budget_entries)""",
)
