"""Every statement names the schema, so that the database may be shared with an application."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLES = set(
    re.findall(r"CREATE TABLE authmint\.(\w+)", "".join(p.read_text() for p in (ROOT / "alembic/versions").glob("*.py")))
)
NAMED = re.compile(
    r"\b(?:FROM|JOIN|INTO|UPDATE|TABLE|REFERENCES|USING|ONLY|ON)\s+(\w+)\b(?!\.)|,\s+(\w+)\s+AS\b", re.IGNORECASE
)
STATEMENT = re.compile(r"^\s*(SELECT|INSERT|UPDATE|DELETE|WITH|CREATE|ALTER|DROP|LOCK|TRUNCATE)\s[^.]", re.DOTALL)


def statements() -> list[tuple[str, str]]:
    """The file and text of each SQL literal of the service and of its migrations."""
    files = [*(ROOT / "service/src").rglob("*.py"), *(ROOT / "alembic").rglob("*.py")]
    return [
        (str(path.relative_to(ROOT)), node.value)
        for path in sorted(files)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and STATEMENT.match(node.value)
    ]


def unqualified(statement: str) -> set[str]:
    return {name for found in NAMED.findall(statement) for name in found} & (TABLES | {"alembic_version"})


def test_every_statement_names_the_schema() -> None:
    found = statements()
    assert 50 < len(found)
    assert [] == [(path, sorted(unqualified(text))) for path, text in found if unqualified(text)]


def test_a_table_without_its_schema_is_found() -> None:
    for planted in ("SELECT 1 FROM sessions", "UPDATE clients SET a = 1", "SELECT 1 FROM authmint.a AS b, accounts AS c"):
        assert STATEMENT.match(planted)
        assert unqualified(planted)
    assert not unqualified("SELECT 1 FROM authmint.sessions AS s JOIN authmint.clients AS c ON c.client_id = s.client_id")
