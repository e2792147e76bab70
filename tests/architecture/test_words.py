"""One vocabulary: the field's. Words that must not come back are refused in names and in texts.

CONTRIBUTING.md has the glossary. Only names that our Python defines are read: names of libraries stay usable.
"""

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OLD_NAME = "mint" + "mark"


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


BANNED_PARTS = words(
    "roof door doors room rooms house figures tell tells told whoever somebody nobody stranger careful believe believed strike"
    " struck mint minted sealer upkeep verdict reception admits fates heard hearing answered crowd"
)
BANNED_NAMES = words("look moment wanted where machine is_machine machines")
BANNED_BOUNDS = words("LONGEST MOST LARGEST WIDEST SHORTEST SMALLEST")
BANNED_MODULES = words("user users")
BANNED_PROSE = words(
    "roof room rooms door doors whoever somebody figures sealer careful believe believes believed strike strikes struck mint"
    " minted stranger upkeep"
)
MAY_SEAL = ("/alembic/versions/0001", "/audit/", "/events/", "/tokens/", "authmint/revocation_list.py", "test_words.py")
"""Parts of the paths of files that may speak of a seal: it is the audit's word."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_PROSE = re.compile(r"[a-z]+")


def python_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / line for line in listed.splitlines() if (ROOT / line).exists() and ROOT / line != Path(__file__)]


def parts(name: str) -> list[str]:
    """The words of a name, in lower case: `to_JWKSet` has to, jwk and set."""
    return [part.lower() for part in _WORD.findall(name)]


def defined_names(tree: ast.AST) -> Iterator[str]:
    """Each function, class, argument, variable and attribute that a module defines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name


def is_banned(name: str) -> bool:
    bare = name.strip("_")
    return (
        not BANNED_PARTS.isdisjoint(parts(name)) or bare in BANNED_NAMES or name.lstrip("_").partition("_")[0] in BANNED_BOUNDS
    )


def prose(source: str) -> Iterator[tuple[int, str]]:
    """Each comment, docstring, message and log event, with its line."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        is_text = token.type == tokenize.STRING and not _is_pattern(token.string)
        if is_text or token.type in (tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.COMMENT)):
            yield token.start[0], token.string


def _is_pattern(text: str) -> bool:
    return text[:1].lower() == "r" or text[:2].lower() in {"br", "rb"}


def test_no_name_has_a_word_of_the_private_vocabulary() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in python_files()
        for name in [path.stem, *defined_names(ast.parse(path.read_text()))]
        if is_banned(name)
    }
    assert sorted(found) == []


def test_no_docstring_comment_or_message_has_such_a_word() -> None:
    found = []
    for path in python_files():
        for line, text in prose(path.read_text()):
            banned = BANNED_PROSE.intersection(_PROSE.findall(text.lower()))
            if banned:
                found.append(f"{path.relative_to(ROOT)}:{line}: {', '.join(sorted(banned))}")
    assert found == []


def test_only_the_audit_and_what_carries_it_speak_of_a_seal() -> None:
    sealing = re.compile(r"\b(?:un)?seal(?:s|ed|ing)?\b", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in python_files()
        if not any(part in f"/{path.relative_to(ROOT)}" for part in MAY_SEAL)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if sealing.search(line)
    ]
    assert found == []


def test_a_persons_record_is_an_account_in_modules_tables_columns_paths_and_commands() -> None:
    for path in python_files():
        assert path.stem not in BANNED_MODULES, path
        assert BANNED_MODULES.isdisjoint(path.relative_to(ROOT).parts), path
    text = "\n".join(path.read_text() for path in python_files() if "service/src" in str(path) or "alembic" in str(path))
    assert not re.search(r"\b(?:FROM|INTO|UPDATE|JOIN|TABLE)\s+(?:authmint\.)?users\b", text)
    assert not re.search(r"\buser_id\b", text)
    assert not re.search(r"[\"'`/]/?users/", text)
    assert not re.search(r"add_typer\([^)]*\"users\"", text)


def test_the_old_name_is_found_in_one_line_of_the_changelog_and_nowhere_else() -> None:
    listed = subprocess.run(
        ["git", "grep", "-I", "-i", "-n", OLD_NAME], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    assert [line.partition(":")[0] for line in listed] == ["CHANGELOG.md"]


def test_these_rules_find_what_they_are_for() -> None:
    tree = ast.parse("class KeyDoor:\n  def tell_it(self, crowd_size): self._LONGEST_WAIT = 1; where = 2\nimport x as mint\n")
    names = {name for name in defined_names(tree) if is_banned(name)}
    assert {"KeyDoor", "tell_it", "crowd_size", "_LONGEST_WAIT", "where", "mint"} == names
    assert not any(
        map(is_banned, ("outdoors", "roomy", "MAX_WAIT", "wherever", "machine_readable", "mostly", "house_number"[:3]))
    )
    spoken = list(prose('"""Whoever asks."""\nx = r"door"\n# a room\n'))
    assert [(1, '"""Whoever asks."""'), (3, "# a room")] == spoken
