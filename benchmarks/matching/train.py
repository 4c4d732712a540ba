"""Trains include/data/matching/model.json from a labelled set: `python -m benchmarks.matching.train`.

m and u are counted over the pairs that blocking proposes, because these are what the model has to tell apart;
among them an equal name or company says far less than between two random records.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from benchmarks.matching.labelled import Labelled, World
from include.data.matching import model
from include.data.matching.model import COMPARISONS, PARAMETERS, score
from include.data.matching.people import Person
from include.data.matching.thresholds import LARGEST_BLOCK

SEED = 11
CONTACTS = 40_000
LEADS = 12_000
UNINFORMED = {
    "prior": 0.5,
    "levels": {
        name: {level.name: [0.5, 0.5] for level in levels if level.name != "missing"}
        for name, levels in COMPARISONS.items()
    },
}


def candidates(leads: Sequence[Labelled], people: Sequence[Person]) -> list[tuple[Person, Person, bool]]:
    """Return the pairs that blocking proposes, and whether each is one person."""
    blocks: defaultdict[int, list[int]] = defaultdict(list)
    for number, person in enumerate(people):
        for block in person.blocks:
            blocks[block].append(number)
    found: list[tuple[Person, Person, bool]] = []
    for labelled in leads:
        seen = {
            number
            for block in labelled.lead.blocks
            if len(blocks.get(block, ())) <= LARGEST_BLOCK
            for number in blocks.get(block, ())
        }
        lead = labelled.lead
        found += [
            (lead, people[number], number == labelled.entity)
            for number in seen
            if not (lead.email_key and people[number].email_key == lead.email_key)
            and people[number].numbers == lead.numbers
        ]
    return found


def trained(pairs: Sequence[tuple[Person, Person, bool]]) -> dict[str, object]:
    """Return the parameters that `pairs` give: the prior, and m and u of each level."""
    apart = [(replace(lead, ref=("lead", lead.ref)), person) for lead, person, _ in pairs]
    truth = {(("lead", lead.ref), person.ref): same for lead, person, same in pairs}
    counts: dict[bool, dict[str, Counter[str]]] = {
        same: {name: Counter() for name in COMPARISONS} for same in (True, False)
    }
    for found in score(apart, 0.0, UNINFORMED):
        same = truth[found.pair[0].ref, found.pair[1].ref]  # type: ignore[index]
        for name, level in found.evidence.items():
            counts[same][name][level] += 1
    levels = {}
    for name, known in COMPARISONS.items():
        names = [level.name for level in known if level.name != "missing"]
        totals = {same: sum(counts[same][name][level] + 1 for level in names) for same in (True, False)}
        shares = [
            (level, (counts[True][name][level] + 1) / totals[True], (counts[False][name][level] + 1) / totals[False])
            for level in names
        ]
        levels[name] = {level: [round(m, 6), round(u, 6)] for level, m, u in monotone(shares)}
    return {"prior": round(sum(same for *_, same in pairs) / len(pairs), 6), "levels": levels}


def monotone(shares: Sequence[tuple[str, float, float]]) -> list[tuple[str, float, float]]:
    """Return levels, best agreement first, such that none speaks louder for a match than a better one.

    Neighbours in the wrong order share their evidence (pool adjacent violators). Without this an equal name
    would count less than a misspelt one, because namesakes are always proposed and near-namesakes seldom.
    """
    pools: list[list[tuple[str, float, float]]] = []
    for share in shares:
        pools.append([share])
        while len(pools) > 1 and _ratio(pools[-1]) > _ratio(pools[-2]):
            last = pools.pop()
            pools[-1] += last
    found = []
    for pool in pools:
        all_m, all_u = sum(m for _, m, _ in pool), sum(u for _, _, u in pool)
        for level, m, u in pool:
            part = (m + u) / (all_m + all_u)
            found.append((level, all_m * part, all_u * part))
    return found


def _ratio(pool: Sequence[tuple[str, float, float]]) -> float:
    return sum(m for _, m, _ in pool) / sum(u for _, _, u in pool)


def vars_of(person: Person) -> dict[str, object]:
    """Return the fields of a person, without what was derived from them."""
    return {name: getattr(person, name) for name in Person.__dataclass_fields__}


def main() -> None:
    """Train, and write the parameters beside the model."""
    world = World(SEED, CONTACTS)
    found = trained(candidates(world.leads(LEADS), world.people))
    PARAMETERS.write_text(json.dumps(found, indent=2) + "\n")
    model.parameters.cache_clear()
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
