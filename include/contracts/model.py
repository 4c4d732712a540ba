"""The shape of a contract: what a workflow must say about itself before it may run.

It validates and answers questions about one contract; finding and reading the files is registry.py's part.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from include.data.business_time import calendar_of

Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
SourceName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=60)]
Text = Annotated[str, Field(min_length=3)]
Email = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]

SOONEST_ESCALATION = timedelta(minutes=15)
"""What is promised within minutes, and late, often is done before anybody could have looked."""
_DURATION = re.compile(r"^(\d+(?:\.\d+)?)\s*(s|m|h|d)$")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _duration(value: Any) -> Any:
    """`15m`, `4h`, `30s`, `2d` as a timedelta; one d is 24 hours of the clock that it is measured by."""
    if isinstance(value, timedelta):
        return value
    match = _DURATION.match(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a duration; write a number and s, m, h or d, such as 15m or 4h")
    duration = timedelta(**{_UNITS[match[2]]: float(match[1])})
    if not duration:
        raise ValueError("a duration must be more than zero")
    return duration


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    WithJsonSchema({"type": "string", "pattern": _DURATION.pattern, "examples": ["15m", "4h", "2d"]}),
]


class Strict(BaseModel):
    """A part of a contract: unknown keys are refused, and nothing changes it after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, str_strip_whitespace=True)


class OnCall(Strict):
    """Who is called at 2 a.m., and how."""

    name: Text
    reach: Text = Field(description="A telephone number or a paging address that wakes somebody")


class Team(Strict):
    """Those who answer for something: one entry of teams.yaml."""

    id: Identifier
    name: Text
    email: Email
    chat: Annotated[str, Field(pattern=r"^#[a-z0-9_-]+$")] = Field(description="Channel for alerts that need an action")
    notices: Annotated[str, Field(pattern=r"^#[a-z0-9_-]+$")] = Field(description="Channel for news that needs none")
    on_call: OnCall
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] = Field(
        description="ISO 3166-1 code; its holidays and clock are those of this team's business hours"
    )
    region: str | None = Field(default=None, description="Part of the country that has holidays of its own, such as BY")
    zone: str | None = Field(default=None, description="IANA time zone, where the country's main one is not the team's")
    code_owner: Annotated[str, Field(pattern=r"^@\S+$")] = Field(description="Name in CODEOWNERS")

    @model_validator(mode="after")
    def _has_a_calendar(self) -> Team:
        calendar_of(self.country, self.region, self.zone)
        return self


def _team(value: Any, info: ValidationInfo) -> Any:
    """A team's id as the team itself, from the teams in the validation context."""
    if isinstance(value, Team):
        return value
    teams: dict[str, Team] = (info.context or {}).get("teams", {})
    if isinstance(value, str) and value in teams:
        return teams[value]
    known = ", ".join(sorted(teams)) or "none are declared"
    raise ValueError(f"{value!r} is not a team of teams.yaml; add it there, or write one of: {known}")


Owner = Annotated[
    Team,
    BeforeValidator(_team),
    WithJsonSchema({"type": "string", "x-team": True, "description": "A team's id in teams.yaml"}),
]


class Stop(Strict):
    """When the clock of a service level stands still."""

    state: Literal["waiting", "asked", "quarantined"] = Field(
        description=(
            "waiting: for somebody, or for what they bring. asked: for an answer of whoever made the request. "
            "quarantined: set aside, for a correction"
        )
    )
    at: list[Identifier] = Field(default_factory=list, description="Only at these steps; none named: at any step")


