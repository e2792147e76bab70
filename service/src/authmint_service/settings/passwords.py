"""New passwords, the list they are compared with, and how many are hashed at a time."""

from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from authmint_service.settings.group import SettingsGroup, split_url


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
    password_breach_url: Annotated[
        str | None,
        Field(
            description="Range API of a list of breached passwords, without the five digits: new passwords in the list are "
            "refused. It gets the first five hexadecimal digits of the SHA-1 of each new password, and nothing else. Left out: "
            "nothing is asked. If it does not answer within 2 s, the password is accepted. A mirror with a private address is "
            "named in AUTHMINT_OUTBOUND_ALLOWED_HOSTS too.",
            examples=["https://api.pwnedpasswords.com/range"],
        ),
    ] = None
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

    @field_validator("password_breach_url")
    @classmethod
    def _check_breach_url(cls, url: str | None) -> str | None:
        parts = split_url(url or "https://localhost")
        # No password: settings that are not secret are shown to operators.
        if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("must look like https://api.pwnedpasswords.com/range")
        return url
