"""Reports over past intervals: their figures, the checks that guard them, their editions, and where they go."""
