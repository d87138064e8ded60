"""Predictions and plans as sentences, made of their numbers only."""

from __future__ import annotations

from .compare import UNDETERMINED
from .hyperbola import Interval
from .planner import DevicePlan, Plan
from .prediction import FAR, LawShare, Prediction
from .sentences import OUTCOME_TEXT

NEARLY_PERFECT = 0.8
"""A speed-up of this share of the devices is called nearly perfect."""
_SHOWN = 0.01


def prediction_sentences(prediction: Prediction) -> list[str]:
    """Return the rate, what stands behind its interval, and how far it reaches beyond the data."""
    batch = batch_words(prediction.batch_size)
    name = f"{prediction.sweep}: " if prediction.sweep else ""
    if prediction.status == "refused":
        return [f"{name}no rate for batch size {batch}: {prediction.reason}."]
    lines = [f"{name}{_rate(prediction, batch)}"]
    if prediction.verdict:
        lines.append(_support(prediction))
    if prediction.beyond > 1:
        lines.append(_reach(prediction))
    return lines


def plan_sentences(plan: Plan) -> list[str]:
    """Return the answer to "n times the hardware, 1/n of the time?", and what it rests on."""
    name = f"{plan.sweep}: " if plan.sweep else ""
    known = [p for p in plan.plans if p.speed_up is not None]
    lines = []
    if known and known[-1].devices > 1:
        lines.append(f"{name}{_answer(known[-1], plan)}")
        good = [p.devices for p in known if p.efficiency is not None and p.efficiency.value >= NEARLY_PERFECT]
        if good and good[-1] > 1 and good[-1] != known[-1].devices:
            lines.append(f"Nearly perfect ({NEARLY_PERFECT:.0%} or more) up to {good[-1]} devices.")
    lost = [str(p.devices) for p in plan.plans if p.status == "not_identified"]
    if lost:
        lines.append(f"{'' if lines else name}No numbers for {_devices(lost)}: {plan.reason}.")
    far = [str(p.devices) for p in plan.plans if p.status == "extrapolated"]
    if far and plan.tested is not None:
        lines.append(
            f"{_devices(far).capitalize()} lie more than {FAR:.0f} times outside the batch sizes with measured steps "
            f"({batch_words(plan.tested[0])} to {batch_words(plan.tested[1])}): an extrapolation."
        )
    if plan.b_crit is not None:
        lines.append(
            f"B_crit = E_min/S_min is {interval_words(plan.b_crit)} examples per step, where a run takes twice the "
            "fewest steps and twice the fewest examples."
        )
    if known:
        lines.append(_caveat(plan))
    return lines


def batch_words(batch_size: float) -> str:
    """Return a batch size as it is written into a configuration."""
    return f"{batch_size:.0f}" if float(batch_size).is_integer() else f"{batch_size:g}"


def interval_words(interval: Interval, *, digits: int = 3) -> str:
    """Return ``0.0112 [0.0073, 0.0144]``."""
    return f"{interval.value:.{digits}g} [{interval.low:.{digits}g}, {interval.high:.{digits}g}]"


def _rate(prediction: Prediction, batch: str) -> str:
    rate = f"{prediction.learning_rate:.3g}"
    if prediction.low is not None and prediction.high is not None:
        rate += f" [{prediction.low:.3g}, {prediction.high:.3g}]"
    by = f" by {prediction.laws[0].law}" if len(prediction.laws) == 1 else ""
    pair = prediction.pair
    if pair is None:
        outcome = OUTCOME_TEXT.get(prediction.outcome, prediction.outcome)
        text = f"at batch size {batch} the best rate{by} is {rate} ({outcome})"
    else:
        text = (
            f"{pair.learning_rate:g} at batch size {batch_words(pair.batch_size)} becomes{by} {rate} at batch size "
            f"{batch}"
        )
    if prediction.low is None:
        return f"{text}; there is no interval, because the law is assumed and not measured."
    if len(prediction.laws) == 1:
        return f"{text}; the 95 % interval leaves out the choice between laws."
    return f"{text}; the 95 % interval holds the choice between laws."


def _support(prediction: Prediction) -> str:
    if prediction.verdict != UNDETERMINED:
        return f"The verdict is {prediction.verdict}."
    shared = [share for share in prediction.laws if (share.weight or 0.0) >= _SHOWN]
    if len(prediction.laws) == 1 or not shared:
        return "The law is undetermined."
    if len(shared) == 1:
        return f"The law is undetermined: {_weight(shared[0])} has most of the weight, but others are not rejected."
    listed = ", ".join(_weight(share) for share in shared)
    return f"The law is undetermined: {listed} share the weight."


def _weight(share: LawShare) -> str:
    return f"{share.law} ({share.weight:.2f})"


def _reach(prediction: Prediction) -> str:
    assert prediction.tested is not None
    low, high = prediction.tested
    batch, factor = batch_words(prediction.batch_size), f"{prediction.beyond:.3g}"
    text = (
        f"{batch} is {factor} times the largest batch size tested, {batch_words(high)}"
        if prediction.batch_size > high
        else f"{batch} is {factor} times smaller than the smallest batch size tested, {batch_words(low)}"
    )
    if prediction.beyond <= FAR:
        return f"{text}."
    return (
        f"{text}: an extrapolation. Laws that agree where they were tested may part there; begin a sweep at this rate "
        "rather than rely on it."
    )


def _answer(plan: DevicePlan, whole: Plan) -> str:
    assert plan.speed_up is not None
    assert plan.efficiency is not None
    base = batch_words(whole.examples_per_device)
    what = "time" if whole.hardware.parallel_efficiency < 1 else "steps"
    return (
        f"{plan.devices} devices in place of one (batch size {batch_words(plan.batch_size)} in place of {base}) reach "
        f"the target {interval_words(plan.speed_up)} times sooner in {what}, where {plan.devices} would be perfect: "
        f"{plan.efficiency.value:.0%} [{plan.efficiency.low:.0%}, {plan.efficiency.high:.0%}]."
    )


def _caveat(plan: Plan) -> str:
    kept = plan.hardware.parallel_efficiency
    speed = (
        "Communication is not modelled: a step on n devices is taken to last as long as on one"
        if kept == 1
        else f"Several devices are taken to keep {kept:.0%} of perfect data-parallel speed"
    )
    origin = f"; {plan.hardware.origin}" if plan.hardware.origin else ""
    return f"{speed}{origin}."


def _devices(counts: list[str]) -> str:
    return f"{', '.join(counts)} device{'' if counts == ['1'] else 's'}"
