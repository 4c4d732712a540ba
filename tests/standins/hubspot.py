"""A stand-in for HubSpot's CRM API v3, associations API v4 and OAuth, strict about the published contract.

Sources: developers.hubspot.com, the references of objects in batches (upsert, create, read, update),
of associations v4, properties, owners and OAuth tokens, "Error handling" and "Usage guidelines".
"""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from tests.standins.serving import served

TOKEN = "pat-na1-standin-0f6c"
CLIENT_ID = "standin-client"
CLIENT_SECRET = "standin-client-secret-9b1d"
KINDS = ("contacts", "companies", "deals", "tasks")
MAX_INPUTS = 100
STAGES = [
    "subscriber",
    "lead",
    "marketingqualifiedlead",
    "salesqualifiedlead",
    "opportunity",
    "customer",
    "evangelist",
]
DEAL_STAGES = {
    "appointmentscheduled", "qualifiedtobuy", "presentationscheduled", "decisionmakerboughtin",
    "contractsent", "closedwon", "closedlost",
}  # fmt: skip
TASK_TYPES = {("tasks", "contacts"): 204, ("tasks", "companies"): 192, ("tasks", "deals"): 216}
DEFAULTS = {
    "contacts": "email phone firstname lastname jobtitle country city hs_language lifecyclestage hubspot_owner_id",
    "companies": "name domain country city numberofemployees hubspot_owner_id lifecyclestage",
    "deals": "dealname dealstage pipeline amount deal_currency_code hubspot_owner_id closedate",
    "tasks": "hs_task_subject hs_task_body hs_timestamp hubspot_owner_id hs_task_priority hs_task_status hs_task_type",
}


class Refusal(Exception):
    """An answer other than success, in HubSpot's form."""

    def __init__(self, status: int, category: str, message: str, **context: list[str]) -> None:
        super().__init__(message)
        self.status = status
        self.category = category
        self.context = context

    def body(self) -> dict[str, Any]:
        return {
            "status": "error",
            "message": str(self),
            "correlationId": str(uuid.uuid4()),
            "category": self.category,
            **({"context": self.context} if self.context else {}),
        }


@dataclass
class Property:
    """A property of a kind of object."""

    name: str
    unique: bool = False


