"""What one table holds of an account, as the person gets it. Each noun declares the exporters of its own tables."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporter:
    """Reads the rows that one table has of an account. No secret is in them, and nothing of another person."""

    table: str
    statement: str
    """Returns one JSON object for each row of the account $1, as `jsonb`, the oldest first."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """The columns that the statement does not return, and why. A test wants each column here or there."""
