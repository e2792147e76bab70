"""This process among the others: its heartbeat, and whether it has the secret keys that are in use."""

from authmint_service.features.feature import Feature
from authmint_service.features.kernel import Kernel
from authmint_service.processes import HEARTBEAT_SECONDS, SecretKind
from authmint_service.readiness import CheckResult
from authmint_service.signing_keys import KeyRing
from authmint_service.tasks import Task


def processes(kernel: Kernel, ring: KeyRing) -> Feature:
    known, encryption_ids = kernel.processes, kernel.settings.encryption_keys.keys()

    def check() -> CheckResult:
        refresh_ids = known.lacking_ids
        if refresh_ids:
            return CheckResult("missing", _REFRESH.format(keys=_text(refresh_ids), first=refresh_ids[0]), blocks_serving=True)
        if other_ids := known.different_ids:
            return CheckResult("different", _DIFFERENT.format(keys=_text(other_ids), first=other_ids[0]), blocks_serving=True)
        undecrypted = {key.encryption_key_id for key in ring.undecrypted}
        if needed := sorted(undecrypted - encryption_ids):
            return CheckResult("missing", _ENCRYPTION.format(keys=_text(needed)), blocks_serving=True)
        if others := sorted(key_id for key_id in undecrypted if known.is_elsewhere(SecretKind.KEY_ENCRYPTION, key_id)):
            return CheckResult("different", _DIFFERENT_ENCRYPTION.format(keys=_text(others)), blocks_serving=True)
        return CheckResult() if known.is_known else CheckResult("unknown")

    return Feature(
        name="processes",
        tasks=(Task("report this process", HEARTBEAT_SECONDS, known.beat, at_start=True),),
        readiness={"secret_keys": check},
        at_stop=(known.leave,),
    )


_REFRESH = (
    "AUTHMINT_REFRESH_TOKEN_KEYS lacks {keys}, on which sessions depend. Add it. To end these sessions instead, "
    "run: authmint-service secrets drop {first} --force"
)
_DIFFERENT = (
    "AUTHMINT_REFRESH_TOKEN_KEYS has another key under the id of {keys}, on which sessions depend. Configure the same key in "
    "every process: a new one needs a new id. To end these sessions instead, run: authmint-service secrets drop {first} --force"
)
_DIFFERENT_ENCRYPTION = (
    "AUTHMINT_KEY_ENCRYPTION_KEYS has another key under the id of {keys} than the processes that can decrypt the signing keys. "
    "Configure the same key in every process: a new one needs a new id."
)
_ENCRYPTION = (
    "AUTHMINT_KEY_ENCRYPTION_KEYS lacks {keys}, with which signing keys are encrypted. Add it, or encrypt them again "
    "with the settings of a process that has it: authmint-service keys reencrypt. If the key is lost, "
    "authmint-service keys rotate --emergency makes new signing keys."
)


def _text(ids: list[int]) -> str:
    """Return "the key 1", or "the keys 1, 2"."""
    return f"the key{'' if len(ids) == 1 else 's'} {', '.join(map(str, ids))}"
