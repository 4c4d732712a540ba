"""Reads the YAML files that people edit: contracts, decision tables, rosters.

Stricter than YAML 1.1 where that loses work silently: a key written twice is an error, and only true and
false are booleans (Norway's code NO stays a string). It knows nothing of what the files mean.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml


class DocumentError(ValueError):
    """A file that cannot be used; the message says which, where, and what to write instead."""


class _Loader(yaml.CSafeLoader):
    """YAML 1.2's booleans; a key may be written once."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # the attribute's name and shape are PyYAML's
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                line = key_node.start_mark.line + 1
                raise DocumentError(f"line {line}: {key!r} is written twice; keep one of the two")
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def read(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises DocumentError, naming the file and the line, when it is missing, is not YAML, or is not a mapping.
    """
    try:
        # A subclass of SafeLoader builds plain values only.
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506
    except FileNotFoundError:
        raise DocumentError(f"{path}: there is no such file") from None
    except DocumentError as error:
        raise DocumentError(f"{path}: {error}") from None
    except yaml.YAMLError as error:
        raise DocumentError(f"{path}: not YAML: {error}") from error
    if not isinstance(content, dict):
        raise DocumentError(f"{path}: must be a mapping of keys to values, but is {type(content).__name__}")
    return content
