"""`python -m include.intake`: run the intake as a service of its own."""

from __future__ import annotations

import argparse
import os
import sys

import uvicorn

from include.data.database import DatabaseMissing, asyncpg_dsn
from include.environment import UnknownEnvironment
from include.intake.sources import SourcesInvalid, sources


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to stop; 2 when the configuration does not allow to begin."""
    parser = argparse.ArgumentParser(
        prog="python -m include.intake",
        description="Receive signed deliveries at /intake/{source}; store them, then acknowledge them.",
        epilog="Environment: WAYBILL_DATABASE_URL, WAYBILL_ENVIRONMENT, the secrets named in "
        "include/intake/sources.yaml, and WAYBILL_PUBLIC_URL (scheme and host as senders call them) behind a proxy.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8081, help="port to listen on (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="processes; one per core at most (default: %(default)s)")
    parser.add_argument("--log-level", default="warning", choices=["debug", "info", "warning", "error"])
    options = parser.parse_args(arguments)
    try:
        asyncpg_dsn()
        sources()
    except (DatabaseMissing, SourcesInvalid, UnknownEnvironment) as error:
        print(f"The intake cannot start: {error}", file=sys.stderr)
        return 2
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - workers are started anew and import from here
    uvicorn.run(
        "include.intake.standalone:app",
        factory=True,
        host=options.host,
        port=options.port,
        workers=options.workers,
        log_level=options.log_level,
        access_log=False,
        loop="uvloop",
        http="httptools",
        lifespan="on",
        timeout_graceful_shutdown=10,
        server_header=False,
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
