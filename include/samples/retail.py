"""A made-up year of an online shop's invoices, in the shape and with the dirt of UCI's Online Retail data set.

The figures of the dirt are those of the data set (541,909 rows), in proportion for other sizes; the same seed gives the
same file. `python -m include.samples.retail --rows 541909 > file.csv` writes one.
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Literal, NamedTuple

WHOLE = 541_909
"""Rows of the data set that the figures are of."""
HEADERS = {
    1: ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"),
    2: ("Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID", "Country"),
}
"""The columns, by the data set's edition."""
BEGINS, ENDS = datetime(2010, 12, 1, 8, 26), datetime(2011, 12, 9, 12, 50)
FIRST_NUMBER = 536_365
CODES = 4_040
FEES = {
    "POST": ("POSTAGE", 1_256),
    "DOT": ("DOTCOM POSTAGE", 710),
    "M": ("Manual", 571),
    "C2": ("CARRIAGE", 144),
    "D": ("Discount", 77),
    "S": ("SAMPLES", 63),
    "BANK CHARGES": ("Bank Charges", 37),
    "AMAZONFEE": ("AMAZON FEE", 34),
    "gift_0001_20": ("Dotcomgiftshop Gift Voucher £20.00", 10),
    "gift_0001_30": ("Dotcomgiftshop Gift Voucher £30.00", 8),
    "gift_0001_10": ("Dotcomgiftshop Gift Voucher £10.00", 9),
    "CRUK": ("CRUK Commission", 16),
    "PADS": ("PADS TO MATCH ALL CUSHIONS", 4),
}
"""Codes that are no goods: what they are, and on how many rows of the whole they stand."""
LOST = ("damages", "?", "lost", "thrown away", "check", "damaged", "wrongly marked", "missing", "mouldy", "smashed")
FOUND = ("found", "adjustment", "check", "Found by jackie", "amazon", "returned")
COUNTRIES = (
    *(("United Kingdom", 914), ("Germany", 18), ("France", 16), ("EIRE", 15), ("Spain", 5), ("Netherlands", 4)),
    *(("Belgium", 4), ("Switzerland", 4), ("Portugal", 3), ("Australia", 2), ("Norway", 2), ("Channel Islands", 1)),
)
_COLOURS = ("WHITE", "RED", "PINK", "BLUE", "IVORY", "GREEN", "BLACK", "VINTAGE", "RETROSPOT", "ROSE", "ANTIQUE SILVER")
_THINGS = (
    *("HANGING HEART T-LIGHT HOLDER", "METAL LANTERN", "CUPID HEARTS COAT HANGER", "UNION FLAG HOT WATER BOTTLE"),
    *(
        "WOOLLY HOTTIE",
        "NESTING BOXES",
        "CAKESTAND 3 TIER",
        "PAPER CHAIN KIT 50'S CHRISTMAS",
        "JUMBO BAG",
        "PARTY CONE",
    ),
    *("GLASS STAR FROSTED T-LIGHT HOLDER", "HAND WARMER", "ALARM CLOCK BAKELIKE", "LUNCH BOX, CUTLERY", "DOORMAT"),
    *("JAM MAKING SET WITH JARS", "PLAYHOUSE BEDROOM", "KNITTED MUG COSY", 'WALL ART "KEEP CALM"', "CAFÉ SIGN"),
)


class Row(NamedTuple):
    """A row of the file, as text."""

    invoice: str
    code: str
    description: str
    quantity: str
    moment: str
    price: str
    customer: str
    country: str


