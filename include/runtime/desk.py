"""Answers approvals as a person does who is signed in: over Airflow's own REST API, as that person.

For the demo and for whoever tries the approvals from a script; a person uses the page of required actions.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

import httpx

from include.runtime import health, local
from include.runtime.environment import USER, Home

OPTIONS = {
    "approve": "Approve",
    "reject": "Reject",
    "ask": "Ask for information",
    "answer": "Answer",
    "withdraw": "Withdraw",
}
"""What an answer is called on the page."""


class Desk:
    """The people of people.yaml at this home's Airflow, each with a client of their own."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._clients: dict[str, httpx.Client] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def client(self, account: str) -> httpx.Client:
        """Return a client that is signed in with `account`.

        :raises httpx.HTTPError: when the API server does not answer or refuses.
        """
        if account not in self._clients:
            password = local.admin_password(self._home) if account == USER else local.people_password(self._home)
            self._clients[account] = health.client(self._home, password, account)
        return self._clients[account]

    def answer(
        self, account: str, dag_id: str, run_id: str, answer: str, *, stage: int = 1, comment: str = ""
    ) -> httpx.Response:
        """Answer one stage of a round, or a question about it; return what the API said.

        :param answer: a key of `OPTIONS`.
        """
        task = "question" if answer == "answer" else f"stage_{stage}"
        return self.client(account).patch(
            f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task}/-1/hitlDetails",
            json={"chosen_options": [OPTIONS[answer]], "params_input": {"comment": comment}},
        )
