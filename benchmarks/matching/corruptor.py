"""Spoils a person's fields as people and forms do: typing errors, nicknames, swapped fields, other mailboxes.

Seeded: the same seed spoils in the same way. Knows no labels; see `labelled`.
"""

from __future__ import annotations

import random
from dataclasses import replace

from include.data.matching.people import Person, fold

NEIGHBOURS = {
    "a": "sqz", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj", "i": "uo", "j": "hk",
    "k": "jl", "l": "ko", "m": "n", "n": "bm", "o": "ip", "p": "o", "q": "wa", "r": "et", "s": "ad", "t": "ry",
    "u": "yi", "v": "cb", "w": "qe", "x": "zc", "y": "tu", "z": "xa",
}  # fmt: skip

# Written from memory of real forms, not from the list that the matcher uses; some are not in that list on purpose.
SHORT_NAMES = {
    "william": ("bill", "will", "liam"), "robert": ("bob", "rob"), "elizabeth": ("liz", "beth", "betty"),
    "michael": ("mike", "mick"), "richard": ("rick", "dick"), "katherine": ("kate", "kathy"),
    "margaret": ("maggie", "peggy"), "james": ("jim", "jamie"), "john": ("jack", "jonny"), "thomas": ("tom",),
    "christopher": ("chris", "kit"), "alexander": ("alex", "sascha", "sandy"), "andrew": ("andy", "drew"),
    "edward": ("ed", "ted"), "jennifer": ("jen", "jenny"), "susan": ("sue", "suzy"), "patricia": ("pat", "trish"),
    "daniel": ("dan",), "david": ("dave",), "joseph": ("joe",), "samuel": ("sam",), "benjamin": ("ben",),
    "johannes": ("hans", "hannes"), "josef": ("sepp",), "maximilian": ("max",), "friedrich": ("fritz",),
    "franziska": ("franzi",), "sebastian": ("basti",), "jose": ("pepe",), "francisco": ("paco",),
    "giuseppe": ("beppe",), "stefan": ("steff",), "matthias": ("matze",), "guadalupe": ("lupe",),
}  # fmt: skip

FREEMAIL = ("gmail.com", "outlook.com", "yahoo.com", "gmx.de", "web.de", "icloud.com", "orange.fr", "libero.it")


class Corruptor:
    """Spoils one person at a time.

    :param seed: decides everything that follows.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def typo(self, value: str) -> str:
        """Return `value` with one typing error: a letter doubled, dropped, swapped or hit beside."""
        if len(value) < 3:
            return value
        place = self.random.randrange(len(value) - 1)
        letter = value[place]
        match self.random.randrange(4):
            case 0:
                return value[:place] + letter + value[place:]
            case 1:
                return value[:place] + value[place + 1 :]
            case 2:
                return value[:place] + value[place + 1] + letter + value[place + 2 :]
            case _:
                beside = self.random.choice(NEIGHBOURS.get(letter.lower(), letter))
                return value[:place] + beside + value[place + 1 :]

    def named(self, person: Person, first: str | None, last: str | None) -> Person:
        """Return `person` under another name."""
        whole = " ".join(filter(None, (first, last))) or None
        return replace(person, first_name=first, last_name=last, full_name=whole, name_key=fold(whole))

    def misspelt(self, person: Person) -> Person:
        """Return `person` with one or two typing errors in name, company or city."""
        for _ in range(self.random.choice((1, 1, 2))):
            match self.random.choice(("first", "last", "last", "company", "city")):
                case "first":
                    person = self.named(person, self.typo(person.first_name or ""), person.last_name)
                case "last":
                    person = self.named(person, person.first_name, self.typo(person.last_name or ""))
                case "company" if person.company_key:
                    key = self.typo(person.company_key)
                    person = replace(person, company=key.title(), company_key=fold(key))
                case "city" if person.city:
                    person = replace(person, city=self.typo(person.city))
                case _:
                    pass
        return person

    def nicknamed(self, person: Person) -> Person:
        """Return `person` under a short name, or with an initial where there is none."""
        first = person.first_name or ""
        short = self.random.choice(SHORT_NAMES.get(fold(first) or "", (first[:1],)))
        return self.named(person, short.title(), person.last_name)

    def swapped(self, person: Person) -> Person:
        """Return `person` with two fields swapped: the names, or company and city."""
        if person.city and person.company and self.random.random() < 0.3:
            return replace(person, company=person.city, company_key=fold(person.city), city=person.company)
        return self.named(person, person.last_name, person.first_name)

    def other_mailbox(self, person: Person) -> Person:
        """Return `person` with a misspelt, a private, another, or no e-mail address."""
        local, _, host = (person.email_key or "").partition("@")
        first, last = (fold(part) or "x" for part in (person.first_name, person.last_name))
        chance = self.random.random()
        if local and chance < 0.35:
            address = f"{self.typo(local)}@{host}"
        elif chance < 0.7:
            number = self.random.choice(("", "", str(self.random.randrange(60, 100)), str(self.random.randrange(10))))
            style = self.random.choice((f"{first}.{last}", f"{first}{last}", f"{last}.{first}", f"{first[0]}{last}"))
            address = f"{style}{number}@{self.random.choice(FREEMAIL)}"
        elif chance < 0.85 and person.domain:
            address = f"{self.random.choice((f'{first[0]}.{last}', f'{last}', f'{first}'))}@{person.domain}"
        else:
            return replace(person, email=None, email_key=None)
        address = address.replace(" ", "")
        return replace(person, email=address, email_key=address)

    def sparse(self, person: Person) -> Person:
        """Return `person` with some fields left blank."""
        blank = [name for name in ("phone", "city", "postal_code", "domain", "country") if self.random.random() < 0.35]
        return replace(person, **dict.fromkeys(blank))
