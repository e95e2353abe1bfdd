"""A worker of a small training, for tests that start several processes.

    python -m tests.training.cluster_worker RECORDS MODEL_DIR NUM_STEPS SECONDS_PER_STEP CORRUPT

TF_CONFIG has the cluster. CORRUPT records may be corrupt.
"""

import sys
import time

from object_detection_mtl.checkpoints import native
from object_detection_mtl.data import input_pipeline
from object_detection_mtl.training import distribution, training_loop
from object_detection_mtl.training.failures import (
    LOST_WORKER_EXIT_CODE,
    TrainingDataError,
    WorkerLostError,
    lost_worker_explained,
)
from object_detection_mtl.training.run_options import LoopOptions
from tests.training.linear import make_model


def train(
    records,
    model_dir,
    num_steps,
    seconds=0.0,
    max_corrupt_examples=2,
    *,
    num_workers=2,
    strategy=None,
    data=None,
):
    """Train the linear model on records, two images a step; return the result and the model."""
    models = []

    def make():
        models.append(make_model({"noise": 0.1}, rate=0.01))
        return models[0]

    def make_dataset(detector, context, batch_size, start_example):
        return input_pipeline.make_pipeline(
            records,
            preprocess_fn=lambda image: tuple(part[0] for part in detector.preprocess(image[None])),
            batch_size=batch_size,
            is_training=True,
            num_classes=3,
            start_example=start_example,
            input_context=context,
            max_corrupt_examples=max_corrupt_examples,
        )

    with lost_worker_explained(model_dir, is_cluster=strategy is None):
        strategy = strategy or distribution.make_strategy(num_workers=num_workers)
    result = training_loop.run_training(
        model_dir,
        strategy=strategy,
        make_model=make,
        initialize=lambda detector: None,
        make_dataset=data or make_dataset,
        batch_size=2,
        options=LoopOptions(num_steps, checkpoint_every_n=4, log_every_n=1, record_summaries=False),
        on_block=lambda step, losses: time.sleep(seconds),
    )
    return result, models[0]


def main() -> int:
    """Train; return the exit code of model_main_tf2."""
    native.tf1_detection.name_map = lambda detector: detector.tf1_variable_names()
    records, model_dir, num_steps, seconds, corrupt = sys.argv[1:]
    try:
        result, _ = train(records, model_dir, int(num_steps), float(seconds), int(corrupt))
    except TrainingDataError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    except WorkerLostError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return LOST_WORKER_EXIT_CODE
    return 0 if result.interrupted_by is None else 128 + result.interrupted_by


if __name__ == "__main__":
    sys.exit(main())
