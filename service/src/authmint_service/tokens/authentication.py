"""How a person was authenticated: the steps, and when each was done."""

from collections.abc import Sequence
from enum import Enum

from authmint.values import value_type


class StepKind(Enum):
    """A kind of step. The value is its authentication method reference (RFC 8176, section 2)."""

    PASSWORD = "pwd"  # noqa: S105 - a registered name, no secret


@value_type()
class Step:
    """One thing that a person has shown to know, to have or to be."""

    kind: StepKind
    done_at: float
    """Seconds since the epoch."""


@value_type()
class Authentication:
    """An authentication that is complete."""

    subject: str
    steps: tuple[Step, ...]
    """At least one."""

    @property
    def time(self) -> int:
        """The time of the last step in whole seconds: `auth_time` (OpenID Connect Core, section 2)."""
        return int(max(step.done_at for step in self.steps))

    @property
    def methods(self) -> Sequence[str]:
        """The methods that were used, each once: `amr` (RFC 8176)."""
        return list(dict.fromkeys(step.kind.value for step in self.steps))
