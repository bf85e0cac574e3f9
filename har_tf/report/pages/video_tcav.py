"""The page of Video-TCAV: Figures 7 to 10, section 2.2, and what the numbers say, from `results.json` alone."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from har_tf.concepts.clip_sets import DYNAMIC, STATIC
from har_tf.concepts.scores import RANDOM
from har_tf.names import file_name
from har_tf.report import plots, settings
from har_tf.report.model_card import Card, of_maps
from har_tf.report.page import Figure, Page, Section, restored
from har_tf.report.pages import tested_maps
from har_tf.report.tables import Table, interval

KINDS = {7: STATIC, 8: DYNAMIC}  # of the concepts of a figure


def page(results: Mapping, figures: Path) -> Page:
    """What is published of a run."""
    made, said = tables(results), findings(results)
    sections = [Section("What was found", "\n\n".join(said))]
    if results["model"]["history"]:
        curves = plots.curves({results["model"]["name"]: results["model"]["history"]}, figures / "curves.png")
        caption = "Loss and accuracy by epoch, on training and validation clips."
        sections.append(Section("Training", figures=[Figure(curves, caption)]))
    pictures = restored(results["pictures"])
    played = [pictures.pop()] if results["reversal"] else []
    sections += tested_maps.sections(results.get("tested_maps"))
    sections += [*pictures, *_figures_7_to_9(results, figures, made), _figure_10(results, figures, made)]
    for pictured in played:
        text = (
            "The paper expects an explanation to tell a clip from the same clip played backwards. Where a map of the "
            "backward clip, turned round again, is that of the forward clip, it has not noticed anything."
        )
        told = [table for stem, table in made.items() if stem.startswith("reversal_")]
        sections.append(replace(pictured, title="Section 2.2: clips played backwards", text=text, tables=told))
    if paper := results.get("paper"):  # runs before it was told have none
        sections.append(settings.section(paper))
    facts = {
        "class": results["target"],
        "data": _data_line(results),
        "model": _model_line(results),
        "split": results["dataset"]["notes"][-1],
        "concepts": f"{_concept_line(results)}; {_review_line(results)}",
    } | ({"the paper": settings.fact(paper)} if paper else {})
    printed = [*(table.markdown() for table in made.values()), "\n".join(said)]
    return Page("Video-TCAV", facts, sections, tables=made, printed=printed)


def _figures_7_to_9(results, figures, made) -> list[Section]:
    sections, target = [], results["target"]
    chance = (
        "Error bars: the deviation over random sets; how sure a score is, the intervals of the table tell. A direction "
        "that has nothing to do with the class scores 0.5 on average, but a single one may well score 0 or 1."
    )
    for number, kind in KINDS.items():
        title = f"Figure {number}: relative TCAV of {kind} concepts"
        if str(number) not in results["figures"]:
            sections.append(Section(title, f"Not run: {results['missing'][kind]}."))
            continue
        path = figures / f"figure_{number}_{kind}.png"
        _bars(results["figures"][str(number)], path, f"{kind.capitalize()} concepts of {target}")
        caption = f"Relative TCAV of {kind} concepts and of the random one, by layer. {chance}"
        shown = [replace(made[f"figure_{number}"], title="")]
        sections.append(Section(title, tables=shown, figures=[Figure(path, caption)]))
    title = f"Figure 9: {STATIC} against {DYNAMIC} concepts"
    if "9" not in results["figures"]:
        sections.append(Section(title, f"Not run: {'; '.join(results['missing'].values())}."))
    else:
        drawn = []
        for name, scores in results["figures"]["9"].items():
            path = figures / f"figure_9_{file_name(name)}.png"
            _bars(scores, path, f"{name.capitalize()}, {STATIC} against {DYNAMIC}, for {target}")
            caption = f"{name.capitalize()}, {STATIC} and {DYNAMIC}, and random clips of both kinds."
            drawn.append(Figure(path, caption))
        sections.append(Section(title, tables=[replace(made["figure_9"], title="")], figures=drawn))
    return [*sections, Section("Does importance grow with depth?", tables=[made["changes"]])]


def _figure_10(results, figures, made) -> Section:
    drawn = []
    for kind, by_tap in results["tests"].items():
        path = figures / f"figure_10_{kind}.png"
        _bars(by_tap, path, f"{kind.capitalize()} concepts of {results['target']}, each against random sets")
        caption = (
            f"{kind.capitalize()} concepts, each by itself against {results['settings']['num_random']} random sets. "
            f"A bar that is pale is not significant by {_DECIDES[_criterion(results)]}."
        )
        drawn.append(Figure(path, caption))
    tested = [made[f"figure_10_{kind}"] for kind in results["tests"]]
    return Section("Figure 10: tests", tables=tested, figures=drawn[::-1])


def _bars(by_tap, path, title) -> None:
    scores, significant = {}, {}
    for tap, found in by_tap.items():
        named = {RANDOM if each.get("random") else name: each for name, each in found.items()}
        scores[tap] = {name: (each["score"], each["deviation"]) for name, each in named.items()}
        significant[tap] = {name: each["significant"] for name, each in named.items() if "significant" in each}
    plots.concept_bars(scores, path, significant, title=title)


# Tables


def tables(results: Mapping) -> dict[str, Table]:
    """File name -> table."""
    made, notes = {}, _notes(results)
    for number, kind in KINDS.items():
        if scores := results["figures"].get(str(number)):
            title = f"Figure {number}: relative TCAV of {kind} concepts"
            made[f"figure_{number}"] = _table_of_scores(results, title, _rows(scores), {}, notes)
    if groups := results["figures"].get("9"):
        title = f"Figure 9: relative TCAV of {STATIC} and {DYNAMIC} concepts, concept by concept"
        rows = (row | {"group": group} for group, by_tap in groups.items() for row in _rows(by_tap))
        several = {"Shown together": "group"} if len(groups) > 1 else {}
        made["figure_9"] = _table_of_scores(results, title, rows, several, notes)
    columns = {
        "Figure": lambda row: f"Figure {row['figure']}",
        "Concept": lambda row: row["what"] if _with_depth(row) else f"{row['what']} - {row['minus']}",
        "Where": lambda row: ("from {} to {}" if _with_depth(row) else "at {1}").format(*row["between"]),
        "Difference": "value",
        "95 %": lambda row: row["interval"] and "{:+.2f} to {:+.2f}".format(*row["interval"]),
    }
    made["changes"] = Table.of(
        "Changes with depth, and dynamic against static at the last layer", results["changes"], columns,
        notes=["Differences of scores. An interval that does not hold 0 speaks for a change.", *notes],
        formats={"Difference": "+.3f"},
    )  # fmt: skip
    for kind, by_tap in results["tests"].items():
        made[f"figure_10_{kind}"] = _table_of_tests(results, kind, by_tap, notes)
    return made | (_tables_of_reversal(results, notes) if results["reversal"] else {})


def _rows(by_tap: Mapping) -> Iterator[dict]:
    """Concept by concept, each at every layer."""
    for name in next(iter(by_tap.values())):
        for tap, found in by_tap.items():
            yield {"concept": name, "layer": tap, **found[name]}


def _table_of_scores(results, title: str, rows: Iterable[Mapping], first: Mapping, notes) -> Table:
    columns = {**first, "Concept": "concept", "Layer": "layer", "Score": "score",
               "95 %": lambda row: interval(row["interval"], 2), "Deviation": "deviation",
               "Magnitude": "magnitude", "CAV accuracy": "accuracy"}  # fmt: skip
    text = (
        f"Score: share of the {results['clips']['class']} clips of {results['target']} whose logit rises in the "
        "direction of the concept, away from the others that are shown with it; mean over random sets. Magnitude: the "
        "same, by how much it rises. Deviation: over random sets. Accuracy: cross-validated, chance 0.5."
    )
    formats = dict.fromkeys(("Score", "Deviation", "Magnitude", "CAV accuracy"), ".3f")
    return Table.of(title, rows, columns, notes=[text, *notes], formats=formats)


def _table_of_tests(results, kind: str, by_tap: Mapping, notes) -> Table:
    columns = {"Concept": "concept", "Layer": "layer", "Score": "score", "Random sets": "random_mean",
               "p, t-test": "t_test_corrected", "p, permutation": "permutation_corrected",
               "Significant by t-test": _by_t_test, "By both tests": _by_both,
               "CAV accuracy": "accuracy"}  # fmt: skip
    rows = list(_rows(by_tap))
    text = (
        f"Each concept by itself against {results['settings']['num_random']} random sets. p is multiplied by the "
        f"{rows[0]['hypotheses']} hypotheses (Bonferroni); significant is what is below "
        f"{results['settings']['level']:g}, by the t-test alone, as in the paper, or by both tests. This run's "
        f"criterion is {_DECIDES[_criterion(results)]}."
    )
    if any(_by_both(row) is None for row in rows):
        text += " Where there is no verdict by both, the clips are too few for the permutation test to fall below it."
    formats = {"Score": ".3f", "Random sets": ".3f", "p, t-test": ".2g", "p, permutation": ".2g", "CAV accuracy": ".3f"}
    return Table.of(f"Figure 10: tests of {kind} concepts", rows, columns, notes=[text, *notes], formats=formats)


def _tables_of_reversal(results, notes) -> dict[str, Table]:
    found, made = results["reversal"], {}
    columns = {
        "Class": "class", "Backwards it is": lambda row: row["reverse"] or "the same", "Clips": "clips",
        "Right forwards": "forwards_right", "Same class backwards": "backwards_same_class",
        "Reverse class backwards": "backwards_reverse_class",
        "Of those right forwards, as expected backwards": "of_right_as_expected",
    }  # fmt: skip
    made["reversal_answers"] = Table.of(
        "Section 2.2: answers to clips played backwards",
        [{"class": name, **each} for name, each in found["answers"].items()], columns,
        notes=["As expected: the reverse class, or the same class for what has no reverse.", *notes],
        formats=dict.fromkeys(list(columns)[3:], ".2f"),
    )  # fmt: skip
    kinds = {f"{kind[0].upper()}{kind[1:]}": kind for kind in next(iter(found["gradcam"].values()), {})}
    text = (
        "Correlation with the Grad-CAM map of the clip played forwards, for its own class, mean over clips. "
        "Mirrored: the map of the backward clip, with its frames turned round again; 1 if the map is the same but "
        "for the order of its frames. Another clip: what two clips of a class have in common."
    )
    rows = [
        {"class": name} | {kind: pairs and pairs["mean"] for kind, pairs in each.items()}
        for name, each in found["gradcam"].items()
    ]
    made["reversal_gradcam"] = Table.of(
        "Section 2.2: Grad-CAM of clips played backwards", rows, {"Class": "class", **kinds},
        notes=[text, f"At {results['gradcam_tap']}.", *notes], formats=dict.fromkeys(kinds, ".2f"),
    )  # fmt: skip
    if found["concepts"]:
        text = (
            f"Relative TCAV of three: clips of a concept as they are in {results['target']}, the same clips played "
            "backwards, and random ones. Accuracy: of the CAV, cross-validated, chance 0.5."
        )
        rows = [
            {"class": name, "concept": concept, "layer": tap, **each}
            for name, concepts in found["concepts"].items()
            for concept, by_tap in concepts.items()
            for tap, each in by_tap.items()
        ]
        columns = {
            "Class": "class", "Concept": "concept", "Layer": "layer", "Forwards": lambda row: row["forwards"]["score"],
            "95 %": lambda row: interval(row["forwards"]["interval"], 2),
            "Backwards": lambda row: row["backwards"]["score"],
            "95 % ": lambda row: interval(row["backwards"]["interval"], 2), "Random": lambda row: row[RANDOM]["score"],
            "Accuracy, forwards": lambda row: row["forwards"]["accuracy"],
            "Accuracy, backwards": lambda row: row["backwards"]["accuracy"],
        }  # fmt: skip
        decimals = ("Forwards", "Backwards", "Random", "Accuracy, forwards", "Accuracy, backwards")
        made["reversal_concepts"] = Table.of(
            "Section 2.2: dynamic concepts forwards and played backwards, shown together with random clips", rows,
            columns, notes=[text, *notes], formats=dict.fromkeys(decimals, ".2f"),
        )  # fmt: skip
    return made


def _notes(results) -> list[str]:
    notes = [f"Measured on {_data_line(results)}; {_concept_line(results)}. {_model_line(results)}."]
    if results["dataset"]["name"] == "figures":
        notes.append("The paper's figures are of another network and other data, and are not set beside these.")
    return notes


def _data_line(results) -> str:
    data = results["dataset"]
    shape = " x ".join(map(str, results["clip"]["shape"][:-1]))
    count = results["clips"]["class"]
    recordings = results["clips"].get("recordings", count)
    cut = "" if recordings == count else f" of {recordings} recordings"
    return f"{count} {data.get('part', 'test')} clips{cut} ({shape}) of {results['target']}, {data['name']}"


def _concept_line(results) -> str:
    counts = results["clips"]["concepts"]
    told = ", ".join(f"{name} {'/'.join(map(str, sorted(set(n.values()))))}" for name, n in counts.items())
    return f"clips of concepts: {told}; {results['settings']['num_random']} random sets"


def _review_line(results) -> str:
    left = results["clips"].get("undecided")
    if left == 0:
        return "reviewed, as concepts.html beside this page shows"
    return f"{'' if left is None else f'{left} of them '}to be reviewed on concepts.html, beside this page"


def cards(results: Mapping) -> list[Card]:
    """The card of a model that was trained for the run."""
    model, data = results["model"], results["dataset"]
    if not model["trained_here"]:
        return []
    about = (model["name"], data, "video", model["start"], model["parameters"])
    return [Card(*about, accuracy=model["accuracy"], trust=of_maps(results))]


def _model_line(results) -> str:
    model = results["model"]
    accuracy = "" if model["accuracy"] is None else f", accuracy {model['accuracy']:.3f}"
    return f"{model['name']}, {model['start']}{accuracy}"


# Sentences


def findings(results: Mapping) -> list[str]:
    """What the numbers say, in sentences, whether it is what the paper found or not."""
    target, model, sentences = results["target"], results["model"], []
    if model["accuracy"] is not None:
        right, count = results["gradcam"]["right"], len(results["gradcam"]["clips"])
        sentences.append(
            f"{model['name']} answers {model['accuracy']:.1%} of the test clips right, and {right} of the {count} "
            f"explained clips of {target}."
        )
    elif "gradcam" in results:
        right, count = results["gradcam"]["right"], len(results["gradcam"]["clips"])
        sentences.append(f"{model['name']} answers {right} of the {count} explained clips with {target}.")
    sentences += _of_depth(results["changes"])
    if same := results.get("same_gradient"):
        sentences.append(
            f"At {', '.join(same)} the gradient of {target} is the same for every clip, as only averages and a linear "
            "layer follow: against each random set a score there is 0 or 1 by construction, also that of the random "
            "concept. Changes are told up to the last layer where clips differ, if there is one."
        )
    pairs = [change for change in results["changes"] if not _with_depth(change)]
    if pairs:
        verdicts = {1: "dynamic beats static", -1: "static beats dynamic", 0: "neither is shown to lead"}
        told = "; ".join(f"{c['concept']}: {verdicts[_sign(c)]} ({_size(c)})" for c in pairs)
        sentences.append(f"Shown side by side at {pairs[0]['between'][1]}, {told}.")
    criterion = _criterion(results)
    sentences += [_of_tests(kind, by_tap, criterion) for kind, by_tap in results["tests"].items()]
    if results["reversal"]:
        sentences += _of_reversal(results)
    if results["settings"]["resamples"] >= 20:
        sentences.append(
            "Differences with 95 % intervals that draw concept clips, clips of the class and random sets anew."
        )
    return sentences + [f"Not run, {kind} concepts: {why}." for kind, why in results["missing"].items()]


def _of_depth(changes) -> list[str]:
    sentences, verdicts = [], {1: "rises", -1: "falls", 0: "does not clearly change"}
    for figure, kind in ((8, DYNAMIC), (7, STATIC)):
        if shown := [change for change in changes if change["figure"] == figure]:
            first, last = shown[0]["between"]
            told = "; ".join(f"{c['what']} {verdicts[_sign(c)]} ({_size(c)})" for c in shown)
            sentences.append(f"From {first} to {last}, {kind} concepts shown together: {told}.")
    signs = {c["what"]: _sign(c) for c in changes if c["figure"] == 8 and c["what"] != RANDOM}
    rise, others = ([name for name, sign in signs.items() if (sign > 0) is rises] for rises in (True, False))
    if signs and not others:
        sentences.append("So dynamic concepts gain importance with depth, as the paper found.")
    elif signs:
        where = f"appears for {', '.join(rise)}, and not for {', '.join(others)}" if rise else "does not appear"
        sentences.append(f"So the paper's finding, that dynamic concepts gain importance with depth, {where}.")
    return sentences


_DECIDES = {"both": "both tests", "t-test": "the t-test alone"}


def _criterion(results) -> str:
    return results["settings"].get("criterion", "both")  # which older runs took


def _by_t_test(row) -> bool:
    return row["t_test_corrected"] < row["level"]


def _by_both(row) -> bool | None:
    return row.get("by_both", row["significant"])  # of an older run


def _of_tests(kind: str, by_tap, criterion: str) -> str:
    rows = [{"concept": name, "layer": tap, **each} for tap, found in by_tap.items() for name, each in found.items()]
    concepts, randoms = ([row for row in rows if row["random"] is random] for random in (False, True))
    passed = [f"{row['concept']} at {row['layer']}" for row in concepts if row["significant"]]
    further = [row["layer"] for row in randoms if row["significant"]]
    # What the other criterion would say.
    verdict, other = {
        "both": (_by_t_test, "By the paper's t-test alone"),
        "t-test": (_by_both, "By both tests, the t-test and the permutation test,"),
    }[criterion]
    others, others_random = (sum(bool(verdict(row)) for row in part) for part in (concepts, randoms))
    untold = sum(verdict(row) is None for row in concepts)
    few = f" ({untold} with too few clips for it)" if untold else ""
    return (
        f"Tests of {kind} concepts{'' if criterion == 'both' else ' by the t-test alone, as in the paper'}: "
        f"{len(passed)} of {len(concepts)} are significant"
        f"{' (' + ', '.join(passed) + ')' if passed else ''}; a further random set is "
        f"{'significant at ' + ', '.join(further) if further else 'nowhere significant, as it should be'}. "
        f"{other} it would be {others} of {len(concepts)}{few}, and the random set at {others_random} of "
        f"{len(by_tap)} layers."
    )


def _of_reversal(results) -> list[str]:
    answers, maps = results["reversal"]["answers"], results["reversal"]["gradcam"]
    sentences = []
    for which, what, reversible in (
        ("of actions that have a reverse", "the reverse action", True),
        ("of other actions", "the same action", False),
    ):
        rows = [each for each in answers.values() if (each["reverse"] is not None) is reversible]
        if right := sum(each["of_right"] for each in rows):
            kept = sum(each["of_right"] * (each["of_right_as_expected"] or 0) for each in rows) / right
            sentences.append(
                f"Played backwards, {kept:.0%} of the {right} clips {which} that were answered right forwards are "
                f"answered with {what}."
            )

    def mean(kind):
        found = [each[kind] for name, each in maps.items() if answers[name]["reverse"] is not None and each[kind]]
        values = [each["mean"] for each in found if each["mean"] is not None]
        return sum(values) / len(values) if values else None

    same, reverse, another = map(mean, ("mirrored, same class", "mirrored, reverse class", "another clip"))
    if same is not None:
        parts = [f"{same:.2f} with that for the same class"]
        if reverse is not None:
            parts.append(f"{reverse:.2f} with that for the reverse class")
        chance = "" if another is None else f"; another clip of the class: {another:.2f}"
        sentences.append(
            "Grad-CAM maps of these actions correlate, forwards and turned round again after playing backwards, by "
            f"{' and '.join(parts)}{chance}."
        )
    same = results.get("same_gradient", [])
    last = next((tap for tap in reversed(results["taps"]) if tap not in same), results["taps"][-1])
    for name, concepts in (results["reversal"]["concepts"] or {}).items():
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


def _with_depth(change) -> bool:
    """Whether it is of one concept at two layers, not of two concepts at one."""
    return change["what"] == change["minus"]


def _sign(change) -> int:
    """1 or -1 where the interval says so, else 0."""
    low, high = change["interval"] or (0, 0)
    return 1 if low > 0 else -1 if high < 0 else 0


def _size(change) -> str:
    if change["interval"] is None:
        return f"{change['value']:+.2f}, no interval"
    return "{:+.2f}; {:+.2f} to {:+.2f}".format(change["value"], *change["interval"])
