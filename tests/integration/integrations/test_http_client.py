"""The resilient base against real servers on 127.0.0.1 that misbehave on purpose."""

from __future__ import annotations

import logging
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.synchronize import Barrier

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from pydantic import SecretStr
from sqlalchemy import URL, Engine, text
from starlette.concurrency import run_in_threadpool

from include.data.database import connect
from include.integrations.http import (
    Basic,
    Bearer,
    CircuitPolicy,
    HttpClient,
    HttpSystem,
    NotAuthorised,
    OAuth2,
    RateLimit,
    Rejected,
    Retries,
    SystemTrouble,
    Timeouts,
    Unavailable,
    UnknownOutcome,
)
from tests.standins.hubspot import CLIENT_ID, CLIENT_SECRET, HubSpot, closed_port, hubspot
from tests.standins.serving import served

QUICK = Retries(attempts=3, first=0.01, longest=0.05)
HASTY = Timeouts(connect=1, read=0.4, write=1, pool=1, answer=1, total=8)


@contextmanager
def system_of(answer: Callable[[Request, int], Response]) -> Iterator[tuple[HttpSystem, Counter[str]]]:
    """A system whose n-th request (from 1) gets `answer`, and how often each path was asked."""
    app, asked = FastAPI(openapi_url=None), Counter[str]()

    @app.api_route("/{path:path}", methods=["GET", "POST", "PUT", "DELETE"])
    async def everything(request: Request) -> Response:
        asked[request.url.path] += 1
        asked["all"] += 1
        return await run_in_threadpool(answer, request, asked["all"])

    with served(app) as address:
        yield HttpSystem("probe", (address,), retries=QUICK, timeouts=HASTY), asked


def fine(request: Request, number: int) -> Response:
    return JSONResponse({"number": number})


def test_a_call_is_repeated_until_the_system_is_back(engine: Engine) -> None:
    with system_of(lambda r, n: fine(r, n) if n == 3 else Response(status_code=502)) as (system, asked):
        assert HttpClient(system, engine).get("/things").json() == {"number": 3}
        assert asked["/things"] == 3


def test_a_call_that_may_not_be_repeated_is_made_once_and_its_outcome_is_unknown(engine: Engine) -> None:
    def slow(request: Request, number: int) -> Response:
        time.sleep(0.8)
        return fine(request, number)

    with system_of(slow) as (system, asked):
        with pytest.raises(UnknownOutcome, match="no answer"):
            HttpClient(system, engine).post("/orders", {"a": 1})
        time.sleep(0.6)
        assert asked["/orders"] == 1


def test_a_500_after_a_write_leaves_the_outcome_unknown_and_a_503_does_not(engine: Engine) -> None:
    with system_of(lambda r, n: Response(status_code=500)) as (system, asked):
        with pytest.raises(UnknownOutcome):
            HttpClient(system, engine).post("/orders", {})
        assert asked["/orders"] == 1
    with system_of(lambda r, n: Response(status_code=503) if n < 3 else fine(r, n)) as (system, asked):
        assert HttpClient(system, engine).post("/orders", {}).status == 200


def test_a_connection_that_breaks_in_the_answer_leaves_the_outcome_unknown(engine: Engine) -> None:
    async def broken(scope: object, receive: object, send: Callable[..., object]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})
        raise RuntimeError("the server dies")

    with served(broken) as address:
        system = HttpSystem("probe", (address,), retries=QUICK, timeouts=HASTY)
        with pytest.raises(UnknownOutcome):
            HttpClient(system, engine).post("/orders", {})
        with pytest.raises(Unavailable):
            HttpClient(system, engine).get("/orders")


def test_an_answer_that_never_ends_is_given_up(engine: Engine) -> None:
    async def dripping(scope: object, receive: object, send: Callable[..., object]) -> None:
        import asyncio

        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b" ", "more_body": True})
            await asyncio.sleep(0.05)

    with served(dripping) as address:
        system = HttpSystem("probe", (address,), retries=replace(QUICK, attempts=1), timeouts=HASTY)
        began = time.monotonic()
        with pytest.raises(Unavailable):
            HttpClient(system, engine).get("/")
        assert time.monotonic() - began < 3


