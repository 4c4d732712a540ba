"""The rules of lead-to-client."""
