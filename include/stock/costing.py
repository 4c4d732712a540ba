"""What goods are worth as they come and go: moving average and FIFO, as pure arithmetic on one item's movements.

Both are cost formulas of IAS 2, Inventories, paragraphs 25 to 27: first-in first-out, and the weighted average computed
as each shipment is received. Which movements there are, and where the results go, is valuation.py's part.

Exactness: quantities, values and costs have six decimals; a value is rounded once, halves away from zero, when it is
formed. Value that is there is divided, never computed anew from a rounded cost, and the last piece takes all that is
left: what came in, what went out, the variances and what is there always add up exactly.

What a movement in costs, the first of these that is known: where it takes back a movement out, what that one took out;
its own unit cost; where it comes from a supplier, the standard cost; the current cost, for what a customer returns or
a count finds is worth what the same goods in stock are worth; the standard cost; nothing, flagged `uncosted`. A
movement out takes the method's cost, whatever it says itself; where it takes back a movement in, it takes out what that
one brought, as far as that is still there.

Below zero: goods that are not there go out at the last known cost, and the stock's value is then negative. When goods
come, they fill the gap first; what they cost more or less than was assumed is the movement's variance.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from typing import NamedTuple

EXACT = Context(prec=60, rounding=ROUND_HALF_UP)
"""Wide enough for the product of the largest quantity and the largest value."""
UNIT = Decimal("0.000001")
NOTHING = Decimal(0)
MOVING_AVERAGE, FIFO = "moving_average", "fifo"

Layers = tuple[tuple[int, Decimal, Decimal], ...]
"""The movement that brought it, what is left of its quantity, and of its value; the oldest first."""


class Move(NamedTuple):
    """A movement over the border between the company's places and the others, of which one item's are valued in order.

    :param quantity: in base units, above zero for what comes in, below for what goes out.
    :param bought: it comes from a supplier.
    :param reverses: the movement that this one takes back.
    :param reversed_value: what that one is worth, signed, where it lies before this run; the run's own are known.
    :param taken_back: another movement reverses this one, so that its worth is to be remembered.
    """

    id: int
    quantity: Decimal
    unit_cost: Decimal | None = None
    bought: bool = False
    reverses: int | None = None
    reversed_value: Decimal | None = None
    taken_back: bool = False


class Worth(NamedTuple):
    """What one movement is worth; `value` has its quantity's sign, `variance` puts right what was assumed before."""

    unit_cost: Decimal
    value: Decimal
    variance: Decimal
    uncosted: bool


class State(NamedTuple):
    """What an item's stock is worth between two movements; all that the next one needs to know."""

    quantity: Decimal = NOTHING
    value: Decimal = NOTHING
    known_cost: Decimal | None = None
    layers: Layers = ()


class MovingAverage:
    """Everything that is there is worth the same; each movement in makes the average anew."""

    def __init__(self, state: State) -> None:
        self.quantity, self.value, self.known_cost, _ = state

    def add(self, movement: int, quantity: Decimal, value: Decimal) -> None:  # noqa: ARG002
        """Put a quantity into a stock that is not below zero."""
        self.quantity += quantity
        self.value += value

    def take(self, quantity: Decimal, reverses: int | None, reversed_value: Decimal | None) -> Decimal:
        """Take a quantity that is there; return its value."""
        if quantity == self.quantity:
            value = self.value
        elif reverses is not None and reversed_value is not None and 0 <= reversed_value <= self.value:
            value = reversed_value
        else:
            value = _part(self.value, quantity, self.quantity)
        self.quantity -= quantity
        self.value -= value
        return value

    def layers(self) -> Layers:
        """Return none: the average needs no memory."""
        return ()

    def depth(self) -> int:
        """Return how many layers there are."""
        return 0

    def next_cost(self) -> Decimal | None:
        """Return what the next piece costs; None where nothing told it."""
        return _cost(self.value, self.quantity) if self.quantity > 0 else self.known_cost


class FirstInFirstOut:
    """What came first goes first, each layer at its own cost."""

    def __init__(self, state: State) -> None:
        self.quantity, self.value, self.known_cost, layers = state
        if not layers and self.quantity > 0:
            layers = ((0, self.quantity, self.value),)  # what an average leaves is one layer
        self._layers = OrderedDict((movement, (quantity, value)) for movement, quantity, value in layers)

    def add(self, movement: int, quantity: Decimal, value: Decimal) -> None:
        """Put a layer onto a stock that is not below zero."""
        self._layers[movement] = quantity, value
        self.quantity += quantity
        self.value += value

    def take(self, quantity: Decimal, reverses: int | None, reversed_value: Decimal | None) -> Decimal:  # noqa: ARG002
        """Take a quantity that is there; return its value."""
        wanted, taken = quantity, NOTHING
        if reverses is not None and reverses in self._layers:
            wanted, taken = self._from_layer(reverses, wanted)
        while wanted:
            wanted, value = self._from_layer(next(iter(self._layers)), wanted)
            taken += value
        self.quantity -= quantity
        self.value -= taken
        return taken

    def _from_layer(self, layer: int, wanted: Decimal) -> tuple[Decimal, Decimal]:
        """Take up to `wanted`; return what is still wanted, and the value taken."""
        quantity, value = self._layers[layer]
        if wanted >= quantity:
            del self._layers[layer]
            return wanted - quantity, value
        part = _part(value, wanted, quantity)
        self._layers[layer] = quantity - wanted, value - part
        return NOTHING, part

    def layers(self) -> Layers:
        """Return what is there of each movement in."""
        return tuple((movement, quantity, value) for movement, (quantity, value) in self._layers.items())

    def depth(self) -> int:
        """Return how many layers there are."""
        return len(self._layers)

    def next_cost(self) -> Decimal | None:
        """Return what the next piece costs; None where nothing told it."""
        for quantity, value in self._layers.values():
            return _cost(value, quantity)
        return self.known_cost


