"""Pickles that once caused a failure: hangs, unlimited memory use, tracebacks."""

DTYPE = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87Rq\x03"
DTYPE += b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
EMPTY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87Rq\x02"
DOUBLED = b")q\x00" + b"h\x00h\x00\x86q\x00" * 40
HUGE = b"\x8a\xff" + b"\x7f" * 255


def array(text: bytes, size: int) -> bytes:
    """An array of `size` bytes from the str that `text` puts on the stack."""
    shape = b"J" + size.to_bytes(4, "little") + b"\x85"
    return EMPTY + b"(K\x01" + shape + DTYPE + b"\x89" + text + b"tb"


def text(length: int) -> bytes:
    return b"T" + length.to_bytes(4, "little") + bytes(length)


def pickled(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


ENTRIES = {
    "a memo doubled 40 times, called": lambda: pickled(DOUBLED + b")R"),
    "lists in lists, doubled 40 times": lambda: pickled(b"]q\x00" + b"](h\x00h\x00eq\x00" * 40),
    "an array of 2**2039 bytes": lambda: pickled(
        EMPTY + b"(K\x01" + HUGE + b"\x85" + DTYPE + b"\x89U\x01xtb"
    ),
    "a memo doubled 40 times": lambda: pickled(DOUBLED),
    "a memo doubled 40 times, as an array's state": lambda: pickled(EMPTY + DOUBLED + b"b"),
    "a shape of 150 numbers of 2,000 bits": lambda: pickled(
        EMPTY + b"(K\x01(" + HUGE * 150 + b"t" + DTYPE + b"\x89U\x01xtb"
    ),
    "the memo copied at each BUILD": lambda: pickled(
        b"".join(b"K\x01r" + n.to_bytes(4, "little") for n in range(60_000))
        + array(b"U\x01x", 1) * 4000
    ),
    "20 MB made an array 435 times": lambda: pickled(
        text(20_000_000) + b"q\x08" + array(b"h\x08", 20_000_000) * 435
    ),
    "2,000,000 nested tuples": lambda: pickled(b")" + b"\x85" * 2_000_000),
    "390,000 nested tuples": lambda: pickled(b")" + b"\x85" * 390_000),
    "30 MB of MARK": lambda: pickled(b"(" * 30_000_000),
    "60 MB of NONE": lambda: pickled(b"N" * 60_000_000),
    "a list in itself": lambda: pickled(b"]q\x00h\x00a"),
    "two equal keys of 10 MB in turn": lambda: pickled(
        b"}" + text(10_000_000) + b"q\x01" + text(10_000_000) + b"q\x02"
        b"h\x01Ns" + b"h\x02Ns" * 100_000
    ),
    "an array numbered and filled 50,000 times": lambda: pickled(
        EMPTY
        + b"".join(b"r" + n.to_bytes(4, "little") for n in range(50_000))
        + b"h\x02" * 50_000
        + array(b"U\x01x", 1)[len(EMPTY) :] * 1000
    ),
    "60 MB of digits as a long": lambda: pickled(b"L" + b"9" * 60_000_000 + b"\n"),
    "a name of 60 MB": lambda: pickled(b"c" + b"n" * 60_000_000),
    "a name that clears the screen": lambda: pickled(b"c\x1b[2J\n\x9b\n"),
    "a tuple called as a name": lambda: pickled(b"U\x0bnumpy dtype\x85U\x02u1K\x00K\x01\x87R"),
    "protocol 0": lambda: b"(dp0\n.",
    "nothing": lambda: b"",
}
