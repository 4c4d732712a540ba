"""The wording of approvals: what people are shown, in Slack with buttons and by mail, and what comes of it.

It words what it is given and looks nothing up. Whatever a person has written is escaped, so that it is only text.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape as html_escape
from typing import Any
from urllib.parse import quote

from include.environment import base_url

APPROVE, REJECT, ASK, ANSWER, OPEN = (
    "waybill_approve",
    "waybill_reject",
    "waybill_ask",
    "waybill_answer",
    "waybill_open",
)
"""The ids of the buttons in Slack."""
COMMENT = "comment"
"""The id of the field in which a comment is written."""
LONGEST_COMMENT = 2_000

LONGEST_SECTION = 3_000
"""Characters that Slack takes in a section's text (docs.slack.dev, Block Kit reference)."""
MOST_FACTS = 40
LONGEST_FACTS = 9_000
"""Facts, and characters of them, in one Slack message; it refuses whole messages that are too long."""
MOST_LINES = 12
LONGEST_LINE = 400
MOST_SAID = 8
LONGEST_SUBJECT = 150

Block = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """What a button or a form is about; it comes back with the answer.

    :param digest: of what is shown beside the button.
    """

    round_id: int
    stage: int
    digest: str

    def packed(self) -> str:
        """Return it as the value of a button."""
        return json.dumps({"r": self.round_id, "s": self.stage, "d": self.digest}, separators=(",", ":"))

    @classmethod
    def unpacked(cls, value: str) -> Place:
        """Read what `packed` wrote.

        :raises ValueError: for anything else.
        """
        try:
            found = json.loads(value)
        except RecursionError:
            raise ValueError("not a place of an approval") from None
        if not isinstance(found, dict) or found.keys() != {"r", "s", "d"}:
            raise ValueError("not a place of an approval")
        numbers = [found["r"], found["s"]]
        if any(type(number) is not int or not 0 < number < 2**31 for number in numbers):
            raise ValueError("not a place of an approval")
        if not isinstance(found["d"], str) or not re.fullmatch(r"[0-9a-f]{64}", found["d"]):
            raise ValueError("not a place of an approval")
        return cls(found["r"], found["s"], found["d"])


@dataclass(frozen=True)
class Matter:
    """What is decided about, as it is shown to one person.

    :param facts: label and value.
    :param said: what people said in this round so far, a sentence each.
    :param notes: what there is to know beside: why this person, until when.
    :param link: where it can be decided in Airflow.
    """

    title: str
    requester: str
    facts: Sequence[tuple[str, str]]
    said: Sequence[str]
    notes: Sequence[str]
    link: str


@dataclass(frozen=True)
class Words:
    """One message in every form that a system may want."""

    subject: str
    text: str
    blocks: list[Block]
    mail: str
    html: str


def link(dag_id: str, run_id: str, task_id: str) -> str:
    """Return where a task's question is answered in Airflow."""
    parts = (quote(part, safe="") for part in (dag_id, run_id, task_id))
    return "{}/dags/{}/runs/{}/tasks/{}/required_actions".format(base_url(), *parts)


def when(moment: datetime) -> str:
    """A moment as people read it."""
    return f"{moment.astimezone(UTC):%-d %b %H:%M} UTC"


def asked(matter: Matter, place: Place, *, reminder: bool) -> Words:
    """Ask somebody to decide."""
    headline = f"{matter.requester} asks for your approval: {matter.title}"
    if reminder:
        headline = f"Reminder: {headline}"
    buttons = [
        {
            **_button(APPROVE, "Approve", place, style="primary"),
            "confirm": {
                "title": _plain("Approve?"),
                "text": _plain(_cut(f"You approve: {_line(matter.title)}", 300)),
                "confirm": _plain("Approve"),
                "deny": _plain("Not yet"),
            },
        },
        _button(REJECT, "Reject", place, style="danger"),
        _button(ASK, "Ask", place),
    ]
    return _worded(headline, matter, buttons)


def question(matter: Matter, place: Place, *, reminder: bool) -> Words:
    """Put an approver's question to the requester."""
    headline = f"You are asked for information about your request: {matter.title}"
    if reminder:
        headline = f"Reminder: {headline}"
    return _worded(headline, matter, [_button(ANSWER, "Answer", place, style="primary")])


def over(matter: Matter, headline: str, outcome: Sequence[str]) -> Words:
    """Say what came of it; there is nothing left to press."""
    return _worded(headline, matter, None, outcome)


def form(answer: str, title: str, place: Place) -> Block:
    """Return the Slack modal in which the comment of an answer is written."""
    name, label, submit = {
        "reject": ("Reject", "Why? The requester reads it.", "Reject"),
        "ask": ("Ask for information", "What do you want to know? The requester reads it.", "Ask"),
        "answer": ("Answer", "Your answer, for those who decide", "Send"),
    }[answer]
    return {
        "type": "modal",
        "callback_id": f"waybill_{answer}",
        "private_metadata": place.packed(),
        "title": _plain(name),
        "submit": _plain(submit),
        "close": _plain("Cancel"),
        "blocks": [
            _section(f"*{escaped(_line(title), 1_000)}*"),
            {
                "type": "input",
                "block_id": COMMENT,
                "label": _plain(label),
                "element": {
                    "type": "plain_text_input",
                    "action_id": COMMENT,
                    "multiline": True,
                    "min_length": 1,
                    "max_length": LONGEST_COMMENT,
                },
            },
        ],
    }


