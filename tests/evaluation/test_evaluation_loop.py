import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.evaluation.coco import CocoEvaluator
from object_detection_mtl.evaluation.evaluation_loop import evaluate_detections, visualize_examples
from object_detection_mtl.evaluation.pascal_voc import PascalVocEvaluator
from object_detection_mtl.fields import Batch, Detections, Groundtruth
from tests.evaluation.sets import categories

CATS = categories("cat", "dog")
BOX_1, BOX_2 = [0.1, 0.2, 0.5, 0.6], [0.5, 0.5, 0.9, 0.9]


def batch_of(ids, classes=((1, 2), (1, 0)), shape=(100, 200), **extras):
    """Two images of 2 and 1 objects, padded to 3; `extras` replace or add keys."""
    size = len(ids)
    boxes = np.zeros((size, 3, 4), np.float32)
    boxes[:, 0], boxes[:, 1] = BOX_1, BOX_2
    labels = np.zeros((size, 3), np.int32)
    labels[:, :2] = classes
    batch = {
        Batch.image_id: np.array([i.encode() for i in ids], object),
        Batch.original_image_shapes: np.tile(np.int32([*shape, 3]), (size, 1)),
        Groundtruth.boxes: boxes,
        Groundtruth.classes: labels,
        Groundtruth.num_boxes: np.count_nonzero(labels, axis=1).astype(np.int32),
    }
    return batch | extras


def detections_of(batch, **extras):
    """The objects themselves, 0-based classes, then one padding detection that must not count."""
    size = len(batch[Batch.image_id])
    found = {
        Detections.boxes: np.concatenate(
            [np.asarray(batch[Groundtruth.boxes])[:, :2], np.tile([[[0, 0, 1, 1]]], (size, 1, 1))],
            axis=1,
        ).astype(np.float32),
        Detections.scores: np.tile(np.float32([0.9, 0.8, 0.99]), (size, 1)),
        Detections.classes: np.asarray(batch[Groundtruth.classes])[:, :3].astype(np.float32) - 1,
        Detections.num_detections: np.asarray(batch[Groundtruth.num_boxes]).astype(np.float32),
    }
    return found | extras


class Recorder(PascalVocEvaluator):
    """Keeps what it is fed with."""

    def __init__(self):
        super().__init__(CATS)
        self.truth, self.found = {}, {}

    def add_groundtruth(self, image_id, boxes, classes, **flags):
        self.truth[image_id] = (boxes, classes, flags)
        super().add_groundtruth(image_id, boxes, classes, **flags)

    def add_detections(self, image_id, boxes, scores, classes):
        self.found[image_id] = (boxes, scores, classes)
        super().add_detections(image_id, boxes, scores, classes)


def test_evaluators_get_pixels_of_the_original_image_and_one_based_classes():
    recorder = Recorder()
    flags = {
        Groundtruth.difficult: np.array([[True, False, False]] * 2),
        Groundtruth.is_crowd: np.array([[False, True, False]] * 2),
        Groundtruth.group_of: np.array([[True, True, False]] * 2),
        Groundtruth.area: np.array([[5.0, 6.0, 0.0]] * 2, np.float32),
    }
    evaluate_detections([batch_of(["a", "b"], **flags)], detections_of, [recorder])
    boxes, classes, given = recorder.truth["a"]
    expected = [[10, 40, 50, 120], [50, 100, 90, 180]]
    np.testing.assert_allclose(boxes, expected, rtol=1e-6)
    np.testing.assert_array_equal(classes, [1, 2])
    np.testing.assert_array_equal(given["difficult"], [True, False])
    np.testing.assert_array_equal(given["is_crowd"], [False, True])
    np.testing.assert_array_equal(given["group_of"], [True, True])
    np.testing.assert_array_equal(given["area"], [5, 6])
    assert len(recorder.truth["b"][0]) == len(recorder.truth["b"][2]["area"]) == 1
    boxes, scores, classes = recorder.found["a"]
    np.testing.assert_allclose(boxes, expected, rtol=1e-6)
    np.testing.assert_array_equal(classes, [1, 2])
    np.testing.assert_allclose(scores, [0.9, 0.8])
    assert len(recorder.found["b"][0]) == 1


