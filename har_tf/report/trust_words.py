"""What was found of a model's trust, in sentences with their numbers, of what `har_tf.scrutiny` measured."""

from collections.abc import Mapping, Sequence

from har_tf.evaluate.comparison import Verdict
from har_tf.evaluate.map_similarity import Outcome
from har_tf.evaluate.reliance import Needs

_AXES = {"space": "In space", "time": "In time", "both": "In space and time"}
_CHANGES = {
    "shuffled": "its frames are shuffled",
    "reversed": "a clip is played backwards",
    "one frame": "one frame is repeated",
    "mirrored": "clips are mirrored",
}
_FOLLOWS = (Outcome.CHANGES, Outcome.PARTLY)
_NOT_MEASURED = "not measured"


def percent(share: float) -> str:
    """A share as "61 %"."""
    return f"{100 * share:.0f} %"


def mean(found: Mapping, digits: int = 2) -> str:
    """A mean with its interval, as "0.61 (0.55 to 0.70)"; of none "not known"."""
    if found["mean"] is None:
        return "not known"
    around = between(found["interval"], digits)
    return _rounded(found["mean"], digits) + (f" ({around})" if around else "")


def between(interval: Sequence[float] | None, digits: int = 2) -> str | None:
    """An interval as "-0.20 to -0.05", which a dash would make hard to read; of none None."""
    return interval and " to ".join(_rounded(bound, digits) for bound in interval)


def _rounded(number: float, digits: int) -> str:
    return f"{round(number, digits) + 0.0:.{digits}f}"  # never "-0.00"


def listed(names: Sequence[str], joined: str = "and") -> str:
    """Names as "a, b and c"."""
    *others, last = names
    return f"{', '.join(others)} {joined} {last}" if others else last


def recordings(count: int) -> str:
    """Such as "1 recording"."""
    return f"{count} recording{'s' * (count != 1)}"


def relied_on(reliance: Mapping) -> str:
    """What a model uses, in a paragraph."""
    verdicts, effects = reliance["verdicts"], reliance["effects"]
    parts = [f"On {reliance['clips']} clips its accuracy is {mean(reliance['accuracy'])}."]
    if verdicts["order"] != Needs.NOT_MEASURED:
        why = (
            "No probability moves when frames change places."
            if verdicts["order_blind"]
            else _changed(effects, _deciding(effects))
        )
        parts.append(f"Needs the order of frames: {verdicts['order']}. {why}")
    moves = verdicts["order"] == verdicts["motion"] == Needs.YES
    for claim, verdict, change in (
        ("motion" if moves else "several frames", verdicts["several_frames"], "one frame"),
        ("left and right as they are", verdicts["sides"], "mirrored"),
    ):
        if verdict != Needs.NOT_MEASURED:
            parts.append(f"Needs {claim}: {verdict}. {_changed(effects, change)}")
    parts.append(_background(reliance))
    parts += _robust(reliance)
    return " ".join(part.strip() for part in parts)


def _deciding(effects: Mapping[str, Mapping]) -> str | None:
    """Of the two changes of order the one that decides: a loss that is shown before any other, the larger first."""
    orders = [name for name in ("shuffled", "reversed") if name in effects]
    return min(
        orders,
        key=lambda name: (effects[name]["lost"]["verdict"] != Verdict.WORSE, effects[name]["lost"]["mean"]),
        default=None,
    )


def _changed(effects: Mapping[str, Mapping], change: str | None) -> str:
    return (
        f"Its accuracy changes by {mean(effects[change]['lost'])} when {_CHANGES[change]}." if change in effects else ""
    )


def _background(reliance: Mapping) -> str:
    found, verdict = reliance["background"], reliance["verdicts"]["background"]
    if not found:
        asked = "background" in reliance.get("plan", {}).get("changes", ("background",))
        why = (
            "no clip has a true box of the person that leaves a background around it"
            if asked
            else "the change was not asked for"
        )
        return f"Reads the background: not measured, as {why}."
    numbers = [f"{mean(found['accuracy'])} without the person"]
    for key, words in (
        ("hole_elsewhere", "with as much hidden elsewhere"),
        ("other", "with the same hole in a clip of another class"),
    ):
        if found.get(key):
            numbers.append(f"{mean(found[key])} {words}")
    why = "" if found.get("other") else ", as no clip of another class and recording has such a box"
    verdict = f"{verdict}{why if verdict == Needs.NOT_MEASURED else ''}"
    return (
        f"Reads the background: {verdict}. Of {found['clips']} clips its accuracy is {listed(numbers)}, "
        f"where always answering the most frequent class reaches {found['chance']:.2f}."
    )


