"""Compiles a message's table into the straight-line function that reads one version of it.

Everything of fixed size that stands together, the length of what follows included, is one
`struct.unpack_from`; arrays are loops in place, without a call per element; a length is checked
against the bytes that remain before anything is made of it. What the function looks like:

    def read(buf, at, end):
        (v1, v2, n3) = unpack0(buf, at); at += 7
        if n3 > 127: n3, at = read_uvarint(buf, at, n3)
        room -= n3; if n3 < 0 or n3 * 6 > end - at or room < 0: raise ...
        ...
        return C0(v1, v2, v3), at

The source it compiles is made of our tables alone; nothing that a peer sends gets into it.
Next: `writers`, the other way; `codec`, who calls both.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from typing import Any

from quorate_broker.wire import primitives, schema
from quorate_broker.wire.limits import LIMITS

Reader = Callable[[memoryview, int, int], tuple[Any, int]]


def compile_reader(cls: type, version: int, flexible: bool) -> Reader:
    """The function (buffer, position, end) -> (message, next position) for one version."""
    return _Source(version, flexible).compile(cls)


def least_size(cls: type, version: int, flexible: bool) -> int:
    """The fewest bytes that a struct can take: what bounds the length of an array of them."""
    size = 1 if flexible else 0
    for part in schema.fields_of(cls):
        if version in part.versions and part.tag is None:
            size += _least_field_size(part, version, flexible)
    return max(size, 1)


def _least_field_size(part: schema.Field, version: int, flexible: bool) -> int:
    if part.is_array or part.type in ("bytes", "records"):
        return 1 if flexible else 4
    if part.type == "string":
        return 1 if flexible else 2
    if isinstance(part.type, str):
        return struct.calcsize(">" + schema.FIXED[part.type])
    nullable = version in part.nullable
    return 1 if nullable else least_size(part.type, version, flexible)


class _Source:
    """The text of one function, and the names it uses."""

    def __init__(self, version: int, flexible: bool) -> None:
        self._version = version
        self._flexible = flexible
        self._lines: list[str] = []
        self._depth = 1
        self._serial = 0
        self._run: list[tuple[str, str]] = []  # (struct letter, variable) not read yet
        self._names: dict[str, object] = {
            "UUID": uuid.UUID,
            "WireError": primitives.WireError,
            "refuse": primitives.refuse,
            "read_uvarint": primitives.read_uvarint,
            "skip_tags": primitives.skip_tags,
            "tag_count": primitives.tag_count,
            "tag_head": primitives.tag_head,
        }

    def compile(self, cls: type) -> Reader:
        value = self._struct(cls)
        self._flush()
        self._line(f"return {value}, at")
        self._lines.insert(0, f"    room = {LIMITS.message_elements}")
        text = "def read(buf, at, end):\n" + "\n".join(self._lines)
        exec(compile(text, f"<read {cls.__name__} v{self._version}>", "exec"), self._names)
        reader: Reader = self._names["read"]  # type: ignore[assignment]
        return reader

    # ---- text

    def _line(self, text: str) -> None:
        self._lines.append("    " * self._depth + text)

    def _new(self, prefix: str) -> str:
        self._serial += 1
        return f"{prefix}{self._serial}"

    def _bind(self, prefix: str, value: object) -> str:
        name = self._new(prefix)
        self._names[name] = value
        return name

    def _flush(self) -> None:
        """Read everything of fixed size that has gathered."""
        if not self._run:
            return
        letters = "".join(letter for letter, _ in self._run)
        targets = [name for _, name in self._run]
        self._run = []
        if letters == "B":
            self._line(f"{targets[0]} = buf[at]")
            self._line("at += 1")
            return
        layout = struct.Struct(">" + letters)
        unpack = self._bind("unpack", layout.unpack_from)
        self._line(f"{', '.join(targets)}, = {unpack}(buf, at)")
        self._line(f"at += {layout.size}")

    # ---- structs

    def _struct(self, cls: type) -> str:
        """Read a struct; returns the expression that makes it."""
        arguments: list[str] = []
        tagged: dict[int, tuple[schema.Field, str]] = {}
        uuids: list[str] = []
        present = 0
        for part in schema.fields_of(cls):
            if self._version not in part.versions:
                arguments.append(self._default(part))
                continue
            if part.tag is not None:
                arguments.append(self._new("v"))
                tagged[part.tag] = (part, arguments[-1])
            else:
                arguments.append(self._field(part))
                if part.type == "uuid" and not part.is_array:
                    uuids.append(arguments[-1])
            present = len(arguments)
        if self._flexible:
            self._tags(tagged)
        self._flush()
        for name in uuids:
            self._line(f"{name} = UUID(bytes={name})")
        return f"{self._bind('C', cls)}({', '.join(arguments[:present])})"

    def _default(self, part: schema.Field) -> str:
        if part.default is None or isinstance(part.default, int | str | bytes):
            return repr(part.default)
        return self._bind("d", part.default)

    def _tags(self, tagged: dict[int, tuple[schema.Field, str]]) -> None:
        count = self._new("t")
        self._run.append(("B", count))
        self._flush()
        for part, name in tagged.values():
            self._line(f"{name} = {self._default(part)}")
        self._line(f"if {count}:")
        self._depth += 1
        if tagged:
            self._known_tags(count, tagged)
        else:
            self._line(f"at = skip_tags(buf, at, {count}, end)")
        self._depth -= 1

    def _known_tags(self, count: str, tagged: dict[int, tuple[schema.Field, str]]) -> None:
        tag, size, stop = self._new("tag"), self._new("size"), self._new("stop")
        self._line(f"{count}, at = tag_count(buf, at, {count}, end)")
        self._line(f"for _ in range({count}):")
        self._depth += 1
        self._line(f"{tag}, {size}, at = tag_head(buf, at, end)")
        self._line(f"{stop} = at + {size}")
        for number, (part, name) in tagged.items():
            self._line(f"if {tag} == {number}:")
            self._depth += 1
            value = self._field(part)
            self._flush()
            if part.type == "uuid" and not part.is_array:
                value = f"UUID(bytes={value})"
            self._line(f"{name} = {value}")
            self._line(f"if at != {stop}: raise WireError('a tagged field of another size')")
            self._depth -= 1
        self._line(f"at = {stop}")
        self._depth -= 1

    # ---- fields

    def _field(self, part: schema.Field) -> str:
        """Read a field (or leave it to the current run); returns the expression of its value."""
        nullable = self._version in part.nullable
        if part.is_array:
            return self._array(part, nullable)
        if part.is_struct:
            assert isinstance(part.type, type)
            return self._nested(part.type, nullable)
        assert isinstance(part.type, str)
        return self._primitive(part.type, nullable)

    def _primitive(self, kind: str, nullable: bool) -> str:
        value = self._new("v")
        if kind in schema.FIXED:
            self._run.append((schema.FIXED[kind], value))
            return value
        size = self._length("h" if kind == "string" else "i")
        stop = self._new("e")
        self._null_or(size, value, nullable)
        self._line(f"{stop} = at + {size}")
        self._line(f"if {size} < 0 or {stop} > end: raise refuse('{kind}', {size}, at, end)")
        made = {"string": "str(buf[at:{}], 'utf-8')", "bytes": "bytes(buf[at:{}])"}
        self._line(f"{value} = " + made.get(kind, "buf[at:{}]").format(stop))
        self._line(f"at = {stop}")
        if nullable:
            self._depth -= 1
        return value

    def _length(self, letter: str) -> str:
        """Read a length or count; null is -1."""
        size = self._new("n")
        self._run.append(("B" if self._flexible else letter, size))
        self._flush()
        if self._flexible:
            self._line(f"if {size} > 127: {size}, at = read_uvarint(buf, at, {size})")
            self._line(f"{size} -= 1")
        return size

    def _null_or(self, size: str, value: str, nullable: bool) -> None:
        """Open the branch of what is not null."""
        if not nullable:
            return
        self._line(f"if {size} == -1: {value} = None")
        self._line("else:")
        self._depth += 1

    def _nested(self, cls: type, nullable: bool) -> str:
        self._flush()
        value = self._new("v")
        if nullable:  # one byte tells: -1 null, 1 present
            mark = self._new("n")
            self._run.append(("b", mark))
            self._flush()
            self._null_or(mark, value, nullable)
        made = self._struct(cls)
        self._flush()
        self._line(f"{value} = {made}")
        if nullable:
            self._depth -= 1
        return value

    def _array(self, part: schema.Field, nullable: bool) -> str:
        value = self._new("v")
        count = self._length("i")
        self._null_or(count, value, nullable)
        numbers = part.type in schema.FIXED and part.type != "uuid"
        if not numbers:
            self._line(f"room -= {count}")
        allowed = f"{count} > {LIMITS.array_elements}" if numbers else "room < 0"
        self._line(
            f"if {count} < 0 or {count} * {self._least_element_size(part)} > end - at"
            f" or {allowed}: raise refuse('array', {count}, at, end)"
        )
        if numbers:
            self._numbers(schema.FIXED[str(part.type)], count, value)
        else:
            self._elements(part, count, value)
        if nullable:
            self._depth -= 1
        return value

    def _least_element_size(self, part: schema.Field) -> int:
        if isinstance(part.type, type):
            return least_size(part.type, self._version, self._flexible)
        element = schema.Field("", part.type, False, part.versions, part.nullable, None, None)
        return _least_field_size(element, self._version, self._flexible)

    def _numbers(self, letter: str, count: str, value: str) -> None:
        runs = self._bind("runs", primitives.Runs(letter, "unpack_from"))
        self._line(f"{value} = {runs}[{count}](buf, at)")
        self._line(f"at += {count} * {struct.calcsize('>' + letter)}")

    def _elements(self, part: schema.Field, count: str, value: str) -> None:
        found = self._new("a")
        self._line(f"{found} = []")
        self._line(f"for _ in range({count}):")
        self._depth += 1
        if isinstance(part.type, type):
            element = self._struct(part.type)
        else:
            element = self._primitive(part.type, False)
        self._flush()
        if part.type == "uuid":
            element = f"UUID(bytes={element})"
        self._line(f"{found}.append({element})")
        self._depth -= 1
        self._line(f"{value} = tuple({found})")
