"""Import the invoices of an online shop from a file, and say what became of their rows; started in Airflow's form.

CSV or a spreadsheet with the columns of UCI's Online Retail (InvoiceNo, StockCode, Description, Quantity, InvoiceDate,
UnitPrice, Country) or Online Retail II (Invoice, Price). All rows of an invoice become one stock request, which goes
through `stock_request` like any other. The second task does not wait for that: it writes down, by line of the file,
what was not posted and why, and says how many lines are under way. Trigger it with the same file again for the list as
it is then; that adds nothing.
"""

from __future__ import annotations

from waybill.forms import import_dag
from waybill.operators.retail import TellOutcomesOperator

with import_dag("retail_import", "stock_request", source="retail-sales", purpose=__doc__) as dag:
    dag.get_task("import_rows") >> TellOutcomesOperator(task_id="tell_outcomes")
