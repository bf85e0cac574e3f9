"""What the results of Video-TCAV say: the tables of Figures 7 to 10 and of clips played backwards, and sentences.

Everything is made of `results.json` alone.
"""

from collections.abc import Mapping

from har_tf.report.tables import Table

STATIC, DYNAMIC = "static", "dynamic"
RANDOM, FURTHER = "random", "a further random set"


def tables(results: dict) -> dict:
    """File name -> table, all of them from `results.json`."""
    made = {}
    for number, kind in ((7, STATIC), (8, DYNAMIC)):
        if str(number) in results["figures"]:
            title = f"Figure {number}: relative TCAV of {kind} concepts"
            made[f"figure_{number}"] = _table_of_scores(results, title, {"": results["figures"][str(number)]})
    if "9" in results["figures"]:
        title = f"Figure 9: relative TCAV of {STATIC} and {DYNAMIC} concepts, concept by concept"
        made["figure_9"] = _table_of_scores(results, title, results["figures"]["9"])
    made["changes"] = _table_of_changes(results)
    for kind, by_tap in results["tests"].items():
        made[f"figure_10_{kind}"] = _table_of_tests(results, kind, by_tap)
    if results["reversal"]:
        made |= _tables_of_reversal(results)
    return made


def _table_of_scores(results, title: str, groups: Mapping):
    columns = ["Concept", "Layer", "Score", "95 %", "Deviation", "Magnitude", "CAV accuracy"]
    several = len(groups) > 1
    columns = ["Shown together", *columns] if several else columns
    rows = []
    for group, by_tap in groups.items():
        names = list(next(iter(by_tap.values())))
        for name in names:
            for tap, found in by_tap.items():
                each = found[name]
                cells = [name, tap, each["score"], _span(each["interval"]), each["deviation"], each["magnitude"]]
                rows.append([*([group] if several else []), *cells, each["accuracy"]])
    notes = [
        f"Score: share of the {results['clips']['class']} clips of {results['target']} whose logit rises in the "
        "direction of the concept, away from the others that are shown with it; mean over random sets. Magnitude: the "
        "same, by how much it rises. Deviation: over random sets. Accuracy: cross-validated, chance 0.5.",
        *_notes(results),
    ]
    formats = dict.fromkeys(("Score", "Deviation", "Magnitude", "CAV accuracy"), ".3f")
    return Table(title, columns, rows, notes, formats)


def _table_of_changes(results):
    rows = []
    for change in results["changes"]:
        first, last = change["between"]
        what = f"from {first} to {last}" if first != last else f"at {last}"
        interval = None if change["interval"] is None else "{:+.2f} to {:+.2f}".format(*change["interval"])
        rows.append([f"Figure {change['figure']}", change["what"], what, change["value"], interval])
    notes = ["Differences of scores. An interval that does not hold 0 speaks for a change.", *_notes(results)]
    return Table("Changes with depth, and dynamic against static at the last layer",
                 ["Figure", "Concept", "Where", "Difference", "95 %"], rows, notes, {"Difference": "+.3f"})  # fmt: skip


def _table_of_tests(results, kind: str, by_tap: Mapping):
    columns = ["Concept", "Layer", "Score", "Random sets", "p, t-test", "p, permutation", "Significant",
               "CAV accuracy"]  # fmt: skip
    names = list(next(iter(by_tap.values())))
    rows = [
        [
            name, tap, found[name]["score"], found[name]["random_mean"], found[name]["t_test_corrected"],
            found[name]["permutation_corrected"], found[name]["significant"], found[name]["accuracy"],
        ]
        for name in names
        for tap, found in by_tap.items()
    ]  # fmt: skip
    hypotheses = next(iter(next(iter(by_tap.values())).values()))["hypotheses"]
    notes = [
        f"Each concept by itself against {results['settings']['num_random']} random sets. p is multiplied by the "
        f"{hypotheses} hypotheses (Bonferroni); significant is what is below {results['settings']['level']:g} by both.",
        *_notes(results),
    ]
    formats = {"p, t-test": ".2g", "p, permutation": ".2g"} | dict.fromkeys(
        ("Score", "Random sets", "CAV accuracy"), ".3f"
    )
    return Table(f"Figure 10: tests of {kind} concepts", columns, rows, notes, formats)


