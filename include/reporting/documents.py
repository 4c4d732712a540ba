"""An edition as a document, for mails and for who looks at it: which kinds there are, and what they are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from include.reporting.editions import Edition
from include.reporting.intervals import Interval
from include.reporting.model import Report
from include.reporting.paper import pdf
from include.reporting.workbook import CONTENT_TYPE, xlsx


@dataclass(frozen=True)
class Document:
    """A kind of document.

    :param content: makes its bytes; always the same of the same edition.
    """

    kind: str
    content_type: str
    content: Callable[[Report, Edition, Interval], bytes]

    def filename(self, edition: Edition) -> str:
        """Return what a file with it is called: `leads-daily-2026-03-02.pdf`."""
        return f"{edition.place.replace('/', '-')}.{self.kind}"


DOCUMENTS: Mapping[str, Document] = MappingProxyType(
    {each.kind: each for each in (Document("pdf", "application/pdf", pdf), Document("xlsx", CONTENT_TYPE, xlsx))}
)
