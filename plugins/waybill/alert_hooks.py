"""The `chat` role's providers from Airflow connections of the types `slack` and `slackwebhook`.

Made through the Slack provider package's hooks, so a connection means here what it means everywhere in Airflow.
"""

from __future__ import annotations

from collections.abc import Callable

from include.integrations.slack import TIMEOUT, SlackApi, SlackWebhook, quiet_logger
from include.integrations.systems import Provider


def slack_api(connection_id: str) -> Provider:
    """Return Slack by its Web API: the bot token is the connection's password, `base_url` may stand in its extra."""
    from airflow.providers.slack.hooks.slack import SlackHook  # noqa: PLC0415 - takes a second to import

    hook = SlackHook(slack_conn_id=connection_id, timeout=TIMEOUT, retry_handlers=[], logger=quiet_logger())
    return SlackApi(hook.client)


def slack_webhook(connection_id: str) -> Provider:
    """Return Slack by an incoming webhook: its token or whole URL is the connection's password."""
    from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook  # noqa: PLC0415

    hook = SlackWebhookHook(
        slack_webhook_conn_id=connection_id, timeout=TIMEOUT, retry_handlers=[], logger=quiet_logger()
    )
    return SlackWebhook(hook.client)


CONNECTED: dict[str, Callable[[str], Provider]] = {"slack": slack_api, "slackwebhook": slack_webhook}
"""Connection type -> what makes a provider of a connection's id."""