def _tables_of_reversal(results) -> dict:
    found, made = results["reversal"], {}
    columns = ["Class", "Backwards it is", "Clips", "Right forwards", "Same class backwards",
               "Reverse class backwards", "Of those right forwards, as expected backwards"]  # fmt: skip
    rows = [
        [
            name, each["reverse"] or "the same", each["clips"], each["forwards_right"], each["backwards_same_class"],
            each["backwards_reverse_class"], each["of_right_as_expected"],
        ]
        for name, each in found["answers"].items()
    ]  # fmt: skip
    made["reversal_answers"] = Table(
        "Section 2.2: answers to clips played backwards", columns, rows,
        ["As expected: the reverse class, or the same class for what has no reverse.", *_notes(results)],
        dict.fromkeys(columns[3:], ".2f"),
    )  # fmt: skip
    kinds = list(next(iter(found["gradcam"].values()), {}))
    rows = [
        [name, *(None if each[kind] is None else each[kind]["mean"] for kind in kinds)]
        for name, each in found["gradcam"].items()
    ]
    made["reversal_gradcam"] = Table(
        "Section 2.2: Grad-CAM of clips played backwards",
        ["Class", *(f"{kind[0].upper()}{kind[1:]}" for kind in kinds)], rows,
        [
            "Correlation with the Grad-CAM map of the clip played forwards, for its own class, mean over clips. "
            "Mirrored: the map of the backward clip, with its frames turned round again; 1 if the map is the same but "
            "for the order of its frames. Another clip: what two clips of a class have in common.",
            f"At {results['gradcam_tap']}.",
            *_notes(results),
        ],
        dict.fromkeys((f"{kind[0].upper()}{kind[1:]}" for kind in kinds), ".2f"),
    )  # fmt: skip
    if found["concepts"]:
        columns = ["Class", "Concept", "Layer", "Forwards", "95 %", "Backwards", "95 % ", "Random",
                   "Accuracy, forwards", "Accuracy, backwards"]  # fmt: skip
        rows = []
        for name, concepts in found["concepts"].items():
            for concept, by_tap in concepts.items():
                for tap, each in by_tap.items():
                    ahead, back = each["forwards"], each["backwards"]
                    rows.append(
                        [
                            name, concept, tap, ahead["score"], _span(ahead["interval"]), back["score"],
                            _span(back["interval"]), each[RANDOM]["score"], ahead["accuracy"], back["accuracy"],
                        ]
                    )  # fmt: skip
        made["reversal_concepts"] = Table(
            "Section 2.2: dynamic concepts forwards and played backwards, shown together with random clips",
            columns, rows,
            [
                f"Relative TCAV of three: clips of a concept as they are in {results['target']}, the same clips played "
                "backwards, and random ones. Accuracy: of the CAV, cross-validated, chance 0.5.",
                *_notes(results),
            ],
            dict.fromkeys(("Forwards", "Backwards", "Random", "Accuracy, forwards", "Accuracy, backwards"), ".2f"),
        )  # fmt: skip
    return made


def findings(results: dict) -> list[str]:
    """What the numbers say, in sentences, whether it is what the paper found or not."""
    target, sentences = results["target"], []
    model = results["model"]
    if model["accuracy"] is not None:
        right, count = results["gradcam"]["right"], len(results["gradcam"]["clips"])
        sentences.append(
            f"{model['name']} answers {model['accuracy']:.1%} of the test clips right, and {right} of the {count} "
            f"explained clips of {target}."
        )
    for figure, kind in ((8, DYNAMIC), (7, STATIC)):
        changes = [c for c in results["changes"] if c["figure"] == figure]
        if changes:
            first, last = changes[0]["between"]
            told = "; ".join(f"{c['what']} {_verdict(c)} ({_with_span(c)})" for c in changes)
            sentences.append(f"From {first} to {last}, {kind} concepts shown together: {told}.")
    dynamic = [c for c in results["changes"] if c["figure"] == 8 and c["what"] != RANDOM]
    if dynamic:
        rise = [c["what"] for c in dynamic if _sign(c) > 0]
        if len(rise) == len(dynamic):
            sentences.append("So dynamic concepts gain importance with depth, as the paper found.")
        elif rise:
            others = ", ".join(c["what"] for c in dynamic if c["what"] not in rise)
            sentences.append(
                f"So the paper's finding, that dynamic concepts gain importance with depth, appears for "
                f"{', '.join(rise)}, and not for {others}."
            )
        else:
            sentences.append(
                "So the paper's finding, that dynamic concepts gain importance with depth, does not appear."
            )
    pairs = [c for c in results["changes"] if c["figure"] == 9 and c["between"][0] == c["between"][1]]
    if pairs:
        words_ = {1: "dynamic beats static", -1: "static beats dynamic", 0: "neither is shown to lead"}
        told = "; ".join(
            f"{c['what'].partition(f', {DYNAMIC}')[0]}: {words_[_sign(c)]} ({_with_span(c)})" for c in pairs
        )
        sentences.append(f"Shown side by side at {pairs[0]['between'][1]}, {told}.")
    for kind, by_tap in results["tests"].items():
        pairs_ = [(name, tap) for tap, found in by_tap.items() for name in found if name != FURTHER]
        passed = [f"{name} at {tap}" for name, tap in pairs_ if by_tap[tap][name]["significant"]]
        further = [tap for tap, found in by_tap.items() if found[FURTHER]["significant"]]
        # What the paper's own test would say.
        alone = [(name, tap) for tap, found in by_tap.items() for name, each in found.items()
                 if each["t_test_corrected"] < each["level"]]  # fmt: skip
        random = sum(name == FURTHER for name, _ in alone)
        sentences.append(
            f"Tests of {kind} concepts: {len(passed)} of {len(pairs_)} are significant"
            f"{' (' + ', '.join(passed) + ')' if passed else ''}; a further random set is "
            f"{'significant at ' + ', '.join(further) if further else 'nowhere significant, as it should be'}. "
            f"By the paper's t-test alone it would be {len(alone) - random} of {len(pairs_)}, and the random set at "
            f"{random} of {len(by_tap)} layers."
        )
    if results["reversal"]:
        sentences += _findings_of_reversal(results)
    if results["settings"]["resamples"] >= 20:
        sentences.append(
            "Differences with 95 % intervals that draw concept clips, clips of the class and random sets anew."
        )
    sentences += [f"Not run, {kind} concepts: {why}." for kind, why in results["missing"].items()]
    return sentences


