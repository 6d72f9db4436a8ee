"""Wilson's interval against published and independently computed values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.reporting.domain.shares import wilson_interval


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # R. G. Newcombe, Statistics in Medicine 17 (1998), p. 861, table I, method 3 (score, uncorrected)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (3, 5, 0.2307, 0.8824),
    ],
)
def test_published_values(successes: int, n: int, low: float, high: float) -> None:
    """The interval agrees with the literature to four digits."""
    interval = wilson_interval(successes, n)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_interval_holds_the_share_and_is_symmetric(drawn: tuple[int, int]) -> None:
    """The share lies inside, the ends inside 0 and 1, and the interval of the failures is the mirror image."""
    successes, n = drawn
    interval = wilson_interval(successes, n)
    assert 0 <= interval.low <= successes / n <= interval.high <= 1
    mirrored = wilson_interval(n - successes, n)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((interval.low, interval.high), abs=1e-9)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (2, 1), (-1, 3)])
def test_no_share_of_nothing(successes: int, n: int) -> None:
    """What is no share is refused, not guessed."""
    with pytest.raises(ValueError, match="no share"):
        wilson_interval(successes, n)
