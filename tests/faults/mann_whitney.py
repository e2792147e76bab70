"""Whether two samples come from one distribution: the Mann-Whitney U test, two-sided, by the normal approximation."""

import math
from collections import Counter
from collections.abc import Sequence


def mann_whitney(one: Sequence[float], other: Sequence[float]) -> float:
    """The p-value, corrected for ties and for continuity. For samples of some twenty and more."""
    sizes = len(one), len(other)
    total, below, ranks, ties = sum(sizes), 0, dict[float, float](), 0
    for value, count in sorted(Counter([*one, *other]).items()):
        ranks[value] = below + (count + 1) / 2
        below += count
        ties += count**3 - count
    u = sum(ranks[value] for value in one) - sizes[0] * (sizes[0] + 1) / 2
    mean = math.prod(sizes) / 2
    deviation = math.sqrt(math.prod(sizes) / 12 * (total + 1 - ties / (total * (total - 1))))
    return math.erfc(max(0.0, abs(u - mean) - 0.5) / deviation / math.sqrt(2))
