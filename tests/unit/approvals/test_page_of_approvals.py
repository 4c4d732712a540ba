"""The matrix on the page about approvals is one that works."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from include.approvals.people import FILE, load
from include.approvals.policy import Matrix, problems

PAGE = Path(__file__).resolve().parents[3] / "docs/approvals.md"


def test_the_example_has_no_problems() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert problems(Matrix.model_validate(yaml.safe_load(example)), load(FILE)) == []
