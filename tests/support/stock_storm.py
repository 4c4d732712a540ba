"""Many processes post against the same few items and are killed at any moment; afterwards the ledger must be right.

Requests are served at least once, by whoever comes, as after lost answers.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Engine, text

from include.data.database import authored, connect
from include.stock.allocation import Demand, allocate
from include.stock.ledger import Movement, NotPostable, Place, hold, post, reverse
from include.stock.reservations import Promise, release, reserve
from tests.support.ledger import AUTHOR, ITEMS, NOON, arrives, assert_sound, do, moves, prepare
from tests.support.work import receive, rows

WRITERS = 8
KILL_EVERY = 0.25
"""Seconds between two kills."""
LINES = 3
REAL = ("MAIN", "COLD", "SHOP", "TRANSIT")
PLACES = (*REAL, "SUPPLIER", "CUSTOMER", "CONSUMPTION", "SCRAP", "ADJUSTMENT")
LOTS = {"NUT": ("",), "MILK": ("MON", "TUE"), "DRILL": ("D-1", "D-2", "D-3")}
CASES = 4
BULK = Decimal("0.5")
"""Cubic metres of each piece, so that COLD is full now and then."""
TABLES = """
    create sequence storm_requests;
    create table storm_outcomes (writer integer, request bigint, outcome text, new integer);
    create table storm_errors (writer integer, what text)"""
REFUSED = "refused"


def request(number: int) -> list[Movement]:
    """The lines of a request; the same number is the same request, whoever serves it."""
    chance = random.Random(number)
    lines = []
    for line in range(chance.randint(1, LINES)):
        item = chance.choice(("NUT", "NUT", "MILK", "DRILL"))
        source, destination = chance.sample(PLACES, 2)
        if chance.random() < 0.3:  # so that everything is always scarce
            source, destination = chance.choice(REAL), "CUSTOMER"
        quantity = 1 if item == "DRILL" else chance.randint(1, 9)
        lot = chance.choice(LOTS[item])
        key = f"storm/{number}/{line}"
        lines.append(moves(item, quantity, source, destination, key=key, lot=lot, line=line))
    return lines


def serve(connection: Connection, number: int, chance: random.Random) -> tuple[str, int]:
    """Do a request in one of the ways in which stock is posted."""
    lines = request(number)
    if chance.random() < 0.2:  # as the workflow does it: hold, see what is there, post
        places = {Place(each.item, where, each.lot) for each in lines for where in (each.source, each.destination)}
        supply = hold(connection, places)
        demands = [Demand(each.item, each.source, each.destination, each.quantity, each.lot) for each in lines]
        if any(allocation.missing for allocation in allocate(demands, supply)):
            return REFUSED, 0
    return "posted", post(connection, lines)


def disturb(connection: Connection, chance: random.Random, cases: list[int]) -> None:
    """Reserve, release or take something back."""
    case = chance.choice(cases)
    what = chance.random()
    if what < 0.5:
        places = [Place("NUT", where) for where in chance.sample(REAL, 2)]
        promises = [Promise(line, place, Decimal(chance.randint(1, 3))) for line, place in enumerate(places)]
        reserve(connection, case, promises, NOON)
    elif what < 0.8:
        release(connection, [case])
    else:
        last = connection.execute(
            text("select id from stock_movements where reverses is null order by id desc limit 20")
        ).scalars()
        reverse(connection, chance.sample(list(last) or [0], 1), moved_at=NOON, key_prefix="storm/undo")


def write(url: str, writer: int, seed: int, cases: list[int]) -> None:
    """Serve requests until killed, the last ones again and again."""
    engine = connect(url, pool_size=1)
    chance = random.Random(seed)
    while True:
        with engine.connect() as connection:  # nobody waits for a number that somebody died with
            number = connection.execute(text("select nextval('storm_requests')")).scalar_one()
        if chance.random() < 0.3:
            number = max(1, number - chance.randint(1, 30))
        outcome, new = REFUSED, 0
        try:
            with authored(engine, actor=AUTHOR) as connection:
                outcome, new = serve(connection, number, chance)
            if chance.random() < 0.2:
                with authored(engine, actor=AUTHOR) as connection:
                    disturb(connection, chance, cases)
        except NotPostable:
            pass
        except Exception as error:
            with engine.begin() as connection:
                connection.execute(
                    text("insert into storm_errors values (:writer, :what)"), {"writer": writer, "what": repr(error)}
                )
        with engine.begin() as connection:
            connection.execute(
                text("insert into storm_outcomes values (:writer, :request, :outcome, :new)"),
                {"writer": writer, "request": number, "outcome": outcome, "new": new},
            )


def storm(engine: Engine, seconds: float, *, writers: int = WRITERS, seed: int = 1) -> Counter[str]:
    """Let it storm on an empty migrated database, and fail when anything is wrong afterwards.

    :returns: how much of what there was.
    """
    prepare(engine, *(replace(item, volume=BULK) for item in ITEMS))
    with engine.begin() as connection:
        connection.execute(text(TABLES))
    do(engine, *(arrives("NUT", 20, where, key=f"begin/{where}") for where in REAL))
    cases = receive(engine, CASES, workflow="stock_request")
    url = engine.url.render_as_string(hide_password=False)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.stock_storm"])
    chance = random.Random(seed)

    def start(writer: int) -> Any:
        process = context.Process(target=write, args=(url, writer, chance.getrandbits(32), cases), daemon=True)
        process.start()
        return process

    running = [start(writer) for writer in range(writers)]
    killed = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(chance.uniform(0, 2 * KILL_EVERY))
        victim = chance.randrange(writers)
        os.kill(running[victim].pid, signal.SIGKILL)
        running[victim].join()
        running[victim] = start(victim)
        killed += 1
    for process in running:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    wait_until_alone(engine)
    (drawn,) = rows(engine, "select last_value from storm_requests")
    return examine(engine, drawn["last_value"], Counter(killed=killed, writers=writers))


def wait_until_alone(engine: Engine) -> None:
    """Wait until the database has noticed that the writers are gone."""
    for _ in range(200):
        others = rows(
            engine,
            """select pid from pg_stat_activity
               where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
                 and state <> 'idle'""",
        )
        if not others:
            return
        time.sleep(0.05)
    raise AssertionError("writers that were killed still write")


def examine(engine: Engine, requests: int, found: Counter[str]) -> Counter[str]:
    """Serve again whatever nobody answered for, and fail when anything was lost, done twice, or by halves."""
    assert_sound(engine)
    errors = rows(engine, "select what from storm_errors")
    assert not errors, f"{len(errors)} errors, the first: {errors[0]['what']}"
    kept = Counter(
        row["request"]
        for row in rows(
            engine,
            """select cast(split_part(key, '/', 2) as bigint) as request from stock_movements
               where key ~ '^storm/[0-9]+/'""",
        )
    )
    acknowledged: Counter[int] = Counter()
    for row in rows(engine, "select request, sum(new) as new from storm_outcomes where outcome = 'posted' group by 1"):
        acknowledged[row["request"]] = row["new"]
    answered = {row["request"] for row in rows(engine, "select distinct request from storm_outcomes")}
    for number, count in kept.items():
        assert count == len(request(number)), f"request {number} is posted by halves"
    for number, new in acknowledged.items():
        assert kept[number], f"request {number} was acknowledged and is lost"
        assert new <= len(request(number)), f"request {number} was posted twice"
    for number in set(range(1, requests + 1)) - answered:
        try:
            new = do(engine, *request(number))
        except NotPostable:
            assert number not in kept
            continue
        assert new == (0 if number in kept else len(request(number)))
        found["served after all"] += 1
    assert_sound(engine)
    found["requests"], found["requests posted"] = requests, len(kept)
    found["posted, killed before it was said"] = len(kept.keys() - acknowledged.keys())
    for row in rows(
        engine,
        """select count(*) as movements, count(*) filter (where reverses is not null) as reversals,
                  (select count(*) from storm_outcomes) as answers,
                  (select count(*) from stock_reservations) as reservations from stock_movements""",
    ):
        found.update(row)
    return found
