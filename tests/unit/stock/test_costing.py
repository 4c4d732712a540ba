"""Moving average and FIFO against a piece-by-piece recomputation, and the sums that must always hold."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.stock.costing import FIFO, MOVING_AVERAGE, Costing, Move, State, Worth

METHODS = (MOVING_AVERAGE, FIFO)


def apply(method: str, *moves: Move, standard_cost: str | None = None) -> tuple[list[Worth], Costing]:
    costing = Costing(method, standard_cost=Decimal(standard_cost) if standard_cost else None)
    return costing.apply(moves), costing


def moves(*steps: tuple[int, str | None]) -> list[Move]:
    """Movements as (quantity, unit cost)."""
    return [
        Move(number, Decimal(quantity), Decimal(cost) if cost is not None else None)
        for number, (quantity, cost) in enumerate(steps, 1)
    ]


def values(worths: Sequence[Worth]) -> list[Decimal]:
    return [worth.value for worth in worths]


def test_the_textbooks_example() -> None:
    """10 at 10.00 and 10 at 12.00 come; 5 go, 10 come at 15.00, 12 go."""
    story = moves((10, "10"), (10, "12"), (-5, None), (10, "15"), (-12, None))
    average, kept = apply(MOVING_AVERAGE, *story)
    assert values(average) == [100, 120, -55, 150, Decimal("-151.2")]  # 315 of 25 pieces: 12.60
    assert kept.state == State(Decimal(13), Decimal("163.8"), Decimal(15))
    assert kept.next_cost == Decimal("12.6")
    fifo, kept = apply(FIFO, *story)
    assert values(fifo) == [100, 120, -50, 150, -134]  # 5 at 10 and 7 at 12
    assert kept.state.value == 186
    assert kept.state.layers == ((2, 3, 36), (4, 10, 150))
    assert kept.next_cost == 12


@pytest.mark.parametrize("method", METHODS)
def test_the_last_piece_takes_what_rounding_left(method: str) -> None:
    worths, kept = apply(method, *moves((3, "0.333333"), (-1, None), (-1, None), (-1, None)))
    assert sum(values(worths)) == 0
    assert kept.state[:2] == (0, 0)
    assert kept.next_cost == Decimal("0.333333")


@pytest.mark.parametrize("method", METHODS)
def test_what_is_not_there_goes_at_the_last_known_cost_and_the_difference_is_a_variance(method: str) -> None:
    worths, kept = apply(method, *moves((2, "10"), (-5, None), (1, "12"), (10, "14")))
    assert values(worths) == [20, -50, 12, 140]
    assert [worth.variance for worth in worths] == [0, 0, -2, -8]  # one was assumed at 10 and cost 12, two cost 14
    assert kept.state[:2] == (8, 112)
    assert kept.next_cost == 14


@pytest.mark.parametrize("method", METHODS)
def test_goods_that_come_exactly_fill_a_gap(method: str) -> None:
    worths, kept = apply(method, *moves((-3, None), (3, "4")), standard_cost="5")
    assert worths[0] == Worth(Decimal(5), Decimal(-15), Decimal(0), False)
    assert worths[1] == Worth(Decimal(4), Decimal(12), Decimal(3), False)
    assert kept.state == State(Decimal(0), Decimal(0), Decimal(4))


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_known_of_the_cost(method: str) -> None:
    worths, kept = apply(method, *moves((-2, None), (5, None), (-1, None), (2, "0")))
    assert [worth.uncosted for worth in worths] == [True, True, False, False]
    assert kept.state.value == 0
    assert kept.next_cost == 0
    assert apply(method, *moves((5, None)))[1].next_cost is None


@pytest.mark.parametrize("method", METHODS)
def test_a_return_and_a_find_are_worth_what_is_there(method: str) -> None:
    worths, _ = apply(method, *moves((10, "10"), (10, "20"), (2, None)), standard_cost="99")
    assert worths[2].unit_cost == 15
    assert not worths[2].uncosted


@pytest.mark.parametrize("method", METHODS)
def test_what_a_supplier_sends_without_a_price_has_the_standard_cost(method: str) -> None:
    bought = Move(2, Decimal(1), bought=True)
    assert apply(method, *moves((1, "10")), bought, standard_cost="7")[0][1].unit_cost == 7
    assert apply(method, *moves((1, "10")), bought)[0][1].unit_cost == 10


@pytest.mark.parametrize("method", METHODS)
def test_taking_back_a_movement_out_brings_what_it_took(method: str) -> None:
    out = Move(2, Decimal(-4), taken_back=True)
    dearer = Move(3, Decimal(6), Decimal(30))
    back = Move(4, Decimal(4), unit_cost=Decimal(99), reverses=2)
    worths, _ = apply(method, *moves((6, "10")), out, dearer, back)
    assert worths[3].value == 40 == -worths[1].value


@pytest.mark.parametrize("method", METHODS)
def test_taking_back_a_wrong_receipt_leaves_nothing_of_its_cost(method: str) -> None:
    wrong = Move(2, Decimal(10), Decimal(1000), taken_back=True)
    worths, kept = apply(method, *moves((10, "5")), wrong, Move(3, Decimal(-10), reverses=2))
    assert worths[2].value == -10_000
    assert kept.state[:2] == (10, 50)
    assert kept.next_cost == 5


@pytest.mark.parametrize("method", METHODS)
def test_a_callers_decimal_context_changes_nothing(method: str) -> None:
    story = moves((3, "123456789.123457"), (-1, None), (7, "0.000001"), (-2, None))
    with localcontext(prec=5):
        narrow = apply(method, *story)[0]
    assert narrow == apply(method, *story)[0]


def test_an_average_goes_on_as_one_layer_and_layers_as_an_average() -> None:
    average = Costing(MOVING_AVERAGE)
    average.apply(moves((10, "10"), (10, "20")))
    fifo = Costing(FIFO, average.state)
    assert values(fifo.apply([Move(3, Decimal(-4))])) == [-60]
    assert values(Costing(MOVING_AVERAGE, fifo.state).apply([Move(4, Decimal(-16))])) == [-240]


quantities = st.integers(-30, 30).filter(bool)
whole_costs = st.integers(0, 50).map(str)


@given(st.lists(st.tuples(quantities, whole_costs), max_size=40))
def test_fifo_is_what_counting_pieces_gives(steps: list[tuple[int, str]]) -> None:
    pieces: list[Fraction] = []
    owed, owed_value, known = 0, Fraction(0), Fraction(0)
    expected = []
    for quantity, cost in steps:
        worth, variance = Fraction(0), Fraction(0)
        if quantity > 0:
            worth, known = Fraction(cost) * quantity, Fraction(cost)
            filled = min(owed, quantity)
            if filled:
                assumed = owed_value * filled / owed
                variance = assumed - filled * known
                owed, owed_value = owed - filled, owed_value - assumed
            pieces += [Fraction(cost)] * (quantity - filled)
        else:
            if pieces and len(pieces) <= -quantity:
                known = sum(pieces) / len(pieces)
            gone, pieces = pieces[:-quantity], pieces[-quantity:]
            missing = -quantity - len(gone)
            worth = -sum(gone, Fraction(0)) - missing * known
            owed, owed_value = owed + missing, owed_value + missing * known
        expected.append((worth, variance))
    worths, kept = apply(FIFO, *moves(*steps), standard_cost="0")
    assert len(worths) == len(steps)
    for worth, (value, variance) in zip(worths, expected, strict=True):
        assert abs(Fraction(worth.value) - value) < Fraction(1, 1000)
        assert abs(Fraction(worth.variance) - variance) < Fraction(1, 1000)
    assert abs(Fraction(kept.state.value) - sum(pieces, Fraction(0)) + owed_value) < Fraction(1, 1000)


@given(st.lists(st.tuples(quantities, whole_costs), max_size=40))
def test_the_average_is_what_fractions_give(steps: list[tuple[int, str]]) -> None:
    there, pool, known = 0, Fraction(0), Fraction(0)
    worths, kept = apply(MOVING_AVERAGE, *moves(*steps), standard_cost="0")
    for (quantity, cost), worth in zip(steps, worths, strict=True):
        if quantity > 0:
            known = Fraction(cost)
            expected = quantity * known
            if there >= 0:
                pool += expected
            elif there + quantity <= 0:
                pool = pool * (there + quantity) / there
            else:
                pool = (there + quantity) * known
        else:
            gone = min(max(there, 0), -quantity)
            part = pool * gone / there if gone else Fraction(0)
            known = pool / there if gone and gone == there else known
            expected = -part - (-quantity - gone) * known
            pool += expected
        there += quantity
        assert abs(Fraction(worth.value) - expected) < Fraction(1, 1000)
    assert abs(Fraction(kept.state.value) - pool) < Fraction(1, 1000)


@st.composite
def stories(draw: st.DrawFn) -> list[Move]:
    """Anything that can happen to an item, with parts of pieces, unknown costs and movements that are taken back."""
    story: list[Move] = []
    open_ones: list[int] = []
    for number in range(1, draw(st.integers(0, 30)) + 1):
        if open_ones and draw(st.booleans()):
            back = open_ones.pop(draw(st.integers(0, len(open_ones) - 1)))
            story[back - 1] = story[back - 1]._replace(taken_back=True)
            story.append(Move(number, -story[back - 1].quantity, reverses=back))
            continue
        quantity = draw(st.decimals("-50", "50", places=3).filter(bool))
        cost = draw(st.none() | st.decimals("0", "1000", places=4)) if quantity > 0 else None
        story.append(Move(number, quantity, cost, bought=quantity > 0 and draw(st.booleans())))
        open_ones.append(number)
    return story


@given(st.sampled_from(METHODS), stories(), st.none() | st.decimals("0.01", "99", places=2))
def test_what_came_in_what_went_out_and_what_is_there_add_up(
    method: str, story: list[Move], standard: Decimal | None
) -> None:
    costing = Costing(method, standard_cost=standard)
    for move in story:
        (worth,) = costing.apply([move])
        assert worth.value * move.quantity >= 0
        assert worth.unit_cost >= 0
        state = costing.state
        assert state.quantity or not state.value
        assert state.value * state.quantity >= 0
        if method == FIFO:
            assert sum(layer[1] for layer in state.layers) == max(state.quantity, 0)
            assert sum(layer[2] for layer in state.layers) == max(state.value, 0)
            assert len(state.layers) == costing.depth
    worths = Costing(method, standard_cost=standard).apply(story)
    assert sum(worth.value + worth.variance for worth in worths) == costing.state.value
    assert sum(move.quantity for move in story) == costing.state.quantity
    if standard is not None:
        assert not any(worth.uncosted for worth in worths)


@given(st.sampled_from(METHODS), stories(), st.data())
def test_it_can_stop_anywhere_and_go_on(method: str, story: list[Move], data: st.DataObject) -> None:
    at_once = Costing(method)
    worths = at_once.apply(story)
    stop = data.draw(st.integers(0, len(story)))
    first = Costing(method)
    first.apply(story[:stop])
    rest = Costing(method, first.state)
    known = {move.id: worth.value for move, worth in zip(story[:stop], worths, strict=False)}
    continued = [move._replace(reversed_value=known.get(move.reverses or 0)) for move in story[stop:]]
    assert rest.apply(continued) == worths[stop:]
    assert rest.state == at_once.state
