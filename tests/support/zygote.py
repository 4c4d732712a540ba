"""A process that has imported Airflow once, and runs each script of a test in a fork of its own.

Importing Airflow and building the API that tasks talk to costs ten seconds of a core; a fork has both at once, and what
it does to itself ends with it.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import runpy
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

MODULES = (
    "airflow.sdk.execution_time.callback_supervisor",
    "airflow.sdk.execution_time.task_runner",
    "airflow.dag_processing.processor",
    "airflow.serialization.definitions.dag",
    "airflow.triggers.callback",
    "waybill.alert_delivery",
    "waybill.alert_hooks",
    "waybill.notifiers",
    "waybill.watching",
)


@dataclass
class Zygote:
    """Runs scripts; its environment is what every fork starts from."""

    process: subprocess.Popen[str]
    folder: Path

    def run(self, script: Path, environment: Mapping[str, str]) -> tuple[int, str]:
        """Run a script with more variables in its environment; return its exit code and what it wrote."""
        output = self.folder / "output"
        assert self.process.stdin
        assert self.process.stdout
        job = {"script": str(script), "environment": dict(environment), "output": str(output)}
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the zygote has ended"
        return int(answer), output.read_text(errors="replace")


@contextmanager
def zygote(folder: Path, environment: Mapping[str, str]) -> Iterator[Zygote]:
    """Start one, with this whole environment."""
    with subprocess.Popen(
        [sys.executable, "-m", __name__],
        env=dict(environment),
        cwd=folder,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        yield Zygote(process, folder)
        assert process.stdin
        process.stdin.close()


def _serve() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an import prints is no answer
    for module in MODULES:
        importlib.import_module(module)
    asyncio.run(_build_api())
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            _act(job["script"], job["environment"], job["output"])
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()


async def _build_api() -> None:
    """Make the API of `dag.test()`, whose first request builds its routes; it leaves no thread behind."""
    from airflow.sdk.execution_time.supervisor import in_process_api_server

    transport = in_process_api_server().atransport
    async with httpx.AsyncClient(transport=transport, base_url="http://in-process") as client:
        (await client.get("/health")).raise_for_status()


def _act(script: str, environment: dict[str, str], output: str) -> None:
    """Become the script; never returns."""
    code = 1
    try:
        with Path(output).open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        os.environ.update(environment)
        runpy.run_path(script, run_name="__main__")
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
