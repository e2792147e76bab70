"""The rules for refresh tokens (RFC 9700, section 4.14.2) as one pure function, without a database and without a clock.

The statement `RotationStore.ROTATE` applies the "rotate" row of the table below. If it changes nothing, the session is read,
and `decide` chooses among the other rows.
"""

from dataclasses import dataclass
from enum import Enum

MAX_LATE_REPEATS = 16
"""Late repeats of one generation that get the same child."""
MAX_GENERATIONS_ELSEWHERE = 3
"""The session is revoked in the third generation in which the parent was repeated from elsewhere."""


class RotationDecision(Enum):
    """What happens to a presented refresh token."""

    ROTATE = "the current token: it is redeemed, and its child replaces it"
    REPEAT = "the parent of the current token, as after a lost response: the same child again"
    REPEAT_ELSEWHERE = "the same from elsewhere: the same child, counted once in each generation, and its owner learns of it"
    REPEAT_LATE = "the parent, after the grace period, from where it was redeemed: the same child, and counted"
    REVOKE_REUSED = "a token that was redeemed before: two parties may hold it, so the session is revoked"
    REVOKE_REPEATED = "the parent, from elsewhere in too many generations: someone follows the owner, so the session is revoked"
    REFUSE_NEWER = "a token newer than the database: it was restored from a backup, and nothing changes"
    REFUSE = "nothing is issued, and nothing changes"


@dataclass(frozen=True, slots=True)
class Repeats:
    """The repeats of a session that were counted."""

    late: int = 0
    """Late ones in the current generation."""
    generations_elsewhere: int = 0
    """Generations in which the parent was repeated from elsewhere."""
    is_counted: bool = False
    """Whether the current generation is one of these."""


def decide(
    presented: int,
    *,
    current: int,
    is_live: bool,
    is_own: bool,
    is_same_place: bool,
    seconds_since_rotation: float,
    grace: float,
    repeats: Repeats,
) -> RotationDecision:
    """Return what happens to a refresh token whose MAC is valid (RFC 9700, section 4.14.2).

    | session | presented by | generation | since the last rotation | from | decision |
    |---|---|---|---|---|---|
    | revoked, expired, or account or client disabled | any client | any | any | anywhere | refuse |
    | live | another client | any | any | anywhere | refuse |
    | live | its client | current | any | anywhere | rotate |
    | live | its client | current - 1 | at most `grace` | the same place | repeat |
    | live | its client | current - 1 | at most `grace` | elsewhere, in two generations at most | repeat, elsewhere |
    | live | its client | current - 1 | at most `grace` | elsewhere, in the third generation | revoke: repeated |
    | live | its client | current - 1 | longer | the same place, 16 times in a generation at most | repeat, late |
    | live | its client | current - 1 | longer | the same place, the 17th time | revoke: reused |
    | live | its client | current - 1 | longer | elsewhere | revoke: reused |
    | live | its client | older | any | anywhere | revoke: reused |
    | live | its client | later than current | any | anywhere | refuse: newer |

    `presented`, `current`: generations; `is_same_place`: whether the token comes from where its parent was redeemed; `grace`:
    seconds. A client cannot revoke the session of another client. A generation later than the current one means that the
    database was restored from a backup: the person signs in again, and this is not counted as reuse.
    """
    if not is_live or not is_own:
        return RotationDecision.REFUSE
    if presented > current:
        return RotationDecision.REFUSE_NEWER
    if presented == current:
        return RotationDecision.ROTATE
    if presented < current - 1:
        return RotationDecision.REVOKE_REUSED
    return _decide_on_parent(repeats, is_same_place=is_same_place, is_late=seconds_since_rotation > grace)


def _decide_on_parent(repeats: Repeats, *, is_same_place: bool, is_late: bool) -> RotationDecision:
    if is_late:
        may_repeat = is_same_place and repeats.late < MAX_LATE_REPEATS
        return RotationDecision.REPEAT_LATE if may_repeat else RotationDecision.REVOKE_REUSED
    if is_same_place:
        return RotationDecision.REPEAT
    if not repeats.is_counted and repeats.generations_elsewhere + 1 >= MAX_GENERATIONS_ELSEWHERE:
        return RotationDecision.REVOKE_REPEATED
    return RotationDecision.REPEAT_ELSEWHERE
