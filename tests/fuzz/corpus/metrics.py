"""Logs that once caused a failure: by name, the bytes of a metrics.jsonl."""

import json

ENTRIES = {
    "nothing": lambda: b"",
    "a line of no kind": lambda: b'{"step": 1}\n',
    "a kind that is a list": lambda: b'{"kind": [], "step": 1}\n',
    "a test without its accuracy": lambda: b'{"kind": "test", "step": 1}\n',
    "a step whose loss is a word": lambda: step(loss="low"),
    "a step whose loss is beyond any": lambda: step(loss=10**400),
    "a step whose loss is infinite": lambda: step(loss=float("inf")),
    "a step at no epoch": lambda: step(epoch=None),
    "an epoch whose validation is a list": lambda: (
        b'{"kind": "epoch", "step": 1, "epoch": 1, "val_loss": [1]}\n'
    ),
    "a thousand lists in each other": lambda: b'{"step": ' + b"[" * 1000 + b"\n",
    "10 MB of zeros": lambda: bytes(10_000_000) + b"\n",
}


def step(**changes) -> bytes:
    line = {"kind": "step", "step": 1, "epoch": 0.1, "loss": 1.0, "accuracy": 0.5, "lr": 0.1}
    return json.dumps(line | changes).encode() + b"\n"
