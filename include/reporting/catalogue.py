"""The reports that there are, and who reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from include.contracts.documents import read
from include.contracts.model import Team
from include.contracts.registry import load_teams
from include.reporting.health import HEALTH
from include.reporting.leads import LEADS
from include.reporting.model import Report
from include.reporting.spend import SPEND
from include.reporting.stock import STOCK

REPORTS: Mapping[str, Report] = MappingProxyType({each.name: each for each in (LEADS, SPEND, STOCK, HEALTH)})
FILE = Path(__file__).parent / "readers.yaml"


class ReadersUnusable(ValueError):
    """readers.yaml names something that there is not, or leaves a report out."""


ATTACHED = ("pdf", "xlsx")
"""What a mail can carry."""


@dataclass(frozen=True)
class Readers:
    """The teams that get a report.

    :param attach: what its mails carry, of `ATTACHED`.
    """

    chat: tuple[Team, ...]
    mail: tuple[Team, ...]
    attach: tuple[str, ...] = ATTACHED[:1]


@cache
def readers() -> Mapping[str, Readers]:
    """Return who reads each report.

    :raises ReadersUnusable: with what to write.
    """
    written, teams = read(FILE), load_teams()
    if written.keys() != REPORTS.keys():
        raise ReadersUnusable(f"readers.yaml must name these reports, and no others: {', '.join(REPORTS)}")
    return MappingProxyType({name: _readers(name, entry, teams) for name, entry in written.items()})


def _readers(report: str, entry: Any, teams: Mapping[str, Team]) -> Readers:
    if not isinstance(entry, dict) or entry.keys() - {"chat", "mail", "attach"}:
        raise ReadersUnusable(f"readers.yaml, {report}: write `chat` and `mail`, each a list of teams, and `attach`")
    named = {way: entry.get(way) or [] for way in ("chat", "mail")}
    unknown = sorted({str(team) for teams_ in named.values() for team in teams_} - teams.keys())
    if unknown:
        raise ReadersUnusable(f"readers.yaml, {report}: {', '.join(unknown)} is no team of teams.yaml")
    attach = entry.get("attach", list(ATTACHED[:1]))
    if not isinstance(attach, list) or not attach or any(each not in ATTACHED for each in attach):
        raise ReadersUnusable(f"readers.yaml, {report}: `attach` is a list of {' and '.join(ATTACHED)}, one or both")
    chat, mail = (tuple(teams[team] for team in named[way]) for way in ("chat", "mail"))
    return Readers(chat, mail, tuple(dict.fromkeys(attach)))
