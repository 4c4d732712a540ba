"""The rules of purchase approval."""
