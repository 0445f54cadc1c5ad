"""Compiles a message's table into the straight-line function that writes one version of it.

The mirror of `readers`: what is of fixed size and stands together is one `struct.pack`, loops are
in place. The function appends to a bytearray; record batches are not copied into it: it is closed,
the caller's own buffers follow it in the list, and a new bytearray begins.

    def write(m, w, out):
        v1 = m.topics
        w += pack0(m.throttle_time_ms, len(v1))
        for x in v1: ...
        return w

Next: `codec`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from quorate_broker.wire import primitives, schema

Writer = Callable[[Any, bytearray, list[schema.Buffer]], bytearray]


def compile_writer(cls: type, version: int, flexible: bool) -> Writer:
    """The function (message, open bytearray, finished buffers) -> open bytearray."""
    return _Source(version, flexible).compile(cls)


class _Source:
    """The text of one function, and the names it uses."""

    def __init__(self, version: int, flexible: bool) -> None:
        self._version = version
        self._flexible = flexible
        self._lines: list[str] = []
        self._depth = 1
        self._serial = 0
        self._out = "w"  # the bytearray being written
        self._run: list[tuple[str, str]] = []  # (struct letter, expression) not written yet
        self._names: dict[str, object] = {
            "BUFFERS": (bytes, bytearray, memoryview),
            "uvarint": primitives.write_uvarint,
        }

    def compile(self, cls: type) -> Writer:
        self._struct(cls, "m")
        self._flush()
        self._line("return w")
        text = "def write(m, w, out):\n" + "\n".join(self._lines)
        exec(compile(text, f"<write {cls.__name__} v{self._version}>", "exec"), self._names)
        writer: Writer = self._names["write"]  # type: ignore[assignment]
        return writer

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

    def _packed(self, run: list[tuple[str, str]]) -> str:
        """The expression that packs `run`; an x is a zero byte without an argument."""
        layout = struct.Struct(">" + "".join(letter for letter, _ in run))
        arguments = [expression for letter, expression in run if letter != "x"]
        if not arguments:
            return repr(bytes(layout.size))
        return f"{self._bind('pack', layout.pack)}({', '.join(arguments)})"

    def _flush(self) -> None:
        if self._run:
            self._line(f"{self._out} += {self._packed(self._run)}")
            self._run = []

    # ---- structs

    def _struct(self, cls: type, item: str) -> None:
        tagged: list[schema.Field] = []
        for part in schema.fields_of(cls):
            if self._version not in part.versions:
                continue
            if part.tag is None:
                self._field(part, f"{item}.{part.name}")
            else:
                tagged.append(part)
        if not self._flexible:
            return
        if tagged:
            self._tags(sorted(tagged, key=lambda part: part.tag or 0), item)
        else:
            self._run.append(("x", ""))

    def _tags(self, tagged: list[schema.Field], item: str) -> None:
        self._flush()
        count, section = self._new("t"), self._new("w")
        self._line(f"{count} = 0")
        self._line(f"{section} = b''")
        for part in tagged:
            value, one = self._new("v"), self._new("w")
            self._line(f"{value} = {item}.{part.name}")
            self._line(f"if {self._is_set(part, value)}:")
            self._depth += 1
            self._line(f"{count} += 1")
            self._line(f"{one} = bytearray()")
            outer, self._out = self._out, one
            self._field(part, value)
            self._flush()
            self._out = outer
            self._line(f"{section} += {primitives.write_uvarint(part.tag or 0)!r}")
            self._line(f"{section} += uvarint(len({one}))")
            self._line(f"{section} += {one}")
            self._depth -= 1
        self._line(f"{self._out}.append({count})")
        self._line(f"{self._out} += {section}")

    def _is_set(self, part: schema.Field, value: str) -> str:
        """Whether a tagged field differs from its default; only then it is written."""
        if part.is_struct and not part.is_array:
            assert isinstance(part.type, type)
            default = self._bind("d", part.type())
            return f"{value} is not None and {value} != {default}"
        if part.is_array and part.default == ():
            return value
        if part.default is None:
            return f"{value} is not None"
        return f"{value} != {self._bind('d', part.default)}"

    # ---- fields

    def _field(self, part: schema.Field, value: str) -> None:
        nullable = self._version in part.nullable
        if part.is_array:
            self._array(part, value, nullable)
        elif part.is_struct:
            assert isinstance(part.type, type)
            self._nested(part.type, value, nullable)
        else:
            self._primitive(part.type, self._never_null(part, value, nullable), nullable)

    def _never_null(self, part: schema.Field, value: str, nullable: bool) -> str:
        """What was null in later versions is empty in the earlier ones that know no null."""
        if nullable or part.nullable.last < part.nullable.first:
            return value
        return f"({value} or {part.empty!r})"

    def _primitive(self, kind: str | type, value: str, nullable: bool) -> None:
        assert isinstance(kind, str)
        if kind == "uuid":
            self._run.append(("16s", f"{value}.bytes"))
        elif kind in schema.FIXED:
            self._run.append((schema.FIXED[kind], value))
        elif kind == "records":
            self._records(value, nullable)
        else:
            self._text(kind, value, nullable)

    def _text(self, kind: str, value: str, nullable: bool) -> None:
        data, size = self._new("s"), self._new("n")
        encoded = f"{value}.encode()" if kind == "string" else value
        if nullable:
            self._line(f"if {value} is None: {data} = b''; {size} = -1")
            self._line(f"else: {data} = {encoded}; {size} = len({data})")
        else:
            self._line(f"{data} = {encoded}; {size} = len({data})")
        self._length(size, "h" if kind == "string" else "i")
        self._line(f"{self._out} += {data}")

    def _length(self, size: str, letter: str) -> None:
        """Write a length or count (null is -1) together with the run before it."""
        if not self._flexible:
            self._run.append((letter, size))
            self._flush()
            return
        before, self._run = self._run, []
        short = self._packed([*before, ("B", f"{size} + 1")])
        long = f"uvarint({size} + 1)"
        if before:
            long = f"{self._packed(before)} + {long}"
        self._line(f"{self._out} += {short} if {size} < 127 else {long}")

    def _records(self, value: str, nullable: bool) -> None:
        assert self._out == "w", "record batches never stand in a tagged field"
        data, size = self._new("r"), self._new("n")
        self._line(f"{data} = {value}")
        if nullable:
            self._line(f"if {data} is None: {size} = -1; {data} = ()")
            self._line("else:")
            self._depth += 1
        self._line(f"if isinstance({data}, BUFFERS): {data} = ({data},)")
        self._line(f"{size} = sum(map(len, {data}))")
        if nullable:
            self._depth -= 1
        self._length(size, "i")
        self._line(f"if {size} > 0: out.append(w); out += {data}; w = bytearray()")

    def _nested(self, cls: type, value: str, nullable: bool) -> None:
        if not nullable:
            held = self._new("v")
            self._line(f"{held} = {value}")
            self._struct(cls, held)
            return
        self._flush()
        self._line(f"if {value} is None: {self._out} += b'\\xff'")
        self._line("else:")
        self._depth += 1
        self._line(f"{self._out} += b'\\x01'")
        self._struct(cls, value)
        self._flush()
        self._depth -= 1

    def _array(self, part: schema.Field, value: str, nullable: bool) -> None:
        held, count = self._new("v"), self._new("n")
        self._line(f"{held} = {self._never_null(part, value, nullable)}")
        if nullable:
            self._line(f"if {held} is None: {count} = -1; {held} = ()")
            self._line(f"else: {count} = len({held})")
        else:
            self._line(f"{count} = len({held})")
        self._length(count, "i")
        if part.type in schema.FIXED and part.type != "uuid":
            runs = self._bind("runs", primitives.Runs(schema.FIXED[str(part.type)], "pack"))
            self._line(f"if {held}: {self._out} += {runs}[{count}](*{held})")
            return
        element = self._new("x")
        self._line(f"for {element} in {held}:")
        self._depth += 1
        if isinstance(part.type, type):
            self._struct(part.type, element)
        else:
            self._primitive(part.type, element, False)
        self._flush()
        self._depth -= 1
