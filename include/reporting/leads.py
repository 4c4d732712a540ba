"""The report on leads: the funnel by source and campaign, how fast leads are answered, and who has how many.

A lead counts when it was sent, a deal when it was opened and when it was won or first lost: each on its own day.
"""

from __future__ import annotations

from include.reporting.model import Column, Figure, Kind, Plot, Report, Sum

# A lead, an opened deal, a won and a lost one are a row each, with what they count for. A deal that was lost first and
# won after all is both, for the day of its loss was told already.
_HAPPENED = """
    select f.source, f.campaign, f.happened_at as at, 1 as leads, (f.match <> 'same')::int as new_contacts,
           0 as deals, 0 as won, 0 as lost
    from report_lead_facts f where f.happened_at >= :since and f.happened_at < :until
    union all
    select l.source, coalesce(l.campaign, ''), d.opened_at, 0, 0, 1, 0, 0
    from deals d join leads l on l.case_id = d.case_id where d.opened_at >= :since and d.opened_at < :until
    union all
    select l.source, coalesce(l.campaign, ''), d.closed_at, 0, 0, 0, 1, 0
    from deals d join leads l on l.case_id = d.case_id
    where d.state = 'won' and d.closed_at >= :since and d.closed_at < :until
    union all
    select l.source, coalesce(l.campaign, ''), d.lost_at, 0, 0, 0, 0, 1
    from deals d join leads l on l.case_id = d.case_id where d.lost_at >= :since and d.lost_at < :until"""
_SUMS = "sum(leads), sum(new_contacts), sum(deals), sum(won), sum(lost)"
_FUNNEL = (
    Column("leads", "Leads"),
    Column("new_contacts", "New people"),
    Column("deals", "Deals opened"),
    Column("won", "Won"),
    Column("lost", "Lost"),
)
_WON_SHARE = Column("won_share", "Won, of those that ended", Kind.SHARE, optional=True)

# A lead is ready when its owner has it in the CRM and its mail is sent: on that day it is counted here.
_READY = """
    select f.source, extract(epoch from f.processed_at - f.received_at) as ready,
           extract(epoch from answer.sent_at - f.received_at) as answered
    from report_lead_facts f
    left join lateral (
        select min(e.sent_at) as sent_at from effects e
        where e.case_id = f.case_id and e.system = 'mail' and e.operation = 'send_mail' and e.sent_at < :until
    ) answer on true
    where f.processed_at >= :since and f.processed_at < :until"""
_TIMES = """
    count(*), count(answered), percentile_cont(0.5) within group (order by answered),
    percentile_cont(0.9) within group (order by answered), percentile_cont(0.5) within group (order by ready),
    percentile_cont(0.9) within group (order by ready)"""

LEADS = Report(
    name="leads",
    title="Leads",
    figures=(
        Figure(
            "totals",
            "In short",
            (
                *_FUNNEL,
                _WON_SHARE,
                Column("answered_after", "Answered after (median)", Kind.SECONDS, optional=True),
            ),
            f"""
            select coalesce(sum(leads), 0), coalesce(sum(new_contacts), 0), coalesce(sum(deals), 0),
                   coalesce(sum(won), 0), coalesce(sum(lost), 0), sum(won)::float8 / nullif(sum(won + lost), 0),
                   (select percentile_cont(0.5) within group (order by answered) from ({_READY}) r)
            from ({_HAPPENED}) h""",
        ),
        Figure(
            "by_source",
            "Funnel by source and campaign",
            (Column("source", "Source", Kind.TEXT), Column("campaign", "Campaign", Kind.TEXT), *_FUNNEL, _WON_SHARE),
            f"""
            select source, campaign, {_SUMS}, sum(won)::float8 / nullif(sum(won + lost), 0)
            from ({_HAPPENED}) h group by source, campaign order by sum(leads) desc, source, campaign""",
            Plot("source", ("leads", "deals", "won")),
        ),
        Figure(
            "by_day",
            "Funnel by day",
            (Column("day", "Day", Kind.DAY), *_FUNNEL),
            f"""
            select day::date, coalesce(sum(leads), 0), coalesce(sum(new_contacts), 0), coalesce(sum(deals), 0),
                   coalesce(sum(won), 0), coalesce(sum(lost), 0)
            from generate_series(cast(:first as timestamp), cast(:end as timestamp) - interval '1 day', '1 day') day
            left join ({_HAPPENED}) h on (h.at at time zone :zone)::date = day::date
            group by day order by day""",
            Plot("day", ("leads", "deals", "won")),
        ),
        Figure(
            "won_value",
            "Value of what was won",
            (
                Column("currency", "Currency", Kind.TEXT),
                Column("deals", "Deals"),
                Column("amount", "Amount", Kind.MONEY),
            ),
            """
            select coalesce(currency, ''), count(*), coalesce(sum(amount), 0) from deals
            where state = 'won' and closed_at >= :since and closed_at < :until
            group by coalesce(currency, '') order by 1""",
        ),
        Figure(
            "response",
            "Response time of the leads that were answered",
            (
                Column("source", "Source", Kind.TEXT),
                Column("leads", "Leads made ready"),
                Column("answered", "Answered by mail"),
                Column("answered_after", "Answered after (median)", Kind.SECONDS, optional=True),
                Column("answered_slow", "… nine of ten within", Kind.SECONDS, optional=True),
                Column("ready_after", "With its owner after (median)", Kind.SECONDS, optional=True),
                Column("ready_slow", "… nine of ten within", Kind.SECONDS, optional=True),
            ),
            f"select source, {_TIMES} from ({_READY}) r group by source order by source",
            Plot("source", ("answered_after",)),
        ),
        Figure(
            "owners",
            "What each owner has",
            (
                Column("owner", "Owner", Kind.TEXT),
                Column("leads", "Leads"),
                Column("open_deals", "Open deals at the end"),
            ),
            """
            select owner, sum(leads), sum(open_deals) from (
                select f.owner, 1 as leads, 0 as open_deals from report_lead_facts f
                where f.happened_at >= :since and f.happened_at < :until
                union all
                select coalesce(l.assignee, ''), 0, 1 from deals d join leads l on l.case_id = d.case_id
                where d.opened_at < :until and coalesce(d.lost_at, d.closed_at, 'infinity') >= :until) load
            group by owner order by sum(leads) desc, sum(open_deals) desc, owner""",
            Plot("owner", ("leads", "open_deals")),
        ),
    ),
    sums=(
        Sum("leads by source", ("totals", "leads"), ("by_source", "leads")),
        Sum("leads by day", ("totals", "leads"), ("by_day", "leads")),
        Sum("leads by owner", ("totals", "leads"), ("owners", "leads")),
        Sum("won deals by source", ("totals", "won"), ("by_source", "won")),
        Sum("won deals by currency", ("totals", "won"), ("won_value", "deals")),
    ),
    controls="""
        select 'won deals and their clients', count(*), count(c.id) from deals d left join clients c on c.deal_id = d.id
        where d.state = 'won' and d.closed_at >= :since and d.closed_at < :until
        union all
        select 'leads that were ready before they came', 0, count(*) from report_lead_facts
        where happened_at >= :since and happened_at < :until and processed_at < received_at""",
)
