"""From lines of text and regions of a page to blocks in reading order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from osvl_plugins.backends.layout import Block, Box

_KINDS = {"figure_caption": "caption", "table_caption": "caption"}
_WITHOUT_TEXT = ("figure", "table", "equation")


class Region(NamedTuple):
    """A part of the page as the layout model sees it."""

    kind: str
    box: Box
    confidence: float


class Line(NamedTuple):
    """A line of text as the text model sees it."""

    box: Box
    text: str
    confidence: float


def arrange(regions: Iterable[Region], lines: Iterable[Line], width: int, height: int) -> list[Block]:
    """Blocks of a page of ``width`` x ``height`` pixels in reading order: each line goes to the region around it.

    A line outside of all regions, or in a figure, is a block of its own, so that it can be cropped. Regions of text in
    which no line was found are left out, and so is a figure that is the whole picture.
    """
    places = _distinct(regions)
    members: list[list[Line]] = [[] for _ in places]
    blocks: list[Block] = []
    for line in lines:
        for region, held in zip(places, members, strict=True):
            if region.kind != "figure" and _share(line.box, region.box) > 0.5:
                held.append(line)
                break
        else:
            blocks.append(Block("text", line.box, line.text, line.confidence))
    for region, held in zip(places, members, strict=True):
        if held:
            blocks.append(_block(region, held))
        elif region.kind in _WITHOUT_TEXT and region.box.width * region.box.height < 0.9 * width * height:
            blocks.append(Block(region.kind, region.box, "", region.confidence))
    return [blocks[i] for i in reading_order([block.box for block in blocks])]


def _block(region: Region, lines: list[Line]) -> Block:
    order = rows([line.box for line in lines])
    between = " | " if region.kind == "table" else " "
    text = "\n".join(between.join(lines[i].text for i in row) for row in order)
    weights = [max(1, len(line.text)) for line in lines]
    confidence = sum(line.confidence * weight for line, weight in zip(lines, weights, strict=True)) / sum(weights)
    box = region.box if region.kind == "table" else _around([line.box for line in lines])
    return Block(_KINDS.get(region.kind, region.kind), box, text, confidence)


def _distinct(regions: Iterable[Region]) -> list[Region]:
    """Of regions that cover each other by half the surest; a figure may hold text and counts when it is the same."""
    kept: list[Region] = []
    for region in sorted(regions, key=lambda region: -region.confidence):
        for other in kept:
            shares = (_share(region.box, other.box), _share(other.box, region.box))
            figure = (region.kind == "figure") != (other.kind == "figure")
            if (min(shares) if figure else max(shares)) > 0.5:
                break
        else:
            kept.append(region)
    return kept


def _share(inner: Box, outer: Box) -> float:
    """Share of ``inner`` that lies in ``outer``."""
    width = min(inner.right, outer.right) - max(inner.x, outer.x)
    height = min(inner.bottom, outer.bottom) - max(inner.y, outer.y)
    return max(0, width) * max(0, height) / max(1, inner.width * inner.height)


def _around(boxes: list[Box]) -> Box:
    x, y = min(box.x for box in boxes), min(box.y for box in boxes)
    return Box(x, y, max(box.right for box in boxes) - x, max(box.bottom for box in boxes) - y)


def reading_order(boxes: Sequence[Box]) -> list[int]:
    """Indices of ``boxes`` as a page is read: columns from left to right, what spans them where it stands.

    A recursive XY-cut that looks for columns first. A gap is one between columns when it is narrower than what stands
    on either side of it; a wider one, as in a bill, lies between the fields of a row.
    """
    return _cut(boxes, list(range(len(boxes))))


def rows(boxes: Sequence[Box]) -> list[list[int]]:
    """Indices of ``boxes`` row by row, each from left to right.

    A box joins a row when it shares half of its height, or of the other's, with the row's first box and stands beside
    all of it; lines that slope overlap in height and are rows all the same.
    """
    found: list[list[int]] = []
    for index in sorted(range(len(boxes)), key=lambda i: (boxes[i].y, boxes[i].x)):
        box = boxes[index]
        for row in found:
            first = boxes[row[0]]
            shared = min(box.bottom, first.bottom) - max(box.y, first.y)
            beside = all(_shared_width(box, boxes[i]) <= 0.2 * min(box.width, boxes[i].width) for i in row)
            if beside and 2 * shared >= min(box.height, first.height):
                row.append(index)
                break
        else:
            found.append([index])
    return [sorted(row, key=lambda i: boxes[i].x) for row in found]


def _shared_width(one: Box, other: Box) -> int:
    return min(one.right, other.right) - max(one.x, other.x)


def _cut(boxes: Sequence[Box], indices: list[int]) -> list[int]:
    """``indices`` in reading order."""
    ordered: list[int] = []
    while len(indices) > 1:
        columns = _split(indices, [(boxes[i].x, boxes[i].right) for i in indices], largest=True)
        if columns is not None and _are_columns(boxes, *columns):
            return ordered + _cut(boxes, columns[0]) + _cut(boxes, columns[1])
        stacked = _split(indices, [(boxes[i].y, boxes[i].bottom) for i in indices], largest=False)
        if stacked is None:
            return ordered + [indices[i] for row in rows([boxes[i] for i in indices]) for i in row]
        upper, indices = stacked
        ordered += _cut(boxes, upper)
    return ordered + indices


def _split(indices: list[int], spans: list[tuple[int, int]], *, largest: bool) -> tuple[list[int], list[int]] | None:
    """Cut at the largest or the first gap that no span crosses; None without one."""
    order = sorted(range(len(spans)), key=lambda i: spans[i])
    best: tuple[int, int] | None = None
    end = spans[order[0]][1]
    for position, i in enumerate(order[1:], 1):
        gap = spans[i][0] - end
        if gap >= 0 and (best is None or (largest and gap > best[0])):
            best = (gap, position)
        end = max(end, spans[i][1])
    if best is None:
        return None
    return [indices[i] for i in order[: best[1]]], [indices[i] for i in order[best[1] :]]


def _are_columns(boxes: Sequence[Box], left: list[int], right: list[int]) -> bool:
    start, end = min(boxes[i].x for i in left), max(boxes[i].right for i in left)
    begin, stop = min(boxes[i].x for i in right), max(boxes[i].right for i in right)
    return begin - end < min(end - start, stop - begin)
