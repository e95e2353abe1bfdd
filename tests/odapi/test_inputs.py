"""Datasets, the decoder of records and batches, in the OD API's forms."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.odapi import inputs
from object_detection_mtl.odapi.builders import dataset_builder, model_builder
from object_detection_mtl.odapi.data_decoders.tf_example_decoder import TfExampleDecoder
from object_detection_mtl.odapi.utils import config_util
from tests import records


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return records.write(tmp_path_factory.mktemp("records"))


@pytest.fixture
def configs(path):
    return config_util.get_configs_from_pipeline_file(path)


def test_a_dataset_of_examples(configs):
    reader = configs["eval_input_config"]
    reader.shuffle = False
    reader.num_epochs = 1
    examples = list(dataset_builder.build(reader))
    assert [example["source_id"].numpy() for example in examples] == [b"100", b"101", b"102"]
    example = examples[0]
    assert example["image"].dtype == tf.uint8
    assert example["image"].shape == [48, 64, 3]
    assert example["filename"] == b"100.png"
    assert example["groundtruth_boxes"].shape == [1, 4]
    assert example["groundtruth_classes"].numpy().tolist() == [1]
    assert example["groundtruth_classes"].dtype == tf.int64
    assert example["num_groundtruth_boxes"] == 1
    assert example["original_image_spatial_shape"].numpy().tolist() == [48, 64]


def test_epochs_and_batches(configs):
    reader = configs["train_input_config"]
    dataset = dataset_builder.build(
        reader,
        batch_size=4,
        transform_input_data_fn=lambda example: {"id": example["source_id"]},
    )
    assert [batch["id"].shape[0] for batch in dataset.take(3)] == [4, 4, 4]  # of six records


def test_other_readers_are_refused(configs):
    configs["eval_input_config"].external_input_reader.SetInParent()
    with pytest.raises(ValueError, match="tf_record_input_reader"):
        dataset_builder.build(configs["eval_input_config"])


def test_the_decoder_without_a_label_map(path):
    file = config_util.get_configs_from_pipeline_file(path)["train_input_config"]
    record = next(iter(tf.data.TFRecordDataset(file.tf_record_input_reader.input_path[0])))
    found = TfExampleDecoder().decode(record)
    assert found["groundtruth_classes"].numpy().tolist() == [1]
    with pytest.raises(ValueError, match="load_instance_masks"):
        TfExampleDecoder(load_instance_masks=True)


@pytest.mark.slow
def test_batches_of_features_and_labels(configs):
    model = model_builder.build(configs["model"], is_training=False)
    train = inputs.train_input(
        configs["train_config"], configs["train_input_config"], configs["model"], model=model
    )
    features, labels = next(iter(train))
    assert sorted({2, 48, 64, 3} | set(features["image"].shape)) == [2, 3, 48, 64]
    assert features["true_image_shape"].shape == [2, 3]
    assert labels["groundtruth_classes"].shape == [2, 1, 2]
    np.testing.assert_array_equal(tf.reduce_sum(labels["groundtruth_classes"], axis=-1), 1)
    evaluation = inputs.eval_input(
        configs["eval_config"], configs["eval_input_config"], configs["model"], model=model
    )
    batches = list(evaluation)
    assert len(batches) == 3
    features, labels = batches[0]
    assert features["original_image"].dtype == tf.uint8
    assert labels["num_groundtruth_boxes"].numpy().tolist() == [1]
