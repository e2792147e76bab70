"""The variables of this process, from the environment and from `.env`, and the check of their names.

Everything here is text: the groups say what it means. The environment takes precedence over the file. A variable that is empty
counts as not set. Names are compared without case.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource

from authmint_service.errors import SettingsError

PREFIX = "AUTHMINT_"
MAX_SECRET_BYTES = 64 * 1024

FOREIGN_NAMES = {
    "AUTHMINT_AUDIENCE": "the library's `ResourceServer.from_env`",
    "AUTHMINT_JWKS_FILE": "the library's `ResourceServer.from_env`",
    "AUTHMINT_TOKEN_URL": "the library's `ResourceServer.from_env`",
    "AUTHMINT_LEEWAY": "the library's `ResourceServer.from_env`",
    "AUTHMINT_REVOCATION_LIST": "the library's `ResourceServer.from_env`",
    "AUTHMINT_TEST_…": "the tests of this project",
}
"""Names with our prefix that other programs read, by what reads them. The service passes over them."""

_FOREIGN = re.compile("|".join(name.replace("…", r"\w+") for name in FOREIGN_NAMES))
_SERVICE_LINK = re.compile(r"AUTHMINT_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
"""What Kubernetes adds to the environment of every pod when there is a Service named `authmint` or `authmint-…`."""
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")
"""The value of `AUTHMINT_PORT` and `AUTHMINT_…_PORT` when Kubernetes adds them too."""


class Source(StrEnum):
    """Where the value of a setting comes from."""

    ENVIRONMENT = "environment"
    ENV_FILE = ".env"
    DEFAULT = "default"
    SERVICE = "the service"
    """A service that runs was started with it."""


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable that is set."""

    name: str
    value: str = field(repr=False)
    source: Source


class Variables:
    """All variables that begin with AUTHMINT_."""

    def __init__(self, environment: Mapping[str, str | None], env_file: Mapping[str, str | None]) -> None:
        ours = dict(_ours(environment))
        self._environment = {name: value for name, value in ours.items() if not _is_service_link(name, value)}
        self._service_links = ours.keys() - self._environment.keys()
        self._env_file = dict(_ours(env_file))

    @classmethod
    def read(cls, env_file: Any = ".env") -> "Variables":
        """Return those of this process. `env_file`: as pydantic-settings takes it; None: no file. Raise SettingsError."""
        try:
            in_file = DotEnvSettingsSource(
                BaseSettings, env_file=env_file, env_file_encoding="utf-8", env_ignore_empty=False
            ).env_vars
        except UnicodeDecodeError as error:
            raise SettingsError("The file .env is not UTF-8 text.") from error
        except OSError as error:
            raise SettingsError(f"The file .env cannot be read: {error.strerror}.") from error
        return cls(EnvSettingsSource(BaseSettings, env_ignore_empty=False).env_vars, in_file)

    def find(self, name: str) -> Variable | None:
        """Return the variable of this name, None if it is empty or not set."""
        for values, source in ((self._environment, Source.ENVIRONMENT), (self._env_file, Source.ENV_FILE)):
            if value := values.get(name):
                return Variable(name, value, source)
        return None

    def find_secret(self, name: str) -> Variable | None:
        """Return the variable `name` or `name_FILE`, None if neither is set. Raise SettingsError if both are."""
        value, file = self.find(name), self.find(f"{name}_FILE")
        if value is not None and file is not None:
            raise SettingsError(f"{name} and {name}_FILE contradict each other. Set one of them.")
        return value or file

    def read_secret(self, name: str) -> str | None:
        """Return the secret of the variable `name`, or of the file that `name_FILE` names. Raise SettingsError."""
        found = self.find_secret(name)
        if found is None or found.name == name:
            return None if found is None else found.value
        return _read_file(found)

    def check_names(self, known: Collection[str]) -> None:
        """Raise SettingsError for the variables that are not among `known`, nor among those that other programs read."""
        wrong = [
            f"{name}{place} is not a setting. {_advice(name, known)}"
            for names, place in ((self._environment, ""), (self._env_file, " in .env"))
            for name in names
            if name not in known and not _FOREIGN.fullmatch(name)
        ]
        if wrong:
            raise SettingsError("\n".join(wrong))

    def notes(self, known: Collection[str]) -> list[str]:
        """Return a sentence for each of `known` whose value Kubernetes has made, and which therefore has no effect."""
        return [
            f"{name} is the address of a Kubernetes Service, made by Kubernetes because of the name of that Service, and is "
            f"passed over. Set {name} yourself, or enableServiceLinks: false in the pod's specification."
            for name in sorted(self._service_links & set(known))
        ]


def _advice(name: str, known: Collection[str]) -> str:
    similar = get_close_matches(name, known, n=1, cutoff=0.75)
    return f"Did you mean {similar[0]}?" if similar else "docs/settings.md lists all settings."


def _ours(variables: Mapping[str, str | None]) -> Iterator[tuple[str, str]]:
    for name, value in variables.items():
        if name.upper().startswith(PREFIX):
            yield name.upper(), value or ""


def _is_service_link(name: str, value: str) -> bool:
    is_address = name.endswith("_PORT") and _SERVICE_ADDRESS.match(value) is not None
    return is_address or _SERVICE_LINK.fullmatch(name) is not None


def _read_file(variable: Variable) -> str:
    # The path is not repeated: someone may have put the secret itself there.
    try:
        with Path(variable.value).open("rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not the name of a file"
        raise SettingsError(f"{variable.name} cannot be read: {reason}.") from error
    if len(content) > MAX_SECRET_BYTES:
        raise SettingsError(f"{variable.name} cannot be read: the file has more than {MAX_SECRET_BYTES} bytes.")
    try:
        text = content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise SettingsError(f"{variable.name} cannot be read: the file is not UTF-8 text.") from None
    if not text:
        raise SettingsError(f"{variable.name} names a file that is empty.")
    return text
