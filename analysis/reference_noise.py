"""What the noise of a reference gradient may have done to |g|₁ and to the signs: from none to all of it.

A probe has one reference gradient, over N examples, and so no spread of draws for what is made of it. In mean field its
noise lengthens |g|₁ by (1 + B_simple/N)^(1/2) and, by turning signs, shrinks sᵀHs - tr H by (1 + B_simple/N). How much
of that happened is not known; the samples spread evenly over it, and the value is left as measured.
"""

from __future__ import annotations

import numpy as np

from .law import Array

NOISY_REFERENCE = 0.5
"""Noise over signal, B_simple/N, beyond which a reference gradient is not trusted (|g|₁ may be 22 % too large)."""
FLOORED = 0.1
"""Share of its largest possible value, N, beyond which κ² is a lower bound: too many coordinates have no signal."""


def spread_reference(values: dict[str, Array], *, examples: dict[str, float], rng: np.random.Generator) -> None:
    """Fill in the samples of ``grad_l1`` and ``curvature_sign`` where they rest on one reference gradient.

    Args:
        values: constants, value first and samples after it; changed in place. Nothing is done without ``b_simple``.
        examples: N behind each constant that is to be filled in.
        rng: decides the samples.
    """
    if "b_simple" not in values or not examples:
        return
    happened = rng.random(len(values["b_simple"]) - 1)
    for name, count in examples.items():
        if not count > 0:
            continue
        share = values["b_simple"][1:] / count
        noise = happened * np.where(np.isfinite(share), share, np.nan)  # without signal nothing is known
        measured = float(values[name][0])
        if name == "grad_l1":
            drawn = measured / np.sqrt(1.0 + noise)
        else:
            trace = values["hessian_trace"][1:] if "hessian_trace" in values else 0.0
            drawn = measured + (measured - trace) * noise
        values[name] = np.concatenate([[measured], drawn])


def reference_doubts(values: dict[str, Array], *, examples: dict[str, float]) -> dict[str, str]:
    """Return why constants of a reference gradient are not to be trusted, by name.

    Args:
        values: constants.
        examples: N behind each constant made of a reference gradient.
    """
    doubts = {}
    b_simple = float(values["b_simple"][0]) if "b_simple" in values else np.nan
    for name, count in examples.items():
        if not count > 0:
            continue
        if name == "noise_to_signal":
            if float(values[name][0]) > FLOORED * count:
                doubts[name] = (
                    f"a lower bound: many coordinates show no signal in the reference gradient of {count:.0f} examples"
                )
        elif b_simple > NOISY_REFERENCE * count:
            need = f"about {b_simple / NOISY_REFERENCE:.2g}" if np.isfinite(b_simple) else "many more"
            doubts[name] = (
                f"the reference gradient of {count:.0f} examples has too much noise for its signs; it needs {need}"
            )
    return doubts
