"""Stage 2 of an auxiliary head, computed again for its gradients: same values, same gradients."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.builders import model_builder
from object_detection_mtl.predictors.mask_rcnn import MaskRcnnBoxPredictor
from object_detection_mtl.predictors.region_head import apply_stage2
from object_detection_mtl.predictors.roi_head import CropRegionHead, CropRegions
from tests.models import tiny as small
from tests.training import tiny
from tests.training.linear import one_device

BOXES = [[[0.1, 0.1, 0.8, 0.9], [0.0, 0.3, 0.5, 0.6]]]


def logits_and_gradients(recompute, owns_stage2, training=True):
    """Return logits, gradients of features and variables, and the number of convolutions."""
    random = np.random.RandomState(0)
    backbone = tiny.tiny_backbone()
    with one_device() as strategy:
        main, own = backbone.make_stage2("main"), backbone.make_stage2("own")
        predictor = MaskRcnnBoxPredictor(in_channels=4, num_classes=2, predict_boxes=False)
        head = CropRegionHead(
            predictor,
            stage2=own if owns_stage2 else None,
            backbone_scope="TinyNet",
            recompute=recompute,
        )
    used = own if owns_stage2 else main
    variables = [*used.trainable_variables, *predictor.class_head.trainable_variables]
    for variable in variables:
        variable.assign(random.normal(size=variable.shape))
    features = tf.constant(random.normal(size=[1, 6, 6, 4]), tf.float32)

    def compute():
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            watched = [features, *(variable.value for variable in variables)]
            tape.watch(watched)
            crop = functools.partial(tf.image.crop_and_resize, box_indices=[0, 0], crop_size=[3, 3])
            regions = CropRegions(
                boxes=tf.constant(BOXES),
                crops=crop(features, BOXES[0]),
                classifier_features=tf.zeros([2, 3, 3, 4]),
                crop=lambda boxes: crop(features, boxes[0]),
                stage2=functools.partial(apply_stage2, main, training=training),
            )
            logits = head.read(regions, training=training).at(tf.constant(BOXES))
            total = tf.reduce_sum(tf.square(logits))
        return logits, tape.gradient(total, watched)

    step = tf.function(lambda: strategy.run(compute), autograph=False)
    graph = step.get_concrete_function().graph
    functions = [definition.node_def for definition in graph.as_graph_def().library.function]
    nodes = [*graph.as_graph_def().node, *(node for nodes in functions for node in nodes)]
    return step(), [node.op for node in nodes].count("Conv2D")


@pytest.mark.parametrize("owns_stage2", [True, False])
def test_values_and_gradients_are_equal(owns_stage2):
    (logits, gradients), once = logits_and_gradients(False, owns_stage2)
    (same, equal), twice = logits_and_gradients(True, owns_stage2)
    assert (once, twice) == (1, 2)
    np.testing.assert_allclose(same, logits, rtol=1e-6)
    assert len(gradients) == len(equal) == 6
    for gradient, wanted in zip(equal, gradients, strict=True):
        np.testing.assert_allclose(gradient, wanted, rtol=1e-5, atol=1e-5)
        assert np.abs(wanted).max() > 1e-3


def test_inference_computes_nothing_twice():
    assert logits_and_gradients(True, True, training=False)[1] == 1


def test_batch_norm_that_is_trained_is_refused():
    config = small.config(
        "model.mtl.window=true",
        "model.mtl.recompute_stage2=true",
        "model.faster_rcnn.feature_extractor.batch_norm_trainable=true",
    )
    with pytest.raises(ValueError, match="recompute_stage2 cannot be combined with"):
        model_builder.build(config.model, is_training=True)
