"""Names of `keras.src.metrics.metrics_utils`: what AUC calls its curves and sums."""

from __future__ import annotations


class AUCCurve:
    """Curves by name."""

    ROC, PR, PRGAIN = "ROC", "PR", "PRGAIN"


class AUCSummationMethod:
    """Sums by name."""

    INTERPOLATION, MAJORING, MINORING = "interpolation", "majoring", "minoring"
