"""`python -m include.contracts check` refuses what is wrong with the contracts; `generate` writes what follows."""

from __future__ import annotations

import argparse
import sys

from include.contracts import generate
from include.contracts.registry import ContractError, contracts


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 when all is well, 1 with one line for each fault."""
    parser = argparse.ArgumentParser(prog="python -m include.contracts", description=__doc__)
    parser.add_argument("command", choices=("check", "generate"))
    command = parser.parse_args(arguments).command
    try:
        known = contracts()
    except ContractError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if command == "generate":
        for path in generate.write():
            sys.stdout.write(f"written: {path}\n")
        return 0
    problems = generate.drift()
    sys.stderr.writelines(f"{problem}\n" for problem in problems)
    if not problems:
        sys.stdout.write(f"{len(known)} contracts, and all that is generated from them, are in order\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
