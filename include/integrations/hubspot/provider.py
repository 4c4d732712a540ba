"""The HubSpot provider of the `crm` role, by HubSpot's CRM API v3 and its associations API v4.

Objects are found by `waybill_key`, a unique property, so that sending one again never doubles it.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from pydantic import SecretStr
from sqlalchemy import Engine

from include.integrations.http import (
    Auth,
    Bearer,
    HttpClient,
    HttpSystem,
    RateLimit,
    Rejected,
    SystemTrouble,
    Unavailable,
    UnknownOutcome,
    mask,
)
from include.integrations.hubspot.properties import GROUP, KEY, KINDS, Kind, furthest
from include.integrations.systems import (
    Failed,
    Json,
    Operation,
    Outcome,
    PendingEffect,
    Sent,
    Settle,
    Unknown,
)

log = logging.getLogger(__name__)
T = TypeVar("T")

BASE_URL = "https://api.hubapi.com"
BATCH = 100  # inputs of one batch call, HubSpot's limit for objects
LIMIT = RateLimit(calls=90, seconds=10)  # HubSpot allows 100 for an app in ten seconds; ten are left for other users
LONGEST_APPLY = 60.0  # seconds that one delivery may take: the ledger's lease is two minutes
PARENT_MISSING = 30.0  # seconds until an object is tried again whose company, contact or deal is not there yet
ERASED = "[erased]"  # the subject of a task about somebody who was erased
OWNERS_KEPT = 600.0  # seconds

SAME_NEXT_TIME = frozenset(
    {"VALIDATION_ERROR", "CONFLICT", "OBJECT_NOT_FOUND", "INVALID_EMAIL", "PROPERTY_DOESNT_EXIST"}
)
"""Error categories of an item that the same item will meet again."""

# HubSpot-defined association types, from a task to each kind.
FROM_TASK = {"contact": 204, "company": 192, "deal": 216}

_EXISTING = re.compile(r"Existing ID:\s*(\d+)")

OPERATIONS = {
    "upsert_company": "company",
    "upsert_contact": "contact",
    "upsert_deal": "deal",
    "create_task": "task",
}
LINKS: Mapping[str, tuple[str, ...]] = {
    "company": (),
    "contact": ("company",),
    "deal": ("contact", "company"),
    "task": ("contact", "company", "deal"),
}


def hubspot_system(
    *,
    token: SecretStr | None = None,
    auth: Auth | None = None,
    base_urls: tuple[str, ...] = (BASE_URL,),
    name: str = "hubspot",
) -> HttpSystem:
    """Return how HubSpot is called.

    :param token: a private app's access token; or
    :param auth: an `OAuth2` with HubSpot's token endpoint, for a public app.
    """
    if auth is None:
        if token is None:
            raise ValueError("HubSpot needs a private app's access token, or OAuth 2")
        auth = Bearer(token)
    return HttpSystem(name=name, base_urls=base_urls, auth=auth, limits=(LIMIT,))


@dataclass
class _Item:
    """One object to write: the effects that are about it, folded in their order."""

    key: str
    properties: dict[str, str]
    links: dict[str, str]
    unmapped: list[str]
    effects: list[int] = field(default_factory=list)
    outcome: Outcome | None = None

    def found(self, object_id: str) -> None:
        self.outcome = Sent({"id": object_id, **({"unmapped": self.unmapped} if self.unmapped else {})})

    @property
    def object_id(self) -> str | None:
        return str(self.outcome.answer["id"]) if isinstance(self.outcome, Sent) else None


class HubSpotCrm:
    """Delivers companies, contacts, deals and tasks to a HubSpot account."""

    name = "hubspot"
    batch_size = BATCH
    operations: Mapping[str, Operation] = {
        "upsert_company": Operation("upsert_company", Settle.RESEND),
        "upsert_contact": Operation("upsert_contact", Settle.RESEND),
        "upsert_deal": Operation("upsert_deal", Settle.RESEND),
        "create_task": Operation("create_task", Settle.LOOKUP),
        "erase_contact": Operation("erase_contact", Settle.RESEND),
        "merge_contacts": Operation("merge_contacts", Settle.LOOKUP),
    }

    def __init__(self, client: HttpClient, *, owners: Mapping[str, str] | None = None) -> None:
        """Deliver through `client`.

        :param owners: e-mail address -> HubSpot owner id; asked of HubSpot when None.
        """
        self._client = client
        self._given_owners = {k.lower(): v for k, v in owners.items()} if owners is not None else None
        self._owners: tuple[float, Mapping[str, str]] | None = None

    @classmethod
    def connect(cls, system: HttpSystem, engine: Engine) -> HubSpotCrm:
        """Return a provider with a client of its own."""
        return cls(HttpClient(system, engine))

    def close(self) -> None:
        """Close the client's connections."""
        self._client.close()

    def apply(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:
        """Write the objects of `effects`, with their associations; one outcome each, in the same order."""
        if operation == "erase_contact":
            return self._each(effects, self._erase_one)
        if operation == "merge_contacts":
            return self._each(effects, self._merge_one)
        kind = OPERATIONS[operation]
        with self._client.within(LONGEST_APPLY):
            try:
                items = self._fold(kind, effects)
            except SystemTrouble as error:
                return [_outcome(error)] * len(effects)
            for part in _parts(items, BATCH):
                if kind == "task":
                    self._create_tasks(part)
                else:
                    self._upsert(kind, part)
                    self._associate(kind, part)
        outcomes: list[Outcome] = [Unknown("HubSpot did not say what became of it")] * len(effects)
        for item in items:
            for position in item.effects:
                outcomes[position] = item.outcome or outcomes[position]
        return outcomes

    def settle(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:
        """Ask HubSpot which of `effects` it has, by their keys; of a merge, whether the other contact is gone."""
        if operation == "merge_contacts":
            return self._each(effects, self._merged)
        kind = OPERATIONS[operation]
        try:
            with self._client.within(LONGEST_APPLY):
                found = self._ids(kind, {effect.payload["key"] for effect in effects})
        except SystemTrouble as error:
            return [Unknown(str(error))] * len(effects)
        return [
            Sent({"id": found[key]}) if (key := effect.payload["key"]) in found
            else Failed("HubSpot does not have it; it is sent again", retry_after=0)
            for effect in effects
        ]  # fmt: skip

    def read(self, kind: str, keys: Sequence[str]) -> Mapping[str, Json]:
        """Return what HubSpot knows of each company, contact or deal among `keys`, in Waybill's names.

        :raises SystemTrouble: when HubSpot cannot be asked.
        """
        fields = [KEY, *KINDS[kind].names.values()]
        rows = self._read(kind, keys, KEY, fields)
        owners = self._owner_ids() if rows else {}
        return {
            row["properties"][KEY]: KINDS[kind].incoming(row["properties"], owners)
            for row in rows
            if row.get("properties", {}).get(KEY)
        }

    def missing_properties(self) -> dict[str, list[str]]:
        """Return by kind the properties that Waybill needs and the account lacks; the key must be unique."""
        missing: dict[str, list[str]] = {}
        for name, kind in KINDS.items():
            answer = self._client.get(f"/crm/v3/properties/{kind.path}").json()
            there = {
                found["name"] for found in answer["results"] if found["name"] != KEY or found.get("hasUniqueValue")
            }
            if lacking := [needed for needed in kind.own if needed not in there]:
                missing[name] = lacking
        return missing

    def create_properties(self) -> dict[str, list[str]]:
        """Create the missing properties, in a group of their own; return them by kind."""
        missing = self.missing_properties()
        for kind, names in missing.items():
            path = f"/crm/v3/properties/{KINDS[kind].path}"
            groups = self._client.get(f"{path}/groups").json()["results"]
            if GROUP not in {group["name"] for group in groups}:
                self._client.post(f"{path}/groups", {"name": GROUP, "label": "Waybill", "displayOrder": -1})
            inputs = [
                {
                    "name": name,
                    "label": name.replace("_", " ").capitalize(),
                    "type": "string",
                    "fieldType": "text",
                    "groupName": GROUP,
                    "hasUniqueValue": name == KEY,
                }
                for name in names
            ]
            self._client.post(f"{path}/batch/create", {"inputs": inputs})
        return missing

    # --- writing

    def _fold(self, kind: str, effects: Sequence[PendingEffect]) -> list[_Item]:
        wants_owner = any(effect.payload.get("properties", {}).get("owner") for effect in effects)
        owners = self._owner_ids() if wants_owner else {}
        items: dict[str, _Item] = {}
        for position, effect in enumerate(effects):
            given = dict(effect.payload.get("properties", {}))
            contact = given.pop("contact", None) if kind == "deal" else None
            properties, unmapped = KINDS[kind].outgoing(given, owners)
            item = items.setdefault(effect.payload["key"], _Item(effect.payload["key"], {}, {}, []))
            stages = [s for s in (item.properties.get("lifecyclestage"), properties.get("lifecyclestage")) if s]
            item.properties |= properties
            if len(stages) > 1:
                item.properties["lifecyclestage"] = furthest(stages)
            if contact:
                item.links["contact"] = contact
            item.links |= {to: key for to in LINKS[kind] if (key := effect.payload.get(f"{to}_key"))}
            item.unmapped += [name for name in unmapped if name not in item.unmapped]
            item.effects.append(position)
        if lost := sorted({name for item in items.values() for name in item.unmapped}):
            log.warning("HubSpot is not told %s of %s objects: no mapping", ", ".join(lost), kind)
        return list(items.values())

    def _upsert(self, kind: str, items: Sequence[_Item]) -> None:
        def inputs(part: Sequence[_Item]) -> list[Json]:
            return [
                {
                    "id": item.key,
                    "idProperty": KEY,
                    "properties": {**item.properties, KEY: item.key},
                    "objectWriteTraceId": item.key,
                }
                for item in part
            ]

        self._write(KINDS[kind], "batch/upsert", items, inputs, repeatable=True)
        if kind == "contact":
            self._adopt(items)

    def _create_tasks(self, items: Sequence[_Item]) -> None:
        try:
            ids = {to: self._ids(to, {i.links[to] for i in items if to in i.links}) for to in LINKS["task"]}
        except SystemTrouble as error:
            _fail(items, error)
            return
        ready = [item for item in items if _links_there(item, ids)]

        def inputs(part: Sequence[_Item]) -> list[Json]:
            return [
                {
                    "properties": {**item.properties, KEY: item.key},
                    "objectWriteTraceId": item.key,
                    "associations": [
                        {
                            "to": {"id": ids[to][key]},
                            "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": FROM_TASK[to]}],
                        }
                        for to, key in item.links.items()
                    ],
                }
                for item in part
            ]

        self._write(KINDS["task"], "batch/create", ready, inputs, repeatable=False)
        self._recognise([i for i in ready if isinstance(i.outcome, Failed) and i.outcome.permanent])

    def _write(
        self,
        kind: Kind,
        verb: str,
        items: Sequence[_Item],
        inputs: Callable[[Sequence[_Item]], list[Json]],
        *,
        repeatable: bool,
    ) -> None:
        """Send one batch; where HubSpot refuses it whole, its halves, until the culprit is alone."""
        if not items:
            return
        try:
            answer = self._client.post(
                f"/crm/v3/objects/{kind.path}/{verb}", {"inputs": inputs(items)}, repeatable=repeatable
            )
            self._sort_out(items, answer.json())
        except Rejected as error:
            if len(items) == 1:
                items[0].outcome = Failed(_detail(error), permanent=True)
                return
            middle = len(items) // 2
            self._write(kind, verb, items[:middle], inputs, repeatable=repeatable)
            self._write(kind, verb, items[middle:], inputs, repeatable=repeatable)
        except SystemTrouble as error:
            _fail(items, error)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            for item in items:
                item.outcome = Unknown(f"hubspot: an answer that its contract does not know ({error!r})")

    def _sort_out(self, items: Sequence[_Item], answer: Json) -> None:
        """Give each item its outcome from a batch's answer; 207 has errors beside the results."""
        by_key = {item.key: item for item in items}
        for result in answer.get("results", []):
            properties = result.get("properties") or {}
            key = result.get("objectWriteTraceId") or _first(result.get("context", {}), "objectWriteTraceId")
            item = by_key.get(key or "") or by_key.get(properties.get(KEY, ""))
            if item is not None:
                item.found(str(result["id"]))
        for error in answer.get("errors", []):
            permanent = error.get("category") in SAME_NEXT_TIME
            outcome = Failed(mask(f"hubspot: {error.get('category')}: {error.get('message')}"), permanent=permanent)
            context = error.get("context") or {}
            for key in [*(context.get("objectWriteTraceId") or ()), *(context.get("ids") or ())]:
                if (item := by_key.get(key)) and item.outcome is None:
                    item.outcome = replace(outcome, error=_with_id(outcome.error, error))

    def _adopt(self, items: Sequence[_Item]) -> None:
        """Give Waybill's key to contacts that HubSpot had by e-mail address before, and update them."""
        known = {
            match[1]: item
            for item in items
            if isinstance(item.outcome, Failed) and (match := _EXISTING.search(item.outcome.error))
        }
        if not known:
            return
        try:
            taken = {
                str(row["id"]): row["properties"].get(KEY) for row in self._read("contact", list(known), None, [KEY])
            }
        except SystemTrouble as error:
            _fail(known.values(), error)
            return
        free: list[_Item] = []
        for object_id, item in known.items():
            other = taken.get(object_id)
            if other and other != item.key:
                item.outcome = Failed(
                    f"hubspot: contact {object_id} has this e-mail address and is Waybill's contact {other};"
                    " merge the two",
                    permanent=True,
                )
            else:
                item.outcome = None
                free.append(item)
        ids = {item.key: object_id for object_id, item in known.items()}

        def inputs(part: Sequence[_Item]) -> list[Json]:
            return [
                {
                    "id": ids[item.key],
                    "properties": {**item.properties, KEY: item.key},
                    "objectWriteTraceId": item.key,
                }
                for item in part
            ]

        self._write(KINDS["contact"], "batch/update", free, inputs, repeatable=True)

    def _recognise(self, refused: Sequence[_Item]) -> None:
        """Take a task that HubSpot refuses to double for what it is: there already."""
        if not refused:
            return
        try:
            found = self._ids("task", {item.key for item in refused})
        except SystemTrouble as error:
            _fail(refused, error)
            return
        for item in refused:
            if item.key in found:
                item.found(found[item.key])

    def _associate(self, kind: str, items: Sequence[_Item]) -> None:
        for to in LINKS[kind]:
            linked = [item for item in items if item.object_id and to in item.links]
            if not linked:
                continue
            try:
                ids = {to: self._ids(to, {item.links[to] for item in linked})}
                there = [item for item in linked if _links_there(item, ids)]
                if there:
                    pairs = [{"from": {"id": i.object_id}, "to": {"id": ids[to][i.links[to]]}} for i in there]
                    answer = self._client.post(
                        f"/crm/v4/associations/{KINDS[kind].path}/{KINDS[to].path}/batch/associate/default",
                        {"inputs": pairs},
                        repeatable=True,
                    ).json()
                    if answer.get("errors"):
                        first = answer["errors"][0]
                        raise Unavailable("hubspot", mask(f"association failed: {first.get('message')}"))
            except Rejected as error:
                for item in linked:
                    item.outcome = Failed(_detail(error), permanent=len(linked) == 1)
            except SystemTrouble as error:
                _fail(linked, error)

    def _each(self, effects: Sequence[PendingEffect], do: Callable[[Json], Outcome]) -> Sequence[Outcome]:
        """Do what HubSpot takes one a call."""
        outcomes: list[Outcome] = []
        with self._client.within(LONGEST_APPLY):
            for effect in effects:
                try:
                    outcomes.append(do(effect.payload))
                except SystemTrouble as error:
                    outcomes.append(_outcome(error))
        return outcomes

    def _erase_one(self, contact: Json) -> Outcome:
        """Delete a contact for good, and empty the tasks about it, which HubSpot keeps.

        Source: "Permanently delete a contact (GDPR-compliant)" in HubSpot's reference. One that it does not have is
        erased already.
        """
        blank = {"hs_task_subject": ERASED, "hs_task_body": ""}
        tasks = sorted(self._ids("task", contact.get("tasks", ())).values())
        for part in _parts(tasks, BATCH):
            inputs = [{"id": task, "properties": blank} for task in part]
            self._client.post("/crm/v3/objects/tasks/batch/update", {"inputs": inputs}, repeatable=True)
        found = self._ids("contact", [contact["key"]])
        for object_id in found.values():
            self._client.post("/crm/v3/objects/contacts/gdpr-delete", {"objectId": object_id}, repeatable=True)
        return Sent({"erased": len(found)})

    def _merge_one(self, pair: Json) -> Outcome:
        """Merge two contacts, or give the one that HubSpot has the key of the one that stands for both.

        Sources: "Merge two contacts" in HubSpot's reference, and "Merge records" in its knowledge base: it cannot be
        undone; the values of the primary one stay, the other's fill its blanks, its address becomes a further one and
        the further lifecycle stage stays. The answer's id may be a new one, so the key is looked at again.
        """
        key, merged = pair["key"], pair["merged"]
        found = self._ids("contact", [key, merged])
        if merged not in found:
            return Sent({"id": found.get(key), "merged": False})
        if key not in found:
            self._give_key(found[merged], key)
            return Sent({"id": found[merged], "merged": True})
        body = {"primaryObjectId": found[key], "objectIdToMerge": found[merged]}
        answer = self._client.post("/crm/v3/objects/contacts/merge", body, repeatable=False)
        try:
            object_id = str(answer.json()["id"])
            if self._ids("contact", [key]).get(key) != object_id:
                self._give_key(object_id, key)
        except (SystemTrouble, ValueError, KeyError) as error:
            return Unknown(f"hubspot: they are merged, and what came of the key is not known ({error!r})")
        return Sent({"id": object_id, "merged": True})

    def _give_key(self, object_id: str, key: str) -> None:
        inputs = [{"id": object_id, "properties": {KEY: key}}]
        self._client.post("/crm/v3/objects/contacts/batch/update", {"inputs": inputs}, repeatable=True)

    def _merged(self, pair: Json) -> Outcome:
        found = self._ids("contact", [pair["key"], pair["merged"]])
        if pair["merged"] in found:
            return Failed("HubSpot has the two still; they are merged again", retry_after=0)
        return Sent({"id": found.get(pair["key"]), "merged": True})

    # --- reading

    def _ids(self, kind: str, keys: Iterable[str]) -> dict[str, str]:
        rows = self._read(kind, sorted(keys), KEY, [KEY])
        return {row["properties"][KEY]: str(row["id"]) for row in rows if row["properties"].get(KEY)}

    def _read(self, kind: str, ids: Sequence[str], id_property: str | None, fields: Sequence[str]) -> list[Json]:
        """Read objects in batches; those that do not exist are missing from the answer (HubSpot: 207)."""
        rows: list[Json] = []
        for part in _parts(list(dict.fromkeys(ids)), BATCH):
            body: Json = {"inputs": [{"id": one} for one in part], "properties": list(fields)}
            if id_property:
                body["idProperty"] = id_property
            answer = self._client.post(f"/crm/v3/objects/{KINDS[kind].path}/batch/read", body, repeatable=True).json()
            for error in answer.get("errors", []):
                if error.get("category") != "OBJECT_NOT_FOUND":
                    raise Unavailable("hubspot", mask(f"reading {kind}: {error.get('message')}"))
            rows += answer.get("results", [])
        return rows

    def _owner_ids(self) -> Mapping[str, str]:
        """Return HubSpot's owners by e-mail address, in lower case."""
        if self._given_owners is not None:
            return self._given_owners
        if self._owners and self._owners[0] > time.monotonic():
            return self._owners[1]
        owners: dict[str, str] = {}
        params = {"limit": "100"}
        while True:
            page = self._client.get("/crm/v3/owners", params=params).json()
            owners |= {o["email"].lower(): str(o["id"]) for o in page["results"] if o.get("email")}
            after = page.get("paging", {}).get("next", {}).get("after")
            if not after:
                break
            params["after"] = after
        self._owners = (time.monotonic() + OWNERS_KEPT, owners)
        return owners


