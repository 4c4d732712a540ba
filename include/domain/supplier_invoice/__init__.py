"""The rules of supplier invoices: three-way match, and the hand-over to accounting."""
