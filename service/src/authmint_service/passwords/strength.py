"""How much of a password is left when everything that is guessed first is taken out: words, names, keyboard walks, years.

Lists and matchers of zxcvbn find these parts, and say how many guesses each takes; a character that is in none takes ten.
What is left is counted in such characters: a part that takes 1,000 guesses is worth three. A part that comes again is worth
nothing, and no part is worth more because of the order of the parts.

zxcvbn is not thread-safe and its cost grows faster than the length of the text. So one text is judged at a time, in pieces,
and no further than it takes to know that it is enough. The lists take 60 ms and some megabytes, and are loaded at first use.
"""

import re
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from math import log10
from types import ModuleType
from typing import Any
from unicodedata import normalize

MAX_PIECE = 40
"""Characters of a text that are judged at once."""
MIN_NAME_LENGTH, MAX_NAMES = 3, 16
MIN_WORD_WORTH = log10(50)
"""Of the commonest word: in a sentence or in random letters it is not the first guess. It is zxcvbn's own bound."""

_REPETITION = re.compile(r"(.)\1{2,}|(..)\2{2,}|(.{3,64}?)\3+", re.DOTALL)
_YEAR = re.compile(r"(?:19|20)\d\d")
_SEPARATOR = re.compile(r"[\W_]+")
_NAMES = "names"
_LOOK_ALIKE = str.maketrans("4@8(3601!|$57+2", "aabcegoiiissttz"), str.maketrans("4@8(3901!|$57+2", "aabcegolllssltz")
_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True)
class Strength:
    """What is left of a password. It is no secret, but close to one: it is neither logged nor returned."""

    left: float
    """Characters. It is at least what was asked for, if that was reached."""
    has_name: bool
    """Whether a name was taken out."""
    repeats: bool
    """Whether repetitions were at least half of it."""


@dataclass(frozen=True, slots=True)
class _Part:
    start: int
    end: int
    worth: float
    text: str
    is_name: bool = False


def estimate_strength(password: str, names: Collection[str], *, enough: float) -> Strength:
    """Return what is left of a prepared password when `names` are taken out too. `enough`: stop at so many characters.

    It takes milliseconds of CPU: call it in a thread.
    """
    text = normalize("NFKC", password).casefold()
    once = _REPETITION.sub(lambda found: found[1] or found[2] or found[3], text)
    known = {name: rank for rank, name in enumerate(_parts_of_names(names), 1)}
    worth: dict[str, float] = {}
    has_name = False
    with _LOCK:
        for piece in _pieces(once):
            for part in _parts(piece, known):
                has_name |= part.is_name
                worth.setdefault(part.text, part.worth)
            if sum(worth.values()) >= enough:
                break
    return Strength(sum(worth.values()), has_name, len(once) * 2 <= len(text))


def _parts_of_names(names: Collection[str]) -> list[str]:
    """Return the names, and the words in them: of `anna.miller` also `anna`, `miller`, `annamiller`."""
    found: dict[str, None] = {}
    for name in names:
        folded = normalize("NFKC", name).casefold()
        words = [word for word in _SEPARATOR.split(folded) if word]
        for one in (folded, "".join(words), *words):
            if len(one) >= MIN_NAME_LENGTH:
                found[one] = None
    return list(found)[:MAX_NAMES]


def _pieces(text: str) -> Iterator[str]:
    """Cut a text into pieces of at most MAX_PIECE characters, between words where it has words."""
    while len(text) > MAX_PIECE:
        cuts = [found.end() for found in _SEPARATOR.finditer(text, MAX_PIECE // 2, MAX_PIECE)]
        cut = cuts[-1] if cuts else MAX_PIECE
        yield text[:cut]
        text = text[cut:]
    yield text


def _parts(piece: str, names: dict[str, int]) -> list[_Part]:
    """Return the parts that cover a piece and are worth least together."""
    by_end: dict[int, list[_Part]] = {}
    for part in _known_parts(piece, names):
        by_end.setdefault(part.end, []).append(part)
    # For each length: the worth of the cheapest cover of the beginning, and its last part.
    best: list[tuple[float, _Part | None]] = [(0.0, None)]
    for end in range(1, len(piece) + 1):
        single = _Part(end - 1, end, 1.0, piece[end - 1])
        best.append(
            min(((best[part.start][0] + part.worth, part) for part in (single, *by_end.get(end, ()))), key=lambda one: one[0])
        )
    cover: list[_Part] = []
    last = best[-1][1]
    while last is not None:
        cover.append(last)
        last = best[last.start][1]
    return cover[::-1]


def _known_parts(piece: str, names: dict[str, int]) -> Iterator[_Part]:
    yield from _words(piece, names)
    matching, scoring = _zxcvbn()
    for found in _YEAR.finditer(piece):
        # zxcvbn knows the years until 2019 only.
        distance = max(abs(int(found[0]) - scoring.REFERENCE_YEAR), scoring.MIN_YEAR_SPACE)
        yield _Part(found.start(), found.end(), log10(distance), "a year")
    matches = (*matching.spatial_match(piece), *matching.sequence_match(piece), *matching.date_match(piece))
    for match in matches:
        token: str = match["token"]
        # By itself: as a part of a longer text, zxcvbn gives every part 50 guesses, and so `123` two characters.
        worth = max(log10(scoring.estimate_guesses(match, token)), 1.0)
        yield _Part(match["i"], match["j"] + 1, worth, token)


def _words(piece: str, names: dict[str, int]) -> Iterator[_Part]:
    """Return the words and names in a piece, also those written backwards or with characters that look alike."""
    matching, _ = _zxcvbn()
    lists = {**matching.RANKED_DICTIONARIES, _NAMES: names}
    found: list[dict[str, Any]] = [*matching.reverse_dictionary_match(piece, lists)]
    # Two readings, where zxcvbn tries all combinations: of 40 characters those can be thousands.
    for reading in dict.fromkeys((piece, *(piece.translate(table) for table in _LOOK_ALIKE))):
        found += matching.dictionary_match(reading, lists)
    for match in found:
        start, end, word = match["i"], match["j"] + 1, match["matched_word"]
        is_name = match["dictionary_name"] == _NAMES
        worth = log10(match["rank"] * (1 if piece[start:end] == word else 2))
        lowest = min(MIN_WORD_WORTH, end - start) if word.isalpha() and not is_name else 1.0
        yield _Part(start, end, max(worth, lowest), word, is_name)


@cache
def _zxcvbn() -> tuple[ModuleType, ModuleType]:
    from zxcvbn import matching, scoring

    return matching, scoring
