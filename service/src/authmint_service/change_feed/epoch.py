"""The epoch of access tokens: which changes the maker of a token had seen, and when."""

from authmint.values import value_type


@value_type()
class EpochReading:
    """One look at the authorization version, from which a token is made.

    The token's life is counted from it, not from the signature. So a process that slept makes tokens that are as old as what it
    knew, and no token outlives the memory of the changes after its epoch.
    """

    epoch: int
    """The greatest n of the changes that the statement saw: the claim `epoch`."""
    read_at: float
    """When the statement was sent, or before, in seconds since the epoch by this process's clock: the claim `iat`."""
