"""From which probability on two records are one person, and from which on a person is asked.

The figures behind them are in benchmarks/matching/RESULTS.md; change them only with a new run of it.
"""

from __future__ import annotations

SAME = 0.95
"""At least this: merged without asking. A wrong merge mixes two people's data and is found late, so it must be rarer
than the slips of a person who compares by eye: on the set that it was chosen on, about 1 of 1,000 such merges was
wrong, though nearly all of its leads are near misses. At 0.9 fewer than half as many questions would remain, but the
wrong merges would double."""

POSSIBLE = 0.4
"""At least this: the lead goes on as its own, and a person is asked. From 0.4 to 0.3 one known person in thirty more
would be found, but F1 hardly rises and twice as many questions are about two who are two."""

LARGEST_BLOCK = 50
"""Contacts. What more people than this have in common says nothing about any of them; it bounds a lead's cost too."""

MOST_QUESTIONS = 3
"""Pairs asked about one lead; a person does not compare more."""