def _links_there(item: _Item, ids: Mapping[str, Mapping[str, str]]) -> bool:
    for to, key in item.links.items():
        if to in ids and key not in ids[to]:
            item.outcome = Failed(f"hubspot: its {to} {key} is not there yet", retry_after=PARENT_MISSING)
            return False
    return True


def _outcome(error: SystemTrouble) -> Outcome:
    match error:
        case UnknownOutcome():
            return Unknown(str(error))
        case Unavailable():
            return Failed(str(error), retry_after=error.retry_after)
        case Rejected():
            return Failed(_detail(error), permanent=True)
        case _:
            return Failed(str(error))


def _fail(items: Iterable[_Item], error: SystemTrouble) -> None:
    for item in items:
        item.outcome = _outcome(error)


def _detail(error: Rejected) -> str:
    return _with_id(str(error), error.body if isinstance(error.body, dict) else {})


def _with_id(text: str, error: Mapping[str, Any]) -> str:
    """Keep the id of the object in the way, wherever HubSpot put it: it is needed to adopt that object."""
    existing = _first(error.get("context") or {}, "existingId")
    if existing is None and (match := _EXISTING.search(str(error.get("message", "")))):
        existing = match[1]
    return text if existing is None or _EXISTING.search(text) else f"{text} (Existing ID: {existing})"


def _first(context: Mapping[str, Any], name: str) -> str | None:
    values = context.get(name) or [None]
    return values[0] if isinstance(values, list) else str(values)


def _parts(things: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (things[start : start + size] for start in range(0, len(things), size))
