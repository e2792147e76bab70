"""Where the service listens, and with how many processes."""

from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from authmint_service.settings.group import SettingsGroup
from authmint_service.trusted_proxies import TrustedProxies


class ListeningSettings(SettingsGroup):
    """The address, the number of processes, and how long one goes on serving when it stops."""

    title: ClassVar[str] = "Listening"

    host: Annotated[
        str,
        Field(
            description="Address to listen on. Behind a reverse proxy leave it on loopback; in a container set it to 0.0.0.0."
        ),
    ] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on; 0: any that is free.")] = 8000
    internal_host: Annotated[
        str, Field(description="Address of the internal listener, for `/metrics`. Only the network decides who may reach it.")
    ] = "127.0.0.1"
    internal_port: Annotated[
        int | None,
        Field(
            ge=0,
            le=65535,
            description="Port of the internal listener; 0: any that is free. Left out: there is none, and `/metrics` is on the "
            "public listener in development and nowhere in production.",
        ),
    ] = None
    trusted_proxies: Annotated[
        tuple[str, ...] | None,
        Field(
            description="Addresses or networks (CIDR) of the reverse proxies in front, separated by commas: their `Forwarded` "
            "and `X-Forwarded-For` say where a request comes from. `none`: clients connect directly. Left out: no header is "
            "used, and the address takes no part in the recognition of stolen refresh tokens; production says so at "
            "the start.",
            examples=["10.0.1.0/24,2001:db8:1::/64"],
        ),
    ] = None
    workers: Annotated[
        int,
        Field(
            ge=1,
            le=64,
            description="Number of processes that serve. A parent process replaces those that die. They share only the port "
            "and the database: a limit for a process (connections, hashes at a time) holds for each of them. `serve "
            "--workers` takes precedence over this.",
        ),
    ] = 1
    max_connections: Annotated[
        int,
        Field(
            ge=10,
            le=100_000,
            description="Connections that one process has at a time. A further one takes the place of one that has not sent a "
            "request for a second, or is refused with 503. The process raises its own limit of open files to this; "
            "if that is not allowed, it serves fewer connections and says so at the start.",
        ),
    ] = 1000
    drain_seconds: Annotated[
        int | None,
        Field(
            ge=0,
            le=300,
            description="Seconds that a process goes on serving after SIGTERM, while `/readyz` returns 503 and every response "
            "closes its connection, so that load balancers use other processes before it stops. Left out: 6, and 0 in "
            "development.",
            examples=["6"],
        ),
    ] = None

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _split_networks(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("trusted_proxies")
    @classmethod
    def _check_networks(cls, networks: tuple[str, ...] | None) -> tuple[str, ...] | None:
        try:
            TrustedProxies(networks or ())
        except ValueError:
            # Raised anew: the text of the first error repeats the value.
            raise ValueError(
                "each must be an address, or a network like 10.0.0.0/8 with no bit set behind its prefix; a network of all "
                "addresses is refused, and none stands alone"
            ) from None
        return networks or None

    @property
    def max_processes(self) -> int:
        """Return how many processes may run at a time. While several are replaced one by one, there is one more."""
        return 1 if self.workers == 1 else self.workers + 1
