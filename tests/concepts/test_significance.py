import itertools
import json

import numpy as np
import pytest
from scipy import stats
from threadpoolctl import threadpool_limits

from har_tf.concepts.cav import CavFit
from har_tf.concepts.significance import Criterion, significance

FAST = CavFit(folds=None)
WIDTH = 16


@pytest.fixture(autouse=True)
def one_thread():
    """Thousands of small products: threads that wait for each other would take longer, on a busy machine by far."""
    with threadpool_limits(1):
        yield


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def drawn(seed, concept, clips=12, random_sets=10):
    """A concept, random sets and gradients: a class that reads one direction, a little otherwise for each clip."""
    random = np.random.default_rng(seed)
    spread = random.permutation(np.arange(1, WIDTH + 1)) ** -0.5
    reads, apart = np.linalg.qr(random.normal(size=(WIDTH, 2)))[0].T
    towards = {"nothing": 0, "unread": 3 * apart, "read": reads, "shunned": -reads}[concept]
    sets = [spread * random.normal(size=(clips, WIDTH)) for _ in range(random_sets + 1)]
    gradients = reads + random.normal(size=(12, WIDTH)) / WIDTH
    return {concept: sets[0] + towards}, gradients, sets[1:]


def rejected(concept, hypotheses, seeds=100):
    """Of so many draws, how many pass the t-test, the permutation test, and both."""
    criterion = Criterion(hypotheses=hypotheses, permutations=max(399, 100 * hypotheses))
    found = [significance(*drawn(seed, concept), FAST, criterion)[concept] for seed in range(seeds)]
    p = np.array([(each.t_test_corrected, each.permutation_corrected) for each in found])
    return (p < 0.05).sum(axis=0).tolist(), sum(each.significant for each in found)


def test_an_irrelevant_concept_is_not_significant():
    # A concept that can be told from random clips, but that the class does not read.
    (t_test, _), both = rejected("unread", 1)
    assert both <= 5
    assert t_test > 5, "the t-test alone would have passed it, see the module"
    # Nothing but a set of random clips more: by definition 5 of 100 pass at 0.05, on average.
    (t_test, permutation), both = rejected("nothing", 1)
    assert both <= permutation <= 10
    assert t_test > 25
    # As concepts are tested, several at once.
    (_, permutation), both = rejected("nothing", 4)
    assert both <= permutation <= 5


@pytest.mark.parametrize("concept", ["read", "shunned"])
def test_a_concept_that_the_class_reads_is_significant(concept):
    _, both = rejected(concept, 12, seeds=20)
    assert both == 20
    found = significance(*drawn(0, concept), FAST)[concept]
    assert found.scores.mean == (1 if concept == "read" else 0)


def test_t_test_is_scipys_on_the_scores():
    concepts, gradients, random_sets = drawn(3, "read", random_sets=4)
    found = significance(concepts, 5 * normal(20, WIDTH), random_sets, FAST)["read"]
    expected = stats.ttest_ind(found.scores.sign_counts, found.random_sign_counts).pvalue
    assert found.t_test == pytest.approx(expected)
    assert found.random_sign_counts.shape == (4 * 3,)
    assert found.random_sign_counts.mean() == pytest.approx(0.5)
    assert found.scores.sign_counts.shape == (4,)
    # No derivative anywhere: all scores are one half, without spread.
    none = significance(concepts, 0 * gradients, random_sets, FAST)["read"]
    assert (none.scores.mean, none.t_test, none.permutation, none.significant) == (0.5, 1, 1, False)


