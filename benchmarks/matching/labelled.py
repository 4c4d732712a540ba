"""Makes a directory of people, and leads of which is known who they are.

Seeded. The mix of leads is harder than life: most are near misses on purpose.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from benchmarks.matching.corruptor import FREEMAIL, SHORT_NAMES, Corruptor
from include.data.matching.people import Person, fold

_FIRST = """
anna maria sofia laura julia sarah emma lena mia clara ines marta paula lucia carmen elena irene chiara giulia
francesca camille chloe manon lea zoe amelie nadia leila fatima aisha yuki mei lin priya ananya olga irina
katarzyna agnieszka monika petra sabine ursula heike birgit astrid ingrid freya sigrid karen lars nils erik
bjorn jan pieter willem luc pierre jean marc antoine hugo louis paolo marco luca matteo andrea carlos luis juan
pedro diego sergio pablo ahmed omar hassan mehmet emre ali wei chen hiroshi kenji raj arjun vikram ivan dmitri
pavel tomasz piotr krzysztof gyorgy istvan karl otto klaus jurgen ralf uwe kevin brian sean patrick ryan
"""
_LAST = """
smith johnson williams brown jones miller davis wilson taylor clark lewis walker hall young king wright green
baker adams nelson carter mitchell murphy kelly o'brien mcdonald müller schmidt schneider fischer weber meyer
wagner becker schulz hoffmann schäfer koch bauer richter klein wolf schröder neumann schwarz zimmermann braun
krüger hartmann lange werner krause lehmann huber maier gruber garcía martínez lópez gonzález rodríguez
fernández pérez sánchez gómez díaz ruiz torres ramírez flores rossi russo ferrari bianchi romano colombo ricci
marino greco conti martin bernard dubois thomas robert petit durand leroy moreau simon laurent lefebvre de-vries
jansen bakker visser smit meijer nowak kowalski wiśniewski novák svoboda nagy kovács ivanov petrov yılmaz kaya
demir khan singh patel sharma wang li zhang liu tanaka suzuki sato kim park nguyen tran silva santos
"""
_SYLLABLES = """
ba be bo da de do fa fi ga ge ka ke ko la le lo ma me mi mo na ne no pa pe ra re ri ro sa se so ta te to va ve
vo za ze
"""
_TRADES = """
logistics software consulting engineering foods pharma textiles energy motors systems analytics design media
travel insurance robotics optics steel paper plastics solar trading health education security
"""
FIRST = (*SHORT_NAMES, *_FIRST.split())
LAST = tuple(_LAST.split())
SYLLABLES = tuple(_SYLLABLES.split())
TRADES = tuple(_TRADES.split())
FORMS = {"DE": "GmbH", "AT": "GmbH", "GB": "Ltd", "US": "Inc", "FR": "SARL", "ES": "SL", "IT": "Srl", "NL": "BV"}
ENDINGS = {"DE": "de", "AT": "at", "GB": "co.uk", "US": "com", "FR": "fr", "ES": "es", "IT": "it", "NL": "nl"}
CITIES = {
    "DE": ("Berlin", "Hamburg", "München", "Köln", "Stuttgart", "Leipzig", "Bremen", "Dresden"),
    "AT": ("Wien", "Graz", "Linz", "Salzburg"),
    "GB": ("London", "Manchester", "Leeds", "Bristol", "Glasgow", "Birmingham"),
    "US": ("New York", "Chicago", "Boston", "Austin", "Seattle", "Denver", "Atlanta", "Portland"),
    "FR": ("Paris", "Lyon", "Lille", "Nantes", "Toulouse"),
    "ES": ("Madrid", "Barcelona", "Valencia", "Sevilla", "Bilbao"),
    "IT": ("Roma", "Milano", "Torino", "Bologna", "Napoli"),
    "NL": ("Amsterdam", "Rotterdam", "Utrecht", "Eindhoven"),
}

KINDS = {
    "resubmitted": 8, "typing errors": 16, "nickname": 10, "swapped fields": 8, "sparse": 8, "moved company": 8,
    "same person, sister company": 4, "namesake": 6, "subsidiary": 6, "shared phone": 8, "family": 4,
    "colleague": 8, "twice in the batch": 8, "new": 12,
}  # fmt: skip
"""Kind of lead -> parts of the mix."""


@dataclass(frozen=True)
class Company:
    """A company of the made-up world; sisters share the first word of their names."""

    name: str
    key: str
    domain: str
    country: str
    city: str
    phone: str
    postal_code: str


@dataclass(frozen=True)
class Labelled:
    """A lead, the entity that it is (the number of a person in the directory, or beyond it), and its kind."""

    lead: Person
    entity: int
    kind: str


class World:
    """A directory of `size` people with their companies.

    :param seed: decides everything.
    """

    def __init__(self, seed: int, size: int) -> None:
        self.random = random.Random(seed)
        self.corruptor = Corruptor(seed + 1)
        self._words: set[str] = set()
        self._addresses: set[str] = set()
        self._surnames = [*LAST, *(self._word() for _ in range(max(300, size // 100)))]
        self.families: list[list[Company]] = [self._family() for _ in range(max(20, size // 10))]
        self._kin = {company.domain: family for family in self.families for company in family}
        self.people: list[Person] = []
        self.companies: list[Company | None] = []
        for number in range(size):
            company = self._some_company()
            self.people.append(self._person(number, company))
            self.companies.append(company)
        self._next = size

    def _word(self) -> str:
        while True:
            word = "".join(self.random.choices(SYLLABLES, k=self.random.choice((2, 3, 3, 4))))
            if word not in self._words or len(self._words) > 40_000:
                self._words.add(word)
                return word + self.random.choice(("", "n", "r", "s", "x"))

    def _phone(self, country: str) -> str:
        prefix = {"DE": "49", "AT": "43", "GB": "44", "US": "1", "FR": "33", "ES": "34", "IT": "39", "NL": "31"}
        return f"+{prefix[country]}{self.random.randrange(10**8, 10**9)}"

    def _postal_code(self) -> str:
        return str(self.random.randrange(10_000, 99_999))

    def _family(self) -> list[Company]:
        head, trade = self._word(), self.random.choice(TRADES)
        countries = [self.random.choice(tuple(FORMS))]
        if self.random.random() < 0.2:
            countries += [other for other in self.random.sample(tuple(FORMS), 2) if other not in countries]
        return [
            Company(
                f"{head.title()} {trade.title()} {FORMS[country]}",
                f"{head} {trade}" if not place else f"{head} {trade} {country.lower()}",
                f"{head}{trade}.{ENDINGS[country]}",
                country,
                self.random.choice(CITIES[country]),
                self._phone(country),
                self._postal_code(),
            )
            for place, country in enumerate(countries)
        ]

    def _some_company(self) -> Company | None:
        if self.random.random() < 0.15:
            return None
        family = self.families[int(len(self.families) * self.random.random() ** 1.5)]
        return self.random.choice(family)

    def _person(self, ref: int, company: Company | None, first: str = "", last: str = "") -> Person:
        first = first or self.random.choice(FIRST)
        last = last or self._surnames[int(len(self._surnames) * self.random.random() ** 2)]
        country = company.country if company else self.random.choice(tuple(FORMS))
        at_work = company is not None and self.random.random() < 0.8
        city = company.city if company and at_work else self.random.choice(CITIES[country])
        postal_code = company.postal_code if company and at_work else self._postal_code()
        chance = self.random.random()
        phone = self._phone(country) if chance < 0.5 else company.phone if company and chance < 0.7 else None
        whole = f"{first} {last}".title()
        address = self._address(fold(first) or "", fold(last) or "", company)
        return Person(
            ref,
            email=address,
            email_key=address,
            phone=phone,
            first_name=first.title(),
            last_name=last.title(),
            full_name=whole,
            name_key=fold(whole),
            company=company.name if company else None,
            company_key=company.key if company else None,
            domain=company.domain if company else None,
            country=country,
            city=city,
            postal_code=postal_code if self.random.random() < 0.4 else None,
        )

    def _address(self, first: str, last: str, company: Company | None) -> str:
        last, first = last.replace(" ", ""), first.replace(" ", "")
        host = company.domain if company else self.random.choice(FREEMAIL)
        style = self.random.choice((f"{first}.{last}", f"{first}.{last}", f"{first[0]}.{last}", f"{first}", f"{last}"))
        address, number = f"{style}@{host}", 1
        while address in self._addresses:
            number += self.random.randrange(1, 99)
            address = f"{style}{number}@{host}"
        self._addresses.add(address)
        return address

    def _stranger(self, company: Company | None, first: str = "", last: str = "") -> tuple[Person, int]:
        self._next += 1
        return self._person(self._next, company, first, last), self._next

    def leads(self, number: int, mix: Mapping[str, int] | None = None) -> list[Labelled]:
        """Return leads in the given mix (by default `KINDS`), about people of the directory and about strangers."""
        parts = mix or KINDS
        kinds = self.random.choices(tuple(parts), tuple(parts.values()), k=number)
        made = [labelled for kind in kinds for labelled in self._leads(kind)]
        return [replace(found, lead=replace(found.lead, ref=place)) for place, found in enumerate(made)]

    def _leads(self, kind: str) -> Iterator[Labelled]:  # noqa: PLR0912 - one branch a kind
        entity = self.random.randrange(len(self.people))
        person, company = self.people[entity], self.companies[entity]
        spoil = self.corruptor
        match kind:
            case "resubmitted":
                yield Labelled(spoil.sparse(person), entity, kind)
            case "typing errors":
                yield Labelled(spoil.other_mailbox(spoil.misspelt(self._loose(person))), entity, kind)
            case "nickname":
                yield Labelled(spoil.nicknamed(spoil.other_mailbox(self._loose(person))), entity, kind)
            case "swapped fields":
                yield Labelled(spoil.swapped(spoil.other_mailbox(self._loose(person))), entity, kind)
            case "sparse":
                yield Labelled(spoil.sparse(spoil.other_mailbox(person)), entity, kind)
            case "moved company":
                yield Labelled(self._at(person, self._some_company()), entity, kind)
            case "same person, sister company":
                yield Labelled(self._at(person, self._sister(company)), entity, kind)
            case "namesake":
                other, number = self._stranger(self._some_company(), person.first_name or "", person.last_name or "")
                yield Labelled(other, number, kind)
            case "subsidiary":
                names = self.random.choice((("", person.last_name), (person.first_name, ""), ("", "")))
                other, number = self._stranger(self._sister(company), *(name or "" for name in names))
                yield Labelled(other, number, kind)
            case "shared phone":
                other, number = self._stranger(company)
                yield Labelled(replace(other, phone=person.phone), number, kind)
            case "family":
                other, number = self._stranger(company, "", person.last_name or "")
                yield Labelled(other, number, kind)
            case "colleague":
                other, number = self._stranger(company)
                yield Labelled(other, number, kind)
            case "twice in the batch":
                other, number = self._stranger(self._some_company())
                yield Labelled(other, number, "new")
                yield Labelled(spoil.misspelt(spoil.other_mailbox(self._loose(other))), number, kind)
            case _:
                other, number = self._stranger(self._some_company())
                yield Labelled(other, number, kind)

    def _loose(self, person: Person) -> Person:
        chance = self.random.random()
        if chance < 0.35:
            return replace(person, phone=None, postal_code=None)
        return replace(person, phone=self._phone(person.country or "DE")) if chance < 0.5 else person

    def _at(self, person: Person, company: Company | None) -> Person:
        there = self._person(0, company, person.first_name or "", person.last_name or "")
        mobile = person.phone if self.random.random() < 0.4 else there.phone
        stays = self.random.random() < 0.6
        return replace(there, phone=mobile, city=person.city, country=person.country) if stays else there

    def _sister(self, company: Company | None) -> Company | None:
        if company is None:
            return self._some_company()
        family = self._kin[company.domain]
        others = [other for other in family if other != company]
        if others:
            return self.random.choice(others)
        country = self.random.choice([other for other in FORMS if other != company.country])
        head, trade = company.key.split()[:2]
        return Company(
            f"{head.title()} {country} {FORMS[country]}",
            f"{head} {country.lower()}",
            f"{head}{trade}.{ENDINGS[country]}",
            country,
            self.random.choice(CITIES[country]),
            self._phone(country),
            self._postal_code(),
        )
