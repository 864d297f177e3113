"""The exercises of the course, and the copies of the notebooks for a class."""

import ast
import subprocess
import sys

import nbformat
import pytest
from exercises import BLANK, write_exercises

from ..paths import REPOSITORY

COURSE = REPOSITORY / "notebooks"
NOTEBOOKS = sorted(COURSE.glob("*.ipynb"))


def tags(cell):
    return cell.metadata.get("tags", [])


def read(path):
    return nbformat.read(path, as_version=4)


WITH_EXERCISE = [path for path in NOTEBOOKS if any("exercise" in tags(cell) for cell in read(path).cells)]
exercised = pytest.mark.parametrize("path", WITH_EXERCISE, ids=lambda path: path.stem)


def test_every_notebook_has_an_exercise():
    assert WITH_EXERCISE == NOTEBOOKS


@exercised
def test_an_exercise_is_followed_by_a_hidden_solution(path):
    cells = read(path).cells
    asked = [i for i, cell in enumerate(cells) if "exercise" in tags(cell)]
    solved = [i for i, cell in enumerate(cells) if "solution" in tags(cell)]
    for i in asked:
        assert cells[i].cell_type == "markdown"
        assert cells[i].source.startswith(("## Exercise", "## To think about"))
        assert i + 1 in solved, "the solution comes right after its exercise"
    for i in solved:
        assert "hide-cell" in tags(cells[i])
        assert "exercise" in tags(cells[i - 1]) or "solution" in tags(cells[i - 1])


def names(cells, kind):
    """Names that code cells assign (ast.Store) or use (ast.Load)."""
    trees = [ast.parse(cell.source) for cell in cells if cell.cell_type == "code"]
    return {
        node.id
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, kind)
    }


@exercised
def test_no_other_cell_needs_a_solution(path):
    cells = read(path).cells
    solved = [i for i, cell in enumerate(cells) if "solution" in tags(cell)]
    others = [cell for cell in cells[solved[0] :] if "solution" not in tags(cell)]
    made = names([cells[i] for i in solved], ast.Store) - names(cells[: solved[0]], ast.Store)
    assert not made & (names(others, ast.Load) - names(others, ast.Store))


@exercised
def test_a_notebook_opens_and_closes_as_the_course_does(path):
    cells = read(path).cells
    first, last = cells[0].source, cells[-1].source
    asked = [cell.source for cell in cells if "exercise" in tags(cell)]
    for part in ("**You will learn**", "**Prerequisites**", "**Inputs**", "**Outputs**", "**Run time**"):
        assert part in first
    assert len(asked) == 2 and asked[1].startswith("## To think about\n\n1. ")
    assert "**Read on**" in last and "](https://" in last.split("**Read on**")[1]
    assert any("assert " in cell.source for cell in cells if "solution" in tags(cell)), "a solution checks its claim"


def test_a_copy_is_the_notebook_without_its_solutions(tmp_path):
    written = write_exercises(tmp_path / "class")
    assert [path.name for path in written] == [path.name for path in NOTEBOOKS]
    emptied = 0
    for path, copy in zip(NOTEBOOKS, written, strict=True):
        original, ours = read(path), read(copy)
        nbformat.validate(ours)
        assert ours.metadata == original.metadata and len(ours.cells) == len(original.cells)
        for theirs, cell in zip(original.cells, ours.cells, strict=True):
            if "solution" in tags(theirs):
                emptied += 1
                assert cell.source == BLANK[cell.cell_type] and cell.id == theirs.id and tags(cell) == []
                assert theirs.source.splitlines()[0] not in "".join(cell.source for cell in ours.cells)
            else:
                assert cell == theirs
    assert emptied >= len(WITH_EXERCISE) > 0


def test_a_notebook_that_was_executed_leaves_no_answer_in_its_output(tmp_path):
    new = nbformat.v4
    shown = new.new_output("stream", name="stdout", text="forty-two")
    solution = new.new_code_cell("print('forty-two')", execution_count=3, outputs=[shown], id="solution")
    solution.metadata["tags"] = ["solution", "hide-cell", "remove-stderr"]
    (tmp_path / "course").mkdir()
    nbformat.write(new.new_notebook(cells=[solution]), tmp_path / "course" / "01_one.ipynb")
    (copy,) = write_exercises(tmp_path / "class", course=tmp_path / "course")
    assert "forty-two" not in copy.read_text()
    assert tags(read(copy).cells[0]) == ["remove-stderr"] and read(copy).cells[0].execution_count is None


def test_a_solution_in_words_is_taken_out_and_leaves_a_text_cell(tmp_path):
    solution = nbformat.v4.new_markdown_cell("Forty-two.", metadata={"tags": ["solution"]})
    (tmp_path / "course").mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=[solution]), tmp_path / "course" / "01_one.ipynb")
    (copy,) = write_exercises(tmp_path / "class", course=tmp_path / "course")
    nbformat.validate(read(copy))
    assert "Forty-two" not in copy.read_text() and not read(copy).cells[0].source.startswith("#")


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "class").write_text("mine")
    with pytest.raises(SystemExit, match="class is a file: choose a folder"):
        write_exercises(tmp_path / "class", force=True)
    assert (tmp_path / "class").read_text() == "mine"


def test_answers_of_a_student_are_not_overwritten(tmp_path):
    first, *others = write_exercises(tmp_path)
    assert write_exercises(tmp_path) == [first, *others]  # unchanged copies may be written again
    before = first.read_text()
    answered = read(first)
    answered.cells[-2].source = "my answer"
    nbformat.write(answered, first)
    others[0].unlink()
    with pytest.raises(SystemExit, match=rf"Nothing was written.*{first.name}.*--force"):
        write_exercises(tmp_path)
    assert "my answer" in first.read_text() and not others[0].exists()
    write_exercises(tmp_path, force=True)
    assert first.read_text() == before and others[0].exists()


def test_the_course_itself_is_not_overwritten(tmp_path):
    (tmp_path / "01_one.ipynb").write_text(NOTEBOOKS[0].read_text())
    with pytest.raises(SystemExit, match="the course itself"):
        write_exercises(tmp_path / "." / "x" / "..", force=True, course=tmp_path)
    assert (tmp_path / "01_one.ipynb").read_text() == NOTEBOOKS[0].read_text()


def test_the_command_says_what_it_wrote(tmp_path):
    command = [sys.executable, str(COURSE / "exercises.py"), "--out", str(tmp_path / "class")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and f"{len(NOTEBOOKS)} notebooks without solutions" in done.stdout
    assert len(list((tmp_path / "class").glob("*.ipynb"))) == len(NOTEBOOKS)
