"""Random windows: the authors' distribution, the same draws everywhere, and no endless loop."""

import random

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.mtl.labels import window_sampling
from tests.golden import label_scenes

RANDOM = [
    scene
    for scene in label_scenes.scenes()
    if scene.mask is not None and min(scene.size) >= 32 and len(scene.runs[0].windows) == 64
]
CORNER = np.array([[0.0, 0.0, 0.01, 0.01]])


def touches(window, boxes):
    low, high = np.maximum(window[:2], boxes[:, :2]), np.minimum(window[2:], boxes[:, 2:])
    return (low < high).all(axis=1).any()


def authors_windows(seed, boxes, size, number):
    """The stated rule, one window after the other."""
    draw = random.Random(seed).random
    kept = []
    while len(kept) < number:
        sides = [draw() * (side - 32) + 32 for side in size]
        centres = [draw() * side for side in size]
        low = [max(0.0, centre - side / 2) for centre, side in zip(centres, sides, strict=True)]
        high = [
            min(float(whole), centre + side / 2)
            for centre, side, whole in zip(centres, sides, size, strict=True)
        ]
        for axis in range(2):
            if high[axis] - low[axis] < 32:
                if low[axis] == 0:
                    high[axis] = 32.0
                elif high[axis] == size[axis]:
                    low[axis] = size[axis] - 32.0
        window = np.array([*low, *high]) / [*size, *size]
        if touches(window, boxes):
            kept.append(window)
    return np.array(kept)


@pytest.mark.golden
@pytest.mark.parametrize("scene", RANDOM, ids=[scene.name for scene in RANDOM])
def test_the_rule_is_the_authors(scene):
    """So comparing distributions with the rule is comparing with the authors' code."""
    run = scene.runs[0]
    found = authors_windows(run.seed, scene.boxes, scene.size, 64)
    np.testing.assert_allclose(found, run.windows, atol=1e-12)


def largest_gap(first, second):
    """Kolmogorov and Smirnov's distance of two samples of one size, times the root of its half."""
    every = np.sort(np.concatenate([first, second]))
    positions = [np.searchsorted(np.sort(part), every, side="right") for part in (first, second)]
    return np.abs(positions[0] - positions[1]).max() / len(first) * np.sqrt(len(first) / 2)


@pytest.mark.golden
@pytest.mark.parametrize("name", ["six_objects_four_classes", "tiny_boxes", "portrait"])
def test_the_distribution_is_the_authors(name):
    scene = label_scenes.scene(name)
    theirs = authors_windows(11, scene.boxes, scene.size, 4000)
    images = np.tile(scene.boxes, [16, 1, 1])
    ours = window_sampling.sample_windows(images, scene.size, 250, seed=12).numpy().reshape(-1, 4)
    measures = {
        "height": lambda w: w[:, 2] - w[:, 0],
        "width": lambda w: w[:, 3] - w[:, 1],
        "top": lambda w: w[:, 0],
        "left": lambda w: w[:, 1],
        "bottom": lambda w: w[:, 2],
        "right": lambda w: w[:, 3],
        "area": lambda w: (w[:, 2] - w[:, 0]) * (w[:, 3] - w[:, 1]),
        "diagonal place": lambda w: w[:, 0] - w[:, 1],
    }
    for what, measure in measures.items():
        # Beyond 1.95 once in a thousand times where the distributions are the same.
        assert largest_gap(measure(theirs), measure(ours)) < 1.95, what
    # The test can fail: windows that are a tenth lower are told apart.
    unlike = largest_gap(theirs[:, 2] - theirs[:, 0], 0.9 * (ours[:, 2] - ours[:, 0]))
    assert unlike > 1.95


def test_every_window_holds_an_object_and_32_pixels():
    size = (50, 400)
    found = window_sampling.sample_windows(CORNER, size, 200, seed=5).numpy()
    assert found.min() >= 0
    assert found.max() <= 1
    sides = (found[:, 2:] - found[:, :2]) * size
    assert sides.min() > 32 - 1e-4
    assert all(touches(window, CORNER) for window in found)
    assert len(np.unique(found, axis=0)) == 200
    assert (np.isclose(sides, 32, atol=1e-4)).any()  # some were pushed back


@pytest.mark.parametrize("size", [(20, 24), (1, 1), (32, 32), (16, 300)])
def test_small_images(size):
    found = window_sampling.sample_windows([[0.2, 0.2, 0.4, 0.4]], size, 8, seed=1).numpy()
    for axis in range(2):
        if size[axis] <= 32:
            np.testing.assert_array_equal(found[:, axis], 0)
            np.testing.assert_array_equal(found[:, axis + 2], 1)
    assert touches(found[0], np.array([[0.2, 0.2, 0.4, 0.4]]))


NOTHING = {
    "no box": np.zeros([0, 4]),
    "outside": np.array([[1.5, 0, 2, 1], [-1, 0, -0.5, 1]]),
    "beside": np.array([[1.0, 0, 2, 1]]),
    "without area": np.array([[0.2, 0.5, 0.8, 0.5]]),
}


@pytest.mark.parametrize("boxes", NOTHING.values(), ids=NOTHING)
def test_an_image_without_an_object(boxes):
    found = window_sampling.sample_windows(boxes, (100, 100), 5, seed=1).numpy()
    assert found.shape == (5, 4)
    assert len(np.unique(found, axis=0)) == 5
    assert window_sampling.count_windows(boxes, 5) == 1
    assert window_sampling.count_windows(CORNER, 5) == 5


