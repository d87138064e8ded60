"""The part of a section that holds the laws derived from gradients: what they say, two figures, and their tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from ..compare import UNDETERMINED
from ..derived.verdicts import REJECTED, SUPPORTED
from ..derived.words import three_way_sentences, verdict_sentences
from ..derived_study import DerivedStudy
from ..figures import (
    PAGE,
    derived_rates_figure,
    derived_rates_table,
    laws_table,
    noise_steps_figure,
    noise_steps_table,
    optima_table,
)
from ..study_analysis import Analysis
from . import captions
from .derived_tables import (
    agreements_markup,
    constants_markup,
    curves_markup,
    derivations_markup,
    derived_rates_markup,
    parameters_markup,
    runs_markup,
    three_way_markup,
    verdicts_markup,
)
from .markup import Markup, capitalised, details, paragraph, prose
from .shown import Shown, figure_markup


def derived_markup(
    derived: DerivedStudy,
    *,
    number: int,
    first: int,
    fitted: Analysis | None = None,
    verdict: str = UNDETERMINED,
    all_figures: bool = True,
) -> Markup:
    """Return everything that probes say of one sweep; nothing of a sweep without any.

    Args:
        derived: of this sweep alone.
        number: of the sweep on the page.
        first: number of the first figure in the section.
        fitted: of this sweep alone; None where nothing was fitted.
        verdict: name of the law that the sweep follows, or ``undetermined``.
        all_figures: or the tables alone.
    """
    if derived.runs.empty:
        return ""
    figures = list(_figures(derived, fitted, verdict)) if all_figures else []
    rates, *others = [
        figure_markup(shown, name=f"figure-{number}-{position}", label=f"{number}.{position}")
        for position, shown in enumerate(figures, start=first)
    ] or [""]
    return "".join(
        [
            _verdict(derived),
            rates,
            verdicts_markup(derived),
            parameters_markup(derived),
            curves_markup(derived),
            derived_rates_markup(derived),
            details("What each derivation is, and what it takes for granted", derivations_markup(derived)),
            *others,
            _said(three_way_sentences(derived.three_way, derived.agreements)),
            three_way_markup(derived),
            details("Which noise scales agree", agreements_markup(derived)),
            details("The probe runs", runs_markup(derived)),
            details("Constants measured at every probe", constants_markup(derived)),
        ]
    )


def _figures(derived: DerivedStudy, fitted: Analysis | None, verdict: str) -> Iterator[Shown]:
    rates = derived_rates_table(derived.derived, derived.verdicts)
    optima = optima_table(fitted.optima) if fitted is not None else pd.DataFrame(columns=_NO_OPTIMA)
    laws = pd.DataFrame()
    if fitted is not None and len(fitted.bands):
        laws = laws_table(fitted.bands, fitted.fits, verdict=verdict)
    yield Shown(
        heading="Derived and fitted rates" if len(optima) else "Derived rates",
        caption=captions.DERIVED if len(optima) else captions.DERIVED_ALONE,
        figure=derived_rates_figure(rates, optima, laws, runs=derived.runs, theme=PAGE),
    )
    scales = noise_steps_table(derived.three_way, derived.noise_scales, derived.runs)
    if scales["value"].notna().any():
        definitions = derived.three_way.loc[derived.three_way["source"] == "probe_b_noise", "definition"]
        factor = str(definitions.iloc[0]).partition("noise factor ")[2]
        caption = f"{captions.NOISE_STEPS} {captions.NOISE_FACTOR.format(factor)}" if factor else captions.NOISE_STEPS
        yield Shown(
            heading="The noise scale along training",
            caption=caption,
            figure=noise_steps_figure(scales, derived.three_way, theme=PAGE),
        )


_NO_OPTIMA = ["batch_size", "learning_rate", "low", "high", "reading"]


def _verdict(derived: DerivedStudy) -> Markup:
    """Return what the data say of each derivation, in a box like that of the fitted laws' verdict."""
    unnamed = derived.verdicts.assign(study="", workload="", optimizer="")
    sentences = verdict_sentences(unnamed)
    if not sentences:
        return paragraph("There are no fitted rates to judge the derivations by; the figure shows what they say.")
    items = "".join(f"<li>{prose(line)}</li>" for line in sentences)
    parts = []
    for verdict, words in ((SUPPORTED, "supported"), (REJECTED, "rejected")):
        names = [str(name) for name in derived.verdicts.loc[derived.verdicts["verdict"] == verdict, "derivation"]]
        parts += [f"{', '.join(names)} {words}"] if names else []
    kind = "verdict" if parts else "verdict undetermined"
    heading = f"Laws derived from gradients: {'; '.join(parts) or 'none is resolved'}"
    return f'<div class="{kind}"><h3>{prose(heading)}</h3><ul>{items}</ul></div>'


def _said(sentences: Sequence[str]) -> Markup:
    if not sentences:
        return ""
    return f"<ul>{''.join(f'<li>{prose(capitalised(line))}</li>' for line in sentences)}</ul>"
