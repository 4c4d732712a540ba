"""Each kind of alert, caused for real in a running Waybill, and read where a person reads it."""
