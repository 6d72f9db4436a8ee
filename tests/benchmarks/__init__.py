"""What the product measures of itself, each figure beside a yardstick of the same run. ``make bench [ONLY=P1,P2]``."""
