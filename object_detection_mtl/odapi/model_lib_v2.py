"""Training and evaluation of a config file, as in the OD API's `model_lib_v2`."""

from __future__ import annotations

import os
from typing import Any

import tensorflow as tf

from object_detection_mtl import jobs
from object_detection_mtl.config import pipeline
from object_detection_mtl.odapi import missing_names
from object_detection_mtl.odapi.utils import config_util
from object_detection_mtl.protos import pipeline_pb2
from object_detection_mtl.training.run_options import RunOptions

__getattr__ = missing_names.module_getattr(__name__)


def train_loop(
    pipeline_config_path: str | os.PathLike[str],
    model_dir: str | os.PathLike[str],
    config_override: Any = None,
    train_steps: int | None = None,
    use_tpu: bool = False,
    save_final_config: bool = False,
    checkpoint_every_n: int = 1000,
    checkpoint_max_to_keep: int = 7,
    record_summaries: bool = True,
    performance_summary_exporter: Any = None,
    num_steps_per_iteration: int = 100,
    **kwargs: Any,
) -> None:
    """Train the model of a config file, from the newest checkpoint of `model_dir` if it has one.

    Called in the scope of a `tf.distribute.Strategy`, it uses this strategy.

    Args:
        pipeline_config_path: the config.
        model_dir: gets checkpoints, events and the config.
        config_override: see `config_util.get_configs_from_pipeline_file`.
        train_steps: instead of the config's num_steps.
        use_tpu: without a strategy's scope: train on a TPU.
        save_final_config: has no effect; the config is always saved.
        checkpoint_every_n: steps between checkpoints.
        checkpoint_max_to_keep: number of newest checkpoints that stay.
        record_summaries: also write images to the events.
        performance_summary_exporter: unsupported.
        num_steps_per_iteration: steps between log lines.
        **kwargs: see `config_util.merge_external_params_with_configs`.

    Raises:
        ConfigError, ValueError, FileNotFoundError: as `jobs.train`.
    """
    if performance_summary_exporter is not None:
        raise ValueError("performance_summary_exporter is unsupported; omit it")
    config = _load(pipeline_config_path, config_override, {**kwargs, "train_steps": train_steps})
    jobs.train(
        config,
        model_dir,
        RunOptions(
            use_tpu=use_tpu,
            checkpoint_every_n=checkpoint_every_n,
            max_to_keep=checkpoint_max_to_keep,
            record_summaries=record_summaries,
            log_every_n=num_steps_per_iteration,
        ),
        strategy=tf.distribute.get_strategy() if tf.distribute.has_strategy() else None,
    )


def eval_continuously(
    pipeline_config_path: str | os.PathLike[str],
    config_override: Any = None,
    train_input_config: Any = None,
    sample_1_of_n_eval_examples: int | None = 1,
    sample_1_of_n_eval_on_train_examples: int | None = 1,
    use_tpu: bool = False,
    override_eval_num_epochs: bool = True,
    postprocess_on_cpu: bool = False,
    model_dir: str | os.PathLike[str] | None = None,
    checkpoint_dir: str | os.PathLike[str] | None = None,
    wait_interval: float = 180,
    timeout: float = 3600,
    eval_index: int = 0,
    save_final_config: bool = False,
    **kwargs: Any,
) -> dict[str, float]:
    """Evaluate each new checkpoint, until none appears for `timeout` seconds.

    Args:
        pipeline_config_path: the config.
        config_override: see `config_util.get_configs_from_pipeline_file`.
        train_input_config: has no effect.
        sample_1_of_n_eval_examples: evaluate one of n examples; None for the config's number.
        sample_1_of_n_eval_on_train_examples: has no effect.
        use_tpu: has no effect, as in the OD API.
        override_eval_num_epochs: has no effect; the data are always read once.
        postprocess_on_cpu: has no effect.
        model_dir: gets the events and metrics.
        checkpoint_dir: directory of the checkpoints; None for `model_dir`.
        wait_interval: minimum seconds between two evaluations.
        timeout: maximum seconds to wait for a new checkpoint.
        eval_index: number of the eval_input_reader.
        save_final_config: has no effect.
        **kwargs: see `config_util.merge_external_params_with_configs`.

    Returns:
        The metrics of the last evaluation.

    Raises:
        ConfigError, ValueError, FileNotFoundError: as `jobs.evaluate`; neither directory is given.
    """
    directory = model_dir or checkpoint_dir
    if directory is None:
        raise ValueError("eval_continuously: give model_dir or checkpoint_dir")
    changes = {**kwargs, "sample_1_of_n_eval_examples": sample_1_of_n_eval_examples}
    config = _load(pipeline_config_path, config_override, changes)
    readers = list(config.eval_input_reader)
    if not 0 <= eval_index < len(readers):
        raise ValueError(
            f"eval_index is {eval_index}, but the config has {len(readers)} eval_input_readers"
        )
    del config.eval_input_reader[:]
    config.eval_input_reader.append(readers[eval_index])
    return jobs.evaluate(
        config,
        os.fspath(checkpoint_dir or directory),
        directory,
        timeout=timeout,
        min_interval=wait_interval,
    )


def _load(
    path: str | os.PathLike[str], config_override: Any, changes: dict[str, Any]
) -> pipeline_pb2.TrainEvalPipelineConfig:
    configs = config_util.get_configs_from_pipeline_file(path, config_override=config_override)
    config_util.merge_external_params_with_configs(configs, kwargs_dict=changes)
    config = config_util.create_pipeline_proto_from_configs(configs)
    return pipeline.complete(config, str(path))
