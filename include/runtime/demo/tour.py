"""Where to look after the demo: each ops page, with what is to be seen on it now."""

from __future__ import annotations

from rich.table import Table
from sqlalchemy import text

from include.monitoring.service_levels.facts import lateness
from include.monitoring.views import alert_list, duplicates, effects, quarantine
from include.runtime.demo.stage import Stage

COUNTS = text("""
    select (select count(*) from cases) as cases,
           (select count(*) from cases where state = 'waiting') as waiting,
           (select count(distinct case_id) from approval_rounds where state = 'open') as asked,
           (select count(*) from report_editions) as editions,
           (select count(*) from service_levels where met_at is not null) as met,
           (select count(*) from service_levels where missed_at is not null) as missed""")


def print_tour(stage: Stage) -> None:
    """Print the pages, and what is there now."""
    with stage.engine.connect() as connection:
        counts = connection.execute(COUNTS).one()
        late = lateness(connection).values()
        aside = [group for groups in quarantine.groups(connection).values() for group in groups]
        trouble = sum(group.effects for group in effects.groups(connection))
        pairs = duplicates.count_open(connection)
        alerts = alert_list.open_alerts(connection)
    seen = {
        "board": f"every workflow: {counts.cases} cases, {counts.waiting} wait; "
        f"{sum(each.late for each in late)} are late, {sum(each.soon for each in late)} soon will be",
        "cases": "one case's whole story: search for SO-4711, a company, or an e-mail address",
        "quarantine": f"{_of(len(aside), 'reasons')} why cases are set aside: correct and release one",
        "quarantine/duplicates": f"{_of(pairs, 'pairs of contacts')} that may be one person: merge or keep apart",
        "effects": f"the systems and what goes to them; {_of(trouble, 'effects in trouble')}",
        "approvals": f"{_of(counts.asked, 'requests')} waiting for a decision",
        "alerts": f"{_of(len(alerts), 'alerts')} open: {', '.join(sorted({each.kind for each in alerts})) or '–'}",
        "reports": f"{_of(counts.editions, 'editions')} with tables and plots, and who got them",
        "map": "every workflow as its contract draws it, with live counts",
        "health": f"service levels: {counts.met} met, {counts.missed} missed; errors, runs, data quality",
    }
    table = Table("page", "what is to be seen", title="Where to look", title_justify="left", box=None, padding=(0, 2))
    for page, what in seen.items():
        table.add_row(f"{stage.home.url}/waybill/{page}", what.replace("_", " "))
    stage.console.print(table)


def _of(count: int, what: str) -> str:
    one, _, rest = what.partition(" ")
    return f"1 {one.removesuffix('s')} {rest}".strip() if count == 1 else f"{count or 'no'} {what}"
