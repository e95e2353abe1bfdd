import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from object_detection_mtl.config.label_map import Category
from object_detection_mtl.evaluation.coco import BACKENDS, SUMMARY_NAMES, CocoEvaluator
from tests.evaluation.sets import (
    categories,
    feed_coco_files,
    feed_golden,
    feed_voc100,
    golden_metrics,
    golden_set,
    shared_directory,
)

CATS = categories("cat", "dog")
MAP = "DetectionBoxes_Precision/mAP"
NAMES = ["DetectionBoxes_" + name for name in SUMMARY_NAMES]
A, B = [0, 0, 50, 50], [100, 100, 150, 150]


def evaluate(images, cats=CATS, **kwargs):
    """images: [(groundtruth boxes, classes, extras, detection boxes, scores, classes)]."""
    evaluator = CocoEvaluator(cats, **kwargs)
    for i, (boxes, classes, extras, found, scores, labels) in enumerate(images):
        evaluator.add_groundtruth(f"image {i}", boxes, classes, **extras)
        evaluator.add_detections(f"image {i}", found, scores, labels)
    return evaluator.evaluate()


def pycocotools_directly(annotations: dict, results: list[dict]) -> list[float]:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = annotations
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes([dict(r) for r in results]), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return list(evaluation.stats)


def test_perfect_detections():
    metrics = evaluate([([A, B], [1, 2], {}, [A, B], [0.9, 0.8], [1, 2])])
    assert list(metrics) == NAMES
    expected = {name: 1.0 for name in NAMES}
    # Boxes of 50x50: neither small nor large objects exist.
    expected |= {name: -1.0 for name in NAMES if "small" in name or "large" in name}
    assert metrics == pytest.approx(expected)


def test_a_box_of_known_overlap_is_correct_up_to_that_threshold():
    """IoU .8 (40 of 50 columns): correct at .5, .55 ... .8, seven of ten thresholds."""
    metrics = evaluate([([A], [1], {}, [[0, 0, 50, 40]], [0.9], [1])])
    assert metrics[MAP] == pytest.approx(0.7)
    assert metrics[MAP + "@.50IOU"] == metrics[MAP + "@.75IOU"] == pytest.approx(1.0)
    assert metrics["DetectionBoxes_Recall/AR@1"] == pytest.approx(0.7)


def test_crowds_cause_no_false_positives_and_no_false_negatives():
    boxes, classes, extras = [A, [0, 100, 200, 400]], [1, 1], {"is_crowd": [False, True]}
    in_crowd = [10, 150, 60, 200]
    with_flag = evaluate([(boxes, classes, extras, [in_crowd, A], [0.9, 0.8], [1, 1])])
    without = evaluate([(boxes, classes, {}, [in_crowd, A], [0.9, 0.8], [1, 1])])
    assert with_flag[MAP] == pytest.approx(1.0)
    assert without[MAP] < 0.6


def test_sizes_are_those_of_the_annotated_area():
    """A box of 2500 pixels is medium; its object of 900 pixels is small."""
    small, medium = MAP + " (small)", MAP + " (medium)"
    by_box = evaluate([([A], [1], {"area": [0]}, [A], [0.9], [1])])
    by_object = evaluate([([A], [1], {"area": [900]}, [A], [0.9], [1])])
    assert (by_box[small], by_box[medium]) == pytest.approx((-1, 1))
    assert (by_object[small], by_object[medium]) == pytest.approx((1, -1))


@pytest.mark.parametrize(
    ("images", "value"),
    [
        ([], -1),  # no image
        ([([], [], {}, [], [], [])], -1),  # an image with nothing
        ([([], [], {}, [A], [0.9], [1])], -1),  # detections, but no object anywhere
        ([([A], [1], {}, [], [], [])], 0),  # an object, but no detection
        ([([A], [1], {"is_crowd": [True]}, [A], [0.9], [1])], -1),  # nothing but a crowd
    ],
)
def test_metrics_without_objects(images, value):
    metrics = evaluate(images, all_metrics_per_category=True)
    assert metrics[MAP] == value
    assert metrics["DetectionBoxes_PerformanceByCategory/mAP/cat"] == value
    assert metrics["DetectionBoxes_PerformanceByCategory/mAP/dog"] == -1


