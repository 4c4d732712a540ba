"""From which probability on two records are one person, and from which on a person is asked.

The figures behind them are in benchmarks/matching/RESULTS.md; change them only with a new run of it.
"""

from __future__ import annotations

SAME = 0.95
POSSIBLE = 0.4
LARGEST_BLOCK = 50
MOST_QUESTIONS = 3
