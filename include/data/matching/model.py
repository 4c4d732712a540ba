"""Scores pairs of people with splink: name, organisation, place, phone and e-mail address.

The parameters are trained by benchmarks/matching and kept in model.json. Does not find the pairs.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from include.data.matching.people import Person

PARAMETERS = Path(__file__).with_name("model.json")

Pair = tuple[Person, Person]


@dataclass(frozen=True)
class Level:
    """One degree of agreement: its name in the evidence, and the SQL condition on columns `_l` and `_r`."""

    name: str
    condition: str


_NEAR = "greatest(jaro_winkler_similarity(name_l, name_r), jaro_winkler_similarity(spoken_l, spoken_r))"

COMPARISONS: Mapping[str, Sequence[Level]] = {
    "name": (
        Level("missing", "name_l is null or name_r is null"),
        Level("equal", "name_l = name_r"),
        Level(
            "nickname or initial",
            "last_l = last_r and (list_has_any(given_l, given_r) or "
            "(first_l[1] = first_r[1] and least(length(first_l), length(first_r)) = 1))",
        ),
        Level(
            "typing error",
            f"{_NEAR} >= 0.92 and (damerau_levenshtein(name_l, name_r) <= 2 "
            "or damerau_levenshtein(spoken_l, spoken_r) <= 2)",
        ),
        Level("similar", f"{_NEAR} >= 0.88 or contains(name_l, name_r) or contains(name_r, name_l)"),
        Level("family name", "last_l = last_r"),
        Level("different", "ELSE"),
    ),
    "organisation": (
        Level(
            "missing",
            "coalesce(organisation_l, stem_l) is null or coalesce(organisation_r, stem_r) is null",
        ),
        Level("company and domain", "domain_l = domain_r and organisation_l = organisation_r"),
        Level("domain", "domain_l = domain_r"),
        Level("company", "organisation_l = organisation_r and (domain_l is null or domain_r is null)"),
        Level(
            "typing error",
            "jaro_winkler_similarity(organisation_l, organisation_r) >= 0.93 "
            "and (domain_l is null or domain_r is null)",
        ),
        Level(
            "related",
            "stem_l = stem_r or organisation_l = organisation_r or head_l = head_r or head_l = stem_r "
            "or head_r = stem_l or jaro_winkler_similarity(organisation_l, organisation_r) >= 0.93",
        ),
        Level("different", "ELSE"),
    ),
    "place": (
        Level("missing", "coalesce(place_l, country_l) is null or coalesce(place_r, country_r) is null"),
        Level("postal code", "postal_code_l = postal_code_r and coalesce(country_l = country_r, true)"),
        Level(
            "city",
            "jaro_winkler_similarity(place_l, place_r) >= 0.93 and coalesce(country_l = country_r, true)",
        ),
        Level("country", "country_l = country_r and (place_l is null or place_r is null)"),
        Level("other city", "country_l = country_r"),
        Level("different", "ELSE"),
    ),
    "phone": (
        Level("missing", "phone_l is null or phone_r is null"),
        Level("equal", "phone_l = phone_r"),
        Level("different", "ELSE"),
    ),
    "address": (
        Level("missing", "mailbox_l is null or mailbox_r is null"),
        Level(
            "typing error",
            "(host_l = host_r and digits_l = digits_r and damerau_levenshtein(mailbox_l, mailbox_r) <= 2 "
            "and jaro_winkler_similarity(mailbox_l, mailbox_r) >= 0.9) "
            "or (mailbox_l = mailbox_r and host_l <> host_r and damerau_levenshtein(host_l, host_r) <= 2)",
        ),
        Level("same mailbox elsewhere", "mailbox_l = mailbox_r"),
        Level("different", "ELSE"),
    ),
}
"""What is compared, best agreement first; the first level that holds counts."""


@dataclass(frozen=True)
class Score:
    """How sure the model is that a pair is one person.

    :param probability: 0 to 1.
    :param evidence: comparison -> level; holds no personal data.
    """

    pair: Pair
    probability: float
    evidence: Mapping[str, str]


@cache
def parameters() -> dict[str, Any]:
    """Return the trained parameters: `prior`, and per comparison and level `[m, u]`."""
    return dict(json.loads(PARAMETERS.read_text()))


def settings(trained: Mapping[str, Any]) -> dict[str, Any]:
    """Return splink's settings for the given parameters."""
    return {
        "link_type": "dedupe_only",
        "probability_two_random_records_match": trained["prior"],
        "blocking_rules_to_generate_predictions": [],
        "retain_matching_columns": True,
        "retain_intermediate_calculation_columns": True,
        "comparisons": [
            {
                "output_column_name": name,
                "comparison_levels": [_level(level, trained["levels"].get(name, {})) for level in levels],
            }
            for name, levels in COMPARISONS.items()
        ],
    }


