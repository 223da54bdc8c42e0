"""Changes that make damaged or hostile files of valid ones: of bytes, of the fields of a format, of JSON and of tables.

Each is drawn by hypothesis in a form that does not depend on the content, such as "the field at 37 % becomes 2**31", so
that any list of changes can be applied to any file.
"""

from __future__ import annotations

import copy
import json
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st


@dataclass(frozen=True)
class Seed:
    """A valid file, and where the numbers of its format are: offset and width in bytes."""

    name: str
    content: bytes = field(repr=False)
    fields: tuple[tuple[int, int], ...] = field(default=(), repr=False)
    is_repaired: bool = False  # Checksums are right again after the change, so that what they protect is reached


_SCALE = 2**20
places = st.integers(0, _SCALE - 1)


def _at(place: int, length: int) -> int:
    """Return the index, below `length`, that a place stands for."""
    return place * length // _SCALE if length else 0


_EXTREMES = (0, 1, 2, 3, 4, 8, 16, 127, 128, 255, 256, 1000, 32767, 32768, 65535, 65536, 10**6, 2**24)
_EXTREMES += (2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
numbers = st.one_of(
    st.sampled_from(_EXTREMES), st.integers(0, 64), st.integers(0, 2**16 - 1), st.integers(0, 2**64 - 1)
)
_ORDERS = st.sampled_from(("little", "big"))

Change = Callable[[bytes, Seed], bytes]


@dataclass(frozen=True)
class Bytes:
    """One change of a file's bytes."""

    kind: str
    place: int
    other: int
    number: int
    order: str

    def __call__(self, content: bytes, seed: Seed) -> bytes:
        return _BYTES[self.kind](self, bytearray(content), seed)


def _set_field(change: Bytes, content: bytearray, seed: Seed) -> bytes:
    if not seed.fields:
        return _set_number(change, content, seed)
    offset, width = seed.fields[_at(change.place, len(seed.fields))]
    return _overwritten(content, offset, width, change)


def _set_number(change: Bytes, content: bytearray, seed: Seed) -> bytes:
    width = (1, 2, 4, 8)[change.other % 4]
    return _overwritten(content, _at(change.place, len(content)), width, change)


def _overwritten(content: bytearray, offset: int, width: int, change: Bytes) -> bytes:
    if offset + width <= len(content):
        content[offset : offset + width] = (change.number % 256**width).to_bytes(width, change.order)
    return bytes(content)


def _flip(change: Bytes, content: bytearray, seed: Seed) -> bytes:
    if content:
        content[_at(change.place, len(content))] ^= 1 << change.other % 8
    return bytes(content)


def _span(change: Bytes, content: bytearray) -> tuple[int, int]:
    start = _at(change.place, len(content) + 1)
    return start, min(len(content), start + 1 + (change.other % 64 if change.number % 2 else change.other))


def _truncate(change: Bytes, content: bytearray, seed: Seed) -> bytes:
    return bytes(content[: _at(change.place, len(content) + 1)])


def _cut(change: Bytes, content: bytearray, seed: Seed) -> bytes:
    start, end = _span(change, content)
    return bytes(content[:start] + content[end:])


def _repeat(change: Bytes, content: bytearray, seed: Seed) -> bytes:
    start, end = _span(change, content)
    return bytes(content[:start] + content[start:end] * (1 + change.number % 8) + content[start:])


def _zero(change: Bytes, content: bytearray, seed: Seed) -> bytes:
    start, end = _span(change, content)
    return bytes(content[:start] + bytes(end - start) + content[end:])


def _move(change: Bytes, content: bytearray, seed: Seed) -> bytes:
    start, end = _span(change, content)
    to = _at(change.number % _SCALE, len(content) + 1)
    return bytes(content[:to] + content[start:end] + content[to + end - start :])


_BYTES: dict[str, Callable[[Bytes, bytearray, Seed], bytes]] = {
    "field": _set_field,
    "number": _set_number,
    "flip": _flip,
    "truncate": _truncate,
    "cut": _cut,
    "repeat": _repeat,
    "zero": _zero,
    "move": _move,
}
# Truncated files are soon the same few; fields are where parsers break.
_KINDS = ("field",) * 8 + ("number",) * 3 + ("flip",) * 3 + ("truncate", "cut", "repeat", "zero", "move")
byte_changes = st.builds(Bytes, st.sampled_from(_KINDS), places, places, numbers, _ORDERS)


@st.composite
def mutated(draw: st.DrawFn, seed: Seed, most: int = 3) -> bytes:
    """The bytes of a seed after one or a few changes."""
    content = seed.content
    for change in draw(st.lists(byte_changes, min_size=1, max_size=most)):
        content = change(content, seed)
    return repaired(content) if seed.is_repaired else content


def repaired(content: bytes) -> bytes:
    """Return a PNG with the right checksums: its decoder would not look at anything else."""
    start, parts = 8, [content[:8]]
    while start + 12 <= len(content):
        (length,) = struct.unpack(">I", content[start : start + 4])
        body = content[start + 4 : start + 8 + length]
        parts += [content[start : start + 4], body, struct.pack(">I", zlib.crc32(body))]
        start += 12 + length
    return b"".join(parts)


class Raw(str):
    """Text that is written into JSON as it is."""


_NESTED = 3000
# What a value in JSON may be instead. A `Raw` is no value of Python.
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 0.5, 1e-320, 1e308, 2**31, 2**63, 2**64, -(2**63), 10**30),
    *("", "x", "a\nb", "\x1b[31m", "\u202e", "é\u0301", "nan", "1", "../../x", "/etc/passwd", "C:\\x", "~", "x" * 5000),
    *([], {}, [[]], [None], [[1, 2], [3]], [1, "a"], {"a": 1}, {"": {}}, [[], [], []], [0] * 1000),
    *(Raw("NaN"), Raw("-Infinity"), Raw("1e999"), Raw("9" * 5000), Raw("[" * _NESTED + "]" * _NESTED)),
    *(Raw('"\\ud800"'), Raw('"\\u0000"'), Raw('{"a":1,"a":2}'), Raw('{"a":' * _NESTED + "1" + "}" * _NESTED), Raw("")),
)
_VALUE_CHANGES = ("value",) * 8 + ("other node",) * 3 + ("delete", "add", "rename", "repeat", "shuffle", "sign")