def _robust(reliance: Mapping) -> list[str]:
    verdicts, every = reliance["verdicts"], reliance.get("robustness", {}).get("all")
    if verdicts["robust"] == Needs.NOT_MEASURED or not every:
        return []
    on = f" on {reliance['corrupted']} clips" if "corrupted" in reliance else ""
    text = f"Robust to corruption: {verdicts['robust']}. Its accuracy changes by {mean(every['lost'])}{on}, over all."
    worst = verdicts["worst"][:3]
    return [text, *([f"Most is lost under {listed(worst)}."] if worst else [])]


_CLAIMS = {
    "order": "the order of frames",
    "several_frames": "several frames",
    "motion": "motion",
    "sides": "left and right as they are",
}


def relied_in_short(reliance: Mapping) -> str:
    """The verdicts of `relied_on` by their outcome, in at most three sentences."""
    verdicts = reliance["verdicts"]
    moves = verdicts["order"] == verdicts["motion"] == Needs.YES
    keys = ("order", "motion" if moves else "several_frames", "sides")

    def sentence(begins: str, verdict: Needs, reads: str) -> str:
        claims = [_CLAIMS[key] for key in keys if verdicts[key] == verdict]
        joined = "and" if verdict == Needs.YES else "or"
        parts = [f"need{'s' * (verdict == Needs.YES)} {listed(claims, joined)}"] if claims else []
        parts += [reads] if verdicts["background"] == verdict else []
        return f"{begins} {f' {joined} '.join(parts)}." if parts else ""

    found = (
        sentence("It", Needs.YES, "reads the background"),
        sentence("It does not", Needs.NO, "read the background"),
        sentence("It is not shown to", Needs.NOT_SHOWN, "read the background"),
    )
    return " ".join(filter(None, found))


def outcomes_of(found: Mapping) -> dict[str, str]:
    """Method -> what random weights do to its maps; empty where it was not measured."""
    return {name: each["outcome"] for name, each in found.get("randomization", {}).get("methods", {}).items()}


def best_methods(rows: list[Mapping], axis: str, outcomes: Mapping[str, str]) -> list[str]:
    """The methods that are better than every control along an axis and follow the network's weights, the best first.

    Args:
        rows: of `har_tf.scrutiny`, methods and controls.
        axis: "space", "time" or "both".
        outcomes: of `outcomes_of`; a method of which it was not measured may be among the best.
    """
    better = _better(rows, axis)
    return [name for name in better if outcomes.get(name, _NOT_MEASURED) in (*_FOLLOWS, _NOT_MEASURED)]


def _better(rows: list[Mapping], axis: str) -> list[str]:
    good = [row for row in rows if row["kind"] == "method" and row["beats_controls"][axis]]
    return [row["name"] for row in sorted(good, key=lambda row: -row["gain"][axis]["mean"])]


def explained_by(found: Mapping, axis: str) -> str:
    """Which explanation deserves trust for a model, in a few sentences."""
    outcomes, rows, where = outcomes_of(found), found["rows"], _AXES[axis]
    gains = {row["name"]: row["gain"][axis] for row in rows if row["gain"][axis]["mean"] is not None}
    if not gains:
        return (
            f"{where}: not measured, as the probability of every clip falls by less than 0.05 under one of the fills."
        )
    names = best_methods(rows, axis, outcomes)
    others = [name for name in _better(rows, axis) if name not in names]
    text = []
    if names:
        first, *rest = names
        text.append(
            f"{where}: {first} marks best what the model uses, with a gain of {mean(gains[first])}, better than every "
            f"control (follows the weights: {outcomes.get(first, _NOT_MEASURED)})."
        )
        if rest:
            text.append(f"Also better than every control: {_with_outcomes(rest, outcomes)}.")
    else:
        first = max(gains, key=lambda name: gains[name]["mean"])
        claim = "is shown to be better than every control" + (" and to follow the weights" if others else "")
        text.append(f"{where}: no method {claim}. The highest gain is {gains[first]['mean']:.2f}, of {first}.")
    if others:
        text.append(
            f"Better than every control, but not shown to follow the weights: {_with_outcomes(others, outcomes)}."
        )
    tried = sum(row["kind"] == "method" for row in rows)
    if names and tried > 1:
        text.append(
            f"It was chosen among {tried} methods on the same clips, so its gain is optimistic: on other clips expect "
            "less."
        )
    return " ".join(text)


def _with_outcomes(names: Sequence[str], outcomes: Mapping[str, str]) -> str:
    return listed([f"{name} ({outcomes.get(name, _NOT_MEASURED)})" for name in names])


