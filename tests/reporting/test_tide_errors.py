import json

import numpy as np
import pytest

from object_detection_mtl.config import samples
from object_detection_mtl.reporting.evaluated_images import (
    DetectedObjects,
    make_detections,
    with_detections,
)
from object_detection_mtl.reporting.groundtruth_files import read_groundtruth
from object_detection_mtl.reporting.tide_errors import TIDE_KINDS, tide_errors
from tests.evaluation.sets import GOLDEN, shared_directory
from tests.reporting.hand_made import (
    CAT,
    DOG,
    FAR,
    LOOSE_A,
    NEAR_A,
    A,
    B,
    image,
    random_set,
    recorded_set,
)

RECORDED = json.loads((GOLDEN / "tide_errors.json").read_text())


def check(images, expected):
    made = tide_errors(images)
    assert made.counts == expected["counts"]
    assert made.mean_ap * 100 == pytest.approx(expected["mean_ap"], abs=1e-9)
    for kind in TIDE_KINDS:
        assert made.costs[kind] * 100 == pytest.approx(expected["costs"][kind], abs=1e-9), kind


@pytest.mark.golden
@pytest.mark.parametrize("name", ["golden_eval_set.json", "synthetic_errors.json"])
def test_equal_to_tidecv_on_recorded_sets(name):
    check(recorded_set(name).images, RECORDED[name])


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        ((A, 0.9, DOG), "Cls"),
        ((LOOSE_A, 0.9, CAT), "Loc"),
        ((LOOSE_A, 0.9, DOG), "Both"),
        ((FAR, 0.9, CAT), "Bkg"),
    ],
)
def test_one_wrong_detection_of_one_cat(found, kind):
    made = tide_errors([image([(A, CAT)], [found])])
    # Cls and Loc errors could be corrected to find the cat, so it is not missed.
    missed = kind not in ("Cls", "Loc")
    assert made.counts == {
        name: int(name == kind or (name == "Miss" and missed)) for name in TIDE_KINDS
    }


def test_costs_by_hand():
    """One cat found, the other one missed, and a duplicate with the second score."""
    truth = [(A, CAT), (B, CAT)]
    made = tide_errors([image(truth, [(A, 0.9, CAT), (NEAR_A, 0.8, CAT)])])
    # 51 of 101 recall points (0 to 0.5) have precision 1.
    assert made.mean_ap == pytest.approx(51 / 101)
    assert made.counts["Dupe"] == made.counts["Miss"] == 1
    assert made.costs["Dupe"] == 0  # The duplicate comes after the last object found.
    assert made.costs["Miss"] == pytest.approx(1 - 51 / 101)


def test_a_corrected_name_finds_the_object():
    made = tide_errors([image([(A, CAT)], [(A, 0.9, DOG)])])
    # Two classes with AP 0; corrected, the class without objects and detections is dropped.
    assert (made.mean_ap, made.costs["Cls"]) == (0, 1)


def test_nothing_at_all_costs_nothing():
    made = tide_errors([image([], [])])
    assert np.isnan(made.mean_ap)
    assert set(made.costs.values()) == {0.0}
    assert set(made.counts.values()) == {0}


def test_no_detections_are_missed_objects():
    made = tide_errors([image([(A, CAT), (B, DOG)], [])])
    assert made.mean_ap == 0
    assert made.counts["Miss"] == 2


@pytest.mark.golden
def test_equal_to_tidecv_on_voc_images():
    directory = shared_directory("data", "voc100")
    truth = read_groundtruth(
        directory,
        label_map_path=samples.path("pascal_label_map.pbtxt"),
        set_name="trainval",
    )
    detected = {}
    for file in (directory / "detections").glob("2*.txt"):
        rows = np.array(file.read_text().split(), np.float64).reshape(-1, 6)
        detected[file.stem] = DetectedObjects(
            make_detections(rows[:, [3, 2, 5, 4]], rows[:, 1], rows[:, 0] + 1)
        )
    check(with_detections(truth, detected, "recorded").images, RECORDED["voc100"])


def tidecv_data(tidecv, chosen):
    """Return ground truth and detections of a set for tidecv."""
    truth, found = tidecv.Data("truth"), tidecv.Data("found")
    for number, item in enumerate(chosen.images):
        truth.add_image(number, item.image_id)  # else tidecv skips an image without objects
        objects, detections = item.groundtruth, item.detections
        ignored = objects.is_crowd | objects.difficult
        for box, class_id, is_ignored in zip(
            xywh(objects.boxes), objects.classes.tolist(), ignored, strict=True
        ):
            add = truth.add_ignore_region if is_ignored else truth.add_ground_truth
            add(number, class_id, box)
        for box, class_id, score in zip(
            xywh(detections.boxes), detections.classes.tolist(), detections.scores, strict=True
        ):
            found.add_detection(number, class_id, float(score), box)
    return truth, found


def xywh(boxes):
    ymin, xmin, ymax, xmax = boxes.T
    return np.stack([xmin, ymin, xmax - xmin, ymax - ymin], axis=1).tolist()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5))
def test_equal_to_tidecv_itself(seed):
    reason = "needs pip install --no-deps tidecv==1.0.1 seaborn appdirs"
    tidecv = pytest.importorskip("tidecv", reason=reason)
    chosen = random_set(seed)
    reference = tidecv.TIDE(pos_threshold=0.5, background_threshold=0.1)
    run = reference.evaluate(*tidecv_data(tidecv, chosen), mode=tidecv.TIDE.BOX)
    costs = reference.get_main_errors()["found"]
    assert len({value for value in costs.values() if value}) > 3
    made = tide_errors(chosen.images)
    assert made.mean_ap * 100 == pytest.approx(run.ap, abs=1e-6)
    for kind in TIDE_KINDS:
        assert made.costs[kind] * 100 == pytest.approx(costs[kind], abs=1e-6), kind
