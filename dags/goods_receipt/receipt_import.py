"""Import goods receipts from a file, or from rows pasted into Airflow's form.

CSV with a header line (number, order, kind, received_on, order_line or item, quantity, lot, expires_on, condition,
note), NDJSON or a JSON array. `lot` is the lot or serial number of items that have one. Each row of a CSV becomes a
receipt of one line and goes through `goods_receipt` like any other. Importing the same file again adds nothing; rows
that cannot be read are named in the task's log.
"""

from __future__ import annotations

from waybill.forms import import_dag

import_dag("receipt_import", "goods_receipt", source="receipt-import", purpose=__doc__)
