"""What was found of a model's trust, in sentences with their numbers, of what `har_tf.scrutiny` measured."""

from collections.abc import Mapping

from har_tf.evaluate.reliance import Needs

_NEEDS = {
    "order": ("needs the order of frames", "shuffled"),
    "motion": ("needs motion", "one frame"),
    "sides": ("needs left and right as they are", "mirrored"),
}


def percent(share: float) -> str:
    """A share as "61 %"."""
    return f"{100 * share:.0f} %"


def mean(found: Mapping, digits: int = 2) -> str:
    """A mean with its interval, as "0.61 (0.55 to 0.70)"; of none "not known"."""
    if found["mean"] is None:
        return "not known"
    low_high = found["interval"]
    interval = f" ({low_high[0]:.{digits}f} to {low_high[1]:.{digits}f})" if low_high else ""
    return f"{found['mean']:.{digits}f}{interval}"


def relied_on(reliance: Mapping) -> str:
    """What a model uses, in a paragraph."""
    verdicts, effects = reliance["verdicts"], reliance["effects"]
    parts = [f"On {reliance['clips']} clips it is right in {mean(reliance['accuracy'])}"]
    for key, (claim, change) in _NEEDS.items():
        if verdicts[key] == Needs.NOT_MEASURED:
            continue
        found = effects.get(change)
        number = f", {percent(found['accuracy']['mean'])} right {_HOW[change]}" if found else ""
        blind = ": no answer moves when frames change places" if key == "order" and verdicts["order_blind"] else number
        parts.append(f"{claim}: {verdicts[key]}{blind}")
    if background := reliance["background"]:
        parts.append(_background(background, verdicts["background"]))
    else:
        parts.append("reads the background: not measured, as no clip has true boxes")
    if worst := verdicts.get("worst"):
        parts.append(f"corruptions cost most accuracy: {', '.join(worst[:3])}")
    return "; ".join(parts) + "."


_HOW = {"shuffled": "with frames in another order", "one frame": "with one frame repeated", "mirrored": "when mirrored"}


def _background(found: Mapping, verdict: str) -> str:
    if found["left"] is None:
        return f"reads the background: {verdict}, as it is right in none of the {found['clips']} clips with boxes"
    words = (
        f"reads the background: {verdict}; {percent(found['left'])} of its accuracy is left without the person (chance "
        f"is {percent(found['chance'])}"
    )
    if found["hole_elsewhere"]:
        words += f"; with as much hidden elsewhere it is right in {percent(found['hole_elsewhere']['mean'])}"
    return words + ")"


def best_methods(rows: list[Mapping], axis: str, changed: Mapping[str, str]) -> list[str]:
    """The methods that are better than every control along an axis and follow the network's weights, the best first.

    Args:
        rows: of `har_tf.scrutiny`, methods and controls.
        axis: "space", "time" or "both".
        changed: method -> outcome of its randomisation; empty: not measured.
    """
    good = [
        row
        for row in rows
        if row["kind"] == "method" and row["beats_controls"][axis] and changed.get(row["name"]) != "unchanged"
    ]
    return [row["name"] for row in sorted(good, key=lambda row: -row["gain"][axis]["mean"])]


def explained_by(found: Mapping, axis: str) -> str:
    """Which explanation deserves trust for a model, in a sentence."""
    outcomes = {name: each["outcome"] for name, each in found.get("randomization", {}).get("methods", {}).items()}
    names = best_methods(found["rows"], axis, outcomes)
    where = {"space": "In space", "time": "In time", "both": "In space and time"}[axis]
    by_name = {row["name"]: row for row in found["rows"]}
    if not names:
        gains = {
            row["name"]: row["gain"][axis]["mean"] for row in found["rows"] if row["gain"][axis]["mean"] is not None
        }
        if not gains:
            return f"{where}: none was measured, as no clip loses what it is answered by when it is filled in"
        first = max(gains, key=gains.get)
        highest = f"the highest gain is {gains[first]:.2f}, of {first}"
        return f"{where}: no method is shown to be better than every control; {highest}"
    rest = f"; also {', '.join(names[1:4])}" if len(names) > 1 else ""
    return f"{where}: {names[0]}, gain {mean(by_name[names[0]]['gain'][axis])}{rest}"


def unchanged(found: Mapping) -> str | None:
    """The methods that do not depend on what the network has learned, in a sentence; None where it was not measured."""
    return None if "randomization" not in found else _outcomes(found["randomization"]["methods"])


def random_labels(found: Mapping) -> str:
    """What the same network says after training on labels that were dealt out anew, in a sentence."""
    return (
        f"Trained on labels that were dealt out anew it is right in {mean(found['accuracy'])}, and its maps: "
        f"{_outcomes(found['methods'])}."
    )


def _outcomes(methods: Mapping[str, Mapping]) -> str:
    named: dict[str, list[str]] = {}
    for name, each in methods.items():
        named.setdefault(each["outcome"], []).append(name)
    words = {
        "unchanged": "stay alike, and so do not show what was learned",
        "partly": "change in part",
        "changes": "change",
        "not shown": "change or not, which so few clips do not show",
        "all alike": "are so alike in all clips that no change can be told",
    }
    return "; ".join(f"{', '.join(named[key])} {text}" for key, text in words.items() if key in named)


def of_probabilities(found: Mapping) -> str:
    """What probabilities are worth, in a sentence or two."""
    if "not_measured" in found:
        return f"Not measured: {found['not_measured']}."
    before = found["as_trained"]
    parts = [
        f"It is right in {percent(before['accuracy'])} and says {percent(before['confidence'])} on average; "
        f"calibration error {before['ece']['value']:.3f} as trained"
    ]
    if "corrected" in found:
        parts[0] += f", {found['corrected']['ece']['value']:.3f} with a temperature of {found['temperature']:.2f}"
    else:
        parts[0] += f"; no temperature was fitted: {found['not_fitted']}"
    if sets := found.get("sets"):
        parts.append(
            f"sets that are to hold the true class in {percent(sets['wanted'])} hold it in {percent(sets['covered'])}, "
            f"with {sets['size']:.1f} classes on average"
        )
    if chosen := found.get("abstention"):
        precision = "none" if chosen["precision"] is None else percent(chosen["precision"])
        parts.append(
            f"answered from a probability of {chosen['threshold']:.2f} on: {chosen['answered']} of {chosen['clips']} "
            f"clips, {precision} of them rightly (wanted: {percent(chosen['wanted'])})"
        )
    elif "no_abstention" in found:
        parts.append(f"no threshold for answers: {found['no_abstention']}")
    return "; ".join(parts) + "."
