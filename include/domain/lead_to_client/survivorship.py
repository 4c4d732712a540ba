"""Which value survives when a lead meets what the CRM already knows.

The rules are the contract's, field by field; a blank never overwrites, and nobody overwrites what another owns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from include.contracts.model import FieldRule


def surviving(known: Mapping[str, Any], proposed: Mapping[str, Any], rules: Mapping[str, FieldRule]) -> dict[str, Any]:
    """Return the fields of `proposed` that may be written over `known`, and that change something.

    :param known: what the CRM has now.
    :param proposed: what the lead says.
    :param rules: the contract's rule per field.
    :raises KeyError: for a field without a rule: the contract must say who owns it.
    """
    changes = {}
    for name, value in proposed.items():
        if value is None or value == "":
            continue
        present = known.get(name)
        if present == value:
            continue
        if present is None or present == "" or _may_replace(rules[name], present, value):
            changes[name] = value
    return changes


def _may_replace(rule: FieldRule, present: Any, value: Any) -> bool:
    if rule.rule == "latest":
        return True
    if rule.rule == "never_backwards":
        order = rule.order or []
        return value in order and (present not in order or order.index(value) > order.index(present))
    return False
