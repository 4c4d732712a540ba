"""The providers that need nothing: a CRM, a mailbox and a chat log in Waybill's own database."""