@dataclass(frozen=True)
class Json:
    """One change of a value somewhere in JSON."""

    kind: str
    place: int
    other: int
    value: Any

    def __call__(self, root: Any) -> Any:
        nodes = list(_nodes(root))
        if not nodes:
            return copy.deepcopy(self.value)
        container, key = nodes[_at(self.place, len(nodes))]
        other, other_key = nodes[_at(self.other, len(nodes))]
        value = container[key]
        if self.kind == "value":
            container[key] = copy.deepcopy(self.value)
        elif self.kind == "other node":
            # A copy: a node in itself would have no end.
            container[key] = json.loads(json.dumps(other[other_key]))
        elif self.kind == "delete":
            del container[key]
        elif self.kind == "add" and isinstance(container, dict):
            container["x" * (1 + self.other % 3)] = copy.deepcopy(self.value)
        elif self.kind == "rename" and isinstance(container, dict):
            container[str(other_key)] = container.pop(key)
        elif self.kind == "repeat" and isinstance(container, list):
            container[key:key] = [json.loads(json.dumps(value))] * (1 + self.other % 4)
        elif self.kind == "shuffle" and isinstance(value, list):
            value.reverse()
        elif self.kind == "sign" and isinstance(value, int | float):
            container[key] = -value * 10 ** (self.other % 40)
        return root


def _nodes(root: Any) -> Any:
    """Yield container and key of every value below the root."""
    keys = root.keys() if isinstance(root, dict) else range(len(root)) if isinstance(root, list) else ()
    for key in list(keys):
        yield root, key
        yield from _nodes(root[key])


json_changes = st.builds(Json, st.sampled_from(_VALUE_CHANGES), places, places, st.sampled_from(_VALUES))


@st.composite
def mutated_json(draw: st.DrawFn, content: bytes, most: int = 2) -> bytes:
    """JSON after one or a few changes of its values, and sometimes of its bytes."""
    root = json.loads(content)
    for change in draw(st.lists(json_changes, min_size=1, max_size=most)):
        root = change(root)
    text = _dumped(root)
    if draw(st.integers(0, 9)) == 0:
        return draw(mutated(Seed("json", text)))
    return text


def _dumped(root: Any) -> bytes:
    raws: list[str] = []

    def marked(node: Any) -> Any:
        if isinstance(node, Raw):
            raws.append(node)
            return f"<raw {len(raws) - 1}>"
        if isinstance(node, dict):
            return {key: marked(value) for key, value in node.items()}
        return [marked(value) for value in node] if isinstance(node, list) else node

    text = json.dumps(marked(root))
    return re.sub(r'"<raw (\d+)>"', lambda found: raws[int(found[1])], text).encode()
