"""Which direction of a metric is better, from its name; the user can always say it."""

from __future__ import annotations

import re
from typing import Literal

LOW_IS_GOOD = (
    r"loss|nll|ce|cross_?entropy|perplexity|ppl|bpb|bits_per_(?:byte|token|dim)"
    r"|mse|rmse|mae|wer|cer|fid|error|err|error_rate"
)
HIGH_IS_GOOD = (
    r"accuracy|acc|top_?[15]|top_?[15]_(?:accuracy|acc)|f1|f1_score|auc|auroc"
    r"|bleu|rouge|psnr|ssim|r2|reward|return|map|miou"
)
_LOW = re.compile(rf"(?:\w+_)?(?:{LOW_IS_GOOD})(?:_\w+)?")
_HIGH = re.compile(rf"(?:\w+_)?(?:{HIGH_IS_GOOD})(?:_\w+)?")


def guess_mode(usual_name: str) -> Literal["min", "max"] | None:
    """Return min for the name of a loss or an error, max for one of an accuracy or a score, None for any other."""
    low, high = bool(_LOW.fullmatch(usual_name)), bool(_HIGH.fullmatch(usual_name))
    if low == high:
        return None
    return "min" if low else "max"
