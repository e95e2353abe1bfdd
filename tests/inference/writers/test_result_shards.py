"""Results in several files; results of an earlier run in the output directory."""

import pytest

from object_detection_mtl.inference.detection_options import DetectionOptions
from object_detection_mtl.inference.writers import result_shards

NAMES = ("detections{}.json", "images{}.json")


def names(num_shards):
    """Return the names of all files that a run writes."""
    suffixes = [result_shards.shard_suffix(shard, num_shards) for shard in range(num_shards)]
    jsons = [name.format(suffix) for name in NAMES for suffix in suffixes]
    return jsons + [f"detections.record{suffix}" for suffix in suffixes]


@pytest.mark.parametrize("num_shards", [1, 2])
def test_results_that_would_be_replaced_are_allowed_others_are_not(tmp_path, num_shards):
    for name in names(num_shards):
        (tmp_path / name).touch()
    result_shards.prepare_directory(DetectionOptions(tmp_path), num_shards)
    for name in [*names(3), *names(3 - num_shards)]:
        (tmp_path / name).touch()
        with pytest.raises(FileExistsError, match=f"{name} and perhaps .* another --num_shards"):
            result_shards.prepare_directory(DetectionOptions(tmp_path), num_shards)
        (tmp_path / name).unlink()


def test_the_output_directory_is_created(tmp_path):
    result_shards.prepare_directory(DetectionOptions(tmp_path / "a" / "b"), 1)
    assert (tmp_path / "a" / "b").is_dir()
    with pytest.raises(ValueError, match="num_shards is 0"):
        result_shards.prepare_directory(DetectionOptions(tmp_path / "c"), 0)
    assert not (tmp_path / "c").exists()
