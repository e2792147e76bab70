"""Which key is used for new values, as pure functions of the key ids that processes have."""

from collections.abc import Sequence


def choose_key(own: Sequence[int], others: Sequence[Sequence[int]], last: int | None = None) -> int:
    """Return the id of the key for new values: the first of `own` that all `others` have.

    `own`: in the order of the setting; `others`: of the other live processes; `last`: the id that was used last. If there is no
    common key, the last one stays, so that a process with a wrong setting changes nothing at the others.
    """
    for key_id in own:
        if all(key_id in other for other in others):
            return key_id
    return last if last in own and last is not None else own[0]


def is_current_anywhere(key_id: int, processes: Sequence[Sequence[int]]) -> bool:
    """Return whether one of the live processes makes new values with this key. `processes`: their key ids."""
    return any(own and key_id == choose_key(own, processes) for own in processes)
