"""`python -m include.domain.purchase_approval.explain`: who would have to approve a purchase, and why.

It asks nobody and changes nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from include.approvals.people import people
from include.approvals.policy import Matrix, Routing, Unroutable, explain, load
from include.contracts.documents import DocumentError
from include.data.database import DatabaseMissing, engine
from include.data.money import AmountInvalid, parse_amount
from include.domain.purchase_approval.content import contents, figure
from include.domain.purchase_approval.facts import FILE, facts, matrix_problems
from include.domain.purchase_approval.route import routed
from include.domain.purchasing import purchasing

EXAMPLES = """
examples:
  who approves 12 000 of software that Ben asks for:
      python -m include.domain.purchase_approval.explain --amount 12000 --category software --requester ben.fischer
  the same from a supplier whom the ERP does not have, beyond the budget:
      … --new-supplier --over-budget
  why request PR-12 goes to whom it goes:
      python -m include.domain.purchase_approval.explain --request PR-12
  whether the matrix is sound, also a changed one that is not in use yet:
      python -m include.domain.purchase_approval.explain --check --policy changed.yaml
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Explain or check; 0 when there is an answer, 1 when the matrix has a problem or no answer, 2 for a wrong call."""
    parser = _parser()
    wanted = parser.parse_args(arguments)
    try:
        matrix = load(wanted.policy)
    except DocumentError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if wanted.check:
        return _check(matrix, wanted.policy)
    try:
        request = _stored(wanted.request) if wanted.request else _described(wanted, parser)
    except (DatabaseMissing, LookupError) as error:
        sys.stderr.write(f"{error.args[0]}\n")
        return 1
    try:
        routing = routed(request, matrix, people())
    except Unroutable as error:
        sys.stderr.write(f"Nobody can be asked ({error.code}): {error.message}\n")
        return 1
    _tell(request, routing)
    return 0


def _parser() -> argparse.ArgumentParser:
    known = purchasing()
    parser = argparse.ArgumentParser(
        prog="python -m include.domain.purchase_approval.explain",
        description="Say which stages of approval a purchase goes through, who is asked in each, and why.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--amount", help=f"in {known.company.currency} without tax, such as 12000 or 249.99")
    what.add_argument("--request", metavar="PR-12", help="a request that is stored; reads the database")
    what.add_argument("--check", action="store_true", help="print what is wrong with the matrix; exit 1 if anything is")
    parser.add_argument("--requester", metavar="PERSON", help="id of the person who asks, such as anna.schmidt")
    parser.add_argument("--category", choices=list(known.categories), help="what kind of purchase it is")
    parser.add_argument(
        "--cost-centre", choices=list(known.cost_centres), help="who pays; without it the first that buys the category"
    )
    parser.add_argument("--risk", choices=["low", "medium", "high"], help="without it the category's")
    parser.add_argument("--new-supplier", action="store_true", help="the ERP does not have the supplier")
    parser.add_argument("--over-budget", action="store_true", help="the budget does not suffice")
    parser.add_argument("--policy", type=Path, default=FILE, metavar="FILE", help="another matrix than the one in use")
    return parser


def _check(matrix: Matrix, path: Path) -> int:
    found = matrix_problems(matrix, people())
    sys.stderr.writelines(f"{problem}\n" for problem in found)
    if not found:
        sys.stdout.write(f"{path.name} is in order: no gap, no overlap, and somebody to ask for everybody\n")
    return 1 if found else 0


def _described(wanted: argparse.Namespace, parser: argparse.ArgumentParser) -> Mapping[str, Any]:
    known = purchasing()
    if not (wanted.category and wanted.requester):
        parser.error("--amount needs --category and --requester")
    try:
        amount = parse_amount(wanted.amount)
    except AmountInvalid as error:
        parser.error(f"--amount: {error}")
    centre = wanted.cost_centre or next(
        name for name, each in known.cost_centres.items() if wanted.category in each.categories
    )
    if wanted.category not in known.cost_centres[centre].categories:
        allowed = ", ".join(known.cost_centres[centre].categories)
        parser.error(f"{wanted.category} is not bought on cost centre {centre}; it may buy: {allowed}")
    return {
        "requester": wanted.requester,
        "entered_by": None,
        "cost_centre": centre,
        "category": wanted.category,
        "supplier_state": "new" if wanted.new_supplier else "active",
        "over_budget": wanted.over_budget,
        "risk": wanted.risk,
        "routed_amount": amount,
    }


def _stored(number: str) -> Mapping[str, Any]:
    digits = number.upper().removeprefix("PR-")
    case_id = int(digits) if digits.isdecimal() else 0
    with engine().connect() as connection:
        content = contents(connection, [case_id]).get(case_id)
    if content is None:
        raise LookupError(f"there is no request {number}")
    if content.request["cost_centre"] not in purchasing().cost_centres or content.request["routed_amount"] is None:
        raise LookupError(f"{number} cannot be routed yet: it is set aside, see its reasons")
    if content.request["category"] not in purchasing().categories:
        raise LookupError(f"{number} has no category that there is: it is set aside, see its reasons")
    return content.request


def _tell(request: Mapping[str, Any], routing: Routing) -> None:
    told = facts(request, request["routed_amount"])
    amount = figure(told.pop("amount"), purchasing().company.currency)
    sys.stdout.write(f"{people().name(request['requester'])} asks for {amount}\n")
    sys.stdout.writelines(f"  {name.replace('_', ' ')}: {_word(value)}\n" for name, value in told.items())
    sys.stdout.writelines(f"{line}\n" for line in explain(routing, people()))


def _word(value: Any) -> str:
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    sys.exit(main())
