"""Makes .venv from requirements.lock with nothing but Python's standard library, and heals a half-made one.

It runs under whatever Python a machine has, so it uses no syntax newer than 3.6.
"""

import fcntl
import hashlib
import os
import re
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

OLDEST, NEWEST = (3, 11), (3, 13)
NEEDED_DISK = 2500 * 2**20  # bytes: .venv takes 1.3 GB, and the downloads as much while they are unpacked
REPOSITORY = Path(__file__).resolve().parents[2]


class BootstrapProblem(Exception):
    """Something that a person must mend; the message says what to do."""


def check_python(version: tuple = sys.version_info[:2]) -> None:  # type: ignore[type-arg]
    """Refuse a Python that the lock does not cover."""
    if not OLDEST <= tuple(version[:2]) <= NEWEST:
        raise BootstrapProblem(
            "Waybill runs on Python 3.11 to 3.13, and {} is {}.{}. Name another one:"
            " `make PYTHON=python3.12 demo`.".format(sys.executable, *version[:2])
        )


def check_disk(folder: Path) -> None:
    """Refuse a disk on which the installation would stop half-way."""
    free = shutil.disk_usage(str(folder)).free
    if free < NEEDED_DISK:
        raise BootstrapProblem(
            f"Installing needs {NEEDED_DISK // 2**20} MB, and {folder} has {free // 2**20} MB free: make room first."
        )


def digest(lock: Path) -> str:
    """Return what tells one installation from another: the lock and the Python it was made for."""
    content = hashlib.sha256(lock.read_bytes()).hexdigest()
    return "{} {}.{} {}".format(content, *sys.version_info[:2], sys.executable)


def uv_requirement(lock: Path) -> str:
    """Return the lock's own entry for uv, hashes included, as a requirements file of one entry."""
    found = re.search(r"^uv==.*?(?=^\S)", lock.read_text() + "\nend", re.MULTILINE | re.DOTALL)
    if found is None:
        raise BootstrapProblem("requirements.lock has no uv in it: run `make lock`, or restore the file from git.")
    return "\n".join(line for line in found.group().splitlines() if not line.strip().startswith("#"))


def run(command: list, failure: str) -> None:  # type: ignore[type-arg]
    """Run a command that may take long, and turn its failure into a message."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.call(command, env=environment)  # noqa: S603
    if done:
        raise BootstrapProblem(failure)


def install(repository: Path) -> None:
    """Bring .venv to what requirements.lock says; a second call is done at once."""
    lock, folder = repository / "requirements.lock", repository / ".venv"
    stamp, python = folder / "installed", folder / "bin" / "python"
    if stamp.exists() and python.exists() and stamp.read_text() == digest(lock):
        return
    check_disk(repository)
    if folder.exists() and not _works(python):
        sys.stderr.write("Replacing a half-made .venv\n")
        shutil.rmtree(str(folder))
    stamp.unlink() if stamp.exists() else None
    if not folder.exists():
        run(
            [sys.executable, "-m", "venv", str(folder)],
            "Python could not make .venv. On Debian and Ubuntu its module is a package of its own:"
            " `apt install python3-venv`.",
        )
    if not _has_uv(folder):
        wanted = folder / "uv.txt"
        wanted.write_text(uv_requirement(lock))
        pip = [
            str(python),
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--quiet",
            "install",
            "--require-hashes",
        ]
        run(
            [*pip, "-r", str(wanted)],
            "uv could not be installed: is there a network, and a proxy set if one is needed?",
        )
    sys.stderr.write("Installing what requirements.lock lists into .venv (1.3 GB; a few minutes the first time)\n")
    uv = [str(folder / "bin" / "uv"), "pip", "sync", "--require-hashes", "--compile-bytecode", "--quiet"]
    uv += ["--python", str(python)]
    if has_system_certificates():
        uv.append("--system-certs")
    run(
        [*uv, str(lock)],
        "The libraries could not be installed; the lines above say why. `make` again goes on from here.",
    )
    stamp.write_text(digest(lock))


def _works(python: Path) -> bool:
    """Tell whether the interpreter starts and is of the version asked for."""
    code = f"import sys; sys.exit(sys.version_info[:2] != {tuple(sys.version_info[:2])})"
    try:
        return subprocess.call([str(python), "-c", code], stderr=subprocess.DEVNULL) == 0  # noqa: S603
    except OSError:
        return False


def has_system_certificates() -> bool:
    """Tell whether this machine trusts authorities of its own, as one behind a company's proxy must."""
    paths = ssl.get_default_verify_paths()
    return bool(paths.cafile) or (bool(paths.capath) and any(Path(paths.capath or "").iterdir()))


def _has_uv(folder: Path) -> bool:
    try:
        return subprocess.call([str(folder / "bin" / "uv"), "--version"], stdout=subprocess.DEVNULL) == 0  # noqa: S603
    except OSError:
        return False


def main() -> int:
    """Install, one caller at a time, and return the exit code."""
    try:
        check_python()
        with (REPOSITORY / "requirements.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            install(REPOSITORY)
    except (BootstrapProblem, OSError) as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
