"""Make the reports of last month; see `reports_daily`.

The month before is looked at again. Backfill any other past ones from Airflow: the figures are the same while the facts
are.
"""

from __future__ import annotations

from include.reporting.intervals import Period
from waybill.dags import reports_dag

reports_dag("reports_monthly", Period.MONTHLY, cron="0 5 1 * *", purpose=__doc__)
