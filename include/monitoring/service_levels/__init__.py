"""Service levels: their clock, what was met or missed as a fact, and whom a miss is told."""
