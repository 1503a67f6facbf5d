"""Archives that once caused a failure: by name, the bytes of a .tar.gz."""

import gzip
import zlib
from collections.abc import Iterator

NAME = "cifar-10-batches-bin/data_batch_1.bin"


def header(name: str, size: int | bytes = 0, kind: bytes = b"0") -> bytes:
    """A block of 512 bytes with the right checksum; a `size` given as bytes is written
    unchanged."""
    number = b"%011o" % size if isinstance(size, int) else size
    raw = bytearray(512)
    raw[:100] = name.encode()[:100].ljust(100, b"\0")
    raw[124:136] = number.ljust(12, b"\0")[:12]
    raw[148:157] = b" " * 8 + kind
    raw[257:265] = b"ustar\x0000"
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


def member(name: str, raw: bytes, kind: bytes = b"0") -> bytes:
    return header(name, len(raw), kind) + raw + bytes(-len(raw) % 512)


def packed(parts: Iterator[bytes]) -> bytes:
    """Gzip of parts with gigabytes in total, without holding them in memory."""
    zip_ = zlib.compressobj(1, wbits=31)
    return b"".join([*map(zip_.compress, parts), zip_.flush()])


def base_256(size: int) -> bytes:
    """A number as GNU tar writes sizes of 8 GiB and more."""
    return b"\x80" + size.to_bytes(11, "big")


def bomb(first: bytes, size: int):
    def make() -> bytes:
        return packed([first, *[bytes(1 << 20)] * (size >> 20)])

    return make


def tar(*parts: bytes):
    return lambda: gzip.compress(b"".join(parts))


LONG_NAME = member("././@LongLink", b"n" * 200 + b"\0", b"L")
ENTRIES = {
    "a PAX header of 500 MB": bomb(header("x", 3 << 30, b"x"), 500 << 20),
    "a member of 40 GiB, in base 256": bomb(header("other", base_256(40 << 30)), 300 << 20),
    "a member of 7 GiB": bomb(header("other", 7 << 30), 300 << 20),
    "a batch of 1 GiB": bomb(header(NAME, 1 << 30), 300 << 20),
    "zeros behind the end": bomb(bytes(1024), 500 << 20),
    "5,000 long names": tar(LONG_NAME * 5000, member(NAME, b"x")),
    "5,000 PAX headers": tar(member("x", b"9 a=bcde\n", b"x") * 5000, member(NAME, b"x")),
    "30,000 empty members": lambda: packed(member(f"n{n}", b"") for n in range(30_000)),
    "a negative size": tar(header(NAME, b"-0000000001")),
    "a negative size in base 256": tar(header(NAME, b"\xff" * 12)),
    "a size of 2**95": tar(header(NAME, b"\x80" + b"\xff" * 11)),
    "a size of 8 GiB": tar(header(NAME, b"77777777777")),
    "a size that is no number": tar(header(NAME, b"words")),
    "a PAX size": tar(member("x", b"30 size=99999999999999999999\n\n", b"x"), member(NAME, b"x")),
    "a PAX length of 5,000 digits": tar(member("x", b"9" * 5000 + b" a=b\n", b"x")),
    "a sparse member": tar(header(NAME, 0, b"S")),
    "a sparse PAX member": tar(member("x", b"22 GNU.sparse.major=1\n", b"x"), member(NAME, b"x")),
    "two members of a name": tar(member(NAME, b"x"), member(NAME, b"y")),
    "a link to a file": tar(header(NAME, 0, b"2")),
    "a name that clears the screen": tar(member("\x1b[2J\n", b"") * 2),
    "gzip's own name, of 60 MB": lambda: b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * (60 << 20),
    "2,000,000 empty gzip streams": lambda: gzip.compress(b"") * 2_000_000,
    "nothing": lambda: b"",
}
