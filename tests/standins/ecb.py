"""A stand-in for the ECB's reference rates, by their published form.

Contract: www.ecb.europa.eu, "Euro foreign exchange reference rates". One file holds the last 90 days and one all days
since 1999, newest first; working days only, from about 16:00 CET on.
"""

from __future__ import annotations

from collections.abc import Mapping

RECENT = "/stats/eurofxref/eurofxref-hist-90d.xml"
ALL = "/stats/eurofxref/eurofxref-hist.xml"

Days = Mapping[str, Mapping[str, str]]
"""Day -> currency -> units of it for one euro, as written."""


def envelope(days: Days) -> bytes:
    """Return a file of these days."""
    cubes = "".join(
        f'<Cube time="{day}">'
        + "".join(f'<Cube currency="{currency}" rate="{rate}"/>' for currency, rate in rates.items())
        + "</Cube>"
        for day, rates in days.items()
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<gesmes:Envelope xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01"'
        ' xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref">'
        "<gesmes:subject>Reference rates</gesmes:subject>"
        "<gesmes:Sender><gesmes:name>European Central Bank</gesmes:name></gesmes:Sender>"
        f"<Cube>{cubes}</Cube></gesmes:Envelope>"
    ).encode()


class EcbStandin:
    """An ASGI app that serves both files, and fails on demand."""

    def __init__(self, recent: Days, older: Days | None = None) -> None:
        self.files = {RECENT: envelope(recent), ALL: envelope({**recent, **(older or {})})}
        self.failures = 0
        """How many of the next calls get a 503."""
        self.calls: list[str] = []

    async def __call__(self, scope: Mapping[str, object], receive: object, send: object) -> None:
        """Answer one request."""
        path = str(scope["path"])
        self.calls.append(path)
        status, content = (200, self.files[path]) if path in self.files else (404, b"")
        if self.failures:
            self.failures -= 1
            status, content = 503, b"busy"
        start = {"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/xml")]}
        await send(start)  # type: ignore[operator]
        await send({"type": "http.response.body", "body": content})  # type: ignore[operator]
