"""Waybill's names and values on one side, HubSpot's on the other: the one place where they meet.

Sources: HubSpot's default properties of each kind of object, and the internal names of its default lifecycle
stages and of its sales pipeline's stages. What HubSpot has no property for becomes `waybill_…`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KEY = "waybill_key"
"""The unique property that holds Waybill's own key, on every kind of object."""

GROUP = "waybill"
"""The property group that the created properties stand in."""

LIFECYCLE_STAGES = {
    "lead": "lead",
    "mql": "marketingqualifiedlead",
    "sql": "salesqualifiedlead",
    "opportunity": "opportunity",
    "customer": "customer",
}
"""In the order of the customer's journey; HubSpot does not move a contact back along it."""

DEAL_STAGES = {
    "new": "appointmentscheduled",
    "qualified": "qualifiedtobuy",
    "presentation": "presentationscheduled",
    "decision": "decisionmakerboughtin",
    "contract": "contractsent",
    "won": "closedwon",
    "lost": "closedlost",
}

PRIORITIES = {"low": "LOW", "medium": "MEDIUM", "normal": "MEDIUM", "high": "HIGH"}

_TOUCH = (
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_term",
    "utm_content",
    "gclid",
    "fbclid",
    "msclkid",
    "referrer",
    "landing_page",
)
_TOUCHES = {f"{when}_touch_{what}": f"waybill_{when}_touch_{what}" for when in ("first", "last") for what in _TOUCH}


@dataclass(frozen=True)
class Kind:
    """One kind of object.

    :param path: as HubSpot's addresses name it.
    :param names: Waybill's property -> HubSpot's.
    :param values: Waybill's property -> its values -> HubSpot's.
    :param along: Waybill's property -> what HubSpot must be told together with it.
    """

    path: str
    names: Mapping[str, str]
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    along: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def own(self) -> list[str]:
        """HubSpot properties that do not exist until Waybill creates them."""
        return [KEY, *(name for name in self.names.values() if name.startswith("waybill_"))]

    def outgoing(self, properties: Mapping[str, Any], owners: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
        """Return `properties` in HubSpot's names and values, and the names of those that it cannot be told.

        None means unknown, and is left out: nothing in HubSpot is overwritten by a blank.

        :param owners: e-mail address in lower case -> HubSpot's owner id.
        """
        found: dict[str, str] = {}
        unmapped: list[str] = []
        for name, value in properties.items():
            if value is None:
                continue
            target = self.names.get(name)
            theirs = self._theirs(name, value, owners)
            if target is None or theirs is None:
                unmapped.append(name)
            else:
                found |= {target: theirs, **self.along.get(name, {})}
        return found, unmapped

    def incoming(self, properties: Mapping[str, Any], owners: Mapping[str, str]) -> dict[str, Any]:
        """Return HubSpot's `properties` in Waybill's names and values, without those that are empty."""
        addresses = {owner: address for address, owner in owners.items()}
        found: dict[str, Any] = {}
        for name, target in self.names.items():
            value = properties.get(target)
            if value not in (None, ""):
                found[name] = self._ours(name, str(value), addresses)
        return found

    def _theirs(self, name: str, value: Any, owners: Mapping[str, str]) -> str | None:
        if name == "owner":
            return str(value) if str(value).isdigit() else owners.get(str(value).lower())
        if isinstance(value, bool):
            return "true" if value else "false"
        return self.values.get(name, {}).get(str(value).lower(), str(value))

    def _ours(self, name: str, value: str, addresses: Mapping[str, str]) -> Any:
        if name == "owner":
            return addresses.get(value, value)
        if name == "consent":
            return value == "true"
        if name == "size":
            return int(float(value))
        return next((ours for ours, theirs in self.values.get(name, {}).items() if theirs == value), value)


KINDS = {
    "company": Kind(
        path="companies",
        names={
            "name": "name",
            "domain": "domain",
            "country": "country",
            "city": "city",
            "size": "numberofemployees",
            "owner": "hubspot_owner_id",
        },
    ),
    "contact": Kind(
        path="contacts",
        names={
            "email": "email",
            "phone": "phone",
            "first_name": "firstname",
            "last_name": "lastname",
            "job_title": "jobtitle",
            "country": "country",
            "city": "city",
            "language": "hs_language",
            "lifecycle_stage": "lifecyclestage",
            "owner": "hubspot_owner_id",
            "segment": "waybill_segment",
            "source": "waybill_source",
            "campaign": "waybill_campaign",
            "consent": "waybill_consent",
            **_TOUCHES,
        },
        values={"lifecycle_stage": LIFECYCLE_STAGES},
    ),
    "deal": Kind(
        path="deals",
        names={
            "name": "dealname",
            "stage": "dealstage",
            "amount": "amount",
            "currency": "deal_currency_code",
            "owner": "hubspot_owner_id",
            "source": "waybill_source",
        },
        values={"stage": DEAL_STAGES},
        along={"stage": {"pipeline": "default"}},
    ),
    "task": Kind(
        path="tasks",
        names={
            "subject": "hs_task_subject",
            "body": "hs_task_body",
            "due_at": "hs_timestamp",
            "owner": "hubspot_owner_id",
            "priority": "hs_task_priority",
        },
        values={"priority": PRIORITIES},
        along={"subject": {"hs_task_status": "NOT_STARTED", "hs_task_type": "TODO"}},
    ),
}


def furthest(stages: list[str]) -> str:
    """Return the furthest lifecycle stage among `stages`; the last one when they are a portal's own."""
    order = list(LIFECYCLE_STAGES.values())
    known = [stage for stage in stages if stage in order]
    return max(known, key=order.index) if len(known) == len(stages) else stages[-1]
