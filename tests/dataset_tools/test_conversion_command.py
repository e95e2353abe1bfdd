"""Combinations of the flags that the converters share."""

import sys

import pytest

from object_detection_mtl.dataset_tools import create_coco_tf_record
from tests import command_line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--runner_option=a=b"], "--runner_option is given without --runner"),
        (["--runner=DirectRunner", "--num_workers=2"], "direct_num_workers=4"),
    ],
)
def test_contradicting_flags(tmp_path, arguments, says):
    done = command_line.run(
        create_coco_tf_record,
        "--annotations_file=a.json",
        "--image_dir=b",
        f"--output_path={tmp_path}/c",
        *arguments,
    )
    assert done.code == 1
    assert says in done.err


def test_the_error_without_beam_names_the_extra(tmp_path, monkeypatch):
    from object_detection_mtl.dataset_tools import beam_conversion

    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(ValueError, match=r"pip install 'object_detection_mtl\[beam\]'"):
        beam_conversion.create_records(list, tmp_path / "a.record")
