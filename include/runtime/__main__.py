"""The command line of a local Waybill: `python -m include.runtime up`; `make` calls it.

It parses, prints and exits; what the commands do is in local.py and demo.py.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

from include.monitoring.watching import outside
from include.runtime import health, local, tryton
from include.runtime.environment import USER, Home, RuntimeProblem
from include.runtime.supervision import Supervisor, leftovers

console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def _say(line: str) -> None:
    console.print(f"[dim]{time.strftime('%H:%M:%S')}[/dim] {line}")


def _address(home: Home) -> None:
    console.print(f"\n  Airflow   [bold]{home.url}[/bold]")
    console.print(f"  Board     [bold]{home.url}/plugin/waybill-board[/bold]")
    console.print(f"  User      [bold]{USER}[/bold]")
    console.print(f"  Password  [bold]{local.admin_password(home)}[/bold]")
    console.print("  Approvers [bold]maria.keller[/bold], and the others of people.yaml")
    console.print(f"  Password  [bold]{local.people_password(home)}[/bold]")
    console.print("  Stop it   [bold]make down[/bold]\n")


def _up(home: Home, arguments: argparse.Namespace) -> int:
    start = time.monotonic()
    local.up(home, _say, erp=arguments.erp)
    _say(f"Waybill is up ({time.monotonic() - start:.0f} s)")
    _address(home)
    return 0


def _down(home: Home, _: argparse.Namespace) -> int:
    local.down(home, _say)
    _say(f"Everything has stopped; the data stays in {home.path}")
    return 0


def _demo(home: Home, arguments: argparse.Namespace) -> int:
    from include.runtime.demo import demo  # noqa: PLC0415 - what it shows takes longer to load than other commands take

    local.up(home, _say, erp=arguments.erp)
    balanced = demo(home, console, leads=arguments.leads, seconds=arguments.seconds)
    _address(home)
    return 0 if balanced else 1


def _status(home: Home, _: argparse.Namespace) -> int:
    table = Table("process", "state", "since", box=None)
    states = Supervisor(home).states()
    for name, info in states.items():
        table.add_row(name, info["statename"].lower(), info["description"])
    if states:
        console.print(table)
    else:
        console.print("Nothing runs. Start it with `make up`.")
    left = leftovers(home) if not states else []
    if left:
        console.print(f"{len(left)} processes were left behind by a crash; `make down` ends them.")
    found = health.health(home)
    for name, state in found.items():
        if state != "None":
            console.print(f"{name}: {state}")
    if not health.is_healthy(found):
        return 1
    troubles = local.unwell(home)
    for trouble in troubles:
        console.print(f"[red]alerts: {trouble}[/red]")
    if outside.is_missing():
        console.print(f"[yellow]alerts: {outside.MISSING}[/yellow]")
    _address(home)
    return 1 if troubles else 0


def _logs(home: Home, arguments: argparse.Namespace) -> int:
    files = sorted(home.logs.glob(f"{arguments.process or '*'}.log"))
    if not files:
        known = ", ".join(sorted(path.stem for path in home.logs.glob("*.log"))) or "none yet"
        raise RuntimeProblem(f"There is no such log in {home.logs}; there are: {known}.")
    command = ["tail", "-n", str(arguments.lines), *(["-F"] if arguments.follow else []), *map(str, files)]
    try:
        return subprocess.run(command, check=False).returncode  # noqa: S603
    except KeyboardInterrupt:
        return 0


def _database(home: Home, _: argparse.Namespace) -> int:
    sys.stdout.write(local.database(home, errors.print) + "\n")
    return 0


def _environment(home: Home, _: argparse.Namespace) -> int:
    """Print what a shell needs to act as one of the processes; keys included, so it is for `eval`."""
    values = local.settings(home)
    own = ("AIRFLOW", "WAYBILL_", "PYTHONPATH", "GX_")
    for name in sorted(values):
        if name.startswith(own):
            sys.stdout.write(f"export {name}={shlex.quote(values[name])}\n")
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="python -m include.runtime",
        description="Waybill on one machine; WAYBILL_HOME (.waybill) is its folder and WAYBILL_PORT (8080) its port.",
    )
    commands = top.add_subparsers(required=True, metavar="command")
    up = commands.add_parser("up", help="start everything, and wait until it is healthy")
    up.set_defaults(act=_up)
    commands.add_parser("down", help="stop everything; the data stays").set_defaults(act=_down)
    demo = commands.add_parser("demo", help="start everything, send sample leads, and show what became of them")
    demo.add_argument("--leads", type=int, default=60, help="how many sample leads (default 60)")
    demo.add_argument("--seconds", type=float, default=120, help="how long they may take (default 120)")
    demo.set_defaults(act=_demo)
    for command in (up, demo):
        command.add_argument("--erp", choices=tryton.CHOICES, help="with a real Tryton, or without; else as before")
    commands.add_parser("status", help="say what runs, and how it is").set_defaults(act=_status)
    logs = commands.add_parser("logs", help="show the logs of the processes")
    logs.add_argument(
        "process", nargs="?", help="one process: scheduler, api-server, triggerer, dag-processor, postgres"
    )
    logs.add_argument("-f", "--follow", action="store_true", help="go on showing what is added")
    logs.add_argument("-n", "--lines", type=int, default=50, help="how many lines of each (default 50)")
    logs.set_defaults(act=_logs)
    commands.add_parser("database", help="start the database only, and print its address").set_defaults(act=_database)
    commands.add_parser(
        "environment",
        help='print the environment of the processes: eval "$(python -m include.runtime environment)"',
    ).set_defaults(act=_environment)
    return top


def main() -> int:
    """Run one command and return its exit code."""
    arguments = parser().parse_args()
    try:
        code: int = arguments.act(Home.from_environment(), arguments)
    except RuntimeProblem as problem:
        errors.print(f"[red]{problem}[/red]", markup=True)
        return 1
    except KeyboardInterrupt:
        errors.print("Stopped by you. What was started goes on: `make down` ends it.")
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main())