METHODS: dict[str, type[MovingAverage] | type[FirstInFirstOut]] = {
    MOVING_AVERAGE: MovingAverage,
    FIFO: FirstInFirstOut,
}


class Costing:
    """Goes through one item's movements, in their order, from a state that was kept.

    :param method: `moving_average` or `fifo`; a state of the other one is taken over as it is.
    :param standard_cost: the item's, for what no movement tells the cost of.
    """

    def __init__(self, method: str, state: State = State(), standard_cost: Decimal | None = None) -> None:  # noqa: B008
        self._stock = METHODS[method](state)
        self._standard_cost = standard_cost
        self._taken_back: dict[int, Decimal] = {}

    @property
    def state(self) -> State:
        """What is to be kept after the last movement."""
        stock = self._stock
        return State(stock.quantity, stock.value, stock.known_cost, stock.layers())

    @property
    def next_cost(self) -> Decimal | None:
        """What the next piece costs that goes out; what came uncosted has the last known cost, None without any."""
        with localcontext(EXACT):
            return self._stock.next_cost() or self._stock.known_cost

    @property
    def depth(self) -> int:
        """How many layers the state has."""
        return self._stock.depth()

    def apply(self, moves: Iterable[Move]) -> list[Worth]:
        """Return what each of the next movements is worth."""
        with localcontext(EXACT):
            return [self._in(move) if move.quantity > 0 else self._out(move) for move in moves]

    def _in(self, move: Move) -> Worth:
        stock, quantity = self._stock, move.quantity
        cost, value = self._cost_of(move)
        missing = -stock.quantity
        variance = NOTHING
        if missing <= 0:
            stock.add(move.id, quantity, value)
        elif quantity <= missing:
            left = stock.value - _part(stock.value, quantity, missing)
            variance = left - stock.value - value
            stock.quantity += quantity
            stock.value = left
        else:
            left = _part(value, quantity - missing, quantity)
            variance = left - stock.value - value
            stock.quantity = stock.value = NOTHING
            stock.add(move.id, quantity - missing, left)
        if cost is not None and move.reverses is None:
            stock.known_cost = cost
        return self._told(move, Worth(_cost(value, quantity), value, variance, cost is None))

    def _cost_of(self, move: Move) -> tuple[Decimal | None, Decimal]:
        """Return the unit cost of a movement in, None where nothing tells it, and its value."""
        back = self._reversed(move)
        if back is not None and back <= 0:
            return _cost(-back, move.quantity), -back
        cost = move.unit_cost
        if cost is None and move.bought:
            cost = self._standard_cost
        if cost is None:
            cost = self._current_cost()
        return cost, _value(move.quantity, cost or NOTHING)

    def _out(self, move: Move) -> Worth:
        stock, wanted = self._stock, -move.quantity
        value, uncosted = NOTHING, False
        there = min(wanted, max(stock.quantity, NOTHING))
        if there:
            if there == stock.quantity:
                stock.known_cost = self._current_cost()
            value = stock.take(there, move.reverses, self._reversed(move))
        if wanted > there:
            cost = stock.known_cost if stock.known_cost is not None else self._standard_cost
            uncosted = cost is None
            assumed = _value(wanted - there, cost or NOTHING)
            stock.quantity -= wanted - there
            stock.value -= assumed
            value += assumed
        return self._told(move, Worth(_cost(value, wanted), -value, NOTHING, uncosted))

    def _current_cost(self) -> Decimal | None:
        """Return what the goods in stock cost on average, else the last known cost, else the standard cost."""
        stock = self._stock
        if stock.quantity > 0 and (stock.value > 0 or stock.known_cost is not None):
            return _cost(stock.value, stock.quantity)
        return stock.known_cost if stock.known_cost is not None else self._standard_cost

    def _reversed(self, move: Move) -> Decimal | None:
        if move.reverses is None or move.reversed_value is not None:
            return move.reversed_value
        return self._taken_back.get(move.reverses)

    def _told(self, move: Move, worth: Worth) -> Worth:
        if move.taken_back:
            self._taken_back[move.id] = worth.value
        return worth


def _value(quantity: Decimal, cost: Decimal) -> Decimal:
    return (quantity * cost).quantize(UNIT)


def _part(value: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    return (value * part / whole).quantize(UNIT)


def _cost(value: Decimal, quantity: Decimal) -> Decimal:
    return (value / quantity).quantize(UNIT)
