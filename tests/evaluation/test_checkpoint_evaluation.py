import numpy as np
import tensorflow as tf

from object_detection_mtl.evaluation import checkpoint_evaluation
from object_detection_mtl.fields import Groundtruth


def test_every_object_is_of_class_one_and_padding_of_none():
    boxes = np.zeros([2, 3, 4], np.float32)
    batch = {Groundtruth.classes: [[7, 1, 0], [0, 0, 0]], Groundtruth.boxes: boxes}
    dataset = tf.data.Dataset.from_tensors(batch)
    (result,) = checkpoint_evaluation.as_objects(dataset)
    np.testing.assert_array_equal(result[Groundtruth.classes], [[1, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(result[Groundtruth.boxes], boxes)
