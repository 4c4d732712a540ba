"""Import stock requests from a file, or from rows pasted into Airflow's form.

CSV with a header line (number, kind, requester, from, to, reason, item, quantity, unit, lot, occurred_at), NDJSON or a
JSON array. Each row of a CSV becomes a request of one line and goes through `stock_request` like any other. Importing
the same file again adds nothing; rows that cannot be read are named in the task's log.
"""

from __future__ import annotations

from waybill.forms import import_dag

import_dag("stock_import", "stock_request", source="stock-import", purpose=__doc__)
