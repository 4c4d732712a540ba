"""Import leads from a file, or from rows pasted into Airflow's form.

CSV with a header line, NDJSON or a JSON array. Each row becomes a lead of its own and goes through `lead_to_client`
like any other. Importing the same file again adds nothing; rows that cannot be read are named in the task's log.
"""

from __future__ import annotations

from waybill.forms import import_dag

import_dag("lead_import", "lead_to_client", source="import", purpose=__doc__)
