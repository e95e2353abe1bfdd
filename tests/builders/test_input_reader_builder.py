"""From an input reader's message to batches."""

import pytest
import tensorflow as tf
from google.protobuf import text_format

from object_detection_mtl.builders import input_reader_builder
from object_detection_mtl.fields import Batch, Groundtruth
from object_detection_mtl.protos import faster_rcnn_pb2, input_reader_pb2, preprocessor_pb2
from tests.data.record_files import example, numbered, write

LABEL_MAP = 'item { id: 1 name: "dog" } item { id: 2 name: "cat" display_name: "Tom" }'
FLIP = text_format.Parse(
    "random_horizontal_flip { probability: 1 }", preprocessor_pb2.PreprocessingStep()
)


def reader(text):
    return text_format.Parse(text, input_reader_pb2.InputReader())


def build(text, **options):
    defaults = {
        "preprocess_fn": lambda image: (image, tf.shape(image)),
        "num_classes": 2,
        "batch_size": 1,
        "is_training": False,
    }
    return input_reader_builder.build_dataset(reader(text), **{**defaults, **options})


@pytest.fixture
def label_map(tmp_path):
    path = tmp_path / "map.pbtxt"
    path.write_text(LABEL_MAP)
    return path


def names(batches):
    return [batch[Batch.image_id][0].numpy().decode() for batch in batches]


def test_several_paths_and_patterns_and_every_nth(tmp_path):
    numbered(tmp_path / "b-0", 2)
    numbered(tmp_path / "b-1", 2, start=2)
    numbered(tmp_path / "a", 2, start=4)
    text = (
        f'tf_record_input_reader {{ input_path: "{tmp_path}/b-*" input_path: "{tmp_path}/a" }} '
        "sample_1_of_n_examples: 2"
    )
    assert names(build(text)) == ["0", "2", "4"]


def test_label_map_and_display_names(tmp_path, label_map):
    record = example(texts=["Tom", "dog"], classes=[1, 1], boxes=[[0, 0, 1, 1]] * 2)
    path = write(tmp_path / "a", record)
    text = (
        f'tf_record_input_reader {{ input_path: "{path}" }} label_map_path: "{label_map}" '
        "use_display_name: true"
    )
    [batch] = build(text)
    assert batch[Groundtruth.classes].numpy().tolist() == [[2, 1]]


@pytest.mark.slow
def test_training_shuffles_augments_and_limits_boxes_and_evaluation_does_not(tmp_path):
    boxes = [[0, 0, 1, 0.25], [0, 0, 1, 0.5]]
    path = write(tmp_path / "a", *[example(str(i), boxes=boxes, classes=[1, 2]) for i in range(6)])
    text = f'tf_record_input_reader {{ input_path: "{path}" }} max_number_of_boxes: 1'
    options = {"augmentation_steps": [FLIP], "max_boxes": 7}
    seen = list(build(text, is_training=True, **options).take(6))
    assert sorted(names(seen)) == list("012345") != names(seen)
    assert seen[0][Groundtruth.boxes].numpy().tolist() == [[[0, 0.75, 1, 1]]]
    evaluated = list(build(text, **options))
    assert names(evaluated) == list("012345")
    assert evaluated[0][Groundtruth.boxes].numpy().tolist() == [boxes]


def test_shuffle_off_and_a_limit_from_outside(tmp_path):
    path = numbered(tmp_path / "a", 3)
    text = f'tf_record_input_reader {{ input_path: "{path}" }} shuffle: false'
    batches = build(text, is_training=True, start_example=2, max_boxes=7)
    assert names(batches.take(3)) == ["2", "0", "1"]
    assert batches.element_spec[Groundtruth.boxes].shape.as_list() == [1, 7, 4]


def test_num_classes_below_the_highest_id(tmp_path, label_map):
    text = (
        f'tf_record_input_reader {{ input_path: "{numbered(tmp_path / "a", 1)}" }} '
        f'label_map_path: "{label_map}"'
    )
    with pytest.raises(
        ValueError, match="num_classes = 1 is less than the highest id of .*map.pbtxt"
    ):
        build(text, num_classes=1)


