"""The rules for refresh tokens (RFC 9700, section 4.14.2) as one pure function, without a database and without a clock.

The statement `RotationStore.ROTATE` applies the "rotate" row of the table below. If it changes nothing, the session is read,
and `decide` chooses among the other rows.
"""

from enum import Enum


class RotationDecision(Enum):
    """What happens to a presented refresh token."""

    ROTATE = "the current token: it is redeemed, and its child replaces it"
    REPEAT = "the parent of the current token, within the grace period: the same child again, since the response may be lost"
    REVOKE = "a token that was redeemed before: two parties may hold it, so the session is revoked"
    REFUSE = "nothing is issued, and nothing changes"


def decide(
    presented: int, *, current: int, is_live: bool, is_own: bool, seconds_since_rotation: float, grace: float
) -> RotationDecision:
    """Return what happens to a refresh token whose MAC is valid (RFC 9700, section 4.14.2).

    | session | presented by | generation | since the last rotation | decision |
    |---|---|---|---|---|
    | revoked, expired, or account or client disabled | any client | any | any | refuse |
    | live | another client | any | any | refuse |
    | live | its client | current | any | rotate |
    | live | its client | current - 1 | at most `grace` | repeat |
    | live | its client | current - 1 | longer | revoke |
    | live | its client | older | any | revoke |
    | live | its client | later than current | any | refuse |

    `presented`, `current`: generations; `grace`: seconds. A client cannot revoke the session of another client. A generation
    later than the current one means that the database was restored from a backup: the person signs in again, and this is not
    counted as reuse.
    """
    if not is_live or not is_own or presented > current:
        return RotationDecision.REFUSE
    if presented == current:
        return RotationDecision.ROTATE
    is_parent = presented == current - 1
    return RotationDecision.REPEAT if is_parent and seconds_since_rotation <= grace else RotationDecision.REVOKE
