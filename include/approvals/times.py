"""How long business time is for those who are asked: reminders, escalation, expiry and due times count by it.

Pure; which of them are due and what follows is clock.py's part.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from include.approvals.people import People
from include.data.business_time import add, calendar_of

EXPIRES_AFTER = 3
"""A stage that nobody decides expires after so many times its `within`, counted from the last escalation."""


def after(now: datetime, amount: timedelta, persons: Iterable[str], people: People) -> datetime:
    """When `amount` of business time has passed for every one of `persons`; somebody unknown works by UTC."""
    known = (people.by_id.get(person) for person in persons)
    calendars = {person.calendar if person else calendar_of(None) for person in known} or {calendar_of(None)}
    return max(add(now, amount, calendar) for calendar in calendars)