def test_a_refusal_is_final_and_says_what_the_system_said(engine: Engine) -> None:
    with system_of(lambda r, n: JSONResponse({"why": "no such stage"}, 422)) as (system, asked):
        with pytest.raises(Rejected, match="no such stage") as refused:
            HttpClient(system, engine).get("/x")
        assert (refused.value.status, refused.value.body) == (422, {"why": "no such stage"})
        assert asked["all"] == 1


def test_a_pause_in_seconds_is_kept_by_every_client_of_the_system(engine: Engine) -> None:
    def once_too_many(request: Request, number: int) -> Response:
        return Response(status_code=429, headers={"retry-after": "1"}) if number == 1 else fine(request, number)

    with system_of(once_too_many) as (system, asked):
        began = time.monotonic()
        with ThreadPoolExecutor(3) as pool:
            first = pool.submit(lambda: HttpClient(system, engine).get("/a"))
            time.sleep(0.3)
            others = [pool.submit(lambda: HttpClient(system, engine).get("/b")) for _ in range(2)]
            assert all(one.result().status == 200 for one in [first, *others])
        assert time.monotonic() - began >= 1.0
        assert asked["all"] == 4


def test_a_pause_longer_than_the_call_may_take_is_handed_to_the_caller(engine: Engine) -> None:
    with system_of(lambda r, n: Response(status_code=429, headers={"retry-after": "600"})) as (system, asked):
        with pytest.raises(Unavailable) as told:
            HttpClient(system, engine).get("/a")
        assert told.value.retry_after == 600
        with pytest.raises(Unavailable) as told:
            HttpClient(system, engine).get("/a")
        assert told.value.retry_after == pytest.approx(600, abs=5)
        assert asked["all"] == 1


def test_a_window_that_is_used_up_is_waited_for(engine: Engine) -> None:
    def last_of_window(request: Request, number: int) -> Response:
        headers = {"ratelimit-remaining": "0", "ratelimit-reset": "1"} if number == 1 else {}
        return JSONResponse({}, headers=headers)

    with system_of(last_of_window) as (system, _):
        client = HttpClient(system, engine)
        began = time.monotonic()
        client.get("/a")
        client.get("/a")
        assert time.monotonic() - began >= 0.95


def test_another_address_takes_over_while_the_first_is_down(engine: Engine) -> None:
    with system_of(fine) as (second, asked):
        dead = f"http://127.0.0.1:{closed_port()}"
        system = replace(second, base_urls=(dead, *second.base_urls), circuit=CircuitPolicy(threshold=2, cooldown=60))
        client = HttpClient(system, engine)
        for _ in range(4):
            assert client.post("/orders", {}).status == 200
        assert asked["/orders"] == 4
        states = dict(engine.connect().execute(text("select name, state from circuits")).fetchall())
        assert set(states.values()) == {"open"}  # the dead one's; a healthy address has no row


def test_a_write_whose_outcome_is_unknown_is_not_sent_to_another_address(engine: Engine) -> None:
    with (
        system_of(fine) as (second, asked),
        system_of(lambda r, n: Response(status_code=500)) as (first, _),
    ):
        system = replace(first, base_urls=(*first.base_urls, *second.base_urls))
        with pytest.raises(UnknownOutcome):
            HttpClient(system, engine).post("/orders", {})
        assert asked["all"] == 0


def test_a_circuit_opens_for_all_is_probed_by_one_and_closes(engine: Engine) -> None:
    healthy = False

    def answer(request: Request, number: int) -> Response:
        time.sleep(0.2 if healthy else 0)
        return fine(request, number) if healthy else Response(status_code=500)

    with system_of(answer) as (plain, asked):
        system = replace(
            plain,
            circuit=CircuitPolicy(threshold=3, cooldown=0.5),
            retries=replace(QUICK, attempts=1),
        )
        for _ in range(3):
            with pytest.raises(Unavailable):
                HttpClient(system, engine).get("/a")
        with pytest.raises(Unavailable, match="left alone") as told:
            HttpClient(system, engine).get("/a")
        assert told.value.retry_after is not None
        assert asked["all"] == 3
        time.sleep(0.6)
        with pytest.raises(Unavailable, match="500"):  # the probe fails, and the circuit opens for longer
            HttpClient(system, engine).get("/a")
        time.sleep(0.6)
        with pytest.raises(Unavailable, match="left alone"):
            HttpClient(system, engine).get("/a")
        healthy = True
        time.sleep(0.6)
        with ThreadPoolExecutor(4) as pool:
            tries = [pool.submit(lambda: HttpClient(system, engine).get("/a")) for _ in range(4)]
        ended = Counter(type(one.exception()).__name__ for one in tries)
        assert ended == {"NoneType": 1, "Unavailable": 3}
        assert HttpClient(system, engine).get("/a").status == 200
        with engine.connect() as connection:
            assert connection.execute(text("select state, failures from circuits")).one() == ("closed", 0)