def test_windows_missing_after_the_last_round_are_the_whole_image(monkeypatch):
    monkeypatch.setattr(window_sampling, "_MAX_ROUNDS", 1)
    found = window_sampling.sample_windows(CORNER, (500, 500), 60, seed=1).numpy()
    whole = (found == [0, 0, 1, 1]).all(axis=1)
    assert 0 < whole.sum() < 60
    assert not whole[: 60 - whole.sum()].any()
    assert all(touches(window, CORNER) for window in found)


def test_the_rounds_are_enough_for_the_worst_place():
    """The corner of a large image, in a sixteenth of the windows: 64 are found in 4096."""
    found = window_sampling.sample_windows(CORNER / 1e6, (4000, 4000), 64, seed=7).numpy()
    assert not (found == [0, 0, 1, 1]).all(axis=1).any()
    one = window_sampling.sample_windows(CORNER / 1e6, (4000, 4000), 1, seed=7).numpy()
    assert not (one == [0, 0, 1, 1]).all()


def same_everywhere(boxes, sizes, seed):
    return window_sampling.sample_windows(boxes, sizes, 16, seed=seed)


def test_the_same_eagerly_in_a_graph_and_under_jit():
    boxes = tf.constant([[CORNER[0], [0.5, 0.5, 0.9, 0.6]], [[0, 0, 0, 0], [0.1, 0.1, 0.2, 0.9]]])
    sizes, seed = tf.constant([[375, 500], [333, 47]]), tf.constant([3, 4])
    eager = same_everywhere(boxes, sizes, seed).numpy()
    graph = tf.function(same_everywhere, autograph=False)(boxes, sizes, seed).numpy()
    jit = tf.function(same_everywhere, jit_compile=True, autograph=False)(
        boxes, sizes, seed
    ).numpy()
    fixed = tf.function(
        lambda: same_everywhere(boxes, sizes, seed), jit_compile=True, autograph=False
    )().numpy()
    for other in (graph, jit, fixed):
        np.testing.assert_array_equal(eager, other)


def test_the_seed_decides():
    first = window_sampling.sample_windows(CORNER, (100, 200), 8, seed=1).numpy()
    np.testing.assert_array_equal(
        first, window_sampling.sample_windows(CORNER, (100, 200), 8, seed=(1, 0)).numpy()
    )
    other = window_sampling.sample_windows(CORNER, (100, 200), 8, seed=2).numpy()
    assert not (first == other).all(axis=1).any()


def test_with_a_seed_of_its_own_an_image_gets_the_same_windows_in_any_batch():
    """The corner needs several rounds, so the others see rounds that they do not need."""
    boxes = np.array([[[0.1, 0.1, 0.9, 0.9]], [[0.0, 0.0, 0.01, 0.01]], [[2.0, 2.0, 3.0, 3.0]]])
    sizes, seeds = np.array([[300, 400], [50, 60], [31, 999]]), np.array([[1, 2], [1, 3], [-9, 3]])
    expected = [
        window_sampling.sample_windows(*one, 16, seed=seed)
        for *one, seed in zip(boxes, sizes, seeds, strict=True)
    ]
    found = window_sampling.sample_windows(boxes, sizes, 16, seed=seeds)
    np.testing.assert_array_equal(found, expected)
    unknown = (
        tf.TensorSpec([None, 1, 4]),
        tf.TensorSpec([None, 2]),
        tf.TensorSpec([None, 2], tf.int32),
    )

    @tf.function(input_signature=unknown, autograph=False)
    def in_a_graph(boxes, sizes, seeds):
        return window_sampling.sample_windows(boxes, sizes, 16, seed=seeds)

    found = in_a_graph(
        *(
            tf.constant(part, spec.dtype)
            for part, spec in zip((boxes, sizes, seeds), unknown, strict=True)
        )
    )
    np.testing.assert_allclose(found, expected, atol=1e-7)  # Boxes are rounded to float32.


def test_padding_draws_nothing():
    padded = np.array([[0.5, 0.5, 0.6, 0.6], [0, 0, 1, 1]], np.float32)
    found = window_sampling.sample_windows(padded, (400, 400), 30, seed=1, num_boxes=1).numpy()
    assert found.dtype == np.float32
    assert all(touches(window, padded[:1]) for window in found)


def test_bad_arguments():
    with pytest.raises(ValueError, match="num_windows is 0"):
        window_sampling.sample_windows(CORNER, (10, 10), 0, seed=1)
    with pytest.raises(ValueError, match=r"image_size is \[0.0, 10.0\]"):
        window_sampling.sample_windows(CORNER, (0, 10), 4, seed=1)
    with pytest.raises(ValueError, match="seed has the shape"):
        window_sampling.sample_windows(CORNER, (10, 10), 4, seed=[1, 2, 3])


def test_the_draws_are_these_on_every_machine():
    """A change of them would change every run that is resumed."""
    found = window_sampling.sample_windows(CORNER, (375, 500), 3, seed=(3, 4)).numpy()
    pinned = [
        [0.0, 0.0, 0.19689299166202545, 0.540277898311615],
        [0.0, 0.0, 0.7366989850997925, 0.6394574046134949],
        [0.0, 0.0, 0.47928386926651, 0.6884552240371704],
    ]
    np.testing.assert_array_equal(found, pinned)
