"""Import purchase requests from a file, or from rows pasted into Airflow's form.

CSV with a header line (requester, cost_centre, category, supplier, currency, description, quantity, unit_price,
tax_rate, …), NDJSON or a JSON array. Each row of a CSV becomes a request of one line and goes through
`purchase_approval` like any other; requests of several lines come as JSON. Importing the same file again adds nothing;
rows that cannot be read are named in the task's log.
"""

from __future__ import annotations

from waybill.forms import import_dag

import_dag("purchase_import", "purchase_approval", source="purchase-import", purpose=__doc__)
