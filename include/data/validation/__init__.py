"""Checks frames of rows against Great Expectations suites, and keeps the pages that show what came of it.

Which expectations there are is the business of a workflow's domain.
"""
