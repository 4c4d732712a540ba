"""Leads with a known mix, so that every count at the end can be said before."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

COUNTRIES = ("DE", "FR", "ES", "US", "GB", "AT", "IT")
INTERESTS = ("pricing", "demo", "support", "partnership", "newsletter", None)


@dataclass
class KnownMix:
    """Bodies for the source `website`, and what must become of them.

    :param mails: leads that get a mail: new people who agreed; whoever asks again the same day has their answer.
    """

    bodies: list[dict[str, Any]] = field(default_factory=list)
    people: int = 0
    merged: int = 0
    quarantined: dict[str, int] = field(default_factory=dict)
    mails: int = 0

    @property
    def finished(self) -> int:
        """How many leads go through all steps."""
        return self.people + self.merged


def known_mix(total: int, seed: int = 1) -> KnownMix:
    """Return `total` leads: of ten, seven new people, one known person again, one without consent, one unusable."""
    chance = random.Random(seed)
    mix = KnownMix()
    consenting: list[dict[str, Any]] = []
    for number in range(total):
        kind = number % 10
        if kind == 8 and consenting:
            again = dict(chance.choice(consenting))
            mix.bodies.append(again | {"message": f"again, {number}", "email": again["email"].upper()})
            mix.merged += 1
        elif kind == 9:
            _unusable(mix, number, seed)
        else:
            person = _person(chance, f"{seed}-{number}")
            person["consent"] = kind != 7
            mix.bodies.append(person)
            mix.people += 1
            if kind != 7:
                consenting.append(person)
                mix.mails += 1
    return mix


def _person(chance: random.Random, number: str) -> dict[str, Any]:
    """Somebody whom nobody else resembles: every name is made of the number."""
    name = _word(number)
    return {
        "email": f"{name}@{name}-works.example",
        "first_name": _word(number[::-1] + "f").title(),
        "last_name": f"{name.title()}son",
        "company": f"{name.title()} Works",
        "website": f"https://{name}-works.example",
        "country": chance.choice(COUNTRIES),
        "company_size": chance.choice([5, 30, 120, 400, 2_000]),
        "interest": chance.choice(INTERESTS),
        "utm_source": chance.choice(["google", "linkedin", "newsletter"]),
        "utm_campaign": chance.choice(["spring", "autumn"]),
    }


def _word(number: str) -> str:
    """A pronounceable word that is different for each number and near to none of the others."""
    chance = random.Random(f"word {number}")
    return "".join(chance.choice("bdfgklmnprstvz") + chance.choice("aeiou") for _ in range(6))


def _unusable(mix: KnownMix, number: int, seed: int) -> None:
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("email.invalid", {"email": "no address", "full_name": "Ann Nomail", "country": "DE"}),
        ("country.unknown", {"email": f"q{seed}x{number}@example.com", "full_name": "Q", "country": "Atlantis"}),
    ]
    code, body = kinds[number // 10 % len(kinds)]
    mix.bodies.append(body)
    mix.quarantined[code] = mix.quarantined.get(code, 0) + 1
