"""Records for the authors' configurations: the same pictures with VOC's and COCO's classes.

The pictures come from a folder in PASCAL VOC's format. Their objects are classes of COCO as well,
some under another name, so that one folder serves configurations of both data sets.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from object_detection_mtl.config import label_map, samples
from object_detection_mtl.dataset_tools import voc_annotations

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
    """The annotations of the pictures `names` of a VOC folder as a COCO instances file."""
    categories = label_map.load(samples.path("mscoco_label_map.pbtxt"))
    ids = {category.display_name: category.id for category in categories}
    images, annotations = [], []
    for number, name in enumerate(names, start=1):
        picture = voc_annotations.parse_annotation(
            data_dir / voc_annotations.ANNOTATIONS / f"{name}.xml"
        )
        with Image.open(data_dir / voc_annotations.IMAGES / picture.filename) as image:
            width, height = image.size
        images.append(
            {"id": number, "file_name": picture.filename, "width": width, "height": height}
        )
        for item in picture.objects:
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


def make_records(data_dir: Path, work_dir: Path, num_pictures: int) -> dict[str, Path]:
    """`voc` and `coco`: a record of the folder's first pictures, made where it is missing.

    The converters' own command lines make them.
    """
    records = {name: work_dir / f"{name}_{num_pictures}.record" for name in ("voc", "coco")}
    if all(path.exists() for path in records.values()):
        return records
    # A folder of its own with links: the converter takes a whole set.
    folder = work_dir / f"pictures_{num_pictures}"
    listed = voc_annotations.all_annotation_files(data_dir)[:num_pictures]
    for path in listed:
        picture = (
            data_dir / voc_annotations.IMAGES / voc_annotations.parse_annotation(path).filename
        )
        _link(path, folder / voc_annotations.ANNOTATIONS / path.name)
        _link(picture, folder / voc_annotations.IMAGES / picture.name)
    instances = folder / "instances.json"
    instances.write_text(json.dumps(coco_instances(data_dir, [path.stem for path in listed])))
    _convert("create_pascal_tf_record", f"--data_dir={folder}", f"--output_path={records['voc']}")
    _convert(
        "create_coco_tf_record",
        f"--annotations_file={instances}",
        f"--image_dir={folder / voc_annotations.IMAGES}",
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
