"""A stand-in for the Google Sheets API v4 and for the token endpoint of service accounts, strict about the contract.

Sources: the discovery document sheets.v4 (spreadsheets.get, spreadsheets.batchUpdate with AddSheetRequest,
UpdateSheetPropertiesRequest, UpdateCellsRequest, ExtendedValue), "Usage limits" of the Sheets API, and
developers.google.com/identity/protocols/oauth2/service-account.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from tests.standins.serving import served

SCOPES = {"https://www.googleapis.com/auth/spreadsheets", "https://www.googleapis.com/auth/drive"}
MOST_CELLS = 10_000_000
SHARED = "1AbcDEFghiJKLmnoPQRstuVWXyz0123456789_-abcde"
OTHER = "1ZyxWVUtsrQPOnmlKJIhgfEDCba9876543210_-zyxwv"
FORMATS = {"TEXT", "NUMBER", "PERCENT", "CURRENCY", "DATE", "TIME", "DATE_TIME", "SCIENTIFIC"}


class Refusal(Exception):
    """An answer other than success, in Google's form."""

    def __init__(self, status: int, name: str, message: str, *, reason: str | None = None, former: str | None = None):
        super().__init__(message)
        self.status = status
        self.error: dict[str, Any] = {"code": status, "message": message, "status": name}
        if reason:
            info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}
            self.error["details"] = [info]
        if former:
            self.error["errors"] = [{"message": message, "domain": "usageLimits", "reason": former}]


def invalid(message: str) -> Refusal:
    return Refusal(400, "INVALID_ARGUMENT", message)


@dataclass
class Worksheet:
    """A worksheet: its properties, and its cells by row and column from 0 on."""

    properties: dict[str, Any]
    cells: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict)


@dataclass
class Spreadsheet:
    """A spreadsheet, who may write to it, and how often it was changed."""

    editors: set[str] = field(default_factory=set)
    sheets: list[Worksheet] = field(
        default_factory=lambda: [
            Worksheet({"sheetId": 0, "title": "Sheet1", "gridProperties": {"rowCount": 1000, "columnCount": 26}})
        ]
    )
    changes: int = 0

    def titled(self, title: str) -> Worksheet:
        return next(sheet for sheet in self.sheets if sheet.properties["title"] == title)

    def shown(self, title: str) -> list[list[Any]]:
        """The cells of a worksheet as values: dates as dates; up to the last one that holds something."""
        cells = self.titled(title).cells
        rows = 1 + max((row for row, _ in cells), default=-1)
        columns = 1 + max((column for _, column in cells), default=-1)
        return [[_value(cells.get((row, column))) for column in range(columns)] for row in range(rows)]


def _value(cell: dict[str, Any] | None) -> Any:
    if not cell or "userEnteredValue" not in cell:
        return None
    ((kind, value),) = cell["userEnteredValue"].items()
    assert kind in ("stringValue", "numberValue")
    if cell.get("userEnteredFormat", {}).get("numberFormat", {}).get("type") == "DATE":
        return date(1899, 12, 30) + timedelta(days=value)
    return value