def _call(url: str, system: HttpSystem, calls: int, together: Barrier) -> None:
    client = HttpClient(system, connect(url))
    together.wait(60)
    for _ in range(calls):
        client.get("/a")


def test_four_processes_together_keep_within_one_limit(engine: Engine, database_url: URL) -> None:
    times: list[float] = []

    def stamped(request: Request, number: int) -> Response:
        times.append(time.monotonic())
        return fine(request, number)

    with system_of(stamped) as (plain, _):
        patient = Timeouts(total=60)
        system = replace(plain, limits=(RateLimit(20, 1.0),), timeouts=patient)
        spawn = multiprocessing.get_context("spawn")
        url = database_url.render_as_string(hide_password=False)
        together = spawn.Barrier(4)
        workers = [spawn.Process(target=_call, args=(url, system, 15, together)) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(90)
        assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    most = max(sum(start <= t < start + 1.0 for t in times) for start in times)
    assert len(times) == 60
    assert most <= 20 + 3  # what a busy machine shifts
    assert max(times) - min(times) >= 2.5  # 60 calls, 20 a second, the first few at once


def _oauth(address: str, **changes: object) -> OAuth2:
    return OAuth2(
        **{
            "token_url": f"{address}/oauth/v1/token",
            "client_id": CLIENT_ID,
            "client_secret": SecretStr(CLIENT_SECRET),
            "credential": "hubspot/main",
            "grant": "refresh_token",
            "refresh_token": SecretStr("refresh-0"),
            **changes,
        }  # type: ignore[arg-type]
    )


def _get_token(url: str, system: HttpSystem, done: object) -> None:
    HttpClient(system, connect(url)).get("/crm/v3/owners")
    done.put(True)  # type: ignore[attr-defined]


def test_two_processes_that_need_a_token_refresh_once(engine: Engine, database_url: URL) -> None:
    with hubspot(HubSpot(rotate=True, token_delay=1.0)) as (account, address):
        system = HttpSystem("hubspot", (address,), auth=_oauth(address))
        spawn = multiprocessing.get_context("spawn")
        done = spawn.Queue()
        url = database_url.render_as_string(hide_password=False)
        workers = [spawn.Process(target=_get_token, args=(url, system, done)) for _ in range(2)]
        for worker in workers:
            worker.start()
        assert [done.get(timeout=60) for _ in workers] == [True, True]
        for worker in workers:
            worker.join(10)
        assert account.refreshes == 1
        assert account.calls("/crm/v3/owners") == 2


def test_many_threads_whose_token_has_expired_refresh_once(engine: Engine) -> None:
    with hubspot(HubSpot(rotate=True, token_delay=0.3)) as (account, address):
        system = HttpSystem("hubspot", (address,), auth=_oauth(address))
        clients = [HttpClient(system, engine) for _ in range(5)]
        for client in clients:
            client.get("/crm/v3/owners")
        account.expire_tokens()
        with ThreadPoolExecutor(5) as pool:
            answers = [pool.submit(client.get, "/crm/v3/owners") for client in clients]
        assert all(answer.result().status == 200 for answer in answers)
        assert account.refreshes == 2


def test_a_rotated_refresh_token_is_kept_encrypted_and_used_next_time(engine: Engine) -> None:
    with hubspot(HubSpot(rotate=True)) as (account, address):
        system = HttpSystem("hubspot", (address,), auth=_oauth(address))
        for expected in (1, 2, 3):
            HttpClient(system, engine).get("/crm/v3/owners")
            assert account.refreshes == expected
            account.expire_tokens()
        with engine.connect() as connection:
            row = connection.execute(text("select * from credentials")).one()
        for secret in ("refresh-", "CJX-", CLIENT_SECRET):
            assert secret not in str(row)


def test_a_worker_that_died_while_refreshing_holds_nobody_up_for_ever(engine: Engine) -> None:
    with hubspot() as (account, address):
        oauth = _oauth(address, timeout=1.0)
        system = HttpSystem("hubspot", (address,), auth=oauth)
        with engine.begin() as connection:
            connection.execute(
                text("""insert into credentials (name, seed, refresh_token, leased_by, leased_until)
                    select 'hubspot/main', :seed, null, uuidv7(), clock_timestamp() + interval '0.7 s'"""),
                {"seed": bytes(32)},
            )
            connection.execute(text("update credentials set seed = :seed"), {"seed": oauth.seed})
            from include.integrations.http import Cipher

            connection.execute(
                text("update credentials set refresh_token = :token"),
                {"token": Cipher.from_environment().encrypt("refresh-0")},
            )
        assert HttpClient(system, engine).get("/crm/v3/owners").status == 200
        assert account.refreshes == 1


def test_a_refused_credential_waits_for_a_person_and_a_new_one_heals_it(engine: Engine) -> None:
    with hubspot(HubSpot(refresh_token="refresh-new")) as (account, address):
        stale = HttpSystem("hubspot", (address,), auth=_oauth(address))
        for _ in range(3):
            with pytest.raises(NotAuthorised, match="connect the system again"):
                HttpClient(stale, engine).get("/crm/v3/owners")
        assert account.calls("/oauth/v1/token") == 1
        renewed = HttpSystem("hubspot", (address,), auth=_oauth(address, refresh_token=SecretStr("refresh-new")))
        assert HttpClient(renewed, engine).get("/crm/v3/owners").status == 200


def test_client_credentials_need_no_person(engine: Engine) -> None:
    with hubspot() as (account, address):
        oauth = _oauth(address, grant="client_credentials", refresh_token=None)
        system = HttpSystem("hubspot", (address,), auth=oauth)
        client = HttpClient(system, engine)
        assert client.get("/crm/v3/owners").status == client.get("/crm/v3/owners").status == 200
        assert account.refreshes == 1


def test_a_token_endpoint_that_is_away_is_no_refusal(engine: Engine) -> None:
    with hubspot() as (account, address):
        account.fail(503, path="/oauth")
        system = HttpSystem("hubspot", (address,), auth=_oauth(address))
        with pytest.raises(Unavailable) as told:
            HttpClient(system, engine).get("/crm/v3/owners")
        assert not isinstance(told.value, NotAuthorised)
        assert HttpClient(system, engine).get("/crm/v3/owners").status == 200


def test_no_secret_reaches_a_log_an_error_or_a_repr(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "shh-very-secret-41"

    def echo(request: Request, number: int) -> Response:
        sent = request.headers.get("authorization", "")
        return JSONResponse({"you sent": sent, "that is": sent.split()[-1], "mail": "erika@example.com"}, 400)

    said: list[str] = []
    with system_of(echo) as (system, _):
        for auth in (Bearer(SecretStr(secret)), Basic("user", SecretStr(secret))):
            client = HttpClient(replace(system, auth=auth), engine)
            with pytest.raises(SystemTrouble) as told:
                client.get("/a")
            said += [str(told.value), repr(told.value), repr(client), repr(client.system)]
    with hubspot(HubSpot(rotate=True)) as (account, address):
        client = HttpClient(HttpSystem("hubspot", (address,), auth=_oauth(address)), engine)
        client.get("/crm/v3/owners")
        account.refresh_token = "something-else"
        account.expire_tokens()
        with pytest.raises(NotAuthorised) as told:
            client.get("/crm/v3/owners")
        said += [str(told.value), repr(client.system), repr(client._tokens), repr(client._tokens._token)]
        tokens = list(account.access_tokens)
    told_all = "\n".join([*said, caplog.text])
    for hidden in (secret, CLIENT_SECRET, "refresh-0", "refresh-1", "dXNlcjpzaGg", "erika", *tokens):
        assert hidden not in told_all.replace("pat-na1-standin-0f6c", "")
