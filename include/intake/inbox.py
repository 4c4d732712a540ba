"""Stores deliveries and opens their cases, many at a time, and says what each became.

Knows nothing of HTTP. Single deliveries that arrive together share one statement and one commit, so that the
rate does not hang on the disk's time per commit; each is answered only after that commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg

from include.data.database import SCHEMA, DatabaseMissing, asyncpg_dsn

log = logging.getLogger(__name__)

PATIENCE = 2.0
"""Seconds for a connection, for a statement, and for a delivery in all, before the sender is told to come back."""
LOST = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What a connection raises that is lost, or whose server is; the last one where it ends between two of its messages."""

CLERKS = 3
MOST_TOGETHER = 64
MOST_BYTES_TOGETHER = 4 * 2**20
BELL_PAUSE = 0.005  # seconds; NOTIFY takes a lock that serialises commits, so one call tells of many deliveries
BELL_INTERVAL = 0.1  # seconds between two calls at least
COUNT_PAUSE = 0.5  # seconds between two writings of the counted refusals
CHANNEL = "waybill_cases"


class Away(Exception):
    """The database could not store or answer; nothing is known to be stored, trying again is safe."""


@dataclass(frozen=True, slots=True)
class Item:
    """A delivery to store.

    :param key: `id:<the sender's id>`; empty when it has none: then an equal digest within `window` is the same.
    :param digest: SHA-256 of what makes the delivery the same one.
    :param stage: the first stage of its case.
    :param owner: the team that answers for its case.
    """

    source: str
    workflow: str
    key: str
    digest: bytes
    body: bytes
    content_type: str
    window: timedelta
    stage: str
    owner: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of an item: `new`, `repeated` (stored before), or `conflict` (another body has its id)."""

    id: UUID
    what: str


_EARLIER = """
    select i.n, count(*), max(d.received_at) > now() - max(i.kept),
           (array_agg(d.key order by d.received_at desc))[1]
    from unnest($1::int[], $2::text[], $3::bytea[], $4::interval[]) as i(n, source, digest, kept)
    join deliveries d on d.source = i.source and d.digest = i.digest and d.key like 'sha256:%'
    group by i.n"""

# One statement, one round trip, one commit. What is missing from its answer was there before.
_STORE = """
    with item as (
        select * from unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::bytea[], $6::text[], $7::text[],
                             $8::text[])
            as t(source, workflow, key, digest, body, content_type, stage, owner)
    ), delivered as (
        insert into deliveries (source, workflow, key, digest, body, content_type)
        select source, workflow, key, digest, body, content_type from item order by source, key
        on conflict (source, key) do nothing
        returning id, source, workflow, key
    ), route as (
        select distinct source, stage, owner from item
    ), opened as (
        insert into cases (workflow, key, delivery_id, stage, owner)
        select workflow, source || '/' || key, id, stage, owner from delivered join route using (source)
    )
    select source, key, id from delivered"""

_FIND = """
    select d.source, d.key, d.id, d.digest
    from unnest($1::text[], $2::text[]) as i(source, key) join deliveries d using (source, key)"""


async def _keys(connection: Any, items: Sequence[Item]) -> list[str]:
    """The key of each item. Without an id it is `sha256:<digest>:<n>`: the same came n times before the window.

    Two that store the same at once count the same n, so the unique key lets one in and the other finds it.
    """
    keys = [item.key for item in items]
    unnamed = [n for n, key in enumerate(keys) if not key]
    if not unnamed:
        return keys
    earlier = {
        row[0]: row
        for row in await connection.fetch(
            _EARLIER,
            unnamed,
            [items[n].source for n in unnamed],
            [items[n].digest for n in unnamed],
            [items[n].window for n in unnamed],
        )
    }
    for n in unnamed:
        _, count, within, latest = earlier.get(n, (n, 0, False, ""))
        keys[n] = latest if within else f"sha256:{items[n].digest.hex()}:{count}"
    return keys


async def store(connection: Any, items: Sequence[Item]) -> list[Receipt]:
    """Store what is new among `items` and open its cases; return one receipt per item, in their order.

    Exact for the same delivery in two calls at once, and twice in one call.
    """
    keys = await _keys(connection, items)
    rows = await connection.fetch(
        _STORE,
        [item.source for item in items],
        [item.workflow for item in items],
        keys,
        [item.digest for item in items],
        [item.body for item in items],
        [item.content_type for item in items],
        [item.stage for item in items],
        [item.owner for item in items],
    )
    fresh = {(row[0], row[1]): row[2] for row in rows}
    if len(fresh) == len(items):
        return [Receipt(fresh[item.source, key], "new") for item, key in zip(items, keys, strict=True)]
    # a new statement, because what another transaction has just stored is not in the snapshot of the first one
    found = await connection.fetch(_FIND, [item.source for item in items], keys)
    known = {(row[0], row[1]): (row[2], row[3]) for row in found}
    receipts = []
    for item, key in zip(items, keys, strict=True):
        place = (item.source, key)
        receipt_id, digest = known[place]
        first = fresh.pop(place, None) is not None
        receipts.append(Receipt(receipt_id, "conflict" if digest != item.digest else "new" if first else "repeated"))
    return receipts


class _Conflicts(Exception):
    def __init__(self, receipts: list[Receipt]) -> None:
        super().__init__()
        self.receipts = receipts


class Inbox:
    """The way to the database for one event loop of one process; connects when it is first needed."""

    def __init__(self, dsn: Callable[[], str] = asyncpg_dsn) -> None:
        self._dsn = dsn
        self._waiting: asyncio.Queue[tuple[Item, asyncio.Future[Receipt]]] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._clerks = 0
        self._pool: Any = None
        self._pool_lock = asyncio.Lock()
        self._rung: set[str] = set()
        self._rang = 0.0
        self._refusals: Counter[tuple[str, str]] = Counter()

    async def deliver(self, item: Item) -> Receipt:
        """Store one delivery.

        :raises Away: when it could not be stored in time.
        """
        future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((item, future))
        while self._clerks < CLERKS:
            self._clerks += 1
            self._spawn(self._clerk())
        try:
            async with asyncio.timeout(PATIENCE + 0.5):
                receipt = await future
        except TimeoutError:
            raise Away from None
        if receipt.what == "new":
            self._ring(item.workflow)
        return receipt

    async def deliver_all(self, items: Sequence[Item]) -> list[Receipt]:
        """Store all of `items` in one transaction, or, when one of them is a conflict, none.

        :raises Away: when they could not be stored in time.
        """
        patience = PATIENCE + len(items) / 1000
        try:
            async with asyncio.timeout(patience + 1):
                pool = await self._connected()
                async with pool.acquire(timeout=PATIENCE) as connection, connection.transaction():
                    receipts = await store(connection, items)
                    if any(receipt.what == "conflict" for receipt in receipts):
                        raise _Conflicts(receipts)
        except _Conflicts as conflicts:
            return conflicts.receipts
        except asyncpg.DataError:
            raise
        except LOST as error:
            log.warning("a batch of %d could not be stored: %s", len(items), type(error).__name__)
            raise Away from error
        for workflow in {item.workflow for item, receipt in zip(items, receipts, strict=True) if receipt.what == "new"}:
            self._ring(workflow)
        return receipts

    async def fetch(self, query: str, *values: Any) -> list[Any]:
        """Return the rows of a short query.

        :raises Away: when the database does not answer in time.
        """
        try:
            async with asyncio.timeout(PATIENCE + 0.5):
                pool = await self._connected()
                async with pool.acquire(timeout=PATIENCE) as connection:
                    return list(await connection.fetch(query, *values))
        except LOST as error:
            raise Away from error

    def count_refusal(self, source: str, reason: str) -> None:
        """Count a refused delivery; the count reaches the database within a second, when it is there."""
        if not self._refusals:
            self._spawn(self._write_refusals())
        self._refusals[source, reason] += 1

    async def close(self) -> None:
        """Tell of what was stored, write the counts, and hang up."""
        pending = [self._flush_bell(), self._flush_refusals()]
        await asyncio.gather(*pending, return_exceptions=True)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._pool is not None:
            self._pool.terminate()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connected(self) -> Any:
        async with self._pool_lock:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    min_size=0,
                    max_size=3,
                    connect=lambda *_, **settings: asyncpg.connect(self._dsn(), **settings),
                    reset=_leave_as_it_is,
                    timeout=PATIENCE,
                    **_connection_settings(PATIENCE * 5),
                )
        return self._pool

    # -- clerks: each owns a connection and takes what is waiting

    async def _clerk(self) -> None:
        connection: Any = None
        with suppress(*LOST, DatabaseMissing):
            connection = await self._clerk_connection()
            await store(connection, ())  # prepares the statement, so that nobody waits for it later
        while True:
            batch = await self._take()
            if not batch:
                continue
            try:
                connection = await self._store_together(connection, batch)
            except asyncio.CancelledError:
                _fail(batch, Away())
                raise
            except Exception as error:
                if not isinstance(error, Away):
                    log.exception("deliveries could not be stored")
                _fail(batch, error if isinstance(error, Away) else Away())
                if connection is not None:
                    connection.terminate()
                connection = None

    async def _clerk_connection(self) -> Any:
        return await asyncpg.connect(self._dsn(), timeout=PATIENCE, **_connection_settings(PATIENCE))

    async def _take(self) -> list[tuple[Item, asyncio.Future[Receipt]]]:
        batch = [await self._waiting.get()]
        size = len(batch[0][0].body)
        while len(batch) < MOST_TOGETHER and size < MOST_BYTES_TOGETHER and not self._waiting.empty():
            batch.append(self._waiting.get_nowait())
            size += len(batch[-1][0].body)
        return [entry for entry in batch if not entry[1].done()]

    async def _store_together(self, connection: Any, batch: list[tuple[Item, asyncio.Future[Receipt]]]) -> Any:
        """Store and answer `batch`; return the connection to use next."""
        for attempt in (1, 2):
            fresh = connection is None or connection.is_closed()
            try:
                if fresh:
                    connection = await self._clerk_connection()
                receipts = await store(connection, [item for item, _ in batch])
            except asyncpg.DataError:
                if len(batch) == 1:
                    raise
                for entry in batch:  # one that the database cannot take must not take the others with it
                    connection = await self._store_together(connection, [entry])
                return connection
            except LOST as error:
                if connection is not None:
                    connection.terminate()
                connection = None
                if isinstance(error, TimeoutError) or fresh or attempt == 2:
                    log.warning("%d deliveries could not be stored: %s", len(batch), type(error).__name__)
                    raise Away from error
                continue  # the server was restarted since this connection was last used
            for (_, future), receipt in zip(batch, receipts, strict=True):
                if not future.done():
                    future.set_result(receipt)
            return connection
        return connection

    # -- the bell: tells the watchers that there is work, outside the transactions that brought it

    def _ring(self, workflow: str) -> None:
        if not self._rung:
            self._spawn(self._ring_later())
        self._rung.add(workflow)

    async def _ring_later(self) -> None:
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(max(BELL_PAUSE, self._rang + BELL_INTERVAL - clock()))
        self._rang = clock()
        await self._flush_bell()

    async def _flush_bell(self) -> None:
        workflows, self._rung = self._rung, set()
        if workflows:
            try:
                await self.fetch("select pg_notify($1, name) from unnest($2::text[]) as w(name)", CHANNEL, [*workflows])
            except Away:
                log.warning("the watchers were not told of new deliveries; they look by themselves")

    # -- counted refusals

    async def _write_refusals(self) -> None:
        await asyncio.sleep(COUNT_PAUSE)
        await self._flush_refusals()

    async def _flush_refusals(self) -> None:
        counted, self._refusals = self._refusals, Counter()
        if not counted:
            return
        try:
            await self.fetch(
                """
                insert into intake_refusals (source, reason, count)
                select * from unnest($1::text[], $2::text[], $3::bigint[]) as t(source, reason, count) order by 1, 2
                on conflict (source, reason, day) do update
                    set count = intake_refusals.count + excluded.count, last_at = now()""",
                [source for source, _ in counted],
                [reason for _, reason in counted],
                [*counted.values()],
            )
        except Away:
            if not self._refusals:
                self._spawn(self._write_refusals())
            self._refusals.update(counted)


async def _leave_as_it_is(_: Any) -> None:
    """No statement of the intake changes its session, so nothing needs a round trip to be put right."""


def _connection_settings(patience: float) -> dict[str, Any]:
    return {
        "command_timeout": patience,
        "server_settings": {
            "search_path": SCHEMA,
            "application_name": "waybill-intake",
            "waybill.actor": "system:intake",
            "statement_timeout": str(int(patience * 1000)),
            "jit": "off",
        },
    }


def _fail(batch: Iterable[tuple[Item, asyncio.Future[Receipt]]], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
