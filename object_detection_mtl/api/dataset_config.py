"""Configurations with other training and validation data."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from object_detection_mtl import output_paths
from object_detection_mtl.api import dataset_records, model_search
from object_detection_mtl.config import label_map
from object_detection_mtl.config.errors import ConfigError
from object_detection_mtl.config.label_map import Category
from object_detection_mtl.dataset_tools import dataset_label_map

if TYPE_CHECKING:
    from object_detection_mtl.protos.pipeline_pb2 import TrainEvalPipelineConfig

# In the directory of a training.
DATA_DIRECTORY = "data"
PLACEHOLDER = "PATH/"  # Begins paths in the sample configurations.


class DatasetConfig:
    """A copy of a configuration whose readers get given datasets.

    Args:
        config: resolved; not changed.
        directory: directory of the training; it gets the records of converted datasets, in `data`,
            and a label map.
        class_names: class number -> name; empty for the names of the configuration's label map, of
            the label map in `directory`, or of the dataset.

    Attributes:
        config: the copy.

    Raises:
        ConfigError: a label map is unusable.
    """

    def __init__(
        self,
        config: TrainEvalPipelineConfig,
        directory: str | os.PathLike[str],
        class_names: Mapping[int, str],
    ) -> None:
        self.config = type(config)()
        self.config.CopyFrom(config)
        self._directory = Path(directory).expanduser()
        self._label_map = self._directory / model_search.LABEL_MAP_NAME
        self._categories = self._known_categories(class_names)

    @property
    def class_names(self) -> dict[int, str]:
        """Class number -> name; empty if unknown."""
        return {category.id: category.display_name for category in self._categories}

    def set_train(self, dataset: Any) -> None:
        """Train on a dataset; see `train_detector` for its kinds."""
        self._set(self.config.train_input_reader, dataset, "train", "train")

    def set_validation(self, dataset: Any) -> None:
        """Evaluate on a dataset; see `train_detector` for its kinds."""
        del self.config.eval_input_reader[1:]
        if not self.config.eval_input_reader:
            self.config.eval_input_reader.add()
        reader = self.config.eval_input_reader[0]
        reader.name = reader.name or "validation"
        reader.sample_1_of_n_examples = 1
        self._set(reader, dataset, "validation", "val")

    def _set(self, reader: Any, dataset: Any, name: str, default_set: str) -> None:
        if self._categories:
            self._write_label_map()
        files = dataset_records.to_record_files(
            dataset,
            self._directory / DATA_DIRECTORY / f"{name}.record",
            num_classes=self.config.model.faster_rcnn.num_classes,
            class_names=self.class_names,
            label_map_path=str(self._label_map) if self._categories else None,
            default_set=default_set,
        )
        if not self._categories and files.categories:
            self._categories = list(files.categories)
            self._write_label_map()
        reader.tf_record_input_reader.input_path[:] = [
            os.path.abspath(os.path.expanduser(path)) for path in files.paths
        ]
        reader.label_map_path = os.path.abspath(self._label_map) if self._categories else ""

    def _known_categories(self, class_names: Mapping[int, str]) -> list[Category]:
        if class_names:
            return [Category(number, name, name) for number, name in sorted(class_names.items())]
        readers = [self.config.train_input_reader, *self.config.eval_input_reader]
        given = [os.path.expanduser(reader.label_map_path) for reader in readers]
        for path in [*given, str(self._label_map)]:
            if path and os.path.isfile(path):
                return label_map.load(path)
        return []

    def _write_label_map(self) -> None:
        """Write the label map; one of other classes belongs to another training.

        Raises:
            FileExistsError: the directory has a label map of other classes.
        """
        if self._label_map.exists():
            existing = label_map.load(self._label_map)
            if [(item.id, item.name) for item in existing] != [
                (item.id, item.name) for item in self._categories
            ]:
                raise FileExistsError(
                    f"{self._label_map} has the classes {[item.name for item in existing]}, the "
                    f"dataset {[item.name for item in self._categories]}; train in another "
                    "directory, or delete the label map"
                )
            return
        output_paths.make_directory(self._directory)
        labels = {item.name: item.id for item in self._categories}
        self._label_map.write_text(dataset_label_map.to_text(labels), encoding="utf-8")


def refuse_placeholders(readers: Iterable[Any], function: str, argument: str) -> None:
    """Check that input readers have paths of files, not those of a sample.

    Args:
        readers: InputReader messages.
        function: name of the public function, for the message.
        argument: its argument that replaces the records.

    Raises:
        ConfigError: a path is a placeholder.
    """
    for reader in readers:
        for path in reader.tf_record_input_reader.input_path:
            if path.startswith(PLACEHOLDER):
                raise ConfigError(
                    f"the records are {path!r}, the placeholder of a sample; give the dataset: "
                    "tf_record_input_reader { input_path } of the config's input reader (in "
                    f"Python: {function}(..., {argument}=...))"
                )
