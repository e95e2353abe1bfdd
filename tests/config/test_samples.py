"""What the package brings along can be found and used."""

import pytest

from object_detection_mtl.config import label_map, pipeline, samples


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
