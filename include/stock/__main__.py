"""`python -m include.stock` looks at the stock ledger: `check` compares, `rebuild` puts right, `show` lists an item."""

from __future__ import annotations

import argparse
import sys

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from include.data.database import DatabaseMissing, authored, engine
from include.stock.check import Difference, differences, rebuild, shown
from include.stock.items import load_items

AUTHOR = "user:command line"


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 when all is well, 1 with one line for each difference, 2 when it could not be done."""
    parser = argparse.ArgumentParser(prog="python -m include.stock", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="compare the balances with what movements and reservations add up to")
    commands.add_parser("rebuild", help="make the balances what movements and reservations add up to")
    show = commands.add_parser("show", help="list where an item is, and what is reserved")
    show.add_argument("item", help="the item's code")
    options = parser.parse_args(arguments)
    try:
        with authored(engine(), actor=AUTHOR) as connection:
            if options.command == "show":
                return _show(connection, options.item)
            return _report(rebuild(connection) if options.command == "rebuild" else differences(connection), options)
    except DatabaseMissing as error:
        return _fail(str(error))
    except IntegrityError as error:
        return _fail(f"what the movements add up to breaks a rule; a movement went around the ledger: {error.orig}")
    except SQLAlchemyError as error:
        return _fail(f"the database did not answer as it should: {error.__cause__ or error}")


def _report(found: list[Difference], options: argparse.Namespace) -> int:
    for difference in found:
        place = difference.place
        sys.stdout.write(
            f"{place.item} at {place.location}{f' lot {place.lot}' if place.lot else ''}:"
            f" kept {difference.kept:f}, movements say {difference.rebuilt:f};"
            f" reserved {difference.reserved:f}, reservations say {difference.promised:f}\n"
        )
    if options.command == "rebuild":
        sys.stdout.write(f"{len(found)} balances put right\n" if found else "nothing to put right\n")
        return 0
    if found:
        sys.stdout.write(f"{len(found)} balances differ; find out who went around the ledger, then run rebuild\n")
        return 1
    sys.stdout.write("every balance is what its movements and reservations add up to\n")
    return 0


def _show(connection: Connection, code: str) -> int:
    item = load_items(connection, [code]).get(code)
    if item is None:
        return _fail(f"there is no item {code!r}; codes are written as they were entered, capitals included")
    sys.stdout.write(f"{item.code}  {item.title}  (in {item.unit}, {item.group}, tracking: {item.tracking})\n")
    for location, lot, quantity, reserved in shown(connection, code):
        sys.stdout.write(
            f"{location:<16}{lot:<20}{quantity.normalize():>14f}"
            f"{f'  of which {reserved.normalize():f} reserved' if reserved else ''}\n"
        )
    return 0


def _fail(message: str) -> int:
    sys.stderr.write(f"{message}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
