"""The receiver of deliveries: webhooks, batches, imported files. It opens cases, it does not work on them."""