def test_evaluators_get_the_classes_that_annotators_looked_for():
    looked_for = np.array([[2, 1], [2, 0]])  # 0 is padding
    batch = batch_of(["a", "b"], **{Groundtruth.image_classes: looked_for})
    recorder = Recorder()
    evaluate_detections([batch], detections_of, [recorder])
    given = [flags["image_classes"].tolist() for _, _, flags in recorder.truth.values()]
    assert given == [[2, 1], [2]]


def test_metrics_of_all_evaluators_and_counters():
    batches = [batch_of(["a", "b"]), batch_of(["c"], ((1, 2),))]
    result = evaluate_detections(
        batches, detections_of, [PascalVocEvaluator(CATS), CocoEvaluator(CATS)]
    )
    assert result.metrics["PascalBoxes_Precision/mAP@0.5IOU"] == 1.0
    assert result.metrics["DetectionBoxes_Precision/mAP"] == pytest.approx(1.0)
    assert (result.num_images, result.num_groundtruth, result.num_detections) == (3, 5, 5)
    assert result.images_per_second == pytest.approx(3 / result.seconds)
    assert set(result.counters()) >= {"num_images", "images_per_second", "metric_seconds"}


def test_a_tf_dataset_and_a_compiled_detector():
    dataset = tf.data.Dataset.from_generator(
        lambda: iter([batch_of(["a", "b"])]),
        output_signature={
            Batch.image_id: tf.TensorSpec([None], tf.string),
            Batch.original_image_shapes: tf.TensorSpec([None, 3], tf.int32),
            Groundtruth.boxes: tf.TensorSpec([None, None, 4], tf.float32),
            Groundtruth.classes: tf.TensorSpec([None, None], tf.int32),
            Groundtruth.num_boxes: tf.TensorSpec([None], tf.int32),
        },
    )

    @tf.function(autograph=False)
    def infer(batch):
        return {
            Detections.boxes: batch[Groundtruth.boxes],
            Detections.scores: tf.ones_like(batch[Groundtruth.boxes][..., 0]),
            Detections.classes: tf.cast(batch[Groundtruth.classes], tf.float32) - 1.0,
            Detections.num_detections: tf.cast(batch[Groundtruth.num_boxes], tf.float32),
            "Loss/total_loss": tf.constant(0.5),
        }

    recorder = Recorder()
    result = evaluate_detections(dataset, infer, [recorder])
    assert list(recorder.truth) == ["a", "b"]
    assert result.metrics["PascalBoxes_Precision/mAP@0.5IOU"] == 1.0
    assert result.metrics["Loss/total_loss"] == 0.5


def test_losses_are_means_over_images_not_batches():
    losses = iter([1.0, 4.0])

    def infer(batch):
        return detections_of(batch, **{"Loss/RPNLoss/objectness_loss": next(losses)})

    result = evaluate_detections(
        [batch_of(["a", "b"]), batch_of(["c"], ((1, 2),))], infer, [PascalVocEvaluator(CATS)]
    )
    assert result.metrics["Loss/RPNLoss/objectness_loss"] == pytest.approx((1 + 1 + 4) / 3)


def test_no_image():
    result = evaluate_detections([], detections_of, [PascalVocEvaluator(CATS), CocoEvaluator(CATS)])
    assert result.num_images == 0
    assert np.isnan(result.metrics["PascalBoxes_Precision/mAP@0.5IOU"])
    assert result.metrics["DetectionBoxes_Precision/mAP"] == -1