@dataclass(frozen=True)
class Dirt:
    """How much of what a file of a size has; all counts are of rows, but `invoices`.

    :param returned: negative rows of invoices whose number begins with C.
    :param lost: negative rows of other invoices, all at price 0.
    :param found: positive rows at price 0.
    :param fees: rows of codes that are no goods, as sales.
    :param bad_debt: rows of invoices A..., with code B; all but the first have a negative price.
    :param duplicates: rows that say what another row of the same invoice says.
    :param without_description: of `lost` and `found`.
    """

    rows: int
    invoices: int
    returned: int
    return_invoices: int
    lost: int
    found: int
    fees: dict[str, int]
    bad_debt: int
    duplicates: int
    without_customer: int
    without_description: int

    @classmethod
    def of(cls, rows: int) -> Dirt:
        """Return the data set's figures in proportion to `rows`."""

        def share(figure: int) -> int:
            return round(figure * rows / WHOLE)

        return cls(
            rows=rows,
            invoices=max(1, share(25_900)),
            returned=share(9_288),
            return_invoices=share(3_836),
            lost=share(1_336),
            found=share(1_179),
            fees={code: share(figure) for code, (_, figure) in FEES.items()},
            bad_debt=share(3),
            duplicates=share(5_268),
            without_customer=share(135_080),
            without_description=share(1_454),
        )

    @property
    def sold(self) -> int:
        """Rows of goods that are sold, once each."""
        return self.rows - self.returned - self.lost - self.found - self.bad_debt - self.duplicates - self.fee_rows

    @property
    def fee_rows(self) -> int:
        """Rows of codes that are no goods, but for the bad debts."""
        return sum(self.fees.values())


class _Article(NamedTuple):
    code: str
    description: str
    price: str


@dataclass
class _Invoice:
    kind: Literal["sale", "return", "lost", "found", "debt", "credit"]
    lines: int
    fees: tuple[str, ...] = ()
    duplicates: int = 0
    anonymous: bool = False
    described: bool = True

    @property
    def rows(self) -> int:
        return self.lines + len(self.fees) + self.duplicates


def rows(
    size: int = WHOLE, *, seed: int = 1, edition: int = 1, dates: Literal["us", "iso"] = "us"
) -> Iterator[Sequence[str]]:
    """Yield the header and then `size` rows, invoice after invoice in order of time.

    :param edition: 1 or 2, for the names of the columns.
    :param dates: `12/1/2010 8:26`, or `2010-12-01 08:26:00`.
    """
    chance = random.Random(seed)  # noqa: S311 - samples
    yield HEADERS[edition]
    invoices = _invoices(Dirt.of(size), chance)
    articles = _articles(chance)
    popularity = list(accumulate(1 / (place + 12) for place in range(len(articles))))
    between = ENDS - BEGINS
    for number, invoice in enumerate(invoices):
        at = BEGINS + timedelta(minutes=int(between.total_seconds() / 60 * number / len(invoices)))
        moment = f"{at:%Y-%m-%d %H:%M:00}" if dates == "iso" else f"{at.month}/{at.day}/{at.year} {at.hour}:{at:%M}"
        prefix = {"return": "C", "debt": "A", "credit": "A"}.get(invoice.kind, "")
        customer = "" if invoice.anonymous else str(12_346 + chance.randrange(5_900))
        (country,) = chance.choices([name for name, _ in COUNTRIES], [weight for _, weight in COUNTRIES])
        for code, description, quantity, price in _lines(invoice, articles, popularity, chance):
            yield Row(f"{prefix}{FIRST_NUMBER + number}", code, description, quantity, moment, price, customer, country)


def _articles(chance: random.Random) -> list[_Article]:
    codes: dict[str, None] = {}
    while len(codes) < CODES:
        codes.setdefault(f"{chance.randrange(10_002, 90_215)}{chance.choice(('', '', '', 'A', 'B', 'C'))}")
    return [
        _Article(
            code,
            f"{chance.choice(_COLOURS)} {chance.choice(_THINGS)}{' ' * (chance.random() < 0.02)}",
            f"{min(300.0, max(0.19, chance.lognormvariate(0.9, 0.9))):.2f}",
        )
        for code in codes
    ]


