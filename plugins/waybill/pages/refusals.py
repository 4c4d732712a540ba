"""What people see in place of a page or after an action that cannot be: what is wrong, and what to do, in a page.

Whoever asks for something else than a page, such as a script of ours, gets FastAPI's own answers.
"""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from fastapi import FastAPI, Request
from fastapi.exception_handlers import http_exception_handler, request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from sqlalchemy.exc import DataError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from waybill.pages.rendering import PREFIX, TABS, page

LOGIN = "/api/v2/auth/login"
"""Airflow's own way to the login of whatever auth manager it has."""
TITLES = {401: "Log in first", 403: "This is not yours to do", 404: "There is nothing here"}
UNREADABLE = "A value in the address or in the form cannot be read. Go back, and correct it."
BROKEN = "This page is broken. Nothing was changed; what went wrong is in the log of Airflow's API server."


def add_to(app: FastAPI) -> None:
    """Have the app's refusals shown as pages."""

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        if not _wants_page(request):
            return await http_exception_handler(request, error)
        return _refusal(request, error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def unreadable(request: Request, error: RequestValidationError) -> Response:
        if not _wants_page(request):
            return await request_validation_exception_handler(request, error)
        return _refusal(request, 422, UNREADABLE)

    @app.exception_handler(DataError)
    async def not_storable(request: Request, _: DataError) -> Response:
        """A value that no column of the database can hold, such as a text with the character NUL."""
        if not _wants_page(request):
            return JSONResponse({"detail": UNREADABLE}, 422)
        return _refusal(request, 422, UNREADABLE)

    @app.exception_handler(Exception)
    async def broken(request: Request, _: Exception) -> Response:
        return _refusal(request, 500, BROKEN) if _wants_page(request) else PlainTextResponse(BROKEN, 500)


def _wants_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _refusal(request: Request, status: int, detail: str) -> Response:
    login = f"{LOGIN}?next={quote(_back(request), safe='')}" if status == 401 else None
    title = TITLES.get(status, "This cannot be done")
    return page("refusal.html", None, tab="", status=status, title=title, detail=detail, login=login)


def _back(request: Request) -> str:
    """Where the login leads to: what was asked for; for a form, which nothing can send again, the page it was on."""
    if request.method in {"GET", "HEAD"}:
        return str(request.url)
    came = urlsplit(request.headers.get("referer", ""))
    ours = came.netloc == request.url.netloc and came.path.startswith(f"{PREFIX}/")
    if ours and _is_page(request.app, came.path.removeprefix(PREFIX)):
        return str(request.url.replace(path=came.path, query=came.query))
    tab = request.url.path.removeprefix(PREFIX).split("/")[1]
    return str(request.url.replace(path=f"{PREFIX}/{tab if tab in TABS else 'board'}", query=""))


def _is_page(app: FastAPI, path: str) -> bool:
    asked = {"type": "http", "method": "GET", "path": path}
    return any(route.matches(asked)[0] is Match.FULL for route in app.routes)
