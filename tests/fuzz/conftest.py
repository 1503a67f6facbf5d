"""`make fuzz ARGS="--seconds 600"`: how long each test may look for faults."""

import os

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seconds", help="seconds of random inputs for each reader")


def pytest_configure(config: pytest.Config) -> None:
    seconds = config.getoption("--seconds", None)
    if seconds is not None:
        os.environ["MINIVIT_FUZZ_SECONDS"] = seconds
