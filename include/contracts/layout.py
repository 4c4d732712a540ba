"""Where boxes stand in a drawing of who hands what to whom: in layers from left to right, with few crossings.

A small form of Sugiyama's method: layers by the longest way to a box, places within a layer by the mean place of whom
it gets from (K. Sugiyama, S. Tagawa and M. Toda, 1981).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 230, 58
"""Of a box, in pixels."""
BETWEEN_LAYERS, BETWEEN_BOXES, MARGIN = 90, 18, 40


@dataclass(frozen=True)
class Drawing:
    """Where everything stands, in pixels.

    :param boxes: name -> its left upper corner.
    :param arrows: begin, end, and the way between them as an SVG path.
    """

    width: int
    height: int
    boxes: Mapping[str, tuple[int, int]]
    arrows: Sequence[tuple[str, str, str]]


def drawing(names: Sequence[str], arrows: Sequence[tuple[str, str]]) -> Drawing:
    """Place boxes and the arrows between them; what has no arrow fills the shortest layer."""
    met = {name for arrow in arrows for name in arrow}
    found = layers([name for name in names if name in met], arrows) or [[]]
    for name in names:
        if name not in met:
            min(found, key=len).append(name)
    boxes = {
        name: (number * (WIDTH + BETWEEN_LAYERS), place * (HEIGHT + BETWEEN_BOXES) + 2)
        for number, layer in enumerate(found)
        for place, name in enumerate(layer)
    }
    width = len(found) * (WIDTH + BETWEEN_LAYERS) - BETWEEN_LAYERS + MARGIN
    height = max((y for _, y in boxes.values()), default=0) + HEIGHT + 2
    return Drawing(width, height, boxes, [(start, end, _way(boxes[start], boxes[end])) for start, end in arrows])


def _way(start: tuple[int, int], end: tuple[int, int]) -> str:
    """From the right side of a box to the left side of one in a later layer; otherwise around, to its right side."""
    right, middle = start[0] + WIDTH, HEIGHT // 2
    if end[0] > start[0]:
        y, target, bend = start[1] + middle, end[1] + middle, (end[0] - right) // 2
        return f"M{right} {y} C{right + bend} {y} {end[0] - bend} {target} {end[0] - 7} {target}"
    y, target, back = start[1] + middle // 2, end[1] + HEIGHT - middle // 2, end[0] + WIDTH
    out = max(right, back) + MARGIN - 8
    return f"M{right} {y} C{out} {y} {out} {target} {back + 7} {target}"


def layers(names: Sequence[str], arrows: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Return the names layer by layer, each layer from top to bottom.

    Arrows lead to a later layer, but for those that close a circle, or lead back to their own beginning.
    """
    before: dict[str, list[str]] = {name: [] for name in names}
    for start, end in arrows:
        if start != end and not _leads(end, start, before):
            before[end].append(start)
    depth = _depths(before)
    found: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for name in names:
        found[depth[name]].append(name)
    giving = {start for starts in before.values() for start in starts}
    for layer in found[:1]:  # what hands over stands together, opposite of what takes
        layer.sort(key=lambda name: name not in giving)
    for number in range(1, len(found)):
        place = {name: at for layer in found[:number] for at, name in enumerate(layer)}
        found[number].sort(key=lambda name: sum(place[start] for start in before[name]) / len(before[name]))
    return found


def _leads(start: str, end: str, before: Mapping[str, Sequence[str]]) -> bool:
    """Whether a way of arrows that are kept leads from `start` to `end`."""
    seen, open_ = set(), [end]
    while open_:
        here = open_.pop()
        if here == start:
            return True
        if here not in seen:
            seen.add(here)
            open_.extend(before[here])
    return False


def _depths(before: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The length of the longest way to each."""
    depth: dict[str, int] = {}
    while len(depth) < len(before):
        for name, starts in before.items():
            if name not in depth and all(start in depth for start in starts):
                depth[name] = max((depth[start] + 1 for start in starts), default=0)
    return depth
