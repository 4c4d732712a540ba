"""Enter items of the stock, or change what is known of them, from a file or from rows pasted into Airflow's form.

CSV with a header line, NDJSON, a JSON array or a spreadsheet. `code`, `title`, `group` and `unit` are needed;
`decimals`, `tracking` (none, lot or serial), `abc`, `hazard`, `temperature`, `volume` (cubic metres), `standard_cost`,
`active`, `expires` (yes where each lot has a last day) and `units` (`box=12;pallet=480`) may be there. A cell that is
empty leaves what is known of the item; `none` takes a hazard or a temperature away. Rows that are not right are left
out and named in the task's log; importing again changes nothing.
"""

from __future__ import annotations

from waybill.dags import workflow_dag
from waybill.operators.stock_items import ImportItemsOperator
from waybill.params import file_params

with workflow_dag("stock_items", "stock_request", schedule=None, purpose=__doc__, params=file_params()):
    ImportItemsOperator(task_id="import_items")
