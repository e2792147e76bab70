"""Running processes: which secret keys each of them has, so that a new key is used only when every process can read it.

Each process writes a row with the ids of its keys before it serves, and a heartbeat every ten seconds. It makes new values with
the first key of its list that every live process has. So a new key is first configured everywhere, and then used by itself; a
process without it that starts again makes the others go back. The database's clock decides which processes are live.

A table has the refresh-token keys in use: the statement that starts a session inserts one, an operator drops it. With each id
goes a fingerprint of the key, so that an id that stands for different keys is noticed: such a key is not used for new values.
"""

from authmint_service.processes.key_choice import choose_key, is_current_anywhere
from authmint_service.processes.process import Process, SecretKind, is_different
from authmint_service.processes.processes import HEARTBEAT_SECONDS, OFFERED_SECONDS, Processes, ProcessesUnknown
from authmint_service.processes.store import LIVE_SECONDS, LiveProcesses, ProcessStore

__all__ = [
    "HEARTBEAT_SECONDS",
    "LIVE_SECONDS",
    "OFFERED_SECONDS",
    "LiveProcesses",
    "Process",
    "ProcessStore",
    "Processes",
    "ProcessesUnknown",
    "SecretKind",
    "choose_key",
    "is_current_anywhere",
    "is_different",
]
