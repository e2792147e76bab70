"""`import authmint` imports no FastAPI: each public name is imported when it is first used."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import authmint


def test_the_lazy_names_the_imports_for_type_checkers_and_all_agree() -> None:
    tree = ast.parse(Path(authmint.__file__).read_text())
    imported = {
        name.name: node.module
        for block in tree.body if isinstance(block, ast.If)
        for node in block.body if isinstance(node, ast.ImportFrom)
        for name in node.names
    }  # fmt: skip
    assert imported == authmint._MODULES
    assert sorted(authmint.__all__) == sorted(imported) == dir(authmint)
    for name, module in imported.items():
        assert getattr(authmint, name) is getattr(import_module(str(module)), name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'authmint' has no attribute 'nonsense'"):
        _ = authmint.nonsense  # type: ignore[attr-defined]  # the name does not exist, and that is what is tested


def test_an_import_of_the_library_imports_no_fastapi_until_a_name_is_used() -> None:
    program = "import sys, authmint; print(*sys.modules); authmint.ResourceServer; print('fastapi' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    modules, used = done.stdout.splitlines()
    assert not {"fastapi", "starlette", "httpx2", "jose", "cryptography", "pydantic"} & set(modules.split())
    assert "True" == used
