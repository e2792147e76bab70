"""What a refresh token is worth: the one decision of this room, without a database and without a clock of its own.

`ROTATE` in the store carries the row of the table that says "rotate" out in one statement; the others are decided here, of a
session that was read after that statement had found nothing to do.
"""

from enum import Enum


class RotationDecision(Enum):
    """What is done with a refresh token."""

    ROTATE = "the current token: it is redeemed, and its child takes its place"
    REPEAT = "the token before it, within the grace period: the same child once more, for whoever lost the answer"
    REVOKE = "a token that was redeemed before: whoever holds the other copy is not the same, so the session ends"
    REFUSE = "nothing is given, and nothing changes"


def decide(
    presented: int, *, current: int, is_live: bool, is_own: bool, seconds_since_rotation: float, grace: float
) -> RotationDecision:
    """What becomes of a refresh token with a good seal (RFC 9700, section 4.14.2).

    | session | presented by | generation | since the last rotation | verdict |
    |---|---|---|---|---|
    | has ended, or person or client disabled | anyone | any | any | refuse |
    | live | another client | any | any | refuse |
    | live | its client | current | any | rotate |
    | live | its client | current - 1 | at most `grace` | repeat |
    | live | its client | current - 1 | longer | revoke |
    | live | its client | older | any | revoke |
    | live | its client | later than current | any | refuse |

    `presented`, `current`: generations; `grace`: seconds. Another client's token is not that client's to end. A generation
    that was never given out can only come of a database that was set back: its person signs in again, and nobody is blamed.
    """
    if not is_live or not is_own or presented > current:
        return RotationDecision.REFUSE
    if presented == current:
        return RotationDecision.ROTATE
    is_parent = presented == current - 1
    return RotationDecision.REPEAT if is_parent and seconds_since_rotation <= grace else RotationDecision.REVOKE