def explained_in_short(found: Mapping, axis: str) -> str:
    """The best explanation along an axis, in a sentence."""
    outcomes, where = outcomes_of(found), _AXES[axis].lower()
    if not any(row["gain"][axis]["mean"] is not None for row in found["rows"]):
        return f"Explanations could not be measured {where}."
    names = best_methods(found["rows"], axis, outcomes)
    if not names:
        return f"No explanation is shown to be better than every control {where} and to follow the weights."
    gain = next(row["gain"][axis] for row in found["rows"] if row["name"] == names[0])
    return (
        f"{names[0]} explains it best {where}, with a gain of {mean(gain)}. Follows the weights: "
        f"{outcomes.get(names[0], _NOT_MEASURED)}."
    )


def unchanged(found: Mapping) -> str | None:
    """Which maps depend on what the network has learned, in a few sentences; None where it was not measured."""
    if "randomization" not in found:
        return None
    return f"When the network's weights are drawn anew, {_outcomes(found['randomization']['methods'])}"


def left_out(found: Mapping) -> list[str]:
    """What could not be measured of explanations and why, a sentence each."""
    texts = [f"{title} is left out: {reason.rstrip('.')}." for title, reason in found.get("not_defined", {}).items()]
    if reason := found.get("randomization_not_measured"):
        texts.append(f"Whether maps change with other weights was not measured: {reason.rstrip('.')}.")
    return texts


def random_labels(found: Mapping) -> str:
    """What the same network says after training on labels that were dealt out anew, in a few sentences."""
    return (
        f"Trained on labels that were dealt out anew its accuracy is {mean(found['accuracy'])}. Beside those of the "
        f"true labels, {_outcomes(found['methods'])}"
    )


_WORDS = {
    Outcome.UNCHANGED: "stay alike, and so do not show what was learned",
    Outcome.PARTLY: "change in part",
    Outcome.CHANGES: "change",
    Outcome.NOT_SHOWN: "come from too few recordings, or are too unlike each other, to tell whether they change",
    Outcome.ALL_ALIKE: "are so alike in all clips that no change can be told",
}


def _outcomes(methods: Mapping[str, Mapping]) -> str:
    named: dict[str, list[str]] = {}
    for name, each in methods.items():
        named.setdefault(each["outcome"], []).append(name)
    parts = [f"maps of {listed(named[outcome])} {words}" for outcome, words in _WORDS.items() if outcome in named]
    return ". ".join(part if k == 0 else part[0].upper() + part[1:] for k, part in enumerate(parts)) + "."


def of_probabilities(found: Mapping) -> str:
    """What probabilities are worth, in a few sentences."""
    if "not_measured" in found:
        return f"Not measured: {found['not_measured'].rstrip('.')}."
    before = found["as_trained"]
    errors = f"Its calibration error is {before['ece']['value']:.3f} as trained"
    if "corrected" in found:
        errors += f", {found['corrected']['ece']['value']:.3f} with a temperature of {found['temperature']:.2f}."
    else:
        errors += f", and no temperature was fitted: {found['not_fitted'].rstrip('.')}."
    parts = [
        f"It is right in {percent(before['accuracy'])} of {before['clips']} clips and gives its answers a probability "
        f"of {percent(before['confidence'])} on average.",
        errors,
    ]
    if sets := found.get("sets"):
        parts.append(
            f"Sets of classes that should hold the true one in {percent(sets['wanted'])} of clips hold it in "
            f"{percent(sets['covered'])}, with {sets['size']:.1f} classes on average."
        )
    elif "no_sets" in found:
        parts.append(f"There are no sets of classes: {found['no_sets'].rstrip('.')}.")
    if chosen := found.get("abstention"):
        right = "none" if chosen["precision"] is None else percent(chosen["precision"])
        parts.append(
            f"From a probability of {chosen['threshold']:.2f} on it answers {chosen['answered']} of {chosen['clips']} "
            f"clips, {right} of them rightly (wanted: {percent(chosen['wanted'])})."
        )
    elif "no_abstention" in found:
        parts.append(f"There is no threshold for answers: {found['no_abstention'].rstrip('.')}.")
    return " ".join(parts)


def probabilities_in_short(found: Mapping) -> str:
    """Confidence beside accuracy, in a sentence."""
    if "not_measured" in found:
        return "Its probabilities were not measured."
    key = "corrected" if "corrected" in found else "as_trained"
    kept = found[key]
    said = f"with a temperature of {found['temperature']:.2f}" if key == "corrected" else "as trained"
    return (
        f"Its probabilities, {said}, are {percent(kept['confidence'])} on average where {percent(kept['accuracy'])} of "
        f"its answers are right (calibration error {kept['ece']['value']:.3f})."
    )
