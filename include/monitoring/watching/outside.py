"""The dead man's switch: a monitor outside that alarms when it hears nothing from Waybill any more.

It hears whenever a task has looked for trouble, and only while the alerts themselves are well; the rest is its own
business.
"""

from __future__ import annotations

import logging
import os
from typing import Literal
from urllib.parse import urlsplit

from sqlalchemy import Engine

from include.environment import current
from include.integrations.http import HttpClient, HttpSystem, Retries, SystemTrouble, Timeouts
from include.monitoring.watching import signs
from include.monitoring.watching.wellbeing import unwell

log = logging.getLogger(__name__)

VARIABLE = "WAYBILL_DEADMAN_URL"
"""The address that the monitor outside gave; whoever knows it can feign life, so it is in no log."""
NAME = "outside monitor"
TIMEOUTS = Timeouts(read=10.0, answer=10.0, total=25.0)
RETRIES = Retries(attempts=3)

MISSING = f"No monitor outside hears from this production: when its machine is gone, nobody does. Set {VARIABLE}."

Told = Literal["told", "not set", "not well", "not sent in this environment", "not reached"]


def address() -> str | None:
    """Return the monitor's address, where one is set."""
    return os.environ.get(VARIABLE) or None


def is_missing() -> bool:
    """Whether this is a production without a monitor outside: when its machine is gone, nobody hears."""
    return current().name == "production" and address() is None


def tell(engine: Engine) -> Told:
    """Tell the monitor outside that Waybill lives, if it does; return what came of it.

    :raises ValueError: when the address is none.
    """
    url = address()
    if url is None:
        return "not set"
    with engine.connect() as connection:
        troubles = unwell(connection)
    if troubles:
        log.warning("the monitor outside is not told: %s", " ".join(troubles))
        return "not well"
    if current().effect_mode != "live":
        return "not sent in this environment"
    parts = urlsplit(url)
    system = HttpSystem(NAME, (f"{parts.scheme}://{parts.netloc}",), timeouts=TIMEOUTS, retries=RETRIES)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs whole addresses
    try:
        with HttpClient(system, engine) as client:
            client.get(path)
    except SystemTrouble as trouble:
        log.warning("the monitor outside was not reached: %s", type(trouble).__name__)
        return "not reached"
    with engine.begin() as connection:
        signs.seen(connection, [signs.OUTSIDE])
    return "told"
