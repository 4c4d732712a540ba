"""The ops pages inside Airflow's UI: they show what `include.monitoring` reads, and carry out what ops clicks."""
