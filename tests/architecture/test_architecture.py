"""The rules of the codebase that a test can check."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

import authmint
from authmint_service.migrations import alembic_config, revisions
from tests.architecture.rules import outgoing_connections, reads_the_environment

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    [*(ROOT / "authmint/src").rglob("*.py"), *(ROOT / "service").rglob("*.py"), *(ROOT / "examples").rglob("*.py")]
)
FORBIDDEN_MODULES = {"utils", "util", "helpers", "helper", "core", "common", "managers", "misc"}


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [ROOT / name for name in listed.split("\0") if name]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_says_what_it_owns_and_stays_small(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a module begins by saying what it owns"
    assert len(text.splitlines()) <= 300
    assert not FORBIDDEN_MODULES & set(path.relative_to(ROOT).with_suffix("").parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, f"{node.name} is too long"


NOT_CORE = {"cli.py", "doctor.py", "explain.py", "testing.py", "pytest_plugin.py", "prometheus.py"}
"""Commands, helps for tests and integrations: no service that verifies a token runs them."""
CORE_LINES, PUBLIC_NAMES = 3600, 30


def test_the_core_of_the_library_can_be_read_in_an_hour() -> None:
    """Blank lines take no reading, and are not counted."""
    sources = [path for path in (ROOT / "authmint/src/authmint").rglob("*.py") if path.name not in NOT_CORE]
    lines = sum(1 for path in sources for line in path.read_text().splitlines() if line.strip())
    assert 2000 < lines <= CORE_LINES
    assert len(authmint.__all__) <= PUBLIC_NAMES


def test_the_root_is_a_list_and_a_feature_is_one_short_file() -> None:
    package = ROOT / "service/src/authmint_service"
    assert len((package / "app.py").read_text().splitlines()) < 150
    features = [
        path for path in (package / "features").glob("*.py") if path.name not in {"__init__.py", "kernel.py", "feature.py"}
    ]
    assert len(features) > 8
    for path in features:
        assert len(path.read_text().splitlines()) <= 80, f"{path.name} assembles; what it assembles lies in a lower layer"


def test_sql_is_never_put_together_from_pieces() -> None:
    statement = re.compile(r'f"""?\s*(SELECT|INSERT|UPDATE|DELETE|ALTER|CREATE|DROP|WITH)\b')
    for path in SOURCES:
        assert not statement.search(path.read_text()), path


def test_tokens_and_keys_come_from_the_systems_own_randomness() -> None:
    for path in SOURCES:
        imported = {
            name.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import) for name in node.names
        }
        # These uses spread load over time, and guard nothing.
        assert "random" not in imported or path.name in {"key_sets.py", "client_credentials.py", "tasks.py"}, path


def test_secrets_are_compared_in_constant_time() -> None:
    for path in SOURCES:
        assert "secret ==" not in path.read_text(), path
        assert "mac ==" not in path.read_text(), path


def test_the_environment_is_read_in_the_settings_alone() -> None:
    for path in SOURCES:
        if "service" == path.relative_to(ROOT).parts[0]:
            assert not reads_the_environment(ast.parse(path.read_text())), path


def test_the_service_connects_to_nothing_but_its_database() -> None:
    """The one package that sends requests to other computers is `outbound`."""
    for path in SOURCES:
        if "service" == path.relative_to(ROOT).parts[0] and path.parent.name != "outbound":
            assert outgoing_connections(ast.parse(path.read_text())) == [], path


def test_packages_are_pinned_with_hashes_and_no_host_is_named() -> None:
    text = (ROOT / "constraints.txt").read_text()
    for entry in re.split(r"\n(?=[a-z0-9])", text)[1:]:
        assert re.match(r"[a-z0-9._-]+==\S+", entry), entry[:80]
        assert "--hash=sha256:" in entry, entry[:80]
    assert "://" not in text


def test_every_dependency_has_a_reason() -> None:
    import tomllib

    reasons = (ROOT / "docs" / "dependencies.md").read_text().lower()
    service = tomllib.loads((ROOT / "pyproject.toml").read_text())
    library = tomllib.loads((ROOT / "authmint" / "pyproject.toml").read_text())
    lines = [*service["project"]["dependencies"], *library["project"]["dependencies"]]
    for group in (*service["project"]["optional-dependencies"].values(), *service["dependency-groups"].values()):
        lines.extend(group)
    for line in lines:
        name = re.split(r"[\[<>=;~! ]", line)[0].lower()
        assert f"`{name}`" in reasons, f"{name} has no reason in docs/dependencies.md"


def test_starlette_is_new_enough() -> None:
    from importlib.metadata import version

    from packaging.version import Version

    assert Version(version("starlette")) >= Version("1.3.1")


def test_no_file_names_a_machine_or_a_registry() -> None:
    pattern = re.compile(r"(?<![\w.])/(?:root|home)/\w|files\.pythonhosted|registry\.npmjs")
    for path in tracked():
        if path.suffix in {".png", ".ico"} or path == Path(__file__) or not path.exists():
            continue
        assert not pattern.search(path.read_text(encoding="utf-8", errors="replace")), path


def test_lines_of_markdown_have_at_most_200_characters() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked()
        if path.suffix == ".md" and path.exists()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > 200
    ]
    assert long == [], "wrap the text; give a table a further row with empty cells, or make it a list"


def test_every_test_that_the_documentation_names_exists() -> None:
    named = re.findall(r"(tests/[\w/]+\.py)::(\w+)", (ROOT / "docs" / "reliability.md").read_text())
    assert len(named) > 40
    for file, test in named:
        assert f"def {test}(" in (ROOT / file).read_text(), test


def test_the_files_of_the_migrations_are_named_and_ordered_as_alembic_runs_them() -> None:
    scripts = ScriptDirectory.from_config(alembic_config()).walk_revisions()
    assert [script.revision for script in scripts] == [*reversed(revisions())]


def test_a_process_that_serves_and_does_not_migrate_never_imports_alembic() -> None:
    program = "import sys, authmint_service.cli, authmint_service.app; print(*sys.modules)"
    imported = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "authmint_service.migrations" in imported
    assert not {"alembic", "sqlalchemy"} & set(imported)


@pytest.mark.xdist_group("architecture")
def test_the_tests_of_one_group_stay_together(request: pytest.FixtureRequest) -> None:
    """Otherwise each worker would build what they share, which takes minutes, and no one would notice."""
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("without workers, or with another way to share tests out, there are no groups")
    # pytest-xdist passes the group to its parent in the id alone.
    assert request.node.nodeid.endswith("@architecture")
