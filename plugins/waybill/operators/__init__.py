"""Operators: how a step of a workflow becomes a task."""
