"""The sources that may send deliveries, as sources.yaml declares them.

Reads and checks the declaration; verifying and storing are done elsewhere. Secrets are read from the environment
when they are needed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from include.cases.model import Reason
from include.environment import current
from include.intake.mapping import Mapped, MappingRules, compiled
from include.intake.mapping import Path as JmesPath
from include.intake.signatures import Scheme

FILE = Path(__file__).with_name("sources.yaml")
LARGEST_BODY = 32 * 2**20  # bytes: a body is held in memory


class SourcesInvalid(ValueError):
    """sources.yaml cannot be used; the message says where and why."""


class SecretMissing(RuntimeError):
    """A source's secret is not in the environment, or the source does not exist in this environment."""


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Source(BaseModel):
    """One named origin of deliveries."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=40)]
    title: Annotated[str, Field(min_length=3)]
    workflow: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    scheme: Scheme
    secret: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")] | None = Field(
        default=None,
        description="Environment variable; several secrets with blanks between while one is being changed",
    )
    signature_header: str | None = Field(default=None, description="Lower case; when it is not the scheme's own")
    tolerance_seconds: Annotated[float, Field(gt=0, le=3600)] = 300
    id_header: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] | None = None
    id_path: Annotated[list[JmesPath], BeforeValidator(_as_list)] = Field(
        default_factory=list,
        description="The sender's own id inside the body; of several parts all must be there",
    )
    group: Annotated[list[str], BeforeValidator(_as_list)] = Field(
        default_factory=list,
        description="Column of an imported file, or several of which the first that a row has counts: rows with the "
        "same value there are one delivery, {<first column>: value, rows: [row, ...]}, known by that value; each row "
        "has the number of its line as _line",
    )
    dates: list[str] = Field(
        default_factory=list,
        description="Forms in which its files write moments, as strptime has them, beside ISO 8601",
    )
    volatile: list[str] = Field(
        default_factory=list, description="Top-level names that differ when the same delivery is sent again"
    )
    dedupe_seconds: Annotated[int, Field(gt=0)] = Field(
        default=86_400, description="Without an id: how long an equal body is taken for the same delivery"
    )
    max_bytes: Annotated[int, Field(gt=0, le=LARGEST_BODY)] = 2**20
    max_batch_bytes: Annotated[int, Field(gt=0, le=LARGEST_BODY)] = 16 * 2**20
    envelope: Literal["object", "array"] = Field(
        default="object", description="array: each element of the body is a delivery of its own"
    )
    mapping: MappingRules

    @model_validator(mode="after")
    def _is_proved(self) -> Source:
        if (self.scheme in (Scheme.NONE, Scheme.HANDOFF)) != (self.secret is None):
            raise ValueError("`secret` names an environment variable; it is left out only for none and handoff")
        if self.group and (self.id_path or self.scheme is Scheme.HANDOFF):
            raise ValueError("`group` is for rows of files, whose id is the group's value: leave out `id_path`")
        return self

    @property
    def is_handoff(self) -> bool:
        """Whether its deliveries come from another workflow, and never from outside."""
        return self.scheme is Scheme.HANDOFF

    def secrets(self) -> list[str]:
        """Return the secrets that are good now.

        :raises SecretMissing: when there is none, or when the source is unsigned outside development.
        """
        if self.is_handoff:
            raise SecretMissing(f"the source {self.name} takes handoffs of other workflows only")
        if self.secret is None:
            if not current().is_development:
                raise SecretMissing(f"the unsigned source {self.name} exists in development only")
            return []
        secrets = os.environ.get(self.secret, "").split()
        if not secrets:
            raise SecretMissing(f"set {self.secret}: without it the source {self.name} cannot prove itself")
        return secrets

    @cached_property
    def _id_getters(self) -> list[Any]:
        return [compiled(path) for path in self.id_path]

    def own_id(self, document: Mapping[str, Any]) -> str | None:
        """Return the sender's id of a delivery from its body, or None where it gives none of use."""
        parts = [getter(document) for getter in self._id_getters]
        if not parts or not all(isinstance(part, str | int) and not isinstance(part, bool) for part in parts):
            return None
        return usable_id(":".join(map(str, parts)))

    def group_of(self, document: Mapping[str, Any]) -> str | None:
        """Return the value by which a row belongs to others, or None where it stands alone."""
        value = next((document[column] for column in self.group if column in document), None)
        if not isinstance(value, str | int) or isinstance(value, bool):
            return None
        return usable_id(str(value))


def usable_id(text: str) -> str | None:
    """Return `text` when it can be a delivery's id: 1 to 200 printable characters with something in them."""
    text = text.strip()
    return text if 0 < len(text) <= 200 and text.isprintable() else None


def load(path: Path = FILE, *, environment: str | None = None) -> dict[str, Source]:
    """Read the sources of a file, by name.

    :param environment: outside `development` unsigned sources are left out, unless it is `any`.
    :raises SourcesInvalid: with one line per fault.
    """
    try:
        declared = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise SourcesInvalid(f"{path.name} cannot be read: {error}") from error
    entries = declared.get("sources") if isinstance(declared, dict) else None
    if not isinstance(entries, dict) or set(declared) != {"sources"}:
        raise SourcesInvalid(f"{path.name} holds one key, `sources`, and under it one entry per source")
    named = {name: {"name": name, **entry} if isinstance(entry, dict) else entry for name, entry in entries.items()}
    try:
        sources = TypeAdapter(dict[str, Source]).validate_python(named)
    except ValidationError as error:
        faults = [f"{path.name}: {'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise SourcesInvalid("\n".join(faults)) from None
    where = environment or current().name
    return {
        name: source
        for name, source in sources.items()
        if source.scheme is not Scheme.NONE or where in ("development", "any")
    }


@cache
def _shipped(environment: str) -> Mapping[str, Source]:
    return MappingProxyType(load(environment=environment))


def sources() -> Mapping[str, Source]:
    """Return the shipped sources that exist in this environment, read once."""
    return _shipped(current().name)


def outside_sources() -> Mapping[str, Source]:
    """Return those of `sources()` that take deliveries from outside: the others are handoffs."""
    return {name: source for name, source in sources().items() if not source.is_handoff}


def source(name: str) -> Source:
    """Return a source by its name.

    :raises KeyError: naming the sources that there are.
    """
    known = sources()
    if name not in known:
        raise KeyError(f"there is no source {name!r} in this environment; there are: {', '.join(known)}")
    return known[name]


def secret_variables() -> list[str]:
    """Return the environment variables that hold the shipped sources' secrets, each once."""
    return sorted({source.secret for source in load(environment="any").values() if source.secret})


def map_fields(name: str, body: bytes) -> Mapped:
    """Map a delivery of the source `name` to Waybill's fields; the first step of a workflow calls this.

    A source that is gone since the delivery arrived gives a reason, not an error: the case waits for a person.
    """
    known = _shipped("any")
    if name not in known:
        return Mapped({}, [Reason("mapping.source", f"The source {name!r} is no longer declared in sources.yaml.")])
    return known[name].mapping.apply(body)
