"""Where personal data is: inventory.yaml, read and checked. What is done with it is in rows.py."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

from include.contracts.documents import read

FILE = Path(__file__).with_name("inventory.yaml")

Erase = Literal["blank", "mark", "empty", "mentions", "name", "key", "codes", "body", "keep"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(_Part):
    """One column with personal data.

    :param holds: which, in words.
    :param erase: what becomes of it.
    :param elsewhere: whether rows about something else may name a person in it too.
    :param but_not: SQL for the rows in which it holds none.
    """

    holds: str
    erase: Erase
    elsewhere: bool = False
    but_not: str | None = None


class Table(_Part):
    """One table with personal data.

    :param rows: SQL for the rows that are about a person; None where there are none, only mentions.
    :param named_by: SQL for the name of a row that only mentions a person.
    :param delete: whether the rows go as a whole.
    :param why: the reason for what stays.
    """

    rows: str | None = None
    named_by: str | None = None
    delete: bool = False
    columns: dict[str, Column]
    why: str | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Table:
        kept = not self.columns or any(column.erase == "keep" for column in self.columns.values())
        if kept and not self.why:
            raise ValueError("what is kept has a reason: write `why`")
        if self.elsewhere and not self.named_by:
            raise ValueError("a row that only mentions a person needs a name: write `named_by`")
        if not self.rows and not self.elsewhere:
            raise ValueError("write which `rows` are about a person, or which columns mention one `elsewhere`")
        return self

    @property
    def elsewhere(self) -> list[str]:
        """The columns that may mention a person in rows about something else."""
        return [name for name, column in self.columns.items() if column.elsewhere]


class Without(_Part):
    """Columns that hold no personal data, or none that an erasure may touch, and why."""

    why: str
    columns: dict[str, list[str]]


class Inventory(_Part):
    """All that is known about where personal data is."""

    holds: dict[str, Table]
    without: list[Without]
    files: dict[str, str]
    by_hand: dict[str, str]


@cache
def inventory() -> Inventory:
    """The shipped inventory, read once per process. DocumentError and ValidationError say what is wrong with it."""
    return Inventory.model_validate(read(FILE))
