"""Invalid tours: by name, the bytes of the file."""

ENTRIES = {
    "nothing": lambda: b"",
    "a number of 10,000 digits": lambda: b"9" * 10_000,
    "lists in each other": lambda: b"[" * 100_000,
    "10 MB of zeros": lambda: bytes(10_000_000),
    "half a character": lambda: rb'[{"text": "\ud800", "state": "\ud800=1"}]',
    "a state that is a number": lambda: b'[{"text": "a", "state": NaN}]',
    "UTF-16": lambda: "[]".encode("utf-16"),
}
