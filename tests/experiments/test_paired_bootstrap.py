"""Paired errors and the hierarchical bootstrap, by hand-worked numbers."""

import math

import numpy as np
import pytest

from object_detection_mtl.config.label_map import Category
from object_detection_mtl.evaluation.pascal_voc import PascalVocEvaluator
from object_detection_mtl.experiments import paired_bootstrap
from object_detection_mtl.reporting.evaluated_images import (
    EvaluatedImage,
    make_detections,
    make_groundtruth,
)
from object_detection_mtl.reporting.object_matching import match_images

BOX, OTHER = [0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]


def test_paired_difference():
    found = paired_bootstrap.paired_difference([0.1, 0.2, 0.3], [0.2, 0.2, 0.5])
    assert found.mean == pytest.approx(0.1)
    # Differences 0.1, 0, 0.2: deviation 0.1.
    assert found.standard_error == pytest.approx(0.1 / math.sqrt(3))
    assert found.pairs == 3
    assert math.isnan(paired_bootstrap.paired_difference([1.0], [2.0]).standard_error)
    with pytest.raises(ValueError, match="2 and 1 numbers"):
        paired_bootstrap.paired_difference([1.0, 2.0], [1.0])


def test_mean_ap_of_weighted_images():
    """Image 0: the lid is found; image 1: a false lid with a better score, and a missed pot."""
    matches = match_images(
        [
            EvaluatedImage("0", make_groundtruth([BOX], [1]), make_detections([BOX], [0.5], [1])),
            EvaluatedImage("1", make_groundtruth([BOX], [2]), make_detections([BOX], [0.9], [1])),
        ]
    )
    weights = np.array([[1, 1], [2, 0], [0, 2], [1, 2]])
    # Lids' AP: precision 1/2; 1 (image 1 is not drawn); no lid; precision 1/3. Pots: 0, none, 0, 0.
    found = paired_bootstrap.mean_ap(matches, weights)
    np.testing.assert_allclose(found, [1 / 4, 1, 0, 1 / 6])


def test_every_image_once_gives_the_voc_metric():
    random = np.random.default_rng(3)
    categories = [Category(number, str(number), str(number)) for number in (1, 2, 3)]
    evaluator, images = PascalVocEvaluator(categories), []
    for number in range(40):
        corners = random.uniform(0, 60, (random.integers(0, 6), 2))
        sides = random.uniform(10, 40, corners.shape)
        boxes = np.concatenate([corners, corners + sides], axis=1)
        truth = make_groundtruth(
            boxes, random.integers(1, 4, len(boxes)), difficult=random.random(len(boxes)) < 0.2
        )
        guesses = np.concatenate([boxes, boxes]) + random.normal(0, 4, (2 * len(boxes), 4))
        found = make_detections(
            guesses, random.random(len(guesses)), random.integers(1, 4, len(guesses))
        )
        images.append(EvaluatedImage(str(number), truth, found))
        evaluator.add_groundtruth(number, truth.boxes, truth.classes, difficult=truth.difficult)
        evaluator.add_detections(number, found.boxes, found.scores, found.classes)
    wanted = evaluator.evaluate()["PascalBoxes_Precision/mAP@0.5IOU"]
    assert 0.05 < wanted < 0.95
    found = paired_bootstrap.mean_ap(match_images(images), np.ones((1, len(images))))
    assert found[0] == pytest.approx(wanted, abs=1e-12)


class TestHierarchicalInterval:
    def test_one_pair_has_the_interval_of_the_images(self):
        second = np.linspace(0, 1, 1001)[np.newaxis]
        low, high = paired_bootstrap.hierarchical_interval(np.zeros_like(second), second)
        assert (low, high) == (pytest.approx(0.025), pytest.approx(0.975))

    def test_pairs_that_differ_widen_it(self):
        """Two pairs, +0 and +1 on any images: a resample's mean is 0, 1/2 or 1 (1/4, 1/2, 1/4)."""
        second = np.stack([np.zeros(4000), np.ones(4000)])
        low, high = paired_bootstrap.hierarchical_interval(np.zeros_like(second), second)
        assert (low, high) == (0.0, 1.0)

    def test_what_both_variants_share_cancels(self):
        """Images that are hard for both variants add nothing to the interval."""
        hard = np.random.default_rng(0).random((3, 500))
        low, high = paired_bootstrap.hierarchical_interval(hard, hard + 0.02)
        assert low == pytest.approx(0.02)
        assert high == pytest.approx(0.02)

    def test_pairs_are_drawn_anew_in_every_resample(self):
        """Five pairs with deviation s: the interval is about 2 * 1.96 * s / sqrt(5) wide."""
        values = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
        second = np.repeat(values[:, np.newaxis], 4000, axis=1)
        low, high = paired_bootstrap.hierarchical_interval(np.zeros_like(second), second)
        expected = 1.96 * math.sqrt(2) / math.sqrt(5)  # of the population
        assert high == pytest.approx(expected, abs=0.15)
        assert low == pytest.approx(-expected, abs=0.15)


def test_resamples_draw_as_many_images_as_there_are():
    drawn = paired_bootstrap.draw_images(7, 50)
    assert drawn.shape == (50, 7)
    assert (drawn.sum(axis=1) == 7).all()
    np.testing.assert_array_equal(drawn, paired_bootstrap.draw_images(7, 50))


def test_files_of_different_images_are_refused(tmp_path):
    from object_detection_mtl.experiments import stored_detections

    image = (make_groundtruth([OTHER], [1]), make_detections([OTHER], [0.5], [1]))
    stored_detections.save_detections(tmp_path / "d.npz", {"a": image})
    stored_detections.save_groundtruth(tmp_path / "g.npz", {"a": image, "b": image})
    with pytest.raises(ValueError, match="has 1 images and .* 2; expected the same"):
        paired_bootstrap.load_matches(tmp_path / "d.npz", tmp_path / "g.npz")
