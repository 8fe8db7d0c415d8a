"""A command as Hydra's job: its run folder, its log file, its flags."""

import logging
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig

from ablate.config.compose import check_own_files, explained, lines_for_hydra, register_preset, search_path
from ablate.config.files import package_dir
from ablate.config.overrides import ConfigError, Override, Words, parse_overrides
from ablate.config.secrets import without_secrets
from ablate.contract import task
from ablate.design.sweep import MOST_POINTS
from ablate.sweep.output import unbroken
from ablate.training.hardware import require_keras

logger = logging.getLogger(__name__)
Job = Callable[[Any], int]
"""Gets the composed configuration, as ``to_config`` takes it; returns an exit code."""

_SHOWING = {"--cfg", "-c", "--info", "-i", "--hydra-help", "--shell-completion", "-sc"}
"""Flags of Hydra that print, and make no run folder."""


def as_hydra_job(words: Words, flags: Sequence[str], job: Job) -> int:
    """Runs under @hydra.main: its run folder, its log file, its flags. Our own errors pass through unharmed.

    Args:
        words: Overrides of the command, a sweep's base settings among them.
        flags: Hydra's own, e.g. ``--cfg job``.
        job: What is done, once for each job of ``--multirun``.

    Returns:
        The job's exit code, of several the largest; 0 where flags only show something.

    Raises:
        ConfigError: No run folder can be made here.
        MissingPackageError: Keras or its backend is not installed.
    """
    overrides = parse_overrides(words)
    if not {flag.partition("=")[0] for flag in flags} & _SHOWING:
        require_keras("training")
        _check_run_folder(overrides)
    outcome: list[int | Exception] = []

    def guarded(cfg: Any) -> None:
        try:
            with unbroken():
                outcome.append(job(cfg))
        except Exception as error:  # which Hydra would show by its traceback
            logger.exception("the command was wrong" if isinstance(error, ValueError) else "not foreseen")
            outcome.append(error)

    lines = lines_for_hydra(without_secrets(overrides), task().config)
    sys.argv = [sys.argv[0], *flags, *search_path(), *lines]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # it would show its errors by their last lines and a traceback's
    try:
        with explained():
            hydra.main(version_base="1.3", config_path=str(package_dir("conf")), config_name="config")(guarded)()
    except OSError as error:
        if error.filename is None:
            raise
        raise ConfigError(
            f"hydra.run.dir must be a folder that can be made, but {str(error.filename)[:60]}: {error.strerror}."
        ) from None
    for result in outcome:
        if isinstance(result, Exception):
            raise result
    return max((result for result in outcome if isinstance(result, int)), default=0)


def _check_run_folder(overrides: Sequence[Override]) -> None:
    """Raises ConfigError where the working directory cannot hold Hydra's run folder, unless that goes elsewhere."""
    if any(override.line.startswith("hydra.") for override in overrides):
        return
    if "${" in str(Path.cwd()):  # Hydra resolves the name of its log file
        raise ConfigError(
            f"the working directory must be one without ${{ in its name, which Hydra would resolve, got "
            f"{Path.cwd()}; rename it, change to another, or set hydra.run.dir to a folder elsewhere."
        )
    try:
        Path("outputs").mkdir(exist_ok=True)  # Hydra itself would say it by a traceback
    except OSError as error:
        raise ConfigError(
            f"the working directory must be one that can be written to, but {Path.cwd()}: {error.strerror}; change "
            "to another, or set hydra.run.dir, study.storage and tracking.uri."
        ) from None


def check_chosen_files() -> None:
    """Within a job of ``--multirun``, whose choices Hydra made: raises ConfigError for a file with ill-typed values."""
    check_own_files(HydraConfig.get().overrides.task)


def run_folder() -> str:
    """Within a job: the folder that Hydra made for it."""
    return str(HydraConfig.get().runtime.output_dir)


def prepare_jobs(overrides: Sequence[Override]) -> None:
    """What Hydra needs to compose the jobs of ``--multirun`` by itself: the presets that they name.

    Raises:
        ConfigError: There are too many jobs.
    """
    swept = [override for override in overrides if override.several]
    if (count := math.prod(override.count for override in swept)) > MOST_POINTS:
        raise ConfigError(f"--multirun must have at most {MOST_POINTS:,} jobs, got {count}.")
    for override in swept:
        for option in override.choices:
            register_preset(override.key, option)