def _findings_of_reversal(results) -> list[str]:
    answers, maps = results["reversal"]["answers"], results["reversal"]["gradcam"]
    sentences = []
    for reverse in (True, False):
        rows = {name: each for name, each in answers.items() if (each["reverse"] is not None) is reverse}
        right = sum(each["of_right"] for each in rows.values())
        if not right:
            continue
        kept = sum(each["of_right"] * (each["of_right_as_expected"] or 0) for each in rows.values()) / right
        what = "the reverse action" if reverse else "the same action"
        which = "of actions that have a reverse" if reverse else "of other actions"
        sentences.append(
            f"Played backwards, {kept:.0%} of the {right} clips {which} that were answered right forwards are answered "
            f"with {what}."
        )
    means = {}
    for kind in ("mirrored, same class", "mirrored, reverse class", "another clip"):
        rows = [(name, each[kind]) for name, each in maps.items() if answers[name]["reverse"] is not None]
        found = [each["mean"] for _, each in rows if each is not None and each["mean"] is not None]
        means[kind] = sum(found) / len(found) if found else None
    if means["mirrored, same class"] is not None:
        parts = [f"{means['mirrored, same class']:.2f} with that for the same class"]
        if means["mirrored, reverse class"] is not None:
            parts.append(f"{means['mirrored, reverse class']:.2f} with that for the reverse class")
        chance = "" if means["another clip"] is None else f"; another clip of the class: {means['another clip']:.2f}"
        sentences.append(
            "Grad-CAM maps of these actions correlate, forwards and turned round again after playing backwards, by "
            f"{' and '.join(parts)}{chance}."
        )
    for name, concepts in (results["reversal"]["concepts"] or {}).items():
        last = results["taps"][-1]
        told = []
        for concept, by_tap in concepts.items():
            ahead, back = by_tap[last]["forwards"], by_tap[last]["backwards"]
            sure = "" if ahead["accuracy"] is None else f", CAV accuracy {ahead['accuracy']:.2f}"
            told.append(f"{concept} {ahead['score']:.2f} forwards and {back['score']:.2f} backwards{sure}")
        sentences.append(
            f"Concepts as they move in {results['target']} beside themselves played backwards, scores for {name} at "
            f"{last}: {'; '.join(told)}."
        )
    return sentences


def _sign(change) -> int:
    """1 or -1 where the interval says so, else 0."""
    if change["interval"] is None:
        return 0
    low, high = change["interval"]
    return 1 if low > 0 else -1 if high < 0 else 0


def _verdict(change) -> str:
    return {1: "rises", -1: "falls", 0: "does not clearly change"}[_sign(change)]


def _with_span(change) -> str:
    if change["interval"] is None:
        return f"{change['value']:+.2f}, no interval"
    low, high = change["interval"]
    return f"{change['value']:+.2f}; {low:+.2f} to {high:+.2f}"


def _span(interval) -> str | None:
    return None if interval is None else f"{interval[0]:.2f}\N{EN DASH}{interval[1]:.2f}"


def _notes(results) -> list[str]:
    notes = [f"Measured on {data_line(results)}; {concept_line(results)}. {model_line(results)}."]
    if results["dataset"]["name"] == "figures":
        notes.append("The paper's figures are of another network and other data, and are not set beside these.")
    return notes


def data_line(results) -> str:
    data = results["dataset"]
    shape = " x ".join(map(str, results["clip"]["shape"][:-1]))
    return f"{results['clips']['class']} test clips ({shape}) of {results['target']}, {data['name']}"


def concept_line(results) -> str:
    counts: dict[str, set[int]] = {}
    for key, count in results["clips"]["concepts"].items():
        counts.setdefault(key.rpartition(",")[0], set()).add(count)
    told = ", ".join(f"{name} {'/'.join(map(str, sorted(n)))}" for name, n in counts.items())
    return f"clips of concepts: {told}; {results['settings']['num_random']} random sets"


def model_line(results) -> str:
    model = results["model"]
    accuracy = "" if model["accuracy"] is None else f", accuracy {model['accuracy']:.3f}"
    return f"{model['name']}, {model['start']}{accuracy}"
