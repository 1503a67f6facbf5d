"""A scripted tour of the live page: a JSON list of sentences, each with a state of the page."""

from pathlib import Path
from urllib.parse import parse_qsl

from minivit.errors import UserError, shown_path
from minivit.files import parse_json, reading

MAX_BYTES = 1_000_000
WORDS = {
    *("image", "cover", "blur", "force", "patches", "off", "skip", "uniform", "temperature"),
    *("positions", "show", "layer", "head", "query", "step", "find"),
}
"""Words that a state may use; see `page/live_address.js`, which reads it."""
EXPECTED = 'expected a list such as [{"text": "A sentence.", "state": "cover=3.4&show=lens"}]'


def read_tour(path: Path) -> list[dict[str, str]]:
    """[{"text": …, "state": …}, …]; a state is the part of the page's address after the #.

    Raises UserError if the file is not such a list.
    """
    with reading(path), path.open("rb") as file:
        raw = file.read(MAX_BYTES + 1)
    shown = shown_path(path)
    if len(raw) > MAX_BYTES:
        raise UserError(f"{shown} has more than {MAX_BYTES:,} bytes; {EXPECTED}")
    try:
        slides = parse_json(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{shown} is not JSON in UTF-8 ({type(error).__name__}); {EXPECTED}"
        ) from None
    if not isinstance(slides, list) or not slides:
        raise UserError(f"{shown} is not a list of slides; {EXPECTED}")
    for number, slide in enumerate(slides, 1):
        _check(slide, f"{shown}, slide {number}")
    return slides


def _check(slide: object, where: str) -> None:
    if not isinstance(slide, dict) or set(slide) != {"text", "state"}:
        raise UserError(f'{where}: expected "text" and "state"; {EXPECTED}')
    if not all(isinstance(value, str) for value in slide.values()):
        raise UserError(f"{where}: text and state must both be strings; {EXPECTED}")
    for word, _ in parse_qsl(slide["state"], keep_blank_values=True):
        if word not in WORDS:
            raise UserError(
                f"{where}: unknown word {word!r}; expected some of {', '.join(sorted(WORDS))}"
            )
