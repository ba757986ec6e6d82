"""A cursor over JSON text of any size: cuts out whole values as they stand, holds a window around them only.

The text is read as Latin-1, one character a byte: what is cut out encodes back to the very bytes of the file.
The standard library's scanner finds where a value ends; nothing is interpreted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

from collector.backfill.parts import RECORD_BYTES, Malformed, TooLarge

_SPACE = re.compile(r"[ \t\r\n]*")
# Numbers are not needed as numbers: `str` spares their conversion, and its limits.
_SCANNER = json.JSONDecoder(strict=False, parse_int=str, parse_float=str, parse_constant=str)
# A scanner that ran out of text may point this far before the end: at an escape or a literal.
_NEAR_END = 16
_BYTE_ORDER_MARK = "\xef\xbb\xbf"


class JsonCursor:
    """``text[pos:]`` is the window's unread part; ``more`` makes it grow by blocks from ``read``.

    ``head`` is what was read already, ``first_line`` the number of its first line.
    """

    def __init__(self, read: Callable[[], bytes], head: bytes = b"", first_line: int = 1) -> None:
        self.text = head.decode("latin-1").removeprefix(_BYTE_ORDER_MARK)
        self.pos = 0
        self._read = read
        # The number of the line at `_counted`; line breaks are counted once, as the cursor moves on.
        self._line = first_line
        self._counted = 0

    def more(self) -> bool:
        """Reads at least as much again as is unread; False at the end of the input."""
        wanted = len(self.text) - self.pos
        blocks = [self.text[self.pos :]]
        read = 0
        while block := self._read():
            blocks.append(block.decode("latin-1"))
            read += len(block)
            if read >= wanted:
                break
        if not read:
            return False
        self._line = self.line_number()
        self.text, self.pos, self._counted = "".join(blocks), 0, 0
        return True

    def line_number(self, ahead: int = 0) -> int:
        """Of the unread part's beginning, or of what is ``ahead`` of it."""
        self._line += self.text.count("\n", self._counted, self.pos)
        self._counted = self.pos
        return self._line + self.text.count("\n", self.pos, self.pos + ahead)

    def where(self) -> str:
        return f"line {self.line_number():,}"

    def peek(self) -> str:
        """The next character that is not white space, "" at the end; white space is consumed."""
        while True:
            found = _SPACE.match(self.text, self.pos)
            self.pos = found.end() if found else self.pos
            if self.pos < len(self.text):
                return self.text[self.pos]
            if not self.more():
                return ""

    def take(self, expected: str) -> None:
        found = self.peek()
        if found != expected:
            raise Malformed(
                f"expected {expected!r}, found {found!r}" if found else "the input ends too early"
            )
        self.pos += 1

    def value(self, limit: int = RECORD_BYTES) -> str:
        """Cuts out the next value. Raises TooLarge above ``limit`` bytes, Malformed above what any record
        has."""
        self.peek()
        while True:
            end, problem = self._end_of_value()
            if (end or len(self.text)) - self.pos > limit:
                raise TooLarge if limit < RECORD_BYTES else Malformed("a single value of more than 64 MiB")
            if end is not None:
                cut = self.text[self.pos : end]
                self.pos = end
                return cut
            if not self.more():
                raise Malformed(problem or "the input ends too early")

    def _end_of_value(self) -> tuple[int | None, str]:
        """Where the value at hand ends, or None and why that is not known yet. Raises Malformed."""
        try:
            _, end = _SCANNER.raw_decode(self.text, self.pos)
        except json.JSONDecodeError as error:
            if error.msg.startswith("Unterminated") or error.pos >= len(self.text):
                return None, "the input ends inside a value"
            problem = f"not JSON: {error.msg} (line {self.line_number(error.pos - self.pos):,})"
            if error.pos < len(self.text) - _NEAR_END:
                raise Malformed(problem) from None
            return None, problem
        except RecursionError:
            raise Malformed("not OTLP: nested far too deeply") from None
        # A number may go on behind the window.
        complete = end < len(self.text) or self.text[end - 1] in '}]"'
        return (end, "") if complete or not self.more() else (None, "")

    def elements(self) -> Iterator[None]:
        """Stands before each element of the array at hand; the caller consumes it."""
        yield from self._items("[", "]")

    def members(self) -> Iterator[str]:
        """Yields each key of the object at hand, standing before its value; the caller consumes that."""
        for _ in self._items("{", "}"):
            if self.peek() != '"':
                raise Malformed("not JSON: a key must be a string")
            key = self.value()
            self.take(":")
            yield json.loads(key, strict=False)

    def _items(self, opening: str, closing: str) -> Iterator[None]:
        self.take(opening)
        if self.peek() == closing:
            self.pos += 1
            return
        while True:
            yield
            if self.peek() == closing:
                self.pos += 1
                return
            self.take(",")

    def line(self, limit: int) -> str:
        """Cuts out the rest of the line, without its line break. Raises TooLarge above ``limit`` bytes."""
        while (end := self.text.find("\n", self.pos)) < 0:
            if len(self.text) - self.pos > limit:
                raise TooLarge
            if not self.more():
                end = len(self.text)
                break
        cut = self.text[self.pos : end]
        self.pos = min(end + 1, len(self.text))
        return cut

    def skip_line(self) -> None:
        """Moves behind the next line break."""
        while (end := self.text.find("\n", self.pos)) < 0:
            self.pos = len(self.text)
            if not self.more():
                return
        self.pos = end + 1
