"""Brings single values into one notation: addresses, numbers, names, places, dates.

Pure functions that never raise; what cannot be read becomes None. They know nothing of tables and workflows.
"""
