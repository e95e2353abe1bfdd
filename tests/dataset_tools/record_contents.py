"""Contents of written records."""

import tensorflow as tf


def examples(*paths):
    dataset = tf.data.TFRecordDataset([str(path) for path in paths])
    return [tf.train.Example.FromString(item.numpy()) for item in dataset]


def values(example, key):
    feature = example.features.feature[key]
    return list(getattr(feature, feature.WhichOneof("kind") or "int64_list").value)
