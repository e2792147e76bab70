"""What the service uses of uvicorn's insides, and the check that it is still there.

uvicorn promises nothing about these names. Without the check, a version that changed one would serve without our limits, or
fail at the first request.
"""

import dis
import inspect
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from types import ModuleType

from authmint_service.errors import DependencyError

HTTPTOOLS = "uvicorn.protocols.http.httptools_impl"
FLOW_CONTROL = "uvicorn.protocols.http.flow_control"

NAMES = {
    (HTTPTOOLS, ""): ("STATUS_LINE", "HttpToolsProtocol", "RequestResponseCycle"),
    (HTTPTOOLS, "HttpToolsProtocol"): (
        "connection_made", "connection_lost", "data_received", "on_message_begin", "on_headers_complete",
        "on_body", "on_message_complete", "send_400_response", "loop", "transport", "flow", "client", "headers", "cycle",
        "pipeline", "connections",
    ),
    (HTTPTOOLS, "RequestResponseCycle"): ("message_event", "disconnected", "response_started", "response_complete"),
    (FLOW_CONTROL, "FlowControl"): ("read_paused",),
    ("uvicorn.server", "Server"): ("serve", "startup", "shutdown", "capture_signals", "server_state", "servers", "force_exit",
        "should_exit",
   ),
    ("uvicorn.server", "ServerState"): ("default_headers",),
    ("uvicorn.config", "Config"): (
        "lifespan", "loop", "http", "ws", "log_config", "access_log", "server_header", "proxy_headers",
        "timeout_graceful_shutdown",
    ),
}  # fmt: skip
"""By module and class ("" for the module itself): its names, attributes that its methods set, and arguments of `Config`."""


def check_uvicorn() -> None:
    """Raise DependencyError, which names what is missing, if this version of uvicorn lacks one of NAMES."""
    missing = sorted(_missing())
    if missing:
        raise DependencyError(
            f"uvicorn {version('uvicorn')} does not fit: {', '.join(missing)} is not there. "
            "Install the version that authmint-service asks for: pip install --upgrade authmint-service"
        )


def _missing() -> Iterator[str]:
    for (module_name, class_name), names in NAMES.items():
        try:
            module = import_module(module_name)
        except ImportError:
            yield module_name
            continue
        owner = getattr(module, class_name, None) if class_name else module
        if owner is None:
            yield f"{module_name}.{class_name}"
            continue
        known = _names_of(owner)
        for name in names:
            if name not in known:
                yield f"{class_name or module_name}.{name}"


def _names_of(owner: type | ModuleType) -> set[str]:
    """Return the names of a module or class: those it defines, the attributes that its methods set, and its arguments."""
    # What uvicorn inherits from asyncio would be there in every version.
    found = set(vars(owner))
    if inspect.isclass(owner):
        for function in filter(inspect.isfunction, vars(owner).values()):
            found |= {step.argval for step in dis.get_instructions(function) if step.opname == "STORE_ATTR"}
        found |= set(inspect.signature(owner).parameters)
    return found