def all_dealings(concept, others, gradients, unit=1):
    """p of the permutation test over every way to deal the clips, `unit` of them at a time."""
    along = np.concatenate([concept, others]) @ gradients.T  # (clips, clips of the class)
    parted = []
    for chosen in itertools.combinations(range(len(along) // unit), len(concept) // unit):
        inside = np.isin(np.arange(len(along)) // unit, chosen)
        variance = sum(side.mean(axis=1).var(ddof=1) / len(side) for side in (along[inside], along[~inside]))
        lead = along[inside].mean(axis=0) - along[~inside].mean(axis=0)
        parted.append(abs(lead.mean()) / np.sqrt(variance + lead.var(ddof=1) / len(lead)))
    return np.mean(np.array(parted) >= parted[0] * (1 - 1e-9))


@pytest.mark.parametrize("width", [3, 20])
def test_permutation_test_is_that_over_all_dealings(width):
    concept, gradients = normal(4, width, seed=1) + 0.5, normal(6, width, seed=2)
    random_sets = [normal(3, width, seed=i) for i in (3, 4)]
    expected = all_dealings(concept, np.concatenate(random_sets), gradients)
    criterion = Criterion(permutations=19999, level=0.2)
    found = significance({"a": concept}, gradients, random_sets, FAST, criterion)["a"].permutation
    assert found == pytest.approx(expected, abs=0.015)
    lead = concept.mean(axis=0) - np.concatenate(random_sets).mean(axis=0)
    result = significance({"a": concept}, gradients, random_sets, FAST, criterion)["a"]
    assert result.difference == pytest.approx(lead @ gradients.mean(axis=0))


def test_sources_are_dealt_as_wholes():
    # Pairs of equal clips count as one.
    one, gradients = normal(5, 3, seed=1) + 0.7, normal(6, 3, seed=2)
    others = normal(6, 3, seed=3)
    twice = {"a": np.repeat(one, 2, axis=0) + 1e-9 * normal(10, 3)}
    random_sets = [np.repeat(half, 2, axis=0) + 1e-9 * normal(6, 3) for half in (others[:3], others[3:])]
    criterion = Criterion(permutations=9999, level=0.2)
    groups = {"a": np.repeat(range(5), 2)}, [np.repeat(range(3), 2), np.repeat(range(3, 6), 2)]
    clips = significance(twice, gradients, random_sets, FAST, criterion)["a"].permutation
    sources = significance(twice, gradients, random_sets, FAST, criterion, *groups)["a"].permutation
    expected = all_dealings(twice["a"], np.concatenate(random_sets), gradients, unit=2)
    assert sources == pytest.approx(expected, abs=0.02)
    assert clips < sources - 0.03


def test_a_clip_counts_once_however_often_it_was_drawn():
    concepts, gradients, random_sets = drawn(5, "nothing", random_sets=3)
    expected = significance(concepts, gradients, random_sets, FAST)["nothing"].permutation
    again = [random_sets[0], random_sets[1], np.concatenate([random_sets[2], random_sets[0], concepts["nothing"][:3]])]
    assert significance(concepts, gradients, again, FAST)["nothing"].permutation == expected


def test_both_tests_decide():
    concepts, gradients, random_sets = drawn(0, "read")
    gradients = gradients[:1]  # of one clip: every score is 0 or 1, and ten sets give a t-test of 0.0023 or more
    for hypotheses, expected in ((25, False), (21, True)):
        criterion = Criterion(hypotheses=hypotheses)
        assert significance(concepts, gradients, random_sets, FAST, criterion)["read"].significant is expected


def test_the_papers_criterion_is_the_t_test_and_the_other_verdict_stands_beside_it():
    """The first "nothing" that the t-test takes for something and the permutation test does not."""
    seed = next(s for s in range(20) if significance(*drawn(s, "nothing"), FAST)["nothing"].by_t_test)
    found = {
        tests: significance(*drawn(seed, "nothing"), FAST, Criterion(tests=tests))["nothing"]
        for tests in ("t-test", "both")
    }
    verdicts = {tests: (each.by_t_test, each.by_both, each.significant) for tests, each in found.items()}
    assert verdicts == {"t-test": (True, False, True), "both": (True, False, False)}
    assert found["t-test"].tests() | {"criterion": "both", "significant": False} == found["both"].tests()
    # By hand: R scores of one side, R (R - 1) of the other, Student's t of the two and its p, times the hypotheses.
    one, other = found["both"].scores.sign_counts, found["both"].random_sign_counts
    pooled = (one.var(ddof=1) * 9 + other.var(ddof=1) * 89) / 98
    t = (one.mean() - other.mean()) / np.sqrt(pooled * (1 / 10 + 1 / 90))
    assert found["t-test"].t_test_corrected == pytest.approx(2 * stats.t.sf(abs(t), 98))


@pytest.mark.parametrize(
    ("clips", "options"),
    [
        (2, {}),  # 15 dealings of two clips among four others: none could pass
        (9, {"hypotheses": 12, "permutations": 99}),
    ],
)
def test_what_only_the_permutation_test_cannot_measure_the_papers_criterion_does(clips, options):
    given = {"a": normal(clips, 4) + 9}, normal(5, 4), [normal(clips, 4, seed=seed) for seed in (2, 3)]
    with pytest.raises(ValueError, match="permutation"):
        significance(*given, FAST, Criterion(**options))
    found = significance(*given, FAST, Criterion(**options, tests="t-test"))["a"]
    assert found.by_both is None and found.significant is found.by_t_test
    expected = stats.ttest_ind(found.scores.sign_counts, found.random_sign_counts).pvalue
    assert found.t_test == pytest.approx(expected)
    json.dumps(found.tests(), allow_nan=False)


def test_correction_counts_the_hypotheses():
    concepts, gradients, random_sets = drawn(7, "read")
    concepts["other"] = normal(12, WIDTH, seed=8)
    alone = significance({"read": concepts["read"]}, gradients, random_sets)["read"]
    both = significance(concepts, gradients, random_sets)
    assert both["read"].hypotheses == 2
    assert both["read"].permutation == alone.permutation == alone.permutation_corrected == 1 / 2000
    assert both["read"].permutation_corrected == 2 / 2000
    assert both["read"].t_test_corrected == pytest.approx(2 * alone.t_test)
    assert both["read"].scores.sign_counts.tolist() == alone.scores.sign_counts.tolist()
    assert both["other"].permutation_corrected <= 1
    assert both["read"].scores.accuracy > 0.8
    assert both["read"].random_accuracy == pytest.approx(0.5, abs=0.15)
    again = significance(dict(reversed(concepts.items())), gradients, random_sets)
    for name in concepts:
        assert again[name].tests() == both[name].tests()
        assert again[name].scores.as_dict() == both[name].scores.as_dict()
    json.dumps(both["read"].tests(), allow_nan=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"concepts": {}}, "Received: 0 concepts, 3 random sets"),
        ({"random_sets": [normal(9, 4)]}, r"two random sets or more \(the paper has ten\). Received: 1 concepts, 1"),
        ({"concepts": {"a": normal(1, 4)}, "classifier": FAST}, "two clips or more. Received: 1 in 'a'"),
        ({"concepts": {"a": normal(3, 4)}}, "'a' against 'random 1': 5-fold.*at least 5 clips.*Received: 3"),
        ({"criterion": Criterion(hypotheses=12, permutations=99)}, "at least 240 permutations. Received: .*=99"),
        (
            {
                "concepts": {"a": normal(2, 4)},
                "random_sets": [normal(2, 4, seed=2), normal(2, 4, seed=3)],
                "classifier": FAST,
            },
            "test of concept 'a' takes more clips.*: 2 of the concept and 4 random ones.*in 15 ways.*more than 20",
        ),
        ({"gradients": normal(5, 3)}, r"gradients are \(M, 4\)"),
        ({"random_groups": [[1]]}, "one sequence a random set, 3. Received: 1"),
    ],
)
def test_wrong_arguments(arguments, message):
    given = {
        "concepts": {"a": normal(9, 4)},
        "gradients": normal(5, 4),
        "random_sets": [normal(9, 4, seed=i) for i in (1, 2, 3)],
    }
    with pytest.raises(ValueError, match=message):
        significance(**{**given, **arguments})


@pytest.mark.parametrize("wrong", [{"level": 0}, {"hypotheses": 0}, {"permutations": 0}, {"tests": "z"}])
def test_wrong_settings(wrong):
    with pytest.raises(ValueError, match="Received: (Criterion|'z')"):
        Criterion(**wrong)
