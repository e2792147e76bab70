"""New passwords, and how many are hashed at a time."""

from typing import Annotated, ClassVar

from pydantic import Field

from authmint_service.settings.group import SettingsGroup


class PasswordSettings(SettingsGroup):
    """The minimum length, and the limits of the pool that hashes."""

    title: ClassVar[str] = "Passwords"

    password_min_length: Annotated[
        int,
        Field(
            ge=8,
            le=64,
            description="Minimum length of a new password, in characters. NIST SP 800-63B-4 requires 15 where the password is "
            "the only factor.",
        ),
    ] = 15
    password_hash_workers: Annotated[
        int | None,
        Field(
            ge=1,
            le=64,
            description="Password hashes that one process computes at a time. Each takes 19 MiB and a core for some ten "
            "milliseconds. Left out: the usable cores (by affinity and the container's quota), divided by AUTHMINT_WORKERS "
            "and rounded up. Set it where several replicas share a computer without a quota, or where memory is short.",
            examples=["2"],
        ),
    ] = None
    password_hash_queue: Annotated[
        int,
        Field(
            ge=0,
            le=10_000,
            description="Maximum number of sign-ins that wait for a hash. A further one gets a 503 with Retry-After.",
        ),
    ] = 64
