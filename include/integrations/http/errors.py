"""What can become of a call to an outside system, as errors that say what to do next.

They carry no secrets and no personal data, so they may be logged and kept in the ledger.
"""

from __future__ import annotations


class SystemTrouble(Exception):
    """A call to an outside system did not end well.

    :param system: the system's name.
    :param message: what happened, masked.
    """

    def __init__(self, system: str, message: str) -> None:
        super().__init__(f"{system}: {message}")
        self.system = system


class Unavailable(SystemTrouble):
    """The call was not carried out, or may safely be repeated; later it may succeed.

    :param retry_after: seconds after which a new attempt makes sense; None when the system did not say.
    """

    def __init__(self, system: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(system, message)
        self.retry_after = retry_after


class NotAuthorised(Unavailable):
    """The system refuses the credential; every call waits until a person has renewed or widened it.

    :param body: the answer's body to a call, parsed when it is JSON; None where the credential itself was refused. It
        may hold personal data: never log it.
    """

    def __init__(self, system: str, message: str, retry_after: float | None = None, body: object = None) -> None:
        super().__init__(system, message, retry_after)
        self.body = body


class Rejected(SystemTrouble):
    """The system understood the call and refuses it; the same call will never succeed.

    :param status: the HTTP status.
    :param body: the answer's body, parsed when it is JSON. It may hold personal data: never log it.
    """

    def __init__(self, system: str, message: str, status: int, body: object = None) -> None:
        super().__init__(system, message)
        self.status = status
        self.body = body


class UnknownOutcome(SystemTrouble):
    """The call was sent, no answer came, and repeating it could do it twice: ask the system first."""
