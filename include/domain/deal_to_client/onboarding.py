"""Steps `onboarding_tasks` and `welcome_mail`: what is done for every new client, from onboarding.yaml.

Plans effects only, once for each client; whichever systems are connected deliver them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Literal
from uuid import NAMESPACE_URL, uuid5

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from sqlalchemy import RowMapping, text

from include.cases.model import Work
from include.contracts.documents import DocumentError, read
from include.contracts.registry import load_teams
from include.data.business_time import add, calendar_of
from include.domain.letters import Letter, language_for, write
from include.integrations.systems import Effect, Provider

FILE = Path(__file__).with_name("onboarding.yaml")
TEMPLATES = Path(__file__).with_name("templates")

_teams = cache(load_teams)


class _OfATeam(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    team: str

    @field_validator("team")
    @classmethod
    def _is_known(cls, team: str) -> str:
        if team not in _teams():
            raise ValueError(f"{team!r} is not a team of teams.yaml; write one of: {', '.join(_teams())}")
        return team


class OnboardingTask(_OfATeam):
    """One task for every new client.

    :param title: with {client} where the client's name belongs.
    :param due_hours: business hours of the team's country after the deal was won.
    """

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str
    body: str
    due_hours: float = Field(gt=0)
    priority: Literal["low", "medium", "high"]


class Welcome(_OfATeam):
    """The letter to a new client, and the team that its answer goes to."""

    template: str


class Onboarding(BaseModel):
    """All that is done for a new client."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tasks: list[OnboardingTask] = Field(min_length=1)
    welcome: Welcome

    @field_validator("tasks")
    @classmethod
    def _have_ids_of_their_own(cls, tasks: list[OnboardingTask]) -> list[OnboardingTask]:
        ids = [task.id for task in tasks]
        for task_id in ids:
            if ids.count(task_id) > 1:
                raise ValueError(f"the task {task_id!r} is declared twice")
        return tasks


def load(path: Path = FILE) -> Onboarding:
    """Read the template of the onboarding. DocumentError says what is wrong with it."""
    try:
        return Onboarding.model_validate(read(path))
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise DocumentError(f"{path.name}: {'; '.join(faults)}") from None


@cache
def onboarding() -> Onboarding:
    """The shipped template, read once per process."""
    return load()


def plan_onboarding_tasks(work: Work, crm: Provider) -> list[Effect]:  # noqa: ARG001 - every plan is given its provider
    """Plan the tasks of each client that the cases of `work` opened."""
    effects = []
    for client in _clients(work):
        for task in onboarding().tasks:
            team = _teams()[task.team]
            calendar = calendar_of(team.country, team.region, team.zone)
            due = add(client["since"], timedelta(hours=task.due_hours), calendar)
            key = str(uuid5(NAMESPACE_URL, f"waybill:{work.workflow}/{client['deal_id']}/task/{task.id}"))
            properties = {
                "subject": task.title.replace("{client}", _name(client))[:200],
                "body": task.body,
                "due_at": due.isoformat(),
                "owner": team.email,
                "priority": task.priority,
            }
            links = {name: client[f"{name}_id"] for name in ("contact", "deal", "company")}
            effects.append(
                Effect.of(
                    work,
                    system="crm",
                    operation="create_task",
                    case_id=client["case_id"],
                    target=key,
                    payload={
                        "key": key,
                        "properties": properties,
                        **{f"{name}_key": value for name, value in links.items() if value},
                    },
                )
            )
    return effects


def plan_welcome_mail(work: Work, mail: Provider) -> list[Effect]:  # noqa: ARG001 - every plan is given its provider
    """Plan the welcome to each new client who has an address and did not object.

    It belongs to the contract with the client, so it needs no consent of its own.
    """
    welcome = onboarding().welcome
    team = _teams()[welcome.team]
    effects = []
    for client in _clients(work):
        if not client["email"] or client["suppressed"]:
            continue
        letter = Letter(
            folder=TEMPLATES,
            template=welcome.template,
            language=language_for(client["language"], client["country"]),
            to=client["email"],
            first_name=client["first_name"],
            values={"team": team.name},
            basis="client",
            reply_to=team.email,
        )
        effects.append(
            Effect.of(
                work,
                system="mail",
                operation="send_mail",
                case_id=client["case_id"],
                target=client["email_key"] or client["email"],
                payload=write(letter),
            )
        )
    return effects


def _name(client: RowMapping) -> str:
    name: Any = client["company"] or client["full_name"] or client["email"] or "the new client"
    return str(name)


def _clients(work: Work) -> Sequence[RowMapping]:
    """The clients that the cases opened, with whom to write to, and in which language their last lead was."""
    return (
        work.connection.execute(
            text("""
                select clients.case_id, clients.deal_id::text, person.id::text as contact_id, clients.company_id::text,
                       clients.since, person.email, person.email_key, person.first_name, person.full_name,
                       person.country, company.name as company, lead.language,
                       exists (select from suppressions where suppressions.email_key = person.email_key
                               or suppressions.email_key = lower(person.email)) as suppressed
                from clients
                join directory_contacts own on own.id = clients.contact_id
                join directory_contacts person on person.id = coalesce(own.merged_into, own.id)
                left join directory_companies company on company.id = clients.company_id
                left join lateral (
                    select language from leads
                    where leads.contact_id = clients.contact_id and language is not null
                    order by case_id desc limit 1) lead on true
                where clients.case_id = any(:ids) order by clients.case_id"""),
            work.values,
        )
        .mappings()
        .all()
    )
