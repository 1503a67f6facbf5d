"""Runs scripts of the pages in Node.js, or else in Chromium; without either, tests are skipped."""

import json
import shutil
import subprocess

from minivit.viz.pages import join


def run_javascript(names: tuple[str, ...], expression: str, argument: object) -> object:
    """The value of an expression in `argument`, evaluated after the given files of `viz/page/`."""
    function = f"(argument) => {{\n{join(names)}\nreturn {expression};\n}}"
    if node := shutil.which("node"):
        program = (
            "const text = require('fs').readFileSync(0, 'utf-8');"
            f"process.stdout.write(JSON.stringify(({function})(JSON.parse(text))))"
        )
        done = subprocess.run(
            [node, "-e", program],
            input=json.dumps(argument),
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
    return in_chromium(function, argument)


def in_chromium(function: str, argument: object) -> object:
    """The same without Node.js."""
    from browser import FLAGS, chromium, playwright  # skips the test if Playwright is missing

    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=chromium(), args=FLAGS)
        try:
            return browser.new_page().evaluate(function, argument)
        finally:
            browser.close()
