"""Reads a few known files from a .tar.gz, in memory, whatever else it contains; or unpacks a .gz.

The standard library's `gzip` and `tarfile` accept anything: a header of 3 GB, a chain of 5,000
headers, names read one byte at a time. Here everything has a limit: the file, its unpacked size,
the members, and the extended headers of a member. The formats that CIFAR is published in, and those
that tar programs write when it is repacked, are read; everything else is refused with a message
that names it.

Source: POSIX.1-2024, `pax`, "ustar Interchange Format" and "pax Extended Header".
"""

import contextlib
import io
import re
import zlib
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from minivit.errors import UserError, shown, shown_path
from minivit.files import open_plain

BLOCK = 512
CHUNK = 1 << 18
MAX_MEMBERS = 1000
MAX_EXTENSION_LENGTH = 1 << 16  # bytes of one extended header
MAX_EXTENSIONS = 4  # of one member: pax, and GNU's long name and long link

# Type flags of a header: the types of ustar, and the extended headers of pax and GNU.
_FILE, _FOLDER, _OTHER = "0\0", "5", "12346"  # other: links, devices, pipes
_PAX, _GNU_NAME = "x", "L"
_EXTENSIONS = "xgLK"


class Member(NamedTuple):
    """The header of one member."""

    name: str
    kind: str
    size: int

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return self.kind in _FILE


class DamagedError(Exception):
    """The bytes are not a .tar.gz, or are damaged."""


def read_members(
    path: Path, names: Collection[str], max_length: int, max_size: int
) -> Iterator[tuple[str, bytes]]:
    """The name and the bytes of each of the members `names`, in the archive's order.

    `max_length` limits the size of each. Raises UserError if one is not a regular file, and as
    `walk_members` does.
    """
    for name, member, read in walk_members(path, max_size):
        if name in names:
            where = f"{shown_path(path)}: {name}"
            if not member.is_file:
                raise UserError(f"{where} is a link or a device, expected a plain file")
            check_length(where, member.size, max_length)
            yield name, read()


def walk_members(
    path: Path, max_size: int, max_members: int = MAX_MEMBERS
) -> Iterator[tuple[str, Member, Callable[[], bytes]]]:
    """Each member's name, its header, and a function that reads its bytes, to be called before the
    next member or not at all.

    A leading "./" is removed. `max_size` limits the unpacked size of all members; the archive
    itself may be no longer. Reads to the end, where gzip has its checksum.

    Raises UserError for a damaged archive, one beyond the limits, and one with two members of the
    same name; OSError as `open` does.
    """
    seen: set[str] = set()
    shown_as = shown_path(path)
    with _refusing(shown_as, "a .tar.gz archive"), open_plain(path) as file:
        stream = _Unpacked(file, max_size, max_size)
        while member := _next_member(stream):
            if len(seen) == max_members:
                raise DamagedError(f"it holds more than {max_members:,} members")
            name = member.name.removeprefix("./")
            if name in seen and member.kind != _FOLDER:
                raise UserError(f"{shown_as}: holds {shown(name)} twice, expected it once")
            seen.add(name)
            end = stream.remaining - member.size
            yield name, member, partial(_read_member, stream, member.size, shown_as)
            stream.skip(stream.remaining - end)
            stream.skip(-member.size % BLOCK)
        stream.finish()


def _read_member(stream: "_Unpacked", size: int, shown_as: str) -> bytes:
    with _refusing(shown_as, "a .tar.gz archive"):
        return stream.read(size)


@contextlib.contextmanager
def _refusing(name: str, expected: str) -> Iterator[None]:
    """Wraps code that reads an archive: damage becomes a UserError that names the archive."""
    try:
        yield
    except (DamagedError, zlib.error) as error:
        raise UserError(f"{name}: damaged, or not {expected}: {error}; download it again") from None


def unzip(raw: bytes, max_size: int, where: str) -> bytes:
    """The unpacked bytes of a .gz file; at most `max_size`.

    Raises UserError for a damaged file and one beyond the limit; `where` is its name in messages.
    """
    stream = _Unpacked(io.BytesIO(raw), max_size, len(raw))
    parts = bytearray()
    with _refusing(where, "a .gz file"):
        while part := stream.read1(CHUNK):
            parts += part
        stream.finish()
    return bytes(parts)


def check_length(where: str, length: int, max_length: int) -> None:
    """Raises UserError for a file that is longer than any CIFAR file of its name."""
    if length > max_length:
        raise UserError(
            f"{where}: {length:,} bytes, longer than any file of CIFAR, expected at most "
            f"{max_length:,}"
        )


