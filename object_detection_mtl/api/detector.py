"""Detector object, which detects in images."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from object_detection_mtl.api import image_inputs, number_arguments
from object_detection_mtl.api.detections import Detections

if TYPE_CHECKING:
    from PIL import Image

    from object_detection_mtl.inference.detection_options import DetectionOptions
    from object_detection_mtl.inference.detection_run import DetectionSummary
    from object_detection_mtl.inference.image_detections import ImageDetections
    from object_detection_mtl.inference.predictor import StagedPredictor
    from object_detection_mtl.inference.sources.input_files import InputFile
    from object_detection_mtl.models.two_stage import TwoStageDetector
    from object_detection_mtl.protos.pipeline_pb2 import TrainEvalPipelineConfig

    SingleImage = str | os.PathLike[str] | Image.Image | np.ndarray

# Return images -> the predictor; images are read only where the runtime is chosen by them.
MakePredictor = Callable[[Callable[[], Iterable[np.ndarray]]], "StagedPredictor"]


class Detector:
    """A detector: from `build_detector`, `load_detector` or `train_detector`.

    Attributes:
        model: the network, a `TwoStageDetector`; None for an exported model.
        config: its configuration; None for an exported model without one.
        class_names: class number, from 1 -> name.
        source: path of the weights; "" for random ones.
        version: text that identifies model and weights.
        engine: runtime that computes the network: "tensorflow", "openvino", "onnxruntime", "auto".
        precision: precision of its convolutions.
    """

    def __init__(
        self,
        make_predictor: MakePredictor,
        *,
        model: TwoStageDetector | None = None,
        config: TrainEvalPipelineConfig | None = None,
        class_names: Mapping[int, str] | None = None,
        source: str = "",
        version: str = "",
        engine: str = "tensorflow",
        precision: str = "float32",
    ) -> None:
        """Make a detector of its parts; `build_detector` and `load_detector` do so.

        Args:
            make_predictor: returns the function that detects in images.
            model: see the class.
            config: see the class.
            class_names: see the class.
            source: see the class.
            version: see the class.
            engine: see the class.
            precision: see the class.
        """
        self._make_predictor = make_predictor
        self._predictor: StagedPredictor | None = None
        self.model = model
        self.config = config
        self.class_names = dict(class_names or {})
        self.source = source
        self.version = version
        self.engine = engine
        self.precision = precision

    def __repr__(self) -> str:
        """Return the type, the number of classes and the source."""
        kind = "exported model"
        if self.config is not None:
            kind = self.config.model.faster_rcnn.feature_extractor.type
        origin = f"from {self.source}" if self.source else "with random weights"
        return f"Detector({kind}, {len(self.class_names)} named classes, {origin})"

    @overload
    def predict(
        self,
        images: SingleImage,
        *,
        min_score: float = ...,
        max_detections: int | None = ...,
        batch_size: int = ...,
    ) -> Detections: ...

    @overload
    def predict(
        self,
        images: list[SingleImage] | tuple[SingleImage, ...],
        *,
        min_score: float = ...,
        max_detections: int | None = ...,
        batch_size: int = ...,
    ) -> list[Detections]: ...

    def predict(
        self,
        images: Any,
        *,
        min_score: float = 0.0,
        max_detections: int | None = None,
        batch_size: int = 1,
    ) -> Any:
        """Detect in one image, a list of images, or the images of a directory.

        Args:
            images: a path, a Pillow image or an array [height, width, 3] uint8 RGB; or a list of
                these, an array [batch, height, width, 3], or a directory. Files are rotated by
                their EXIF orientation.
            min_score: detections with a lower score are dropped.
            max_detections: maximum number of detections of an image; None for the model's own.
            batch_size: maximum number of images in a batch; images of different sizes after
                resizing do not share one.

        Returns:
            The `Detections` of one image, or a list of them in the order of the images (of a
            directory: by name).

        Raises:
            FileNotFoundError: an image or directory does not exist, or a directory has no image.
            ValueError: an image is unreadable or of a wrong shape or dtype, the list is empty, or
                an argument is out of range.

        Example:
            >>> import object_detection_mtl as odm
            >>> detector = odm.load_detector("run")
            >>> detections = detector.predict("image.png", min_score=0.01)
            >>> detections.image_size
            (64, 80)
            >>> len(detector.predict(["image.png", "image.png"], batch_size=2))
            2
            >>> detections.draw(min_score=0.0).save("drawn.png")
        """
        number_arguments.require_numbers(min_score=min_score)
        if not 0.0 <= min_score <= 1.0:
            raise ValueError(f"min_score is {min_score}, expected 0 to 1")
        for name, value in (("max_detections", max_detections), ("batch_size", batch_size)):
            if value is None:
                continue
            number_arguments.require_whole_numbers(**{name: value})
            if value < 1:
                raise ValueError(f"{name} is {value}, expected at least 1")
        is_single = image_inputs.is_single_image(images)
        if is_single:
            given = iter([image_inputs.read_single_image(images)])
        else:
            given = image_inputs.read_images(image_inputs.list_images(images))
        found = [
            self._to_detections(image, result, min_score, max_detections)
            for image, result in self._detect(given, batch_size)
        ]
        return found[0] if is_single else found

    def detect_files(
        self,
        images: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        output_dir: str | os.PathLike[str],
        *,
        recursive: bool = False,
        runner: str | None = None,
        runner_options: Sequence[str] = (),
        num_shards: int = 1,
        **options: Any,
    ) -> DetectionSummary:
        """Detect in files and write the results, as the command detect_objects does.

        Writes detections.json and images.json (COCO's formats), drawn_images/ and, on request,
        detections.record. Unreadable images are skipped and reported. An interrupted run is
        resumed by the same call, except one of a runner.

        Args:
            images: image files, directories of images, TFRecords, videos, or patterns.
            output_dir: created if it does not exist.
            recursive: search the subdirectories of a directory, too.
            runner: name of an Apache Beam runner, such as "DirectRunner", whose workers load the
                detector from its files; None detects in this process.
            runner_options: options of the runner, "name=value" each.
            num_shards: with a runner: number of detection files.
            **options: further fields of `DetectionOptions`: min_score, max_detections, save_images,
                apply_exif_orientation, output_format, discard_image_pixels, batch_size,
                num_readers, class_names.

        Returns:
            Numbers of images and detections, and why images were skipped.

        Raises:
            FileNotFoundError: a file does not exist, or a directory has no image.
            ValueError: an option is out of range, or `output_dir` is a file or has the results of
                another run.

        Example:
            >>> import object_detection_mtl as odm
            >>> detector = odm.load_detector("run")
            >>> detector.detect_files("image.png", "found", save_images=False).num_done
            1
        """
        from object_detection_mtl import output_paths
        from object_detection_mtl.inference.detection_options import DetectionOptions
        from object_detection_mtl.inference.sources import input_files

        output_dir = Path(output_dir).expanduser()
        output_paths.check_output_directory("output_dir", output_dir)
        arguments = [images] if isinstance(images, str | os.PathLike) else images
        find = functools.partial(
            input_files.find_input_files,
            [os.fspath(item) for item in arguments],
            recursive=recursive,
            without=output_dir,
        )
        files = find()
        try:
            checked = DetectionOptions(
                output_dir,
                **{"class_names": self.class_names, "model_version": self.version, **options},
            )
        except TypeError as error:
            raise ValueError(f"detect_files has no such option: {error}") from error
        if runner is None:
            if runner_options or num_shards != 1:
                raise ValueError("runner_options and num_shards need a runner")
            return self.detect_input_files(files, checked)
        return self.detect_on_workers(
            find, checked, runner=runner, runner_options=runner_options, num_shards=num_shards
        )

    def detect_input_files(
        self, files: Sequence[InputFile], options: DetectionOptions
    ) -> DetectionSummary:
        """Detect in files that were found; see `detect_files`.

        Args:
            files: result of `input_files.find_input_files`.
            options: outputs and their directory.
        """
        from object_detection_mtl.inference import detection_run
        from object_detection_mtl.inference.sources import image_stream

        staged = self.predictor(lambda: image_stream.readable_images(files))
        return detection_run.detect_files(staged, files, options)

    def detect_on_workers(
        self,
        find: Callable[[], Sequence[InputFile]],
        options: DetectionOptions,
        *,
        runner: str,
        runner_options: Sequence[str] = (),
        num_shards: int = 1,
    ) -> DetectionSummary:
        """Detect in files by a Beam pipeline, and wait for it; see `detect_files`.

        Args:
            find: returns the files; each worker calls it.
            options: outputs and their directory.
            runner: name of a Beam runner.
            runner_options: "name=value" each.
            num_shards: number of detection files.

        Raises:
            ValueError: workers cannot load the detector, an option is for one machine only, Beam
                is not installed, or the pipeline failed.
        """
        from object_detection_mtl.api import worker_loading
        from object_detection_mtl.inference import beam_detection
        from object_detection_mtl.inference.predictor import check_batch_size

        if options.image_ids is not None:
            raise ValueError("image_ids are for one machine; omit them, or omit runner")
        load = worker_loading.worker_loader(
            self.source, self.config if self.model is not None else None, engine=self.engine
        )
        # An error of the model is reported here rather than by every worker. Of the engines that
        # workers can load, none reads an image to choose a runtime.
        check_batch_size(self.predictor(lambda: ()), options.batch_size)
        return beam_detection.detect_with_beam(
            load, find, options, num_shards=num_shards, runner=runner, runner_options=runner_options
        )

    def predictor(self, images: Callable[[], Iterable[np.ndarray]]) -> StagedPredictor:
        """Return the function that detects in images; made once.

        Args:
            images: returns images [height, width, 3] uint8, by which the engine "auto" chooses a
                runtime.
        """
        if self._predictor is None:
            self._predictor = self._make_predictor(images)
        return self._predictor

    def require_model(self, purpose: str) -> TwoStageDetector:
        """Return the network.

        Raises:
            ValueError: the detector is an exported model, which has none.
        """
        if self.model is None:
            raise ValueError(
                f"{self.source!r} is an exported model, which can only detect; to {purpose}, load "
                "its checkpoint: load_detector of the directory of the training, or of "
                "exported/checkpoint"
            )
        return self.model

    def _detect(
        self, images: Iterator[image_inputs.GivenImage], batch_size: int
    ) -> Iterator[tuple[image_inputs.GivenImage, ImageDetections]]:
        from object_detection_mtl.inference import batching
        from object_detection_mtl.inference.predictor import check_batch_size

        first = next(images)
        staged = self.predictor(lambda: [first.pixels])
        check_batch_size(staged, batch_size)
        stream = (
            (image, staged.prepare(image.pixels), image.pixels.nbytes)
            for image in itertools.chain([first], images)
        )
        for image, result in batching.detect_in_batches(staged, stream, batch_size):
            if isinstance(result, Exception):
                height, width = image.pixels.shape[:2]
                name = repr(image.path) if image.path else "array"
                raise ValueError(f"image {name} ({width}x{height} pixels): {result}") from result
            yield image, result

    def _to_detections(
        self,
        image: image_inputs.GivenImage,
        found: ImageDetections,
        min_score: float,
        max_detections: int | None,
    ) -> Detections:
        height, width = image.pixels.shape[:2]
        kept = np.flatnonzero(found.scores >= min_score)[:max_detections]
        classes = found.classes[kept]
        return Detections(
            boxes=found.boxes[kept] * np.array([height, width, height, width], np.float32),
            scores=found.scores[kept],
            class_ids=classes,
            class_names=[self.class_names.get(int(k), f"class {int(k)}") for k in classes],
            image_size=(height, width),
            path=image.path,
            image=image.origin,
        )