class Google:
    """An account's spreadsheets, and the endpoint that gives out tokens for its service account."""

    email = "waybill@standin-project.iam.gserviceaccount.com"

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.address = ""
        self.spreadsheets = {SHARED: Spreadsheet({self.email}), OTHER: Spreadsheet()}
        self.life = 3599.0
        self.tokens: dict[str, float] = {}
        self.assertions: list[dict[str, Any]] = []
        self.calls: list[str] = []
        self.faults: list[Refusal | str] = []
        """What happens to the next calls of the API: a refusal, `lost` (done, and answered by 502), or `fine`."""
        self.app = FastAPI()
        self.app.post("/token")(self._token)
        self.app.api_route("/v4/spreadsheets/{rest:path}", methods=["GET", "POST"])(self._call)

    @property
    def keyfile(self) -> dict[str, str]:
        """The JSON file of the service account's key, as Google gives it."""
        pem = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return {
            "type": "service_account",
            "project_id": "standin-project",
            "private_key_id": "k-1",
            "private_key": pem.decode(),
            "client_email": self.email,
            "client_id": "100000000000000000001",
            "token_uri": f"{self.address}/token",
        }

    async def _token(self, request: Request) -> Response:
        form = dict(await request.form())
        if set(form) != {"grant_type", "assertion"}:
            return _oauth_error("invalid_request", f"unexpected fields {sorted(form)}")
        if form["grant_type"] != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return _oauth_error("unsupported_grant_type", "Invalid grant_type")
        assertion = str(form["assertion"])
        try:
            claims = jwt.decode(assertion, self.key.public_key(), ["RS256"], audience=f"{self.address}/token",
                                options={"require": ["iss", "aud", "iat", "exp"]})  # fmt: skip
        except jwt.PyJWTError:
            return _oauth_error("invalid_grant", "Invalid JWT Signature.")
        if claims["iss"] != self.email or claims["exp"] - claims["iat"] > 3600:
            return _oauth_error("invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes)")
        if not set(str(claims.get("scope", "")).split()) & SCOPES:
            return _oauth_error("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        self.assertions.append({**claims, "kid": jwt.get_unverified_header(assertion).get("kid")})
        token = f"ya29.standin-{len(self.assertions)}-9f2c"
        self.tokens[token] = time.time() + self.life
        return JSONResponse({"access_token": token, "expires_in": int(self.life), "token_type": "Bearer"})

    async def _call(self, rest: str, request: Request) -> Response:
        spreadsheet, _, verb = rest.partition(":")
        self.calls.append(f"{request.method} {verb or 'get'}")
        fault = self.faults.pop(0) if self.faults else "fine"
        try:
            if isinstance(fault, Refusal):
                raise fault
            body = await request.body()
            answer = self._answer(request, spreadsheet, verb, json.loads(body) if body else None)
        except Refusal as refusal:
            return JSONResponse({"error": refusal.error}, refusal.status)
        return Response("bad gateway", 502) if fault == "lost" else JSONResponse(answer)

    def _answer(self, request: Request, spreadsheet: str, verb: str, body: Any) -> dict[str, Any]:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.tokens.get(token, 0) < time.time():
            raise Refusal(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        held = self.spreadsheets.get(spreadsheet)
        if held is None:
            raise Refusal(404, "NOT_FOUND", "Requested entity was not found.")
        if self.email not in held.editors:
            raise Refusal(403, "PERMISSION_DENIED", "The caller does not have permission")
        match request.method, verb:
            case "GET", "":
                assert request.query_params["fields"].startswith(("sheets.properties", "spreadsheetId"))
                return {"sheets": [{"properties": deepcopy(sheet.properties)} for sheet in held.sheets]}
            case "POST", "batchUpdate":
                after = deepcopy(held.sheets)
                for place, each in enumerate(body["requests"]):
                    _apply(after, place, each)
                held.sheets = after  # all or nothing
                held.changes += 1
                return {"spreadsheetId": spreadsheet}
        raise Refusal(404, "NOT_FOUND", "Method not found.")


def _oauth_error(code: str, description: str) -> Response:
    return JSONResponse({"error": code, "error_description": description}, 400)


def _apply(sheets: list[Worksheet], place: int, request: dict[str, Any]) -> None:
    ((kind, what),) = request.items()
    where = f"Invalid requests[{place}].{kind}"
    match kind:
        case "addSheet":
            _add(sheets, where, what["properties"])
        case "updateSheetProperties":
            _only(where, what, {"properties", "fields"})
            sheet = _sheet(sheets, where, what["properties"])
            for name in what["fields"].split(","):
                group, _, key = name.partition(".")
                if group != "gridProperties" or key not in ("rowCount", "columnCount", "frozenRowCount"):
                    raise invalid(f"{where}: {name} is not supported")
                sheet.properties[group][key] = what["properties"][group][key]
            _check_grid(where, sheet.properties["gridProperties"])
        case "updateCells":
            _only(where, what, {"range", "rows", "fields"})
            _update(_sheet(sheets, where, what["range"]), where, what)
        case _:
            raise invalid(f'Invalid JSON payload received. Unknown name "{kind}"')
    grids = [sheet.properties["gridProperties"] for sheet in sheets]
    if sum(grid["rowCount"] * grid["columnCount"] for grid in grids) > MOST_CELLS:
        raise invalid(f"{where}: This action would increase the number of cells in the workbook above the limit")


def _add(sheets: list[Worksheet], where: str, properties: dict[str, Any]) -> None:
    _only(where, properties, {"sheetId", "title", "gridProperties"})
    title = properties["title"]
    if title in {sheet.properties["title"] for sheet in sheets}:
        raise invalid(f'{where}: A sheet with the name "{title}" already exists. Please enter another name.')
    if properties["sheetId"] in {sheet.properties["sheetId"] for sheet in sheets}:
        raise invalid(f"{where}: Sheet id {properties['sheetId']} already exists.")
    if not 0 <= properties["sheetId"] < 2**31 or not 0 < len(title) <= 100:
        raise invalid(f"{where}: not a sheet")
    _check_grid(where, properties["gridProperties"])
    sheets.append(Worksheet(deepcopy(properties)))


def _check_grid(where: str, grid: dict[str, int]) -> None:
    _only(where, grid, {"rowCount", "columnCount", "frozenRowCount"})
    if grid.get("frozenRowCount", 0) >= grid["rowCount"] or grid["columnCount"] < 1:
        raise invalid(f"{where}: Sorry, it is not possible to freeze all visible rows.")


def _update(sheet: Worksheet, where: str, what: dict[str, Any]) -> None:
    _only(where, what["range"], {"sheetId"})  # the whole sheet, as nothing else is used
    grid = sheet.properties["gridProperties"]
    fields = what["fields"].split(",")
    if unknown := set(fields) - {"userEnteredValue", "userEnteredFormat.numberFormat"}:
        raise invalid(f"{where}: {unknown} is not supported")
    for cell in sheet.cells.values():
        for name in fields:
            cell.pop(name.partition(".")[0], None)
    for row, data in enumerate(what["rows"]):
        if row >= grid["rowCount"]:
            raise invalid(f"{where}: Attempting to write row: {row}, beyond the last requested row")
        for column, cell in enumerate(data.get("values", [])):
            if column >= grid["columnCount"]:
                raise invalid(f"{where}: Attempting to write column: {column}, beyond the last requested column")
            _check_cell(where, cell)
            sheet.cells.setdefault((row, column), {}).update(deepcopy(cell))
    sheet.cells = {place: cell for place, cell in sheet.cells.items() if cell}


def _check_cell(where: str, cell: dict[str, Any]) -> None:
    _only(where, cell, {"userEnteredValue", "userEnteredFormat"})
    if "userEnteredValue" in cell:
        ((kind, value),) = cell["userEnteredValue"].items()
        wanted: Any = {"stringValue": str, "numberValue": (int, float), "boolValue": bool, "formulaValue": str}[kind]
        if not isinstance(value, wanted) or isinstance(value, bool) != (kind == "boolValue"):
            raise invalid(f"{where}: Invalid value at {kind}")
    if "userEnteredFormat" in cell and cell["userEnteredFormat"]["numberFormat"]["type"] not in FORMATS:
        raise invalid(f"{where}: Invalid value at number_format.type")


def _sheet(sheets: list[Worksheet], where: str, what: dict[str, Any]) -> Worksheet:
    for sheet in sheets:
        if sheet.properties["sheetId"] == what["sheetId"]:
            return sheet
    raise invalid(f"{where}: No grid with id: {what['sheetId']}")


def _only(where: str, what: dict[str, Any], known: set[str]) -> None:
    if unknown := what.keys() - known:
        raise invalid(f'Invalid JSON payload received. Unknown name "{sorted(unknown)[0]}" at {where}')


@contextmanager
def google() -> Iterator[Google]:
    """A Google on a port of this machine."""
    found = Google()
    with served(found.app) as address:
        found.address = address
        yield found
