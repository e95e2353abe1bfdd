"""Sample configs and label maps of the package."""

import pytest
from google.protobuf.message import Message

from object_detection_mtl.config import label_map, pipeline, samples
from tests.golden import original_configs

# Sample configurations that are the authors' models under speaking names.
ORIGINALS = {
    "faster_rcnn_resnet101_voc07.config": "model11",
    "faster_rcnn_resnet101_coco17.config": "model21",
    "faster_rcnn_resnet101_voc0712.config": "model31",
    "rfcn_resnet101_voc07.config": "model41",
    "faster_rcnn_mobilenet_v1_voc07.config": "model51",
    "faster_rcnn_inception_resnet_v2_voc07.config": "model61",
    "rfcn_resnet101_voc0712.config": "model71",
    "faster_rcnn_mobilenet_v1_voc0712.config": "model81",
    "faster_rcnn_inception_resnet_v2_voc0712.config": "model91",
    "faster_rcnn_resnet101_mtl_voc07.config": "model12",
    "faster_rcnn_resnet101_mtl_coco17.config": "model22",
    "faster_rcnn_resnet101_mtl_voc0712.config": "model32",
    "rfcn_resnet101_mtl_voc07.config": "model42",
    "faster_rcnn_mobilenet_v1_mtl_voc07.config": "model52",
    "faster_rcnn_inception_resnet_v2_mtl_voc07.config": "model62",
    "rfcn_resnet101_mtl_voc0712.config": "model72",
    "faster_rcnn_mobilenet_v1_mtl_voc0712.config": "model82",
    "faster_rcnn_inception_resnet_v2_mtl_voc0712.config": "model92",
}


def differences(ours: Message, theirs: Message, path: str = "") -> list[str]:
    """Return the fields whose values differ; an explicit default equals an unset field."""
    found = []
    for field in ours.DESCRIPTOR.fields:
        name = f"{path}.{field.name}".lstrip(".")
        values = getattr(ours, field.name), getattr(theirs, field.name)
        if field.message_type is None or field.is_repeated:
            same = (
                list(values[0]) == list(values[1]) if field.is_repeated else values[0] == values[1]
            )
            found += [] if same else [f"{name}: {values[0]} and {values[1]}"]
        elif ours.HasField(field.name) or theirs.HasField(field.name):
            found += differences(*values, name)
    return found


@pytest.mark.parametrize(("sample", "original"), ORIGINALS.items())
def test_a_sample_builds_the_authors_model(sample, original):
    ours = pipeline.load(samples.path(sample))
    theirs = pipeline.parse(original_configs.texts()[original])
    for config in (ours, theirs):
        mtl = config.model.mtl
        for predictor in (
            config.model.faster_rcnn.second_stage_box_predictor,
            mtl.window_box_predictor,
            mtl.closeness_box_predictor,
        ):
            if not predictor.mask_rcnn_box_predictor.use_dropout:
                # Has no effect.
                predictor.mask_rcnn_box_predictor.ClearField("dropout_keep_probability")
    assert differences(ours.model, theirs.model) == []
    assert ours.train_config.batch_size == theirs.train_config.batch_size
    assert original in samples.path(sample).read_text()


def test_every_sample_configuration_loads():
    configs = samples.configs()
    assert configs
    for path in configs.values():
        config = pipeline.load(path)
        assert config.model.faster_rcnn.num_classes >= 1


def test_every_label_map_loads():
    assert {"pascal_label_map.pbtxt", "mscoco_label_map.pbtxt"} <= set(samples.label_maps())
    for path in samples.label_maps().values():
        assert label_map.load(path)


def test_files_are_found_by_name():
    for name, path in {**samples.configs(), **samples.label_maps()}.items():
        assert samples.path(name) == path


def test_an_unknown_sample_suggests_the_nearest():
    with pytest.raises(FileNotFoundError, match='did you mean "pascal_label_map.pbtxt"'):
        samples.path("pascal_labelmap.pbtxt")
