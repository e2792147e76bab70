"""New passwords: what is made of common parts is refused however long it is, and no good password is refused."""

import random
import secrets
import string
import subprocess
import sys
from collections.abc import Callable

import pytest
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from authmint_service.errors import InvalidValue
from authmint_service.passwords import PasswordHasher, PasswordPolicy, strength
from authmint_service.passwords.policy import ENOUGH
from authmint_service.passwords.strength import estimate_strength
from tests.service.conftest import Service

pytestmark = pytest.mark.anyio

COMMON = FREQUENCY_LISTS["passwords"][:3000]
PADDINGS: dict[str, Callable[[str], str]] = {
    "twice": lambda word: (word * 15)[: max(15, len(word) * 2)],
    "digits": lambda word: f"{word}123456789012345"[: max(15, len(word) + 3)],
    "exclamation marks": lambda word: word.capitalize().ljust(15, "!"),
    "a year": lambda word: f"{word.capitalize()}2026".ljust(15, "!"),
    "a year and digits": lambda word: f"{word.capitalize()}2026!123".ljust(15, "!"),
    # In a row of keys with digits, such as q1w2e3r4, another digit is no letter that looks alike.
    "letters that look alike": lambda word: (
        word.replace("a", "@").replace("o", "0").replace("e", "3") if word.isalpha() else word
    ).ljust(15, "1"),
    "a row of keys": lambda word: f"{word}qwertyuiop".ljust(15, "1"),
    "digits before it": lambda word: f"1234567890{word}".ljust(15, "!"),
}


def left(password: str, *names: str) -> float:
    return estimate_strength(password, names, enough=ENOUGH).left


@pytest.mark.parametrize("padding", PADDINGS)
def test_the_passwords_that_are_guessed_first_are_refused_when_they_are_padded(padding: str) -> None:
    """R15. Each of the first 100, and a fiftieth of the rest."""
    chosen = [PADDINGS[padding](word) for word in (*COMMON[:100], *COMMON[100::50])]
    assert [password for password in chosen if left(password) >= ENOUGH] == []


def good_passwords() -> dict[str, list[str]]:
    chosen = random.Random(26)
    words = [word for word in FREQUENCY_LISTS["english_wikipedia"][:7776] if 3 <= len(word) <= 9]

    def four(separator: str) -> str:
        # Short words make a password that is refused for its length.
        return next(p for p in iter(lambda: separator.join(chosen.sample(words, 4)), "") if len(p) >= 15)

    return {
        "four words with spaces": [four(" ") for _ in range(100)],
        "four words with hyphens": [four("-") for _ in range(50)],
        "four words without spaces": [four("") for _ in range(100)],
        "15 lower-case letters": ["".join(chosen.choices(string.ascii_lowercase, k=15)) for _ in range(200)],
        "15 of all kinds": ["".join(chosen.choices(string.printable[:94], k=15)) for _ in range(100)],
        "of a generator": [secrets.token_urlsafe(18) for _ in range(100)],
        "sentences": [
            "seven green parrots in a boat", "I like to eat pizza on Fridays", "ein Satz mit Ümläuten und Leerzeichen",
            "my cat sleeps on the warm radiator", "три зелёных попугая в лодке", "緑のオウムが七羽ボートに乗っている",
        ],
    }  # fmt: skip


@pytest.mark.parametrize("kind", good_passwords())
def test_no_good_password_is_refused(kind: str) -> None:
    """R16: no kind of character is required."""
    assert [password for password in good_passwords()[kind] if left(password, "anna.miller", "authmint") < ENOUGH] == []


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("passwordpassword", "password_repetitive"), ("Passw0rd!Passw0rd!", "password_repetitive"),
        ("monkey1" * 30, "password_repetitive"), ("password1234567", "password_too_common"),
        ("qwertyuiopasdfghjkl", "password_too_common"), ("abcdefghijklmno", "password_too_common"),
        ("iloveyou2026!!!!", "password_too_common"), ("ｐａｓｓｗｏｒｄ1234567", "password_too_common"),
        ("drowssap1234567890", "password_too_common"), ("monkey dragon monkey dragon", "password_too_common"),
        ("anna.miller.1985!", "password_too_similar"), ("MillerAnna-2026!", "password_too_similar"),
        ("authmint2026!!!!", "password_too_similar"),
    ],
)  # fmt: skip
async def test_a_password_of_common_parts_is_refused_with_its_code(password: str, code: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        await PasswordPolicy(min_length=15).check(password, username="anna.miller")
    assert code == refused.value.code
    assert "four or more" in str(refused.value)


@pytest.mark.parametrize("password", ["x4$K9w#z", "tfvqzmwk"])
async def test_eight_random_characters_are_enough_where_eight_are_allowed(password: str) -> None:
    policy = PasswordPolicy(min_length=8)
    assert password == await policy.check(password, username="anna")
    with pytest.raises(InvalidValue):
        await policy.check("letmein1", username="anna")


@pytest.mark.parametrize(
    "text",
    [
        "4@8({[<369&1!|0$5+7%2" * 13, "a1" * 128, "aab" * 85, "0123456789" * 25, "".join(map(chr, range(0x4E00, 0x4F00))),
        "qwertyuiop" * 25, "İ" * 256, "".join(random.Random(1).choices("4@8({[<369|17", k=256)), "19" * 128,
        "".join(random.Random(1).choices("01", k=256)), "".join(random.Random(2).choices("abc", k=256)),
    ],
)  # fmt: skip
def test_the_longest_password_is_cheap_to_judge(text: str) -> None:
    """Kind: a cost that grows faster than the length. Of a text with look-alike digits zxcvbn makes thousands of readings."""
    pieces = list(strength._pieces(text[:256]))
    assert max(map(len, pieces)) <= strength.MAX_PIECE
    # All parts of at most 40 characters, of three readings and what else is looked for.
    assert sum(len(list(strength._known_parts(piece, {"anna.miller": 1}))) for piece in pieces) < 1500


def test_a_command_without_passwords_loads_no_lists() -> None:
    program = "import sys, authmint_service.cli, authmint_service.passwords; sys.exit('zxcvbn' in sys.modules)"
    assert 0 == subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode


async def test_an_account_with_an_old_weak_password_signs_in_and_cannot_choose_another_weak_one(service: Service) -> None:
    hasher = PasswordHasher(workers=1, queue=1)
    user = await service.add_account(password_hash=await hasher.hash("passwordpassword"))
    hasher.close()
    signed_in = await service.sign_in(await service.add_client(), user, "passwordpassword")
    assert 200 == signed_in.status_code
    refused = await service.http.put(
        "/account/v1/password",
        data={"current_password": "passwordpassword", "new_password": "password1234567"},
        headers={"Authorization": f"Bearer {signed_in.json()['access_token']}"},
    )
    assert (422, "password_too_common") == (refused.status_code, refused.json()["errors"][0]["code"])
    assert "password1234567" not in refused.text
