"""Who looks at a page, and what they may do: Airflow's own login and roles, and a token against forged requests.

Whoever has the rights of Airflow's role Viewer sees; whoever has those of its role Op acts; whoever is asked, decides.
An account without any role, as a first login may make one, sees nothing. Forms carry a token that is bound to the
visitor, so that no other site can have a browser send one.
"""

from __future__ import annotations

import base64
import hmac
import json
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, NamedTuple

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.configuration import conf
from cryptography.fernet import Fernet, InvalidToken
from fastapi import Depends, Form, HTTPException
from itsdangerous import BadData, URLSafeTimedSerializer

TOKEN_LASTS = 12 * 3600  # seconds; a page may stay open for a shift
MESSAGE_LASTS = 60  # seconds


class Said(NamedTuple):
    """What is told on the next page of an action; `refused` where it did nothing of what was asked."""

    words: str
    refused: bool


@dataclass(frozen=True)
class Visitor:
    """Somebody who is logged in to Airflow.

    :param id: of the account, as the auth manager counts; a name or a number.
    :param name: of the account.
    :param acts: whether they may change anything; they also see personal data in clear.
    :param token: for the forms of the page.
    """

    id: str
    name: str
    acts: bool
    token: str

    @property
    def actor(self) -> str:
        """The author of what they do, as events have it."""
        return f"user:{self.name}"


def allowed_to_look(user: GetUserDep) -> BaseUser:
    """Return the account of whoever may see Airflow's own pages, and so these.

    :raises HTTPException: 403 for an account whose roles, if it has any, do not let it.
    """
    if not get_auth_manager().is_authorized_view(access_view=AccessView.WEBSITE, user=user):
        raise HTTPException(403, "your account has no role that may look; ask who runs Airflow for the role Viewer")
    return user


Account = Annotated[BaseUser, Depends(allowed_to_look)]
"""For whatever needs no more than that its reader may look."""


def visitor(user: Account) -> Visitor:
    """Return who asks for a page."""
    account = str(user.get_id())
    return Visitor(account, user.get_name(), _acts(user), _signer("form").dumps(account))


def submitting(user: Account, token: Annotated[str, Form()] = "") -> Visitor:
    """Return who submits a form, whatever their role; whether it is theirs to do is the action's to check.

    :raises HTTPException: 403 for a form that none of our pages made for them.
    """
    try:
        whose = _signer("form").loads(token, max_age=TOKEN_LASTS)
    except BadData:
        raise HTTPException(403, "this form is too old or not ours: load the page again, and repeat it") from None
    if whose != str(user.get_id()):
        raise HTTPException(403, "this form was made for somebody else: load the page again, and repeat it")
    return visitor(user)


def acting(user: Account, token: Annotated[str, Form()] = "") -> Visitor:
    """Return who submits a form of those that change anything for everybody.

    :raises HTTPException: 403 for whoever may only look, and as `submitting`.
    """
    if not _acts(user):
        raise HTTPException(403, "your role may look, and not change anything; ask somebody with the role Op")
    return submitting(user, token)


Looking = Annotated[Visitor, Depends(visitor)]
"""For the parameter of a page."""
Acting = Annotated[Visitor, Depends(acting)]
"""For the parameter of an action; its form needs the field `token`."""
Submitting = Annotated[Visitor, Depends(submitting)]
"""For an action that is not a matter of role, such as an answer of whoever is asked; its form needs `token` as well."""


def sealed(said: Said) -> str:
    """Return what is to be shown on the next page, such that nobody else can have anything shown there."""
    return _signer("message").dumps(said)


def unsealed(said: str | None) -> Said | None:
    """Return what `sealed` was given, for as long as the next page takes to load."""
    try:
        return Said(*_signer("message").loads(said, max_age=MESSAGE_LASTS)) if said else None
    except BadData:
        return None


def sealed_seen(seen: Any) -> str:
    """Return what a page shows, as a hidden field of its form: so what is done by it is bound to what was seen."""
    return _signer("seen").dumps(seen)


def unsealed_seen(seen: str) -> Any:
    """Return what `sealed_seen` was given, as JSON has it.

    :raises HTTPException: 403 for a form that none of our pages made, or not today.
    """
    try:
        return _signer("seen").loads(seen, max_age=TOKEN_LASTS)
    except BadData:
        raise HTTPException(403, "this form is too old or not ours: load the page again, and repeat it") from None


def concealed(words: str, visitor: Visitor) -> str:
    """Return what somebody looks for as it may stand in an address, and so in a log: only they have it read."""
    return _cipher().encrypt(json.dumps([visitor.id, words]).encode()).decode()


def revealed(words: str, visitor: Visitor) -> str | None:
    """Return what `concealed` was given by the same visitor, for the length of a shift."""
    try:
        account, looked_for = json.loads(_cipher().decrypt(words.encode(), ttl=TOKEN_LASTS))
    except InvalidToken:
        return None
    return str(looked_for) if account == visitor.id else None


def _acts(user: BaseUser) -> bool:
    """Whether they have what tells Airflow's role Op from its role User, with any auth manager."""
    return bool(get_auth_manager().is_authorized_pool(method="PUT", user=user))


@cache
def _signer(purpose: str) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(_secret(), salt=f"waybill {purpose}")


@cache
def _cipher() -> Fernet:
    return Fernet(base64.urlsafe_b64encode(hmac.digest(_secret().encode(), b"waybill search", "sha256")))


def _secret() -> str:
    """The key that all API servers of an installation share."""
    return conf.get_mandatory_value("api", "secret_key")
