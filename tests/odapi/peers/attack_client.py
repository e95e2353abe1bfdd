"""Program for an environment with adversarial-robustness-toolbox: drive a detector as its client.

    python attack_client.py CONFIG CHECKPOINT

Prints the number of detections, the largest gradient at a pixel, and the loss before and after one
step of a projected-gradient attack, as JSON.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import tensorflow as tf
from art.attacks.evasion import ProjectedGradientDescent
from art.estimators.object_detection import TensorFlowV2FasterRCNN

from object_detection_mtl.odapi.builders import model_builder
from object_detection_mtl.odapi.utils import config_util

SIZE = (96, 128, 3)


def main(config_path: str, checkpoint: str) -> None:
    """Run the client."""
    config = config_util.get_configs_from_pipeline_file(config_path)["model"]
    model = model_builder.build(model_config=config, is_training=False, add_summaries=False)
    tf.train.Checkpoint(model=model).restore(checkpoint).assert_existing_objects_matched()
    estimator = TensorFlowV2FasterRCNN(input_shape=SIZE, model=model, clip_values=(0, 255))
    images = np.random.default_rng(0).integers(0, 256, (1, *SIZE)).astype(np.float32)
    found = estimator.predict(images)
    labels = [
        {
            "boxes": np.asarray([[10.0, 20.0, 60.0, 90.0]], np.float32),
            "labels": np.asarray([1]),
            "scores": np.asarray([1.0], np.float32),
        }
    ]
    gradient = estimator.loss_gradient(images, labels)
    attack = ProjectedGradientDescent(estimator, eps=4, eps_step=4, max_iter=1, verbose=False)
    attacked = attack.generate(images, labels)
    before, after = (
        sum(float(np.sum(loss)) for loss in estimator.compute_losses(x, labels).values())
        for x in (images, attacked)
    )
    report = {
        "detections": len(found[0]["scores"]),
        "largest_gradient": float(np.abs(gradient).max()),
        "largest_change": float(np.abs(attacked - images).max()),
        "loss_before": before,
        "loss_after": after,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
