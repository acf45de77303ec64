"""Standardized logits and the number of classes: arithmetic that defaults and advice share.

Sun, Ren, Li, Wang, Cao (2024), arXiv:2403.01427, scale each sample's logits to mean 0 and standard
deviation 1. A one-hot row of K logits then has the gap √K between its top and the rest, so how sure a
teacher can still be depends on K and on T alone.
"""

from __future__ import annotations

import math

PUBLISHED_TEMPERATURE = 2.0
SURE = 0.6  # what the authors' T = 2 leaves at their 100 classes


def highest_probability(classes: int, temperature: float) -> float:
    """1 / (1 + (K − 1) e^(−√K / T)), which no softened answer from standardized logits exceeds.

    Args:
        classes: K ≥ 2.
        temperature: T > 0.
    """
    return 1 / (1 + (classes - 1) * math.exp(-math.sqrt(classes) / temperature))


def standardized_temperature(classes: int) -> float:
    """min(2, √K / ln(1.5 (K − 1))), to three decimals: the T at which the highest probability is 0.6.

    That is the published 2 for 2 classes, and for 100 and more; 1.215 for 10.

    Args:
        classes: K ≥ 2.
    """
    odds = SURE / (1 - SURE)
    return round(min(PUBLISHED_TEMPERATURE, math.sqrt(classes) / math.log(odds * (classes - 1))), 3)
