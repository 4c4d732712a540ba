"""The rules of deal-to-client."""