def test_an_image_without_objects_and_a_detector_that_finds_nothing():
    batch = batch_of(["a"], ((0, 0),))
    result = evaluate_detections([batch], detections_of, [CocoEvaluator(CATS)])
    assert result.metrics["DetectionBoxes_Precision/mAP"] == -1
    nothing = {
        Detections.boxes: np.zeros((2, 0, 4), np.float32),
        Detections.scores: np.zeros((2, 0), np.float32),
        Detections.classes: np.zeros((2, 0), np.float32),
        Detections.num_detections: np.zeros(2, np.float32),
    }
    result = evaluate_detections(
        [batch_of(["a", "b"])], lambda batch: nothing, [CocoEvaluator(CATS)]
    )
    assert result.metrics["DetectionBoxes_Precision/mAP"] == 0


def test_images_without_a_name_or_with_the_same_one_all_count(caplog):
    recorder = Recorder()
    batches = [batch_of(["", ""]), batch_of(["a", "a"]), batch_of(["a#4", "a"])]
    evaluate_detections(batches, detections_of, [recorder])
    assert len(recorder.truth) == len(recorder.found) == 6
    assert "a" in recorder.truth
    assert "" not in recorder.truth
    [message] = caplog.messages
    assert message == (
        "2 records repeat the image id of an earlier one, the first 'a' and 2 records have no "
        "image id; each record is evaluated as an image of its own"
    )


def test_evaluators_start_empty():
    evaluator = PascalVocEvaluator(CATS)
    for _ in range(2):
        result = evaluate_detections([batch_of(["a", "b"])], detections_of, [evaluator])
        assert result.metrics["PascalBoxes_Precision/mAP@0.5IOU"] == 1.0
    assert evaluator.num_images == 2


def test_a_ground_truth_class_outside_the_label_map():
    with pytest.raises(
        ValueError, match="'a', ground truth: class 3 is not one of the 2 categories"
    ):
        evaluate_detections([batch_of(["a"], ((1, 3),))], detections_of, [PascalVocEvaluator(CATS)])


def test_an_infinite_dataset_is_refused():
    endless = tf.data.Dataset.from_tensors({"x": 0}).repeat()
    with pytest.raises(ValueError, match="the dataset is infinite"):
        evaluate_detections(endless, detections_of, [PascalVocEvaluator(CATS)])


def test_missing_keys_are_named():
    batch = batch_of(["a"], ((1, 2),))
    del batch[Groundtruth.num_boxes]
    with pytest.raises(KeyError, match="num_groundtruth_boxes"):
        evaluate_detections([batch], lambda b: {}, [PascalVocEvaluator(CATS)])
    with pytest.raises(KeyError, match="detection_boxes"):
        evaluate_detections([batch_of(["a"], ((1, 2),))], lambda b: {}, [PascalVocEvaluator(CATS)])


def test_examples_are_drawn_side_by_side_without_padding():
    images = np.full((2, 450, 500, 3), 255, np.uint8)
    images[:, :400, :480] = 90
    batch = batch_of(["a", "b"], shape=(400, 480), **{Batch.original_images: images})
    found = detections_of(batch)
    found[Detections.scores][1] = 0.3
    figures = dict(visualize_examples(batch, found, CATS, batch_number=7))
    assert list(figures) == ["eval_side_by_side_7_0", "eval_side_by_side_7_1"]
    drawn = figures["eval_side_by_side_7_0"]
    assert drawn.dtype == np.uint8
    assert drawn.shape[2] == 3
    height, width = drawn.shape[:2]
    assert 400 < height < 450
    assert 960 < width < 1000
    left, right = drawn[height - 400 :, :480], drawn[height - 400 :, width - 480 :]
    # The second detection (0.5..0.9) has a frame on both sides, and none where its score is low.
    frame = (round(0.9 * 399), slice(250, 420))
    assert (left[frame] != 90).any(-1).all()
    assert (right[frame] != 90).any(-1).all()
    second = figures["eval_side_by_side_7_1"][height - 400 :, :480]
    assert (second == 90).all()
    assert [tag for tag, _ in visualize_examples(batch, found, CATS, max_images=1)] == [
        "eval_side_by_side_0_0"
    ]


def test_drawing_needs_the_original_images():
    batch = batch_of(["a"], ((1, 2),))
    with pytest.raises(KeyError, match="original_images"):
        next(visualize_examples(batch, detections_of(batch), CATS))
