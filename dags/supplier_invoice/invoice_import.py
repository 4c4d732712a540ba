"""Import supplier invoices from a file, or from rows pasted into Airflow's form.

CSV with a header line (number, supplier, order, kind, invoice_date, currency, order_line or item, quantity, unit_price,
tax_rate, net, tax, gross), NDJSON or a JSON array. Each row of a CSV becomes an invoice of one line and goes through
`supplier_invoice` like any other; invoices of several lines come as JSON. Importing the same file again adds nothing;
rows that cannot be read are named in the task's log.
"""

from __future__ import annotations

from waybill.forms import import_dag

import_dag("invoice_import", "supplier_invoice", source="invoice-import", purpose=__doc__)
