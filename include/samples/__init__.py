"""Leads to try Waybill with: people who do not exist, at domains that cannot."""
