"""Shares with their uncertainty."""

from dataclasses import dataclass
from math import sqrt

INTERVAL_SOURCE = (
    "Wilson score interval, 95 %: E. B. Wilson, Probable Inference, the Law of Succession, and Statistical "
    "Inference, Journal of the American Statistical Association 22 (158), 1927, pp. 209-212"
)

_Z_95 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Both ends of an interval of shares, each from 0 to 1."""

    low: float
    high: float


def wilson_interval(successes: int, n: int, z: float = _Z_95) -> Interval:
    """The Wilson score interval of the share ``successes / n``.

    With p = successes / n:

        (p + z²/2n ± z · sqrt(p(1 − p)/n + z²/4n²)) / (1 + z²/n)

    Source: E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", Journal of the
    American Statistical Association 22 (158), 1927, pp. 209–212. Raises ``ValueError`` unless 0 ≤ successes ≤ n, n > 0.
    """
    if n <= 0 or not 0 <= successes <= n:
        raise ValueError(f"no share of {successes} in {n}")
    p = successes / n
    centre = p + z * z / (2 * n)
    half_width = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At the borders the formula gives exactly 0 and 1; rounding must not push the ends past them or inside.
    low = 0.0 if successes == 0 else (centre - half_width) / scale
    high = 1.0 if successes == n else (centre + half_width) / scale
    return Interval(low, high)