class ServiceLevel(Strict):
    """How long something may take, and by which clock."""

    within: Duration
    business_hours: bool = Field(description="true: only the business hours of the owner's country count")
    clock: Literal["received", "entered"] = Field(
        description="received: counts from the case's delivery; entered: from when the case reached the step"
    )
    warn_at: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.8, description="Share of `within` after which the owner is told that it is about to be late"
    )
    escalate_after: Duration | None = Field(
        default=None,
        description="How late it is, by the same clock, when the next in line is told; null: half of `within`, or 15m",
    )
    stops_while: list[Stop] = Field(default_factory=list, description="The clock stands still meanwhile")

    @property
    def escalates(self) -> timedelta:
        """After how long, from the beginning, the next in line is told."""
        return self.within + (self.escalate_after or max(self.within / 2, SOONEST_ESCALATION))

    def stands(self, state: str, step: str) -> bool:
        """Tell whether the clock stands still while a case is in `state` at `step`; `asked` implies `waiting`."""
        states = ("asked", "waiting") if state == "asked" else (state,)
        return any(stop.state in states and (not stop.at or step in stop.at) for stop in self.stops_while)

    def __str__(self) -> str:
        """For people: `4 business hours after it was received, not counting while it waits`."""
        minutes = int(self.within.total_seconds() // 60)
        kind = "business " if self.business_hours else ""
        if minutes and minutes % 60 == 0:
            amount = f"{minutes // 60} {kind}hour" + ("s" if minutes != 60 else "")
        elif minutes:
            amount = f"{minutes} {kind}minute" + ("s" if minutes != 1 else "")
        else:
            amount = f"{self.within.total_seconds():g} {kind}seconds"
        since = f"{amount} after it {'was received' if self.clock == 'received' else 'reached the step'}"
        return f"{since}, not counting while it {self._stops()}" if self._stops() else since

    def _stops(self) -> str:
        words = {"waiting": "waits", "asked": "waits for the requester's answer", "quarantined": "is set aside"}
        return " or ".join(
            words[stop.state] + (f" at {' and '.join(f'`{step}`' for step in stop.at)}" if stop.at else "")
            for stop in self.stops_while
        )


class StepServiceLevel(ServiceLevel):
    """How long a case may stand at a step. What is set aside stands with a person, so by default it does not count."""

    stops_while: list[Stop] = Field(
        default_factory=lambda: [Stop(state="quarantined")], description="The clock stands still meanwhile"
    )

    def _stops(self) -> str:
        stops = [stop for stop in self.stops_while if stop != Stop(state="quarantined")]
        return ServiceLevel._stops(self.model_copy(update={"stops_while": stops}))


class Trigger(Strict):
    """What makes a case of this workflow begin."""

    kind: Literal["deliveries", "handoff", "schedule", "manual"]
    description: Text


class Input(Strict):
    """Something that the workflow is given."""

    name: Text
    description: Text
    required: bool
    personal: bool = Field(description="true: it can identify a person, so it stays out of logs and of events")


class Risk(Strict):
    """Something that can go wrong in a step, and what happens then."""

    what: Text
    then: Text


class Step(Strict):
    """One named stage. Its id is the id of the Airflow task that implements it."""

    id: Identifier
    title: Text
    owner: Owner
    does: Text
    systems: list[Identifier] = Field(description="Roles from `systems`, or `database`")
    can_go_wrong: Annotated[list[Risk], Field(min_length=1)]
    service_level: StepServiceLevel


class Decision(Strict):
    """A point where a case can go more than one way."""

    id: Identifier
    step: Identifier
    question: Text
    decided_by: Literal["rule", "person"]
    rule: Text = Field(description="Where the rule is written, or who decides")
    outcomes: Annotated[list[Text], Field(min_length=2)]
    recorded_in: Text


class SystemOperation(Strict):
    """One kind of effect, and what is promised about how often it happens."""

    operation: Identifier
    delivery: Literal["at_most_once", "at_least_once"]
    settled_by: Literal["resend", "lookup", "assume_sent"]
    why: Text
    compensation: str | None = Field(default=None, description="What undoes it; null when nothing can")

    @model_validator(mode="after")
    def _settling_keeps_the_promise(self) -> SystemOperation:
        if (self.settled_by == "assume_sent") != (self.delivery == "at_most_once"):
            raise ValueError(
                f"{self.operation}: at_most_once goes with settled_by assume_sent, "
                "and at_least_once with resend or lookup"
            )
        return self


class SystemUse(Strict):
    """An outside system by its role, and what the workflow does to it."""

    role: Literal["crm", "erp", "mail", "chat", "reporting", "warehouse", "sheets", "webhook", "airflow"]
    purpose: Text
    operations: list[SystemOperation]


class FieldRule(Strict):
    """Who owns a field of the CRM, and so when this workflow may write it."""

    owner: Literal["form", "crm", "sales"]
    rule: Literal["first", "latest", "fill_blank", "never_backwards"] = Field(
        description=(
            "first: the first value known stays. latest: the newest value that is not blank. fill_blank: "
            "written only where the CRM has nothing. never_backwards: written only when later in `order`."
        )
    )
    order: list[Text] | None = None

    @model_validator(mode="after")
    def _rule_is_possible(self) -> FieldRule:
        if (self.rule == "never_backwards") != bool(self.order):
            raise ValueError("`order` goes with never_backwards, and only with it; list the values from first to last")
        if self.order and len(set(self.order)) != len(self.order):
            raise ValueError("`order` names a value twice")
        if self.rule == "latest" and self.owner != "form":
            raise ValueError(f"a field that {self.owner} owns is never overwritten; write fill_blank or first")
        return self


class Handoff(Strict):
    """A case that gives rise to a case of another workflow."""

    to: Identifier
    step: Identifier
    when: Text
    carries: Annotated[list[Text], Field(min_length=1)]


class ExceptionCase(Strict):
    """A reason for which a case stops, and what a person does about it."""

    code: Annotated[str, Field(pattern=r"^[a-z_]+(\.([a-z_]+|\*))+$")] = Field(
        description="As in the case's reasons; a last part of * stands for any"
    )
    meaning: Text
    do: Text
    owner: Owner
    may_write: list[Identifier] = Field(
        default_factory=list,
        description="Fields that a correction may give beside those that are received, such as accept_difference",
    )


class Output(Strict):
    """Something that the workflow leaves behind."""

    name: Text
    where: Text
    used_by: Text


class Retention(Strict):
    """How long each kind of record is kept, and why."""

    deliveries: Duration
    personal_data: Duration
    events: Duration
    why: Text


class Contract(Strict):
    """A workflow's declaration. Everything that Waybill generates about it comes from here."""

    workflow: Identifier
    title: Text
    purpose: Text
    status: Literal["declared", "built"]
    owner: Owner
    approvers: Annotated[list[Owner], Field(min_length=1)] = Field(description="Who approves a change of this contract")
    dags: dict[Identifier, Text] = Field(description="DAGs that carry this workflow, and what each is for")
    trigger: Trigger
    sources: list[SourceName]
    inputs: Annotated[list[Input], Field(min_length=1)]
    steps: list[Step]
    decisions: list[Decision]
    systems: list[SystemUse]
    fields: dict[Literal["company", "contact", "deal"], dict[Identifier, FieldRule]] = Field(
        default_factory=dict, description="Ownership of the CRM's fields"
    )
    handoffs: list[Handoff]
    exceptions: list[ExceptionCase]
    outputs: list[Output]
    service_level: ServiceLevel
    retention: Retention

    @model_validator(mode="after")
    def _hangs_together(self) -> Contract:
        problems = list(self._problems())
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _problems(self) -> Iterable[str]:
        steps = self.step_ids
        roles = [system.role for system in self.systems]
        operations = [entry.operation for system in self.systems for entry in system.operations]
        declared: dict[str, list[str]] = {
            "steps": steps,
            "systems": list(roles),
            "operations": operations,
            "decisions": [decision.id for decision in self.decisions],
            "exceptions": [exception.code for exception in self.exceptions],
        }
        for name, values in declared.items():
            for value in sorted({value for value in values if values.count(value) > 1}):
                yield f"{name}: {value!r} is declared twice; keep one of the two"
        if self.status == "built" and not steps:
            yield "a built workflow has steps; declare them, or write `status: declared`"
        if self.status == "built" and not self.dags:
            yield "a built workflow is carried by a DAG; name it under `dags`, or write `status: declared`"
        if self.status == "declared" and self.dags:
            yield "a workflow that has DAGs is built; write `status: built`"
        yield from self._loose_ends()

    def _loose_ends(self) -> Iterable[str]:
        steps, roles = self.step_ids, {system.role for system in self.systems}
        touched = {role: step.id for step in self.steps for role in step.systems if role != "database"}
        for role in sorted(touched.keys() - roles):
            yield f"step {touched[role]!r} touches {role!r}; declare that under `systems`, or take it out"
        for role in sorted(roles - touched.keys()) if steps else ():
            yield f"system {role!r} is touched by no step; name it in a step's `systems`, or take it out"
        named = [("decision", entry.step) for entry in self.decisions]
        named += [("handoff", entry.step) for entry in self.handoffs]
        levels = [self.service_level, *(step.service_level for step in self.steps)]
        named += [("stops_while", step) for level in levels for stop in level.stops_while for step in stop.at]
        for kind, step in named:
            if step not in steps:
                known = ", ".join(steps) or "none; declare it"
                yield f"{kind} names the step {step!r}, which is not declared; there are: {known}"

    @property
    def step_ids(self) -> list[str]:
        """The steps' ids, in the order in which a case meets them."""
        return [step.id for step in self.steps]

    @property
    def has_cases(self) -> bool:
        """Whether work comes as cases, which the first step captures; else its runs are what is measured."""
        return not self.steps or self.steps[0].id == "capture"

    @property
    def first_stage(self) -> str:
        """The stage of a new case; `received` where the workflow has no steps yet, and its cases wait."""
        return self.steps[0].id if self.steps else "received"

    def step(self, step_id: str) -> Step:
        """The step of that id; KeyError says which there are."""
        for step in self.steps:
            if step.id == step_id:
                return step
        raise KeyError(f"{self.workflow} has no step {step_id!r}; it has {', '.join(self.step_ids)}")

    def operation(self, name: str) -> SystemOperation:
        """What is promised about an operation; KeyError when the contract does not declare it."""
        for system in self.systems:
            for entry in system.operations:
                if entry.operation == name:
                    return entry
        raise KeyError(f"{self.workflow} declares no operation {name!r}; write it under `systems`")

    def exception(self, code: str) -> ExceptionCase | None:
        """What to do about a reason code: the exact entry, else the longest fitting one that ends in *."""
        best: ExceptionCase | None = None
        for entry in self.exceptions:
            if entry.code == code:
                return entry
            if (
                entry.code.endswith(".*")
                and code.startswith(entry.code[:-1])
                and (best is None or len(entry.code) > len(best.code))
            ):
                best = entry
        return best

    def answers_for(self, step_id: str | None) -> Team:
        """The team that answers for a step; for an unknown step or None, the workflow's owner."""
        return next((step.owner for step in self.steps if step.id == step_id), self.owner)
