"""The rules of goods receipts: what arrived against an order, and what went back."""
