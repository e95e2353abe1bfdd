"""Windows around objects: the authors' second mode, and the selection where there are too many."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.mtl.labels import object_windows
from tests.golden import label_scenes

WHOLE = [0.0, 0.0, 1.0, 1.0]
CASES = [
    (scene, run)
    for scene in label_scenes.scenes()
    for run in scene.runs
    # The COCO converter stores no window of an image without annotations.
    if not run.random and run.exception is None and len(run.windows)
]


@pytest.mark.golden
@pytest.mark.parametrize(("scene", "run"), CASES, ids=[scene.name for scene, _ in CASES])
def test_windows_are_the_authors(scene, run):
    windows, count = object_windows(scene.boxes, 100, seed=1)
    assert int(count) == len(run.windows)
    np.testing.assert_allclose(windows[: len(run.windows)], run.windows, atol=1e-6)
    np.testing.assert_array_equal(windows[len(run.windows) :], [WHOLE] * (100 - len(run.windows)))


def test_windows_by_hand():
    """A box of an eighth in the middle: two, four times its sides; eight times is the image."""
    box = [[0.4375, 0.4375, 0.5625, 0.5625]]
    windows, count = object_windows(box, 5, seed=0)
    expected = [WHOLE, [0.375] * 2 + [0.625] * 2, [0.25] * 2 + [0.75] * 2, WHOLE, WHOLE]
    assert int(count) == 3
    np.testing.assert_allclose(windows, expected)


def test_of_too_many_a_random_selection_is_kept_with_the_whole_image():
    boxes = np.array([[0.1 * n, 0.5, 0.1 * n + 0.01, 0.51] for n in range(10)])
    everything, count = object_windows(boxes, 100, seed=1)
    number = int(count)
    every = {tuple(window) for window in everything[:number].numpy()}
    assert number > 50
    selections = []
    for seed in range(3):
        windows, count = object_windows(boxes, 20, seed=seed)
        assert int(count) == 20
        np.testing.assert_array_equal(windows[0], WHOLE)
        selection = {tuple(window) for window in windows.numpy()}
        assert len(selection) == 20
        assert selection <= every
        selections.append(selection)
    assert selections[0] != selections[1] != selections[2]
    again, _ = object_windows(boxes, 20, seed=2)
    np.testing.assert_array_equal(again, windows)


@pytest.mark.parametrize(
    "bad",
    [[0.2, 0.2, 0.2, 0.6], [1.2, 0.2, 1.4, 0.3], [0.4, 0.2, 0.3, 0.6], [float("nan")] * 4],
    ids=["no height", "outside", "inverted", "not a number"],
)
def test_what_does_not_show_has_no_window(bad):
    windows, count = object_windows([bad], 3, seed=1)
    assert int(count) == 1
    np.testing.assert_array_equal(windows, [WHOLE] * 3)


def test_a_batch_of_seeds_gives_each_image_its_own_windows_however_it_is_padded():
    rng = np.random.default_rng(3)
    low = rng.uniform(0, 0.9, [2, 6, 2])
    boxes = np.concatenate([low, low + 0.02], axis=-1)
    seeds = tf.constant([[1, 2], [3, 4]])
    together, counts = object_windows(boxes, 8, seed=seeds, num_boxes=[6, 4])
    padded = np.concatenate([boxes, np.zeros([2, 5, 4])], axis=1)
    for function in (object_windows, tf.function(object_windows, autograph=False)):
        longer, _ = function(tf.constant(padded), 8, seed=seeds, num_boxes=[6, 4])
        np.testing.assert_array_equal(longer, together)
    for image, number in enumerate((6, 4)):
        alone, count = object_windows(boxes[image, :number], 8, seed=seeds[image])
        np.testing.assert_array_equal(alone, together[image])
        assert int(count) == int(counts[image]) == 8


def test_no_boxes_and_one_window():
    windows, count = object_windows(np.zeros([0, 4]), 2, seed=1)
    np.testing.assert_array_equal(windows, [WHOLE] * 2)
    assert int(count) == 1
    windows, count = object_windows([[0.1, 0.1, 0.2, 0.2]], 1, seed=1)
    np.testing.assert_array_equal(windows, [WHOLE])
    assert int(count) == 1
    with pytest.raises(ValueError, match="num_windows is 0"):
        object_windows([WHOLE], 0, seed=1)
