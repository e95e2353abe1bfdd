import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from object_detection_mtl.ops.matcher import argmax_match
from tests.golden.ops_cases import each_case
from tests.ops.graphs import call_with_unknown_sizes

SIMILARITY = tf.constant([[1.0, 1, 1, 3, 1], [2, -1, 2, 0, 4], [3, 0, -1, 0, 0]])
WEAK_ROW = tf.constant([[1.0, 1, 1, 3, 1], [-1, 0, -2, -2, -1], [3, 0, -1, 2, 0]])


def match(similarity, matched_threshold, **arguments):
    matches = argmax_match(
        tf.constant(similarity), matched_threshold=matched_threshold, **arguments
    )
    assert matches.dtype == tf.int32
    return matches.numpy().tolist()


@each_case("argmax_matcher")
def test_golden(case):
    params = dict(case.params)
    actual = match(
        case.inputs["similarity"],
        params.pop("matched_threshold"),
        force_match=params.pop("force_match_for_each_row", False),
        valid_rows=case.inputs.get("valid_rows"),
        **params,
    )
    assert actual == case.expected["match_results"].tolist()


def test_thresholds():
    assert match(SIMILARITY, None) == [2, 0, 1, 0, 1]
    assert match(SIMILARITY, 3.0) == [2, -1, -1, 0, 1]
    assert match(SIMILARITY, 3.0, unmatched_threshold=2.0) == [2, -1, -2, 0, 1]
    exchanged = {"unmatched_threshold": 2.0, "negatives_lower_than_unmatched": False}
    assert match(SIMILARITY, 3.0, **exchanged) == [2, -2, -1, 0, 1]


def test_a_forced_row_takes_its_best_column():
    arguments = {"unmatched_threshold": 2.0, "force_match": True}
    assert match(WEAK_ROW, 3.0, **arguments) == [2, 1, -1, 0, -1]
    assert match(WEAK_ROW, 3.0, valid_rows=[True, False, True], **arguments) == [2, -1, -1, 0, -1]


def test_a_forced_row_wins_over_a_better_one():
    assert match([[0.9, 0.1], [0.2, 0.1]], 0.5, force_match=True) == [1, -1]


def test_the_last_of_several_rows_gets_a_column():
    similarity = [[0.3, 0.0], [0.2, 0.1], [0.1, 0.0]]
    assert match(similarity, 0.5, force_match=True) == [2, -1]
    assert match(similarity, 0.5, force_match=True, valid_rows=[True, True, False]) == [1, -1]


def test_an_invalid_row_can_still_be_chosen():
    """This distinguishes anchors on a box of weight 0 from background."""
    assert match([[0.2, 0.9]], 0.5, force_match=True, valid_rows=[False]) == [-1, 0]


def test_a_batch_is_its_matrices_one_by_one():
    rng = np.random.RandomState(0)
    similarity = rng.rand(2, 3, 4, 6).astype(np.float32)
    valid_rows = rng.rand(2, 3, 4) < 0.7

    def run(similarity, valid_rows):
        return argmax_match(
            similarity,
            matched_threshold=0.7,
            unmatched_threshold=0.4,
            force_match=True,
            valid_rows=valid_rows,
        )

    batched = call_with_unknown_sizes(run, similarity, valid_rows, known_axes=0)
    for index in np.ndindex(2, 3):
        np.testing.assert_array_equal(batched[index], run(similarity[index], valid_rows[index]))


def test_without_rows_nothing_is_matched_in_a_graph_either():
    matches = call_with_unknown_sizes(
        lambda s: argmax_match(s, matched_threshold=0.5, force_match=True),
        np.zeros([2, 0, 3], np.float32),
        known_axes=0,
    )
    assert matches.numpy().tolist() == [[-1, -1, -1]] * 2


def test_static_shape_in_a_graph():
    @tf.function(autograph=False)
    def run(similarity):
        matches = argmax_match(similarity, matched_threshold=0.5, force_match=True)
        assert matches.shape == (2, 7)
        return matches

    run(tf.zeros([2, 3, 7]))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 6), st.booleans())
def test_equals_the_definition(seed, rows, columns, negatives_lower):
    """On a grid of similarities with many ties, and with padding rows of -1."""
    rng = np.random.RandomState(seed)
    similarity = rng.randint(0, 5, (rows, columns)).astype(np.float32) / 4
    valid = rng.rand(rows) < 0.7
    similarity[~valid] = -1
    expected = []
    for column in similarity.T:
        best = int(column.argmax())
        if column[best] >= 0.75:
            expected.append(best)
        else:
            expected.append(-1 if (column[best] < 0.5) == negatives_lower else -2)
    for row in np.flatnonzero(valid):
        expected[int(similarity[row].argmax())] = row
    actual = match(
        similarity,
        0.75,
        unmatched_threshold=0.5,
        negatives_lower_than_unmatched=negatives_lower,
        force_match=True,
        valid_rows=valid,
    )
    assert actual == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"matched_threshold": 0.5, "unmatched_threshold": 0.6}, "0.6 is greater"),
        ({"matched_threshold": None, "unmatched_threshold": 0.5}, "without a matched_threshold"),
        ({"matched_threshold": 0.5, "negatives_lower_than_unmatched": False}, "both thresholds"),
    ],
)
def test_contradicting_thresholds(arguments, words):
    with pytest.raises(ValueError, match=words):
        argmax_match(SIMILARITY, **arguments)
