"""Eight writers, the same few items, a kill every moment: nothing is lost, nothing moves twice, nobody deadlocks.

Five seconds of it; WAYBILL_STORM_SECONDS=60 makes it a minute, and prints what there was with `-s`.
"""

from __future__ import annotations

import os

from sqlalchemy import Engine

from tests.support.stock_storm import storm

SECONDS = float(os.environ.get("WAYBILL_STORM_SECONDS", "5"))


def test_the_ledger_is_right_after_eight_writers_were_killed_again_and_again(engine: Engine) -> None:
    found = storm(engine, SECONDS)
    print("".join(f"\n{what}: {count:,}" for what, count in found.items()))
    assert found["killed"] >= 5
    assert found["requests posted"] >= 50
