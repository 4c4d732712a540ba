"""Makes the mail provider from an Airflow connection of type `smtp`, as the SMTP provider package defines it."""

from __future__ import annotations

import smtplib

from airflow.providers.smtp.hooks.smtp import SmtpHook
from pydantic import SecretStr

from include.integrations.smtp import SmtpMail, SmtpServer
from waybill.hooks.http import ConnectionUnusable

PORTS = {"tls": 465, "starttls": 587, "none": 25}


class MailHook(SmtpHook):
    """A mail server."""

    def __init__(self, connection_id: str = "waybill_mail") -> None:
        super().__init__(smtp_conn_id=connection_id)

    def server(self) -> SmtpServer:
        """Return how the mail server is reached.

        :raises ConnectionUnusable: with what to correct in the connection.
        """
        self.smtp_connection = self.get_connection(self.smtp_conn_id)
        if self.auth_type != "basic":
            raise ConnectionUnusable(
                f"connection {self.smtp_conn_id}: mails are sent with a password, not {self.auth_type}"
            )
        sender = self.from_email or self.smtp_user
        if not self.host or "@" not in sender:
            raise ConnectionUnusable(f"connection {self.smtp_conn_id}: fill in Host and From email")
        security = "tls" if self.use_ssl else "starttls" if self.smtp_starttls else "none"
        try:
            return SmtpServer(
                host=self.host,
                port=self.port or PORTS[security],
                sender=sender,
                username=self.smtp_user or None,
                password=SecretStr(self.smtp_password) if self.smtp_password else None,
                security=security,
                connect_timeout=min(float(self.timeout), 10.0),
                verify=self.ssl_context != "none",
            )
        except ValueError as error:
            raise ConnectionUnusable(f"connection {self.smtp_conn_id}: {error}") from None

    def get_provider(self) -> SmtpMail:
        """Return the provider; it belongs to this process."""
        return SmtpMail(self.server())

    def test_connection(self) -> tuple[bool, str]:
        """Connect and log in; send nothing."""
        try:
            self.get_provider().test()
        except ConnectionUnusable as error:
            return False, str(error)
        except smtplib.SMTPAuthenticationError as error:
            return False, f"the mail server refuses the password ({error.smtp_code})"
        except (smtplib.SMTPException, OSError) as error:
            return False, f"the mail server does not answer ({type(error).__name__})"
        return True, "the mail server answers, and lets Waybill in"