class _Unpacked:
    """The unpacked contents of a gzip file, up to `max_size` bytes.

    One gzip stream only: reading a chain of millions of empty ones would take minutes.
    """

    def __init__(self, file: BinaryIO, max_size: int, max_packed: int):
        self.file, self.remaining, self.max_size = file, max_size, max_size
        self.packed_remaining = self.max_packed = max_packed
        self.unzip = zlib.decompressobj(wbits=31)
        self.buffer = b""  # compressed bytes, read but not yet unpacked

    def read1(self, count: int) -> bytes:
        """At least one and at most `count` of the next bytes; none only at the end."""
        while not self.unzip.eof:
            if not self.buffer:
                self.buffer = self.packed()
                if not self.buffer:
                    raise DamagedError("it is truncated")
            part = self.unzip.decompress(self.buffer, count)
            self.buffer = self.unzip.unconsumed_tail
            if part:
                self.remaining -= len(part)
                if self.remaining < 0:
                    raise DamagedError(f"it unpacks to more than {self.max_size:,} bytes")
                return part
        return b""

    def packed(self) -> bytes:
        """The next chunk of the file; empty at its end."""
        part = self.file.read(CHUNK)
        self.packed_remaining -= len(part)
        if self.packed_remaining < 0:
            raise DamagedError(f"it is longer than {self.max_packed:,} bytes")
        return part

    def read(self, count: int) -> bytes:
        """The next `count` bytes, or fewer at the end."""
        if count > self.remaining:
            raise DamagedError(f"it unpacks to more than {self.max_size:,} bytes")
        parts = bytearray()
        while len(parts) < count and (part := self.read1(min(CHUNK, count - len(parts)))):
            parts += part
        if parts and len(parts) < count:
            raise DamagedError("it ends in the middle of a member")
        return bytes(parts)

    def skip(self, size: int) -> None:
        """Skips `size` bytes; the size comes from a header, so they are not read at once."""
        if size > self.remaining:
            raise DamagedError(f"it unpacks to more than {self.max_size:,} bytes")
        while size and (part := self.read1(min(CHUNK, size))):
            size -= len(part)
        if size:
            raise DamagedError("it ends in the middle of a member")

    def finish(self) -> None:
        """Reads to the end of the gzip stream; only zero padding may follow."""
        while self.read1(CHUNK):
            pass
        trailing = self.unzip.unused_data
        while trailing:
            if trailing.strip(b"\0"):
                raise DamagedError("there is data after its end")
            trailing = self.packed()


def _next_member(stream: _Unpacked) -> Member | None:
    """The next member, with its extended headers applied; None at the end of the archive."""
    records: dict[str, str] = {}
    for _ in range(MAX_EXTENSIONS + 1):
        block = stream.read(BLOCK)
        if not block.strip(b"\0"):
            return None
        member = _header(block)
        if member.kind not in _EXTENSIONS:
            # No data follows a folder or a link, whatever its header says.
            size = member.size if member.kind in _FILE else 0
            return Member(records.get("path", member.name), member.kind, size)
        if member.size > MAX_EXTENSION_LENGTH:
            raise DamagedError(
                f"it has an extended header of {member.size:,} bytes, expected at most "
                f"{MAX_EXTENSION_LENGTH:,}"
            )
        raw = stream.read(member.size)
        stream.skip(-member.size % BLOCK)
        if member.kind == _PAX:
            records |= _pax_records(raw)
        elif member.kind == _GNU_NAME:
            records["path"] = _text(raw)
    raise DamagedError(f"it has more than {MAX_EXTENSIONS} extended headers in a row")


def _header(block: bytes) -> Member:
    """The header in a block of 512 bytes, if its checksum is correct."""
    blank = block[:148] + b" " * 8 + block[156:]
    # some old programs sum signed bytes
    signed = sum(blank) - 256 * sum(byte > 127 for byte in blank)
    if _octal(block[148:156]) not in (sum(blank), signed):
        raise DamagedError("it has a header whose checksum is wrong")
    kind = chr(block[156])
    if kind not in _FILE + _FOLDER + _OTHER + _EXTENSIONS:
        raise DamagedError(f"it has a member of unsupported type {shown(kind)}")
    name = _text(block[:100])
    if block[257:263] == b"ustar\0" and block[345]:
        name = f"{_text(block[345:500])}/{name}"
    return Member(name, kind, _octal(block[124:136]))


def _octal(field: bytes) -> int:
    digits = field.strip(b" \0")
    if not re.fullmatch(rb"[0-7]{0,12}", digits):  # also GNU's encoding from 8 GiB on
        raise DamagedError("it has a header with a number that is not octal")
    return int(digits or b"0", 8)


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")


def _pax_records(raw: bytes) -> dict[str, str]:
    """The records "length key=value" of an extended header."""
    records = {}
    while raw:
        start = re.match(rb"([1-9][0-9]{0,5}) ([^=]+)=", raw)
        length = int(start[1]) if start else 0
        if not start or raw[length - 1 : length] != b"\n" or length <= start.end():
            raise DamagedError("it has a malformed extended header")
        key = start[2].decode("latin-1")
        if key == "size" or key.startswith("GNU.sparse"):
            raise DamagedError("it has a sparse member, or one of over 8 GiB")
        records[key] = raw[start.end() : length - 1].decode("utf-8", "backslashreplace")
        raw = raw[length:]
    return records
