"""Pages of the site that could lack something. `make docs` finds links and references that lead nowhere."""

import inspect
import re

import pytest

import authmint
from tests.e2e.conftest import ROOT


def test_the_reference_of_the_library_has_every_public_name_once() -> None:
    text = (ROOT / "docs/reference/library.md").read_text()
    documented = re.findall(r"^\.\. auto(?:class|exception|data):: authmint\.(\w+)", text, re.MULTILINE)
    assert sorted(authmint.__all__) == sorted(documented)


@pytest.mark.parametrize("of", [authmint.ResourceServer, authmint.ServiceAuth])
def test_the_readme_of_the_library_names_every_option(of: type) -> None:
    """What is in the reference alone is not found by those who need it: a token that lives too long is refused without it."""
    text = (ROOT / "authmint/README.md").read_text()
    options = inspect.signature(of).parameters
    assert [] == [name for name in options if not re.search(rf"\b{name}=", text)]


def test_every_decision_is_in_the_index_and_a_missing_number_has_a_reason() -> None:
    folder = ROOT / "docs/decisions"
    index = (folder / "README.md").read_text()
    numbers = {int(path.name[:4]) for path in folder.glob("0*.md")}
    for path in folder.glob("0*.md"):
        title = path.read_text().splitlines()[0]
        assert title.startswith(f"# {int(path.name[:4])}. "), path.name
        assert f"| [{int(path.name[:4])}]({path.name}) | {title.partition('. ')[2]} |" in index
    missing = set(range(1, max(numbers) + 1)) - numbers
    assert {int(number) for number in re.findall(r"no (\d+)\b", index)} == missing