def test_inverted_detections_are_misses():
    metrics = evaluate([([A], [1], {}, [[50, 50, 0, 0], A], [0.9, 0.8], [1, 1])])
    assert metrics[MAP] == pytest.approx(0.5, abs=0.01)


def test_metrics_by_category():
    image = ([A, B], [1, 2], {}, [A, [100, 100, 150, 140]], [0.9, 0.8], [1, 2])
    metrics = evaluate([image], include_metrics_per_category=True)
    assert list(metrics)[:12] == NAMES
    assert len(metrics) == 14
    assert metrics["DetectionBoxes_PerformanceByCategory/mAP/cat"] == pytest.approx(1.0)
    assert metrics["DetectionBoxes_PerformanceByCategory/mAP/dog"] == pytest.approx(0.7)

    everything = evaluate([image], all_metrics_per_category=True)
    assert len(everything) == 12 + 2 + 2 * 12
    assert everything["DetectionBoxes_Precision mAP ByCategory/dog"] == pytest.approx(0.7)
    assert everything["DetectionBoxes_Precision mAP@.75IOU ByCategory/dog"] == pytest.approx(1.0)
    assert everything["DetectionBoxes_Recall AR@100 (medium) ByCategory/dog"] == pytest.approx(0.7)
    assert everything["DetectionBoxes_Recall AR@100 (small) ByCategory/cat"] == -1


def test_super_categories_are_means_of_the_classes_that_occur():
    cats = categories("cat", "dog", "cow", "car", "bus")
    image = ([A, B], [1, 2], {}, [A, [100, 100, 150, 140]], [0.9, 0.8], [1, 2])
    groups = {"animal": ["cat", "dog", "cow"], "vehicle": ["car", "bus"]}
    metrics = evaluate([image], cats, super_categories=groups)
    assert metrics["DetectionBoxes_PerformanceBySuperCategory/animal"] == pytest.approx(0.85)
    assert metrics["DetectionBoxes_PerformanceBySuperCategory/vehicle"] == -1


@pytest.mark.parametrize("members", [["cat", "tree"], []])
def test_super_categories_of_unknown_classes(members):
    with pytest.raises(ValueError, match=r"'animal'.*expected category names: cat, dog"):
        CocoEvaluator(CATS, super_categories={"animal": members})


def test_pycocotools_is_silent(capsys):
    evaluate([([A], [1], {}, [A], [0.9], [1])])
    assert capsys.readouterr().out == ""


@pytest.mark.golden
@pytest.mark.parametrize("is_crowd", [True, False])
def test_equals_the_recorded_metrics(is_crowd):
    cats = [Category(c["id"], c["name"], c["name"]) for c in golden_set()["categories"]]
    metrics = feed_golden(CocoEvaluator(cats), is_crowd=is_crowd).evaluate()
    flags = "crowd flags" if is_crowd else "no crowd flags"
    expected = golden_metrics(f"coco_detection_metrics ({flags})")
    assert metrics == pytest.approx(expected, abs=1e-12)


def random_files(seed: int) -> tuple[dict, list[dict]]:
    """A COCO dataset with gaps in its ids, crowds, odd areas, equal scores and empty images."""
    rng = np.random.RandomState(seed)
    category_ids = [2, 3, 7, 40]

    def box():
        x, y, w, h = (*rng.uniform(0, 200, 2), *rng.choice([8, 30, 90, 200], 2))
        return [float(x), float(y), float(w), float(h)]

    annotations, results = [], []
    for image_id in range(1, 16):
        for _ in range(rng.randint(0, 6)):
            bbox = box()
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": int(rng.choice(category_ids[:3])),
                    "bbox": bbox,
                    "area": bbox[2] * bbox[3] * float(rng.uniform(0.3, 1)),
                    "iscrowd": int(rng.rand() < 0.15),
                }
            )
        near = [a for a in annotations if a["image_id"] == image_id and rng.rand() < 0.8]
        boxes = [[x + rng.uniform(-4, 4), *rest] for x, *rest in (a["bbox"] for a in near)]
        labels = [a["category_id"] for a in near]
        for bbox in boxes + [box() for _ in range(rng.choice([0, 3, 130]))]:
            results.append(
                {
                    "image_id": image_id,
                    "bbox": [float(v) for v in bbox],
                    "category_id": labels.pop() if labels else int(rng.choice(category_ids)),
                    "score": float(rng.randint(1, 20) / 20),
                }
            )
    images = [{"id": i} for i in range(1, 19)]
    cats = [{"id": i, "name": str(i)} for i in category_ids]
    return {"images": images, "annotations": annotations, "categories": cats}, results