def _level(level: Level, trained: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    known: dict[str, Any] = {"sql_condition": level.condition, "label_for_charts": level.name}
    if level.name == "missing":
        return known | {"is_null_level": True}
    m, u = trained[level.name]
    return known | {"m_probability": m, "u_probability": u}


_COLUMNS = (
    "name",
    "spoken",
    "first",
    "last",
    "given",
    "organisation",
    "head",
    "domain",
    "stem",
    "country",
    "place",
    "postal_code",
    "phone",
    "mailbox",
    "host",
    "digits",
)


def _row(person: Person) -> tuple[Any, ...]:
    mailbox = person.local
    return (
        person.name,
        " ".join(filter(None, (person.first, person.last))) or person.name,
        person.first,
        person.last,
        list(person.given),
        person.organisation,
        person.organisation_head,
        person.domain,
        person.stem,
        person.country,
        person.place,
        person.postal_code,
        person.phone,
        mailbox,
        (person.email_key or "").partition("@")[2] or None,
        "".join(letter for letter in mailbox if letter.isdigit()) if mailbox else None,
    )


def score(pairs: Sequence[Pair], at_least: float = 0.0, trained: Mapping[str, Any] | None = None) -> Iterable[Score]:
    """Return the score of every pair whose probability is `at_least`; without pairs, splink is not imported."""
    if not pairs:
        return []
    import duckdb  # noqa: PLC0415 - the two cost a second, and most batches need neither
    import pyarrow as arrow  # type: ignore[import-untyped] # noqa: PLC0415
    from splink import DuckDBAPI, Linker  # noqa: PLC0415

    places: dict[Hashable, int] = {}
    people: list[Person] = []
    for person in (person for pair in pairs for person in pair):
        if places.setdefault(person.ref, len(people)) == len(people):
            people.append(person)
    columns = dict(zip(_COLUMNS, zip(*map(_row, people), strict=True), strict=True))
    text = arrow.string()
    records = arrow.table(
        {"unique_id": arrow.array(range(len(people)), arrow.int32())}
        | {
            name: arrow.array(values, arrow.list_(text) if name == "given" else text)
            for name, values in columns.items()
        }
    )
    numbers = arrow.int32()
    asked = arrow.table(
        {
            "match_key": arrow.array(["0"] * len(pairs), text),
            "join_key_l": arrow.array([places[one.ref] for one, _ in pairs], numbers),
            "join_key_r": arrow.array([places[other.ref] for _, other in pairs], numbers),
        }
    )
    with duckdb.connect(":memory:", config={"threads": 2}) as connection:
        database = DuckDBAPI(connection)
        linker = Linker(
            database.register(records),
            settings(trained or parameters()),
            log_level=None,
            validate_settings=False,
        )
        linker.table_management.register_blocked_pairs_for_predict(database.register(asked))
        scored = linker.inference.predict(
            threshold_match_probability=at_least or None, warning_mode="never"
        ).as_duckdbpyrelation()
        wanted = ", ".join(f"gamma_{name}" for name in COMPARISONS)
        rows = scored.project(f"unique_id_l, unique_id_r, match_probability, {wanted}").fetchall()
    return [
        Score(
            (people[one], people[other]),
            probability,
            {name: _name_of(name, gamma) for name, gamma in zip(COMPARISONS, gammas, strict=True)},
        )
        for one, other, probability, *gammas in rows
    ]


@cache
def _name_of(comparison: str, gamma: int) -> str:
    # splink numbers the levels from the last, which is 0; the level of missing values is -1
    levels = COMPARISONS[comparison]
    return levels[0].name if gamma < 0 else levels[len(levels) - 1 - gamma].name
