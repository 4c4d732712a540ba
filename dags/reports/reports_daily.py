"""Make the reports of yesterday: leads, spending, stock, and the workflows themselves.

Each report is made in a task of its own, guarded by checks: what fails them is not published, its task fails and says
why, and the last good edition stays. Then each edition goes out once to its readers (`include/reporting/readers.yaml`):
files, messages, mails, and where they are connected a warehouse, Google spreadsheets and a webhook. *Waybill, Reports*
shows all editions.

Everything counts on the day on which it happened. The seven days before are looked at again: facts that came late make
a new revision, which is told as put right, and a day that nobody made is made now. **Backfill** any other past days
from Airflow: the figures are the same while the facts are.

A report that waits for something, such as stock that is not valued yet, is tried again for hours; the others go out.
"""

from __future__ import annotations

from include.reporting.intervals import Period
from waybill.dags import reports_dag

reports_dag("reports_daily", Period.DAILY, cron="0 5 * * *", purpose=__doc__)
