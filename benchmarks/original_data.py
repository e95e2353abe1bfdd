"""Records for the authors' configurations: the same images with VOC's and COCO's classes.

The images come from a directory in PASCAL VOC's format. Their classes are also classes of COCO,
some with another name, so that one directory serves configurations of both datasets.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from object_detection_mtl.config import label_map, samples
from object_detection_mtl.dataset_tools import voc_annotations, voc_xml

# VOC's names that COCO writes differently.
COCO_NAMES = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}


def coco_instances(data_dir: Path, names: list[str]) -> dict[str, Any]:
    """Return the annotations of the images `names` of a VOC directory as COCO instances."""
    categories = label_map.load(samples.path("mscoco_label_map.pbtxt"))
    ids = {category.display_name: category.id for category in categories}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, name in enumerate(names, start=1):
        annotation = voc_xml.parse_annotation(
            data_dir / voc_annotations.ANNOTATIONS / f"{name}.xml"
        )
        with Image.open(data_dir / voc_annotations.IMAGES / annotation.filename) as image:
            width, height = image.size
        images.append(
            {"id": number, "file_name": annotation.filename, "width": width, "height": height}
        )
        for item in annotation.objects:
            box_width, box_height = item.xmax - item.xmin, item.ymax - item.ymin
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": ids[COCO_NAMES.get(item.name, item.name)],
                    "bbox": [item.xmin, item.ymin, box_width, box_height],
                    "area": box_width * box_height,
                    "iscrowd": 0,
                }
            )
    listed = [{"id": number, "name": name} for name, number in ids.items()]
    return {"images": images, "annotations": annotations, "categories": listed}


def make_records(data_dir: Path, work_dir: Path, num_images: int) -> dict[str, Path]:
    """Return the records `voc` and `coco` of the directory's first images; make missing ones.

    The commands of the converters make them.
    """
    records = {name: work_dir / f"{name}_{num_images}.record" for name in ("voc", "coco")}
    if all(path.exists() for path in records.values()):
        return records
    # A separate directory with links: the converter reads a whole set.
    directory = work_dir / f"images_{num_images}"
    listed = voc_annotations.all_annotation_files(data_dir)[:num_images]
    for path in listed:
        image = data_dir / voc_annotations.IMAGES / voc_xml.parse_annotation(path).filename
        _link(path, directory / voc_annotations.ANNOTATIONS / path.name)
        _link(image, directory / voc_annotations.IMAGES / image.name)
    instances = directory / "instances.json"
    instances.write_text(json.dumps(coco_instances(data_dir, [path.stem for path in listed])))
    _convert(
        "create_pascal_tf_record", f"--data_dir={directory}", f"--output_path={records['voc']}"
    )
    _convert(
        "create_coco_tf_record",
        f"--annotations_file={instances}",
        f"--image_dir={directory / voc_annotations.IMAGES}",
        f"--label_map_path={samples.path('mscoco_label_map.pbtxt')}",
        f"--output_path={records['coco']}",
    )
    return records


def _link(source: Path, link: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.exists():
        link.symlink_to(source.resolve())


def _convert(tool: str, *arguments: str) -> None:
    module = f"object_detection_mtl.dataset_tools.{tool}"
    subprocess.run([sys.executable, "-m", module, *arguments], check=True)
