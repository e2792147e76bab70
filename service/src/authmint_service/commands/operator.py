"""Who runs a command: the user of the operating system, as events name them."""

import os
import pwd

from authmint_service.request_source import Actor


def operator() -> Actor:
    """Return the actor of this process. The name comes from its user, which no variable of the environment changes."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        # In a container the id may have no name.
        name = f"uid {uid}"
    return Actor(kind="operator", id=name)
