"""How tokens are signed: the algorithm, the rotation of its keys, or the shared secret of HS256."""

from functools import cached_property
from typing import Annotated, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from authmint_service.secret_keys import check_shared_secret
from authmint_service.settings.group import DAY, HOUR, Secret, SettingsGroup

ALGORITHMS = ("ES256", "ES384", "ES512", "RS256", "RS384", "RS512")
"""Equal to `authmint.jose.ALGORITHMS`, whose import costs the import of cryptography. A test compares the two."""


class SigningSettings(SettingsGroup):
    """The algorithm, and the keys or the secret for it."""

    title: ClassVar[str] = "Signing"

    signing_algorithm: Annotated[
        str,
        Field(
            description="ES256, ES384, ES512, RS256, RS384 or RS512. After a change the next key is announced, and signs "
            "about eleven minutes later. The old one stays published until its last token has expired. HS256 signs with the "
            "shared secret, and publishes nothing."
        ),
    ] = "ES256"
    id_token_algorithms: Annotated[
        tuple[str, ...],
        Field(
            description="Algorithms that have signing keys of their own beside those of access tokens, separated by commas. "
            "They are for ID tokens, which are not issued yet: leave it empty. A change is announced, as above.",
            examples=["RS256,ES256"],
        ),
    ] = ()
    signing_key_rotation_seconds: Annotated[
        int,
        Field(
            ge=HOUR, le=366 * DAY, description="Seconds that a signing key signs before the next one takes over (thirty days)."
        ),
    ] = 30 * DAY
    signing_rsa_bits: Annotated[
        int, Field(ge=2048, le=4096, multiple_of=256, description="Length of new RSA keys in bits.")
    ] = 3072
    shared_secret: Annotated[
        Secret | None,
        Field(
            description="Signs and verifies with HS256 only, the smallest set-up: the output of `openssl rand -base64 32`, "
            "the same value here and at every service that verifies. Each of them could also sign."
        ),
    ] = None

    @field_validator("signing_algorithm")
    @classmethod
    def _check_algorithm(cls, algorithm: str) -> str:
        if algorithm not in {*ALGORITHMS, "HS256"}:
            raise ValueError(f"must be one of {', '.join(ALGORITHMS)}, or HS256")
        return algorithm

    @field_validator("id_token_algorithms", mode="before")
    @classmethod
    def _split_algorithms(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("id_token_algorithms")
    @classmethod
    def _check_id_token_algorithms(cls, algorithms: tuple[str, ...]) -> tuple[str, ...]:
        if not set(algorithms) <= set(ALGORITHMS):
            raise ValueError(f"each must be one of {', '.join(ALGORITHMS)}")
        if len(set(algorithms)) < len(algorithms):
            raise ValueError("it names an algorithm twice")
        return algorithms

    @model_validator(mode="after")
    def _check_algorithms(self) -> Self:
        if self.id_token_algorithms and self.signing_algorithm == "HS256":
            raise ValueError(
                "AUTHMINT_ID_TOKEN_ALGORITHMS and AUTHMINT_SIGNING_ALGORITHM contradict each other: with HS256 every service "
                "that has the shared secret could make ID tokens, so there are none. Choose another algorithm, or leave "
                "AUTHMINT_ID_TOKEN_ALGORITHMS out."
            )
        return self

    @model_validator(mode="after")
    def _check_shared_secret(self) -> Self:
        given = self.shared_secret is not None
        if given and self.signing_algorithm != "HS256":
            raise ValueError(
                "AUTHMINT_SHARED_SECRET and AUTHMINT_SIGNING_ALGORITHM contradict each other: the secret is for HS256 alone, "
                "and HS256 is never used together with another algorithm."
            )
        if not given and self.signing_algorithm == "HS256":
            raise ValueError(
                "AUTHMINT_SIGNING_ALGORITHM is HS256, and AUTHMINT_SHARED_SECRET is missing. "
                "Make one with: openssl rand -base64 32"
            )
        return self

    @property
    def signing_algorithms(self) -> tuple[str, ...]:
        """Return the algorithm of each line of signing keys, that of access tokens first."""
        return tuple(dict.fromkeys((self.signing_algorithm, *self.id_token_algorithms)))

    @cached_property
    def hmac_secret(self) -> bytes | None:
        """Return the secret of HS256, or None if tokens are signed with keys of the database. Raise SettingsError."""
        if self.shared_secret is None:
            return None
        return check_shared_secret(self.shared_secret.get_secret_value())