@dataclass
class HubSpot:
    """What the account holds, and the faults that the next requests meet."""

    limit: int = 100_000
    """Requests that an app may make in ten seconds."""
    objects: dict[str, dict[str, dict[str, str]]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    properties: dict[str, dict[str, Property]] = field(default_factory=dict)
    groups: dict[str, set[str]] = field(default_factory=lambda: {kind: {"default"} for kind in KINDS})
    associations: set[tuple[str, str, str, str]] = field(default_factory=set)
    owners: dict[str, str] = field(default_factory=lambda: {"77": "anna@seller.example", "78": "ben@seller.example"})
    access_tokens: dict[str, float] = field(default_factory=lambda: {TOKEN: float("inf")})
    refresh_token: str = "refresh-0"
    rotate: bool = False
    life: float = 1800
    token_delay: float = 0
    refreshes: int = 0
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    faults: deque[tuple[str, Callable[..., Any]]] = field(default_factory=deque)
    reject: Callable[[str, dict[str, str]], bool] = lambda kind, properties: False
    limited: int = 0

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.numbers = itertools.count(1001)
        self.times: deque[float] = deque()
        for kind, names in DEFAULTS.items():
            self.properties[kind] = {name: Property(name, unique=name == "email") for name in names.split()}

    # --- faults

    def storm(
        self,
        times: int,
        *,
        path: str = "",
        retry_after: str | None = "1",
        policy: str = "TEN_SECONDLY_ROLLING",
    ) -> None:
        """Answer the next `times` requests to a path with 429."""

        def fault(request: Request, carry_out: Callable[[], Response]) -> Response:
            body = {
                "status": "error",
                "message": f"You have reached your {policy.lower()} limit.",
                "errorType": "RATE_LIMIT",
                "correlationId": str(uuid.uuid4()),
                "policyName": policy,
            }
            return JSONResponse(body, 429, {"Retry-After": retry_after} if retry_after else {})

        self.faults.extend([(path, fault)] * times)

    def fail(self, status: int, times: int = 1, *, path: str = "", headers: dict[str, str] | None = None) -> None:
        """Answer the next `times` requests with a status, and do nothing."""

        def fault(request: Request, carry_out: Callable[[], Response]) -> Response:
            return JSONResponse(Refusal(status, "INTERNAL_ERROR", "internal error").body(), status, headers or {})

        self.faults.extend([(path, fault)] * times)

    def lose_answer(self, *, path: str = "", seconds: float = 3.0) -> None:
        """Carry out the next request, and answer it too late."""

        def fault(request: Request, carry_out: Callable[[], Response]) -> Response:
            answer = carry_out()
            time.sleep(seconds)
            return answer

        self.faults.append((path, fault))

    def write_then_500(self, *, path: str = "") -> None:
        """Carry out the next request, and answer it with 500."""

        def fault(request: Request, carry_out: Callable[[], Response]) -> Response:
            carry_out()
            return JSONResponse(Refusal(500, "INTERNAL_ERROR", "internal error").body(), 500)

        self.faults.append((path, fault))

    def expire_tokens(self) -> None:
        """Let every access token be expired from now on."""
        with self.lock:
            self.access_tokens = dict.fromkeys(self.access_tokens, 0.0)

    def expire_tokens_before(self, path: str) -> None:
        """Let the tokens expire when the next request to `path` arrives: in mid-batch."""

        def fault(request: Request, carry_out: Callable[[], Response]) -> Response:
            self.expire_tokens()
            return carry_out()

        self.faults.append((path, fault))

    def take_fault(self, path: str) -> Callable[..., Any] | None:
        with self.lock:
            for fault in list(self.faults):
                if fault[0] in path:
                    self.faults.remove(fault)
                    return fault[1]
        return None

    # --- looking

    def having(self, kind: str, name: str, value: str) -> list[str]:
        """The ids of the objects whose property has a value."""
        return [one for one, properties in self.objects[kind].items() if properties.get(name) == value]

    def calls(self, path: str) -> int:
        """How many requests went to a path."""
        return sum(path in called for _, called, _ in self.requests)

    def create_waybill_properties(self) -> None:
        """Create what Waybill needs, as its set-up does."""
        from include.integrations.hubspot.properties import KEY
        from include.integrations.hubspot.properties import KINDS as MAPPED

        for kind in MAPPED.values():
            for name in kind.own:
                self.properties[kind.path][name] = Property(name, unique=name == KEY)

    # --- the contract

    def authorise(self, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or token not in self.access_tokens:
            raise Refusal(401, "INVALID_AUTHENTICATION", "Authentication credentials not found.")
        if self.access_tokens[token] <= time.time():
            raise Refusal(401, "EXPIRED_AUTHENTICATION", "The OAuth token used to make this call expired.")

    def count(self) -> dict[str, str]:
        now = time.monotonic()
        with self.lock:
            while self.times and self.times[0] <= now - 10:
                self.times.popleft()
            if len(self.times) >= self.limit:
                self.limited += 1
                raise Refusal(429, "RATE_LIMITS", "You have reached your ten_secondly_rolling limit.")
            self.times.append(now)
            return {
                "X-HubSpot-RateLimit-Max": str(self.limit),
                "X-HubSpot-RateLimit-Remaining": str(self.limit - len(self.times)),
                "X-HubSpot-RateLimit-Interval-Milliseconds": "10000",
            }

    def check(self, kind: str, properties: Any) -> None:
        if not isinstance(properties, dict):
            raise Refusal(400, "VALIDATION_ERROR", "Invalid input JSON: properties")
        for name, value in properties.items():
            if name not in self.properties[kind]:
                detail = [
                    {
                        "isValid": False,
                        "message": f'Property "{name}" does not exist',
                        "error": "PROPERTY_DOESNT_EXIST",
                        "name": name,
                    }
                ]
                raise Refusal(400, "VALIDATION_ERROR", f"Property values were not valid: {json.dumps(detail)}")
            if not isinstance(value, str):
                raise Refusal(400, "VALIDATION_ERROR", f"Invalid input JSON: {name} is not a string")
        problems = []
        if "@" not in properties.get("email", "@"):
            problems.append("INVALID_EMAIL")
        if properties.get("lifecyclestage", "lead") not in STAGES:
            problems.append("INVALID_OPTION")
        if properties.get("dealstage", "closedwon") not in DEAL_STAGES:
            problems.append("INVALID_OPTION")
        if properties.get("hubspot_owner_id", "77") not in self.owners:
            problems.append("INVALID_OWNER_ID")
        if properties.get("hs_task_priority", "LOW") not in ("NONE", "LOW", "MEDIUM", "HIGH"):
            problems.append("INVALID_OPTION")
        if problems or self.reject(kind, properties):
            raise Refusal(400, "VALIDATION_ERROR", f"Property values were not valid: {problems}")

    def unique_ids(self, kind: str, inputs: list[dict[str, Any]]) -> None:
        ids = [one.get("id") for one in inputs]
        if any(not isinstance(one, str) or not one for one in ids):
            raise Refusal(400, "VALIDATION_ERROR", "Invalid input JSON: id")
        if len(set(ids)) != len(ids):
            raise Refusal(400, "VALIDATION_ERROR", "Duplicate IDs found in batch input")

    def id_property(self, kind: str, name: Any) -> str:
        known = self.properties[kind].get(name)
        if known is None or not known.unique:
            raise Refusal(
                400,
                "VALIDATION_ERROR",
                f"Unable to perform update/upsert by non-unique {kind} property {name}",
            )
        return str(name)

    def put(self, kind: str, object_id: str | None, properties: dict[str, str]) -> tuple[str, bool]:
        for name, known in self.properties[kind].items():
            if known.unique and (value := properties.get(name)):
                for other in [*self.having(kind, name, value), *(self.also(value) if name == "email" else ())]:
                    if other != object_id:
                        raise Refusal(
                            409,
                            "CONFLICT",
                            f"{kind[:-1].capitalize()} already exists. Existing ID: {other}",
                            existingId=[other],
                        )
        new = object_id is None
        if new:
            if kind == "tasks" and "hs_timestamp" not in properties:
                raise Refusal(400, "VALIDATION_ERROR", "Some required properties were not set: hs_timestamp")
            object_id = str(next(self.numbers))
        held = self.objects[kind].setdefault(str(object_id), {})
        stage = properties.get("lifecyclestage")
        if stage and stage in STAGES and STAGES.index(stage) < STAGES.index(held.get("lifecyclestage", STAGES[0])):
            properties = {**properties, "lifecyclestage": held["lifecyclestage"]}
        held.update(properties)
        return str(object_id), new

    def batch(self, kind: str, verb: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        inputs = body.get("inputs")
        if not isinstance(inputs, list) or not inputs:
            raise Refusal(400, "VALIDATION_ERROR", "Invalid input JSON: inputs")
        if len(inputs) > MAX_INPUTS:
            raise Refusal(400, "VALIDATION_ERROR", f"The number of inputs is greater than {MAX_INPUTS}")
        if kind not in KINDS:
            raise Refusal(404, "OBJECT_NOT_FOUND", f"Unable to infer object type from: {kind}")
        with self.lock:
            return self.read(kind, inputs, body) if verb == "read" else self.write(kind, verb, inputs)

    def read(self, kind: str, inputs: list[dict[str, Any]], body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        by = body.get("idProperty")
        if by is not None:
            self.id_property(kind, by)
        results, missing = [], []
        for one in inputs:
            ids = self.having(kind, by, one["id"]) if by else [one["id"]] if one["id"] in self.objects[kind] else []
            if not ids:
                missing.append(one["id"])
            else:
                held = self.objects[kind][ids[0]]
                results.append(
                    {
                        "id": ids[0],
                        "properties": {name: held.get(name) for name in body.get("properties", [])},
                        "archived": False,
                    }
                )
        errors = [
            {
                "status": "error",
                "category": "OBJECT_NOT_FOUND",
                "message": f"Could not get some {kind.upper()} objects, they may be deleted or not exist."
                " Check that ids are valid.",
                "context": {"ids": missing},
            }
        ]
        return (207, _done(results, errors)) if missing else (200, _done(results))

    def write(self, kind: str, verb: str, inputs: list[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        if verb not in ("create", "update", "upsert"):
            raise Refusal(404, "OBJECT_NOT_FOUND", f"no endpoint batch/{verb}")
        if verb != "create":
            self.unique_ids(kind, inputs)
        traces = [one.get("objectWriteTraceId") for one in inputs]
        multi = None not in traces and len(set(traces)) == len(traces)  # what turns multi-status on
        before = {one: dict(properties) for one, properties in self.objects[kind].items()}
        results: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        for one in inputs:
            try:
                self.check(kind, one.get("properties"))
                if verb == "upsert":
                    name = self.id_property(kind, one.get("idProperty"))
                    there = self.having(kind, name, one["id"])
                    object_id, new = self.put(kind, there[0] if there else None, {**one["properties"], name: one["id"]})
                elif verb == "update":
                    if one["id"] not in self.objects[kind]:
                        raise Refusal(404, "OBJECT_NOT_FOUND", "resource not found")
                    object_id, new = self.put(kind, one["id"], one["properties"])
                else:
                    links = [(link, self.linked(kind, link)) for link in one.get("associations", [])]
                    object_id, new = self.put(kind, None, one["properties"])
                    self.associations |= {(kind, object_id, to, str(link["to"]["id"])) for link, to in links}
            except Refusal as refusal:
                if not multi:
                    self.objects[kind] = before
                    raise
                context = {"objectWriteTraceId": [one["objectWriteTraceId"]], **refusal.context}
                errors.append(
                    {
                        "status": "error",
                        "category": refusal.category,
                        "message": str(refusal),
                        "context": context,
                    }
                )
                continue
            results.append(
                {
                    "id": object_id,
                    "properties": {**self.objects[kind][object_id], "hs_object_id": object_id},
                    "createdAt": "2026-01-01T00:00:00Z",
                    "updatedAt": "2026-01-01T00:00:00Z",
                    "archived": False,
                    **({"new": new} if verb == "upsert" else {}),
                    **({"objectWriteTraceId": one["objectWriteTraceId"]} if one.get("objectWriteTraceId") else {}),
                }
            )
        if errors:
            return 207, _done(results, errors)
        return (201 if verb == "create" else 200), _done(results)

    def also(self, address: str) -> list[str]:
        """The contacts that have an address as a further one, as those have that another was merged into."""
        return [
            one
            for one, properties in self.objects["contacts"].items()
            if address in properties.get("hs_additional_emails", "").split(";")
        ]

    def merge(self, body: Any) -> dict[str, Any]:
        """Merge two contacts into a record with a new id; there is no way back.

        Sources: the reference "Merge two contacts" and the article "Merge records": the primary's values stay, blanks
        are filled, the further stage and both addresses are kept, and both records' associations.
        """
        if not isinstance(body, dict) or set(body) != {"primaryObjectId", "objectIdToMerge"}:
            raise Refusal(400, "VALIDATION_ERROR", "Invalid input JSON: primaryObjectId, objectIdToMerge")
        primary, other = body["primaryObjectId"], body["objectIdToMerge"]
        if not isinstance(primary, str) or not isinstance(other, str) or primary == other:
            raise Refusal(400, "VALIDATION_ERROR", "Invalid input JSON: two different ids are needed")
        with self.lock:
            if primary not in self.objects["contacts"] or other not in self.objects["contacts"]:
                raise Refusal(404, "OBJECT_NOT_FOUND", "resource not found")
            kept, gone = self.objects["contacts"].pop(primary), self.objects["contacts"].pop(other)
            whole = {**gone, **{name: value for name, value in kept.items() if value}}
            addresses = {
                address
                for one in (kept, gone)
                for address in (one.get("email", ""), *one.get("hs_additional_emails", "").split(";"))
            }
            whole["hs_additional_emails"] = ";".join(sorted(addresses - {"", whole.get("email", "")}))
            stages = [one["lifecyclestage"] for one in (kept, gone) if one.get("lifecyclestage")]
            if stages:
                whole["lifecyclestage"] = max(stages, key=STAGES.index)
            merged = [*kept.get("hs_merged_object_ids", "").split(";"), primary, other]
            whole["hs_merged_object_ids"] = ";".join(one for one in merged if one)
            new = str(next(self.numbers))
            self.objects["contacts"][new] = whole
            old = (("contacts", primary), ("contacts", other))
            self.associations = {
                (*(("contacts", new) if pair[:2] in old else pair[:2]),
                 *(("contacts", new) if pair[2:] in old else pair[2:]))
                for pair in self.associations
            }  # fmt: skip
        stamp = "2026-01-01T00:00:00Z"
        return {"id": new, "properties": whole, "createdAt": stamp, "updatedAt": stamp, "archived": False}

    def gdpr_delete(self, body: dict[str, Any]) -> None:
        """Delete a contact for good, with its associations; the objects at their other ends stay."""
        if not isinstance(body, dict) or not isinstance(body.get("objectId"), str):
            raise Refusal(400, "VALIDATION_ERROR", "Invalid input JSON: objectId")
        with self.lock:
            if self.objects["contacts"].pop(body["objectId"], None) is None:
                raise Refusal(404, "OBJECT_NOT_FOUND", "resource not found")
            gone = ("contacts", body["objectId"])
            self.associations = {pair for pair in self.associations if gone not in (pair[:2], pair[2:])}

    def linked(self, kind: str, link: dict[str, Any]) -> str:
        types = link.get("types") or [{}]
        for to in KINDS:
            if (
                types[0].get("associationTypeId") == TASK_TYPES.get((kind, to))
                and types[0].get("associationCategory") == "HUBSPOT_DEFINED"
            ):
                if str(link["to"]["id"]) not in self.objects[to]:
                    raise Refusal(400, "VALIDATION_ERROR", f"{to} {link['to']['id']} does not exist")
                return to
        raise Refusal(400, "VALIDATION_ERROR", "invalid association type")

    def associate(self, kind: str, to: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        inputs = body.get("inputs") or []
        if not inputs or len(inputs) > 2000:
            raise Refusal(400, "VALIDATION_ERROR", "Invalid number of inputs")
        results, errors = [], []
        with self.lock:
            for one in inputs:
                pair = (kind, str(one["from"]["id"]), to, str(one["to"]["id"]))
                if pair[1] not in self.objects[kind] or pair[3] not in self.objects[to]:
                    errors.append(
                        {
                            "status": "error",
                            "category": "OBJECT_NOT_FOUND",
                            "message": "object does not exist",
                            "context": {},
                        }
                    )
                    continue
                self.associations.add(pair)
                results.append(one)
        return (207, _done(results, errors)) if errors else (200, _done(results))

    def refresh(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if form.get("client_id") != CLIENT_ID or form.get("client_secret") != CLIENT_SECRET:
            return 401, {"status": "BAD_CLIENT_ID", "message": "missing or unknown client id"}
        time.sleep(self.token_delay)
        with self.lock:
            if form.get("grant_type") == "refresh_token":
                if form.get("refresh_token") != self.refresh_token:
                    return 400, {"status": "BAD_REFRESH_TOKEN", "message": "missing or invalid refresh token"}
            elif form.get("grant_type") != "client_credentials":
                return 400, {"status": "BAD_GRANT_TYPE", "message": "unsupported grant"}
            self.refreshes += 1
            token = f"CJX-access-{self.refreshes}-{uuid.uuid4().hex}"
            self.access_tokens[token] = time.time() + self.life
            if self.rotate:
                self.refresh_token = f"refresh-{self.refreshes}-{uuid.uuid4().hex}"
            return 200, {
                "token_type": "bearer",
                "access_token": token,
                "refresh_token": self.refresh_token,
                "expires_in": self.life,
            }


def _done(results: list[Any], errors: list[Any] | None = None) -> dict[str, Any]:
    body: dict[str, Any] = {
        "status": "COMPLETE",
        "results": results,
        "startedAt": "2026-01-01T00:00:00Z",
        "completedAt": "2026-01-01T00:00:00Z",
    }
    return {**body, "numErrors": len(errors), "errors": errors} if errors else body


def app_of(account: HubSpot) -> FastAPI:  # noqa: PLR0915
    """The API over an account."""
    app = FastAPI(openapi_url=None)

    def answer(request: Request, body: Any) -> Response:  # noqa: PLR0912 - one branch an endpoint
        path = request.url.path
        parts = path.strip("/").split("/")
        headers: dict[str, str] = {}
        try:
            account.authorise(request)
            headers = account.count()
            if request.method == "POST" and not request.headers.get("content-type", "").startswith("application/json"):
                raise Refusal(415, "VALIDATION_ERROR", "Unsupported media type")
            match (request.method, *parts):
                case ("POST", "crm", "v3", "objects", kind, "batch", verb):
                    status, found = account.batch(kind, verb, body)
                case ("POST", "crm", "v4", "associations", kind, to, "batch", "associate", "default"):
                    status, found = account.associate(kind, to, body)
                case ("POST", "crm", "v3", "objects", "contacts", "merge"):
                    status, found = 200, account.merge(body)
                case ("POST", "crm", "v3", "objects", "contacts", "gdpr-delete"):
                    account.gdpr_delete(body)
                    status, found = 204, None
                case ("GET", "crm", "v3", "owners"):
                    results = [{"id": one, "email": address} for one, address in account.owners.items()]
                    status, found = 200, {"results": results}
                case ("GET", "crm", "v3", "properties", kind):
                    results = [{"name": p.name, "hasUniqueValue": p.unique} for p in account.properties[kind].values()]
                    status, found = 200, {"results": results}
                case ("GET", "crm", "v3", "properties", kind, "groups"):
                    status, found = (
                        200,
                        {"results": [{"name": name} for name in sorted(account.groups[kind])]},
                    )
                case ("POST", "crm", "v3", "properties", kind, "groups"):
                    account.groups[kind].add(body["name"])
                    status, found = 201, body
                case ("POST", "crm", "v3", "properties", kind, "batch", "create"):
                    for one in body["inputs"]:
                        if one["groupName"] not in account.groups[kind]:
                            raise Refusal(400, "VALIDATION_ERROR", f"group {one['groupName']} does not exist")
                        account.properties[kind][one["name"]] = Property(one["name"], bool(one.get("hasUniqueValue")))
                    status, found = 201, _done(body["inputs"])
                case _:
                    raise Refusal(404, "OBJECT_NOT_FOUND", f"no endpoint {path}")
        except Refusal as refusal:
            extra = {"Retry-After": "1"} if refusal.status == 429 else {}
            return JSONResponse(refusal.body(), refusal.status, {**headers, **extra})
        return (
            JSONResponse(found, status, headers) if found is not None else Response(status_code=status, headers=headers)
        )

    @app.api_route("/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    async def everything(request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool

        raw = await request.body()
        path = request.url.path
        if path == "/oauth/v1/token":
            account.requests.append((request.method, path, None))
            if fault := account.take_fault(path):
                return await run_in_threadpool(fault, request, lambda: Response(status_code=500))
            form = {name: values[0] for name, values in parse_qs(raw.decode()).items()}
            status, found = await run_in_threadpool(account.refresh, form)
            return JSONResponse(found, status)
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            return JSONResponse(Refusal(400, "VALIDATION_ERROR", "Invalid input JSON").body(), 400)
        account.requests.append((request.method, path, body))
        if fault := account.take_fault(path):
            return await run_in_threadpool(fault, request, lambda: answer(request, body))
        return await run_in_threadpool(answer, request, body)

    return app


@contextmanager
def hubspot(account: HubSpot | None = None) -> Iterator[tuple[HubSpot, str]]:
    """Serve an account; yields it and its address."""
    account = account or HubSpot()
    with served(app_of(account)) as address:
        yield account, address


def closed_port() -> int:
    """A port of 127.0.0.1 on which nothing listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