def _invoices(dirt: Dirt, chance: random.Random) -> list[_Invoice]:
    blank = dirt.without_description
    lost_blank = min(dirt.lost, round(blank * 0.6))
    found_blank = min(dirt.found, blank - lost_blank)
    invoices = [
        *(_Invoice("lost", 1, anonymous=True, described=place >= lost_blank) for place in range(dirt.lost)),
        *(_Invoice("found", 1, anonymous=True, described=place >= found_blank) for place in range(dirt.found)),
        *(_Invoice("debt" if place else "credit", 1, anonymous=True) for place in range(dirt.bad_debt)),
    ]
    returns = max(min(dirt.return_invoices, dirt.returned), int(dirt.returned > 0))
    invoices += [_Invoice("return", lines) for lines in _parts(dirt.returned, returns, 60, chance)]
    sales = [
        _Invoice("sale", lines)
        for lines in _parts(dirt.sold, max(1, min(dirt.sold, dirt.invoices - len(invoices))), 1_100, chance)
    ]
    for code, count in dirt.fees.items():
        for sale in chance.sample(sales, min(count, len(sales))):
            sale.fees += (code,)
    large = [sale for sale in sales if sale.lines > 1] or sales
    for sale in chance.choices(large, [sale.lines for sale in large], k=dirt.duplicates):
        sale.duplicates += 1
    invoices += sales
    _forget_customers(invoices, dirt.without_customer, chance)
    chance.shuffle(invoices)
    return invoices


def _parts(total: int, parts: int, most: int, chance: random.Random) -> list[int]:
    """Cut `total` into parts of at least 1, of which few are large."""
    weights = [chance.lognormvariate(0, 1) for _ in range(parts)]
    each = (total - parts) / sum(weights) if weights else 0
    sizes = [min(most, 1 + int(weight * each)) for weight in weights]
    left = total - sum(sizes)
    while left > 0:
        place = chance.randrange(parts)
        if sizes[place] < most:
            sizes[place] += 1
            left -= 1
    return sizes


def _forget_customers(invoices: Sequence[_Invoice], without: int, chance: random.Random) -> None:
    left = without - sum(invoice.rows for invoice in invoices if invoice.anonymous)
    for invoice in chance.sample(invoices, len(invoices)):
        if invoice.kind == "sale" and invoice.rows <= left:
            invoice.anonymous = True
            left -= invoice.rows


def _lines(
    invoice: _Invoice, articles: Sequence[_Article], popularity: Sequence[float], chance: random.Random
) -> Iterator[tuple[str, str, str, str]]:
    if invoice.kind in ("debt", "credit"):
        yield "B", "Adjust bad debt", "1", "-11062.06" if invoice.kind == "debt" else "11062.06"
        return
    chosen: dict[_Article, None] = {}
    while len(chosen) < invoice.lines:
        chosen.update(dict.fromkeys(chance.choices(articles, cum_weights=popularity, k=invoice.lines - len(chosen))))
    if invoice.kind in ("lost", "found"):
        words = LOST if invoice.kind == "lost" else FOUND
        (article,) = chosen
        sign = -1 if invoice.kind == "lost" else 1
        description = chance.choice(words) if invoice.described else ""
        yield article.code, description, str(sign * chance.randint(1, 300)), "0"
        return
    sign = -1 if invoice.kind == "return" else 1
    lines = [
        (article.code, article.description, str(sign * chance.choice((1, 1, 1, 2, 3, 4, 6, 6, 12, 12, 24, 48))),
         article.price)
        for article in chosen
    ]  # fmt: skip
    lines += [(code, FEES[code][0], "1", f"{chance.uniform(1, 90):.2f}") for code in invoice.fees]
    repeated = lines[: invoice.lines]
    for _ in range(invoice.duplicates):
        lines.insert(chance.randrange(len(lines) + 1), chance.choice(repeated))
    yield from lines


def main() -> None:
    """Write a file to the standard output."""
    parser = argparse.ArgumentParser(prog="python -m include.samples.retail", description=__doc__)
    parser.add_argument("--rows", type=int, default=WHOLE, help="rows beside the header")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--edition", type=int, choices=sorted(HEADERS), default=1, help="for the columns' names")
    parser.add_argument("--dates", choices=("us", "iso"), default="us")
    options = parser.parse_args()
    sys.stdout.reconfigure(encoding="utf-8", newline="")  # type: ignore[union-attr]
    written = rows(options.rows, seed=options.seed, edition=options.edition, dates=options.dates)
    csv.writer(sys.stdout, lineterminator="\r\n").writerows(written)


if __name__ == "__main__":
    main()
