"""The Data Docs: one page per validation of a batch, in a folder that keeps only the latest ones.

The pages hold counts and case ids, no values. They load nothing from elsewhere, so they can be read offline.
"""

from __future__ import annotations

import html
import logging
import os
import re
import tempfile
from copy import deepcopy
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult

log = logging.getLogger(__name__)

KEPT = 100  # pages
SHOWN_IDS = 20  # failing rows that a page names, for each expectation
PAGES = "validations"
PAGE_NAME = re.compile(r"\d{8}T\d{12}Z-[a-z0-9_]{1,60}-[a-zA-Z0-9_-]{1,80}\.html")

_OUTSIDE = re.compile(
    r"<script\b.*?</script>|<link\b[^>]*>|<img\b[^>]*>|<iframe\b.*?</iframe>|<form\b.*?</form>",
    re.IGNORECASE | re.DOTALL,
)
_ABROAD = re.compile(r"<a\b[^>]*href=\"(?:https?:)?//[^>]*>.*?</a>", re.IGNORECASE | re.DOTALL)
_OF_STYLE = re.compile(r"url\(\s*['\"]?https?:[^)]*\)", re.IGNORECASE)
_TO_INDEX = re.compile(r"href=\"[./]+/(?:index|expectations/[^\"]*)\.html\"")
_STYLE = """<style>
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
th, td { border-bottom: 1px solid #8884; padding: .35rem .6rem; text-align: left; vertical-align: top; }
.fa-check-circle::before { content: "✓"; color: #1a7f37; font-weight: 700; }
.fa-times::before, .fa-exclamation-triangle::before { content: "✗"; color: #cf222e; font-weight: 700; }
.ge-navigation-sidebar-container, .navbar, .modal, .cta-header, .cooltip { display: none; }
</style>"""
_EMPTY = "<p>No batch has been validated yet.</p>"


def folder() -> Path:
    """Return where the pages are: `WAYBILL_DATA_DOCS`, or `data_docs` in Waybill's home.

    Where tasks and API server are on different machines, this must be a folder that both see.
    """
    named = os.environ.get("WAYBILL_DATA_DOCS")
    return Path(named) if named else Path(os.environ.get("WAYBILL_HOME") or ".waybill") / "data_docs"


def publish(
    outcome: ExpectationSuiteValidationResult, *, run_id: str, target: Path | None = None, kept: int = KEPT
) -> Path:
    """Write the page of one validation, drop the oldest pages over `kept`, and write the index anew.

    :param run_id: the Airflow run, for the page's name.
    :returns: the page.
    :raises OSError: when the folder cannot be written.
    """
    pages = (target or folder()) / PAGES
    pages.mkdir(parents=True, exist_ok=True)
    suite = re.sub(r"[^a-z0-9_]", "_", str(outcome.suite_name).lower())[:60]
    run = re.sub(r"[^a-zA-Z0-9_-]", "_", run_id)[:80] or "run"
    page = pages / f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}-{suite}-{run}.html"
    _replace(page, rendered(outcome))
    for old in sorted(_pages(pages), reverse=True)[kept:]:
        old.unlink(missing_ok=True)
    _replace(pages.parent / "index.html", _index(sorted(_pages(pages), reverse=True)))
    return page


def offer(outcome: ExpectationSuiteValidationResult | None, *, run_id: str) -> None:
    """Publish a validation where there was one; the pages are to look at, so a full disk stops nothing."""
    try:
        if outcome is not None:
            publish(outcome, run_id=run_id)
    except OSError as error:
        log.warning("the Data Docs in %s cannot be written: %s", folder(), error)


def _pages(pages: Path) -> list[Path]:
    return [path for path in pages.iterdir() if PAGE_NAME.fullmatch(path.name)]


def rendered(outcome: ExpectationSuiteValidationResult) -> str:
    """Return the page of one validation as HTML that loads nothing from elsewhere."""
    renderer: Any = import_module("great_expectations.render.renderer.page_renderer")
    view: Any = import_module("great_expectations.render.view")
    document = renderer.ValidationResultsPageRenderer().render(_shortened(outcome))
    page = str(view.DefaultJinjaPageView().render(document))
    page = _OF_STYLE.sub("none", _ABROAD.sub("", _OUTSIDE.sub("", page)))
    page = _TO_INDEX.sub('href="../index.html"', page)
    return page.replace("</head>", _STYLE + "</head>", 1)


def _shortened(outcome: ExpectationSuiteValidationResult) -> ExpectationSuiteValidationResult:
    """A copy that names only some of the failing rows."""
    short = deepcopy(outcome)
    for result in short.results:
        for name in ("unexpected_index_list", "partial_unexpected_index_list"):
            for entry in result.result.get(name) or []:
                for column, ids in entry.items():
                    if isinstance(ids, list):
                        entry[column] = [getattr(value, "item", lambda v=value: v)() for value in ids[:SHOWN_IDS]]
    return short


def _index(pages: list[Path]) -> str:
    rows = "".join(
        f'<tr><td><a href="{PAGES}/{html.escape(page.name)}">{_moment(page)}</a></td>'
        f"<td>{html.escape(page.stem.split('-', 2)[1])}</td><td>{html.escape(page.stem.split('-', 2)[2])}</td></tr>"
        for page in pages
    )
    table = f"<table><tr><th>When (UTC)</th><th>Suite</th><th>Run</th></tr>{rows}</table>" if rows else _EMPTY
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Data Docs</title>{_STYLE}</head>'
        f"<body><h1>Data Docs</h1><p>The latest validations; older ones are dropped.</p>{table}</body></html>"
    )


def _moment(page: Path) -> str:
    stamp = page.name
    return f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]} {stamp[9:11]}:{stamp[11:13]}:{stamp[13:15]}"


def _replace(path: Path, content: str) -> None:
    """Write a file whole or not at all: the API server may read it at the same time."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(content)
    Path(name).chmod(0o644)
    Path(name).replace(path)
