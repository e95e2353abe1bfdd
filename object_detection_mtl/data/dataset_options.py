"""Options of the package's datasets."""

import tensorflow as tf


def fixed_parallelism() -> tf.data.Options:
    """Return options without the thread in which tf.data tunes a dataset's parallelism.

    The end of an iterator waits for that thread, which sleeps for up to a minute and may miss the
    signal to wake up (TensorFlow 2.20: `Model::OptimizeLoop` asks whether it is cancelled before
    `CancellationManager` says so). `AUTOTUNE` then means as many calls as there are cores.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return options
