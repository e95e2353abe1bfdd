"""Report of a conversion: classes, similar names, long names."""

from object_detection_mtl.dataset_tools import conversion_report
from object_detection_mtl.dataset_tools.conversion_report import ConversionReport


def test_classes_are_counted_and_nearly_equal_names_pointed_out():
    report = ConversionReport()
    report.add_image(["car", "Car", "dog"])
    report.add_image(["car", "ca\u200br", "d" * 1000])
    lines = report.class_lines()
    assert lines[0].startswith("objects of each class: Car 1, car 2, ca\u200br 1, dddd")
    assert "dog 1" in lines[0]
    assert lines[1] == (
        "classes whose names differ only by case, spaces or invisible characters: "
        "'Car', 'car', 'ca\\u200br'"
    )
    assert len("".join(lines)) < 500


def test_names_that_differ_are_not_similar():
    names = ["car", "cart", "traffic light", "traffic-light"]
    assert conversion_report.similar_names(names) == []
    pairs = ["traffic light", "Traffic  Light", "\uff43\uff41\uff52", "car"]
    assert conversion_report.similar_names(pairs) == [
        ["Traffic  Light", "traffic light"],
        ["car", "\uff43\uff41\uff52"],
    ]


def test_images_without_any_object_are_said():
    report = ConversionReport()
    report.add_image([])
    assert "no image has a usable object" in report.class_lines()[0]
