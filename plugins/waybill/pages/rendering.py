"""How a page is made of its template: the frame that all pages have, and headers that let nothing in from outside."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from include.approvals.people import people
from include.contracts.registry import contract, load_teams
from include.environment import base_url, current
from waybill.pages.visitor import Said, Visitor, sealed, unsealed

PREFIX = "/waybill"
FOLDER = Path(__file__).parent
TABS = {
    "board": "Board",
    "cases": "Cases",
    "quarantine": "Quarantine",
    "effects": "Effects",
    "approvals": "Approvals",
    "alerts": "Alerts",
    "reports": "Reports",
    "map": "Map",
    "health": "Health",
}
"""Path of a page below `PREFIX` -> its name in the navigation."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "private, no-store",
}


def page(
    template: str,
    visitor: Visitor | None,
    *,
    tab: str,
    said: str | None = None,
    refused: str = "",
    status: int = 200,
    **values: Any,
) -> HTMLResponse:
    """Return a page.

    :param visitor: who looks; None for a page that is the same for everybody.
    :param tab: the path of the tab that it belongs to; empty for none.
    :param said: what `redirect` put into the address.
    :param refused: why nothing was changed by the form that this page answers.
    """
    shown = Said(f"Nothing was changed: {refused}.", refused=True) if refused else unsealed(said)
    body = (
        _templates()
        .get_template(template)
        .render(visitor=visitor, tab=tab, said=shown, environment=current(), **values)
    )
    return HTMLResponse(body, status_code=status, headers=HEADERS)


def redirect(path: str, message: str, *, refused: bool = False) -> RedirectResponse:
    """Lead to a page after an action, and say there what was done.

    :param path: below `PREFIX`, with its own parameters.
    :param refused: whether nothing was done of what was asked; it is said as an alert then.
    """
    join = "&" if "?" in path else "?"
    return RedirectResponse(f"{PREFIX}/{path}{join}said={sealed(Said(message, refused))}", status_code=303)


def ago(moment: datetime | None) -> Markup:
    """A moment of the past for people: `3 h`, `2 d`; the moment itself is told to whoever points at it."""
    if moment is None:
        return Markup("")
    seconds = max(0, int((datetime.now(UTC) - moment).total_seconds()))
    lengths = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    unit, length = next((each for each in lengths if seconds >= each[1]), lengths[-1])
    return Markup('<time datetime="{}" title="{}">{} {}</time>').format(
        moment.isoformat(), _utc(moment), seconds // length, unit
    )


def when(moment: datetime | None) -> Markup:
    """A moment for people, in UTC as in Airflow's own pages."""
    return Markup('<time datetime="{}">{}</time>').format(moment.isoformat(), _utc(moment)) if moment else Markup("")


def due(moment: datetime | None) -> Markup:
    """A moment until which something must be; told by its word when it is past."""
    if moment is None or moment >= datetime.now(UTC):
        return when(moment)
    return Markup('<span class="bad">late since {}</span>').format(when(moment))


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def owner_name(owner: str) -> str:
    """The name of a person or a team."""
    team = _teams().get(owner)
    return team.name if team else people().name(owner)


def workflow_title(workflow: str) -> str:
    """The title of a workflow; its id in words where no contract has it, such as Waybill itself."""
    try:
        return contract(workflow).title
    except KeyError:
        return words(workflow)


def step_title(workflow: str, step: str | None) -> str:
    """The title of a step; its id in words where no contract has it, and nothing where there is none."""
    try:
        return contract(workflow).step(step).title if step else ""
    except KeyError:
        return (step or "").replace("_", " ")


def words(name: str) -> str:
    """An identifier as the beginning of a sentence: `Cases quarantined`."""
    said = name.replace("_", " ")
    return said[:1].upper() + said[1:]


def run_link(dag_id: str, run_id: str) -> str:
    """The address of a run in Airflow."""
    return f"{base_url()}/dags/{dag_id}/runs/{run_id}"


_teams = cache(load_teams)


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "ago": ago,
        "when": when,
        "due": due,
        "owner": owner_name,
        "workflow": workflow_title,
        "number": "{:,}".format,
        "words": words,
    }
    environment.globals |= {"tabs": TABS, "prefix": PREFIX, "run_link": run_link, "step_title": step_title}
    return environment