def test_missing_files_are_named(tmp_path):
    path = numbered(tmp_path / "a", 1)
    with pytest.raises(FileNotFoundError, match="none.pbtxt"):
        build(
            f'tf_record_input_reader {{ input_path: "{path}" }} '
            f'label_map_path: "{tmp_path}/none.pbtxt"'
        )
    with pytest.raises(FileNotFoundError, match="no file matches '.*/trian'"):
        build(f'tf_record_input_reader {{ input_path: "{tmp_path}/trian" }}')
    with pytest.raises(ValueError, match="input_path.*is empty"):
        build("tf_record_input_reader {}")


@pytest.mark.parametrize("text", ["", "external_input_reader {}"])
def test_other_readers_are_refused(text):
    with pytest.raises(ValueError, match="no tf_record_input_reader"):
        build(text)


# Examination before the first step ----------------------------------------------------------------

PIXELS = [[4, 3, 12, 18], [2, 2, 15, 17]]
MODEL = faster_rcnn_pb2.FasterRcnn(num_classes=2)
PROPOSALS = faster_rcnn_pb2.FasterRcnn(num_classes=2, number_of_stages=1)


def reader_of(tmp_path, *objects):
    """Return a reader of a record with 12 images; `objects` are (class text, box)."""
    image = example(
        boxes=[box for _, box in objects],
        classes=[1] * len(objects),
        texts=[text for text, _ in objects],
    )
    write(tmp_path / "a.record", *[image] * 12)
    (tmp_path / "map.pbtxt").write_text('item { id: 1 name: "cat" } item { id: 2 name: "dog" }')
    return reader(
        f'label_map_path: "{tmp_path}/map.pbtxt" '
        f'tf_record_input_reader {{ input_path: "{tmp_path}/a.record" }}'
    )


@pytest.mark.parametrize("is_training", [True, False])
def test_boxes_in_pixels_are_refused(tmp_path, is_training):
    made = reader_of(tmp_path, *[("cat", box) for box in PIXELS])
    with pytest.raises(ValueError, match=r"a\.record: .*they lie in 2 to 18 and look like pixels"):
        input_reader_builder.examine_records(made, MODEL, is_training=is_training)


def test_a_dataset_without_a_usable_object_is_refused_or_reported(tmp_path, caplog):
    made = reader_of(tmp_path, ("cow", [0, 0, 1, 1]))
    with pytest.raises(ValueError, match="none of the 12 objects in 12 records is usable.*'cow'"):
        input_reader_builder.examine_records(made, MODEL, is_training=True)
    input_reader_builder.examine_records(made, MODEL, is_training=False)
    assert "Every average precision is undefined, -1." in caplog.text


def test_empty_files_among_others_are_reported(tmp_path, caplog):
    made = reader_of(tmp_path, ("dog", [0, 0, 1, 1]), ("cat", [0, 0, 1, 1]))
    (tmp_path / "empty.record").touch()
    made.tf_record_input_reader.input_path.append(str(tmp_path / "empty.record"))
    input_reader_builder.examine_records(made, MODEL, is_training=True)
    assert [record.getMessage() for record in caplog.records] == [
        f"1 of 2 record files have no record: {tmp_path}/empty.record"
    ]


def test_a_class_without_an_object_is_reported(tmp_path, caplog):
    made = reader_of(tmp_path, ("dog", [0, 0, 1, 1]))
    input_reader_builder.examine_records(made, MODEL, is_training=True)
    input_reader_builder.examine_records(made, MODEL, is_training=False)
    input_reader_builder.examine_records(made, PROPOSALS, is_training=False)
    says = f"{tmp_path}/a.record: no usable object of the class 'cat' (1) in 12 records."
    assert [record.getMessage() for record in caplog.records] == [
        f"{says} It is not learned.",
        f"{says} Its average precision is undefined.",
    ]
