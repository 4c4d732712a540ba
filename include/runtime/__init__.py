"""Waybill on one machine: PostgreSQL, Airflow and the demo, started and stopped as one.

Deployments on several machines are described in docs/deployment.md; nothing here runs in them.
"""
