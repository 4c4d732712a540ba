"""Waybill's rules, data and clients; nothing below this package imports Airflow."""
