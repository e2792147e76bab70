"""Rules about a module's syntax tree, as functions, so that tests can try them on modules that break them."""

import ast
from collections.abc import Iterator

ENVIRONMENT = {"environ", "environb", "getenv", "getenvb", "putenv"}
CLIENTS = {
    "urllib.request", "http.client", "smtplib", "ftplib", "httpx", "httpx2", "httpcore", "httpcore2", "requests", "aiohttp",
    "urllib3", "websockets", "pycurl",
}  # fmt: skip
CONNECTS = {"create_connection", "open_connection", "open_unix_connection"}


def reads_the_environment(tree: ast.AST) -> bool:
    """Return whether a module names the variables of the process."""
    return any(name in ENVIRONMENT for name in _names(tree))


def outgoing_connections(tree: ast.AST) -> list[str]:
    """Return what a module uses to connect to other computers by itself."""
    imported = {one for one in _imported(tree) if any(one == client or one.startswith(f"{client}.") for client in CLIENTS)}
    return sorted(imported | (CONNECTS & set(_names(tree))))


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
