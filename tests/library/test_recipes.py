"""Each recipe in docs/recipes.md runs unchanged."""

import re
import warnings
from pathlib import Path

import pytest

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "recipes.md").read_text()
RECIPES = re.findall(r"^## (.*?)$.*?^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("title", "code"), RECIPES, ids=[title for title, _ in RECIPES])
def test_the_recipe_runs(title: str, code: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(compile(code, title, "exec"), {})


def test_every_heading_has_its_code() -> None:
    assert len(re.findall(r"^## ", TEXT, re.MULTILINE)) == len(RECIPES) == TEXT.count("```python")
