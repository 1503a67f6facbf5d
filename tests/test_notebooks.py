"""The notebooks as files: complete, in order, small, and without traces of the machine they ran on.
`make notebooks ARGS="--small --check"` checks that they run.
"""

import json
import re
from pathlib import Path

import pytest

from minivit.course.exercise import EXERCISES
from minivit.course.exercises import find
from minivit.course.folding import FOLDED, is_drawing
from minivit.errors import UserError

with pytest.raises(UserError):
    find("")

FOLDER = Path(__file__).parents[1] / "notebooks"
CHAPTERS = sorted(FOLDER.glob("*.ipynb"))
SOLUTIONS = sorted((FOLDER / "solutions").glob("*.ipynb"))
CHECK = re.compile(r'course\.check\(\s*"(\d\d\.[a-z])"')
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
MAX_BYTES, MAX_FIGURE_BYTES = 1_000_000, 300_000


def cells(path: Path, kind: str) -> list[dict]:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def text(path: Path, kind: str) -> str:
    return "\n\n".join("".join(cell["source"]) for cell in cells(path, kind))


def outputs(path: Path) -> list[dict]:
    return [output for cell in cells(path, "code") for output in cell["outputs"]]


def ids(paths):
    return [path.stem for path in paths]


def test_the_course_is_complete():
    assert [path.stem[:2] for path in CHAPTERS] == [f"{i:02}" for i in range(18)]
    assert ids(SOLUTIONS) == ids(CHAPTERS)


@pytest.mark.parametrize("path", CHAPTERS, ids=ids(CHAPTERS))
def test_a_chapter_has_its_parts(path):
    markdown = text(path, "markdown")
    assert markdown.startswith(f"# {path.stem[:2]} · ")
    for part in ("minutes", "After this chapter you can", "\n## Summary", "\n## Exercises"):
        assert part in markdown
    for part in ("*Predict, then run.*", "*Why.*", "**Open experiment**", "easured here"):
        assert part in markdown
    if path != CHAPTERS[-1]:
        following = CHAPTERS[CHAPTERS.index(path) + 1].name
        assert f"]({following})" in markdown.split("**Next:**")[-1]
    exercises = CHECK.findall(text(path, "code"))
    assert len(exercises) >= (1 if path.stem.startswith("00") else 3)
    for name in exercises:
        line = re.search(
            rf"\*\*{re.escape(name)}\*\* · [●○]{{3}} · \d+ minutes?( · warm-up)?", markdown
        )
        assert line, f"{name}: difficulty and minutes"
        assert bool(line[1]) == EXERCISES[name].warm_up
    assert markdown.count("<details>") >= len(exercises), "a folded hint each"
    minutes = re.findall(r"\*\*\d\d\.[a-z]\*\* · [●○]{3} · (\d+) minutes", markdown)
    assert f", {sum(map(int, minutes))} for the exercises" in markdown


@pytest.mark.parametrize("path", CHAPTERS, ids=ids(CHAPTERS))
def test_exercises_are_in_the_chapter_the_registry_and_the_solutions(path):
    number = path.stem[:2]
    registered = sorted(name for name in EXERCISES if name.startswith(number))
    assert sorted(CHECK.findall(text(path, "code"))) == registered
    assert sorted(CHECK.findall(text(FOLDER / "solutions" / path.name, "code"))) == registered


@pytest.mark.parametrize("path", CHAPTERS + SOLUTIONS, ids=ids(CHAPTERS) + ids(SOLUTIONS))
def test_committed_notebooks_are_executed_and_clean(path):
    assert path.stat().st_size < MAX_BYTES
    numbers = [cell["execution_count"] for cell in cells(path, "code")]
    assert numbers == list(range(1, len(numbers) + 1)), "from the first cell to the last, once"
    for output in outputs(path):
        assert len(output.get("data", {}).get("image/png", "")) < MAX_FIGURE_BYTES
        assert output["output_type"] != "error"
        assert output.get("name") != "stderr"
        printed = json.dumps({**output, "data": {k: v for k, v in output.get("data", {}).items()
                                              if not k.startswith("image/")}})  # fmt: skip
        for prefix in ("/home/", "/root/", "/tmp/", "C:\\\\Users"):
            assert prefix not in printed
    expected = "✓" if path.parent.name == "solutions" else "✗"
    grades = re.findall(r"\d\d\.[a-z] ([✓✗])", json.dumps(outputs(path), ensure_ascii=False))
    assert set(grades) <= {expected}


@pytest.mark.parametrize("path", CHAPTERS, ids=ids(CHAPTERS))
def test_cells_that_draw_are_folded(path):
    for number, cell in enumerate(cells(path, "code")):
        folded = is_drawing("".join(cell["source"]))
        assert cell["metadata"] == (FOLDED if folded else {}), f"code cell {number}"


@pytest.mark.parametrize("path", CHAPTERS + SOLUTIONS, ids=ids(CHAPTERS) + ids(SOLUTIONS))
def test_links_are_valid(path):
    for target in LINK.findall(text(path, "markdown")):
        if not target.startswith(("http", "attachment:")):
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", CHAPTERS, ids=ids(CHAPTERS))
def test_cells_are_short(path):
    lengths = sorted("".join(cell["source"]).count("\n") + 1 for cell in cells(path, "code"))
    assert lengths[len(lengths) // 2] <= 20
    assert lengths[-1] <= 60, "but a figure may need some"