def _worded(headline: str, matter: Matter, buttons: Sequence[Block] | None, outcome: Sequence[str] = ()) -> Words:
    subject = _cut(_line(headline), LONGEST_SUBJECT)
    blocks = [_section(f"*{escaped(_line(headline), 1_000)}*")]
    blocks += [_section(escaped(_line(line), LONGEST_SECTION)) for line in outcome]
    blocks += _facts(matter.facts)
    if matter.said:
        lines = [f"• {escaped(_line(said), LONGEST_LINE)}" for said in matter.said[-MOST_SAID:]]
        blocks.append(_section(_cut("*Said so far*\n" + "\n".join(lines), LONGEST_SECTION)))
    notes = [escaped(_line(note), 1_000) for note in matter.notes]
    if buttons is not None:
        link_button = {"type": "button", "action_id": OPEN, "text": _plain("Open in Airflow"), "url": matter.link}
        blocks.append({"type": "actions", "elements": [*buttons, link_button]})
    if notes:
        blocks.append({"type": "context", "elements": [_mrkdwn(_cut("\n".join(notes), LONGEST_SECTION))]})
    return Words(
        subject,
        escaped(" ".join([_line(headline), *map(_line, outcome)]), LONGEST_SECTION),
        blocks,
        _mail(headline, matter, outcome, decides=buttons is not None),
        _html(headline, matter, outcome, decides=buttons is not None),
    )


def _facts(facts: Sequence[tuple[str, str]]) -> list[Block]:
    """The facts in as many sections as they need; what is too much is counted."""
    texts: list[str] = []
    size = 0
    for number, (label, value) in enumerate(facts):
        fact = _fact(label, value)
        if number == MOST_FACTS or size + len(fact) > LONGEST_FACTS:
            left = len(facts) - number
            texts.append(f"_… and {left} more {'line' if left == 1 else 'lines'}, which Airflow shows._")
            break
        texts.append(fact)
        size += len(fact)
    sections: list[str] = []
    for fact in texts:
        if sections and len(sections[-1]) + 1 + len(fact) <= LONGEST_SECTION:
            sections[-1] += f"\n{fact}"
        else:
            sections.append(fact)
    return [_section(section) for section in sections]


def _fact(label: str, value: str) -> str:
    """A label and its value; further lines are quoted, or one of them could pass for another fact."""
    name = escaped(_line(label), 100)
    lines = [line for line in (_line(line) for line in value.splitlines()) if line]
    if len(lines) <= 1:
        return f"*{name}:* {escaped(lines[0], 1_000) if lines else '–'}"
    shown = [escaped(line, 200) for line in lines[:MOST_LINES]]
    if len(lines) > MOST_LINES:
        shown.append(f"… and {len(lines) - MOST_LINES} more lines")
    return "\n".join([f"*{name}:*", *(f"&gt; {line}" for line in shown)])


def escaped(text: str, longest: int) -> str:
    """Return text that Slack shows as it is, at most `longest` characters of it after escaping.

    A mention, a link or a channel begins with one of the three characters that are escaped here (docs.slack.dev,
    formatting); a backtick could swallow what follows it.
    """
    parts: list[str] = []
    left = longest
    for sign in text:
        part = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "`": "'"}.get(sign, sign)
        if len(part) > left - 1:
            parts.append("…")
            break
        parts.append(part)
        left -= len(part)
    return "".join(parts)


def _line(value: str) -> str:
    """One line without characters that are not seen: controls, and those that turn the direction of what follows."""
    visible = (" " if sign.isspace() else sign for sign in value)
    kept = (sign for sign in visible if unicodedata.category(sign) not in ("Cc", "Cf", "Cs", "Co"))
    return " ".join("".join(kept).split())


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _button(action: str, label: str, place: Place, style: str | None = None) -> Block:
    button: Block = {"type": "button", "action_id": action, "text": _plain(label), "value": place.packed()}
    return button | ({"style": style} if style else {})


def _section(text: str) -> Block:
    return {"type": "section", "text": _mrkdwn(text)}


def _mrkdwn(text: str) -> Block:
    """`verbatim` keeps Slack from making links of addresses and names that somebody has written."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _plain(text: str) -> Block:
    return {"type": "plain_text", "text": text, "emoji": False}


def _mail(headline: str, matter: Matter, outcome: Sequence[str], *, decides: bool) -> str:
    lines = [_line(headline), ""]
    lines += [*map(_line, outcome), ""] if outcome else []
    for label, value in matter.facts:
        lines.append(f"{_line(label)}: " + "\n    ".join(_line(line) for line in value.splitlines()))
    if matter.said:
        lines += ["", "Said so far:", *(f"- {_line(said)}" for said in matter.said)]
    lines += ["", *map(_line, matter.notes)] if matter.notes else []
    if decides:
        lines += ["", f"Answer here: {matter.link}"]
    return "\n".join(lines) + "\n"


def _html(headline: str, matter: Matter, outcome: Sequence[str], *, decides: bool) -> str:
    rows = "".join(
        f"<tr><td>{_safe(label)}</td><td>{'<br>'.join(_safe(line) for line in value.splitlines())}</td></tr>"
        for label, value in matter.facts
    )
    said = "".join(f"<li>{_safe(said)}</li>" for said in matter.said)
    return "".join(
        [
            f"<p><b>{_safe(headline)}</b></p>",
            *(f"<p>{_safe(line)}</p>" for line in outcome),
            f"<table>{rows}</table>",
            f"<p>Said so far:</p><ul>{said}</ul>" if said else "",
            *(f"<p>{_safe(note)}</p>" for note in matter.notes),
            f'<p><a href="{html_escape(matter.link)}">Answer in Airflow</a></p>' if decides else "",
        ]
    )


def _safe(value: str) -> str:
    return html_escape(_line(value))