@pytest.mark.parametrize("seed", range(3))
def test_equals_pycocotools_run_directly(seed):
    annotations, results = random_files(seed)
    evaluator = CocoEvaluator([Category(c["id"], "", c["name"]) for c in annotations["categories"]])
    feed_coco_files(evaluator, annotations, results)
    expected = pycocotools_directly(annotations, results)
    np.testing.assert_allclose(list(evaluator.evaluate().values()), expected, atol=1e-12)


@pytest.mark.parametrize("category_id", [2, 3, 7])
def test_metrics_of_a_category_equal_pycocotools_on_that_category_alone(category_id):
    annotations, results = random_files(0)
    cats = [Category(c["id"], "", c["name"]) for c in annotations["categories"]]
    evaluator = CocoEvaluator(cats, all_metrics_per_category=True)
    feed_coco_files(evaluator, annotations, results)
    metrics = evaluator.evaluate()
    ours = [
        metrics[f"DetectionBoxes_{name.replace('/', ' ')} ByCategory/{category_id}"]
        for name in SUMMARY_NAMES
    ]
    for part in ("annotations", "categories"):
        key = "id" if part == "categories" else "category_id"
        annotations[part] = [a for a in annotations[part] if a[key] == category_id]
    alone = [r for r in results if r["category_id"] == category_id]
    np.testing.assert_allclose(ours, pycocotools_directly(annotations, alone), atol=1e-12)


def test_real_coco_images():
    """100 images of COCO val2014 and the detections that come with pycocotools."""
    directory = shared_directory("data", "coco_eval")
    annotations = json.loads((directory / "instances_val2014_100.json").read_text())
    results = json.loads((directory / "instances_val2014_fakebbox100_results.json").read_text())
    cats = [Category(c["id"], c["name"], c["name"]) for c in annotations["categories"]]
    evaluator = CocoEvaluator(cats)
    feed_coco_files(evaluator, annotations, results)
    values = list(evaluator.evaluate().values())
    np.testing.assert_allclose(values[:3], [0.505, 0.697, 0.573], atol=5e-4)
    expected = pycocotools_directly(annotations, results)
    np.testing.assert_allclose(values, expected, atol=1e-9)


def test_real_voc_photographs():
    """100 photographs of PASCAL VOC 2012 and a real detector, difficult boxes as ordinary ones."""
    directory = shared_directory("data", "voc100")
    names = (directory / "detections/classes.txt").read_text().split()
    evaluator = CocoEvaluator(categories(*names))
    feed_voc100(evaluator, directory, names)
    values = list(evaluator.evaluate().values())
    np.testing.assert_allclose(values[:3], [0.347, 0.610, 0.354], atol=5e-4)


@pytest.mark.parametrize("with_golden_set", [True, False])
def test_faster_coco_eval_gives_the_same_numbers(with_golden_set):
    pytest.importorskip("faster_coco_eval", reason="needs the extra [coco]")
    found = []
    for backend in BACKENDS:
        known = categories("c1", "c2", "c3", "c4", "c5")
        evaluator = CocoEvaluator(known, all_metrics_per_category=True, backend=backend)
        if with_golden_set:
            feed_golden(evaluator)
        else:
            evaluator.add_groundtruth("empty", [], [])
            evaluator.add_groundtruth("missed", [[0, 0, 9, 9]], [1])
            evaluator.add_detections("missed", [], [], [])
        found.append(evaluator.evaluate())
    assert found[1] == pytest.approx(found[0], abs=1e-12)


def test_an_unknown_backend_is_refused():
    with pytest.raises(ValueError, match="backend is 'fast', expected one of pycocotools, faster"):
        CocoEvaluator(categories("c1"), backend="fast")
