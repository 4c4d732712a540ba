"""Looks for trouble that nobody reports: in Airflow, in backlogs, and in the watchers themselves."""
