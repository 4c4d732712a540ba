"""What Airflow loads of Waybill: operators, triggers, hooks, notifiers and the mounted apps."""
