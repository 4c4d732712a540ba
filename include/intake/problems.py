"""Error answers as problem documents (RFC 9457), the same for every route.

Says what went wrong and what the sender can do; never repeats a body or a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

TITLES = {
    400: "The delivery cannot be read",
    401: "The signature is not accepted",
    404: "There is nothing here",
    405: "This method is not offered",
    408: "The body did not arrive in time",
    409: "This id was used for another delivery",
    413: "The body is too large",
    415: "This kind of content is not accepted",
    500: "The intake failed",
    503: "The delivery cannot be stored now",
}
RETRY_AFTER_SECONDS = 5


@dataclass(eq=False)
class Problem(Exception):
    """An answer other than success.

    :param status: HTTP status.
    :param code: for machines and for the count of refusals, e.g. `signature.wrong`.
    :param detail: for the person who set the sender up.
    :param close: whether the connection must end because the rest of the body is left unread.
    """

    status: int
    code: str
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    close: bool = False

    def document(self) -> bytes:
        """Return the body: RFC 9457, with `code` and what else there is as extension members."""
        return orjson.dumps(
            {
                "type": f"urn:waybill:problem:{self.code}",
                "title": TITLES.get(self.status, "The request failed"),
                "status": self.status,
                "detail": self.detail,
                "code": self.code,
                **self.extra,
            }
        )

    def all_headers(self) -> dict[str, str]:
        """Return the headers that belong to this status."""
        headers = {"content-type": "application/problem+json", "cache-control": "no-store", **self.headers}
        if self.status == 401:
            headers.setdefault("www-authenticate", 'Signature realm="waybill"')
        if self.status == 503:
            headers.setdefault("retry-after", str(RETRY_AFTER_SECONDS))
        if self.close:
            headers["connection"] = "close"
        return headers


def away(detail: str = "The database does not answer. Send the same delivery again later.") -> Problem:
    """Return the answer for a delivery that could not be stored: the sender keeps it and tries again."""
    return Problem(503, "database.away", detail)
