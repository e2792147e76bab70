"""New passwords, and how many are hashed at a time."""

from typing import Annotated

from pydantic import Field

from authmint_service.settings.group import SettingsGroup


class PasswordSettings(SettingsGroup):
    """The minimum length, and the limits of the pool that hashes."""

    password_min_length: Annotated[int, Field(ge=8, le=64, description="Minimum length of a new password in characters.")] = 15
    password_hash_workers: Annotated[
        int | None,
        Field(ge=1, le=64, description="Password hashes that a process computes at a time. Left out: its share of the cores."),
    ] = None
    password_hash_queue: Annotated[
        int, Field(ge=0, le=10_000, description="Maximum number of sign-ins that wait for a hash.")
    ] = 64
