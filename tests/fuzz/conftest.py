"""`make fuzz ARGS="--seconds 600"`: how long each test looks for faults; reports how many inputs it
tried."""

import os
import sys

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seconds", help="seconds of random inputs for each reader")


def pytest_configure(config: pytest.Config) -> None:
    seconds = config.getoption("--seconds", None)
    if seconds is not None:
        os.environ["MINIVIT_FUZZ_SECONDS"] = seconds


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    # not imported earlier, because it reads the seconds when it is imported
    harness = sys.modules.get("fuzz.harness")
    if harness is None or not harness.TRIED:
        return
    if harness.SECONDS:
        for test, count in harness.TRIED.items():
            terminalreporter.write_line(f"{test}: {count:,} tried")
    count, tried = len(harness.TRIED), harness.TRIED.total()
    what = "property" if count == 1 else "properties"
    terminalreporter.write_line(f"fuzz: {count} {what}, {tried:,} inputs tried")
