"""What each verb of the command line does; heavy libraries are imported where they are needed."""

import logging
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from ablate.config import (
    Config,
    ConfigError,
    Format,
    ReportConfig,
    RunSpec,
    check_own_files,
    check_path,
    compose,
    compose_report,
    expand,
    group_choices,
    is_preset,
    opened,
    package_dir,
    parse_overrides,
    prepare_jobs,
    search_path_override,
    sentence,
    to_config,
    without_secrets,
)
from ablate.data.spec import check_batch, describe, training_images
from ablate.hardware import check_backend, import_keras
from ablate.models import zoo
from ablate.output import show, unbroken
from ablate.sweep.compose import cost
from ablate.sweep.inert import same_data, suspects
from ablate.sweep.plan import Plan, already_finished, make_plan, summary
from ablate.sweep.space import SweepError

if TYPE_CHECKING:
    from ablate.lr_range import Ramp

logger = logging.getLogger(__name__)
Job = Callable[[DictConfig], int]
_SHOWING = {"--cfg", "-c", "--info", "-i", "--hydra-help", "--shell-completion", "-sc"}
"""Flags of Hydra that print, and make no run folder."""


def train(words: list[str], flags: list[str]) -> int:
    """Trains one model, or with ``+sweep=`` a sweep. Everything is checked before Hydra makes a run folder.

    Returns:
        Exit code: 0, or 1 where a run failed.
    """
    check_backend()
    words = expand(words)
    if {"-m", "--multirun"} & set(flags):  # Hydra takes the words apart; each of its jobs is checked by itself
        prepare_jobs(words)
        return _as_hydra_job(words, flags, _train_composed)
    if any(override.key_or_group == "sweep" for override in parse_overrides(words)):
        plan = make_plan(words)
        return _as_hydra_job(words, flags, lambda cfg: _sweep(plan))
    config = to_config(compose(words))
    config.check_places()
    _check(config).check_selection()
    return _as_hydra_job(words, flags, lambda cfg: _train_one(config))


def _train_composed(cfg: DictConfig) -> int:
    check_own_files(HydraConfig.get().overrides.task)
    return _train_one(to_config(cfg))


def _check(config: Config) -> RunSpec:
    spec = config.alone()
    if known := describe(spec.data):
        cost(spec, *known)
    if (images := training_images(spec.data)) is not None:
        check_batch(spec.train.batch_size, images)
    return spec


def _as_hydra_job(words: list[str], flags: list[str], job: Job) -> int:
    """Runs under @hydra.main: its run folder, its log file, its flags. Our own errors pass through unharmed.

    Raises:
        ConfigError: No run folder can be made here.
    """
    shown_alone = {flag.partition("=")[0] for flag in flags} & _SHOWING
    if not shown_alone and not any(word.startswith("hydra.") for word in words):
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
    outcome: list[int | Exception] = []

    def task(cfg: DictConfig) -> None:
        try:
            with unbroken():
                outcome.append(job(cfg))
        except Exception as error:  # which Hydra would show by its traceback
            logger.exception("the command was wrong" if isinstance(error, ValueError) else "not foreseen")
            outcome.append(error)

    sys.argv = [sys.argv[0], *flags, *search_path_override(), *opened(parse_overrides(without_secrets(words)))]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # it would show its errors by their last lines and a traceback's
    try:
        hydra.main(version_base="1.3", config_path=str(package_dir("conf")), config_name="config")(task)()
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(sentence(error)) from None
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


def _train_one(config: Config) -> int:
    from ablate import tracking

    tracking.ask(config.tracking)  # a wrong address is told before TensorFlow is imported, which may take minutes
    import_keras()
    _check_weights({"this run": config.alone()})
    from ablate.sweep.worker import train_one

    return train_one(config)


def _check_weights(specs: Mapping[str, RunSpec]) -> None:
    """Says what becomes of the files of weights that runs start from; what does not fit ends the command here."""
    if any(spec.model.weights for spec in specs.values()):
        import_keras()
        from ablate.run import check_weights

        show(*check_weights(specs))


def _sweep(plan: Plan) -> int:
    show(*summary(plan))
    _ask(plan)
    _check_weights({planned.point.label: planned.spec for planned in plan.points})
    _refuse_inert(plan)
    from ablate.sweep.leader import run_sweep

    return run_sweep(plan)


def _ask(plan: Plan) -> None:
    """Asks the records' and the queue's database whether they are there, before TensorFlow is imported.

    Raises:
        SweepError: The queue's cannot be used.
        TrackingError: The records' cannot.
    """
    from ablate import tracking
    from ablate.sweep.study import ask

    tracking.ask(plan.config.tracking)
    ask(plan.config.study.storage)


def _refuse_inert(plan: Plan) -> None:
    """Reads and builds what settings cannot tell apart, and nothing where they can.

    Raises:
        SweepError: Two levels of a factor are one model, or one data set.
    """
    if plan.config.allow_inert:
        return
    if found := same_data(plan.points):
        raise SweepError(found[0].sentence())
    pairs = suspects(plan.points)
    if not pairs:
        return
    import_keras()
    from ablate.sweep.twins import same_models

    if found := same_models(pairs, plan.specs):
        raise SweepError(found[0].sentence())


def report(name: str | None, words: list[str]) -> int:
    """Prints the table of a sweep from records alone: the tracking store's, a file's, or anybody's runs.

    Raises:
        ConfigError: Neither a name nor a source came, or both, or ``out`` cannot be written.
        ReportError: The store knows no study of that name.
    """
    from ablate.report import METRIC, Reading, report_records, report_study, studies
    from ablate.report.page import page

    options = compose_report(words)
    _check_report(name, options)
    records = studies.opened(name, options)
    drawn = options.format is Format.html
    if records is None and name is not None and (options.at is not None or drawn):  # curves: where they are needed
        records = studies.from_store(options.tracking, name, curves_of=studies.READ)
    reading = Reading(
        records.definition.get("metric", METRIC) if records is not None else METRIC,
        options.margin,
        options.at,
        options.images,
        options.alpha,
        options.higher_is_better,
        options.blocks,
    )
    if records is not None:
        text = page(records, reading) if drawn else report_records(records, options.format, reading)
    elif name is not None:
        text = report_study(options.tracking, name, options.format, reading=reading)
    else:
        raise ConfigError("report needs the name of a sweep, a file of records, or source=: report pe_type.")
    _put(text, options.out, options.source or (name if name and name.endswith(studies.SUFFIX) else None))
    return 0


def _check_report(name: str | None, options: ReportConfig) -> None:
    """What can be told before any record is read.

    Raises:
        ConfigError: The options contradict each other, or the margin is none.
    """
    check_path("a file of records", name or None)
    source, margin, factor = options.source, options.margin, options.factor
    columns = factor if isinstance(factor, list) else [factor]
    if factor is not None and not all(isinstance(column, str) and column for column in columns):
        raise ConfigError(f"factor must be a column or a list of columns, got {factor!r}.")
    if source is not None and source.endswith(".jsonl"):
        raise ConfigError(f"source must be a CSV file of runs; for a file that export wrote, say report {source}.")
    if name is not None and name.endswith(".csv"):
        raise ConfigError(f"a CSV file of runs must come as source={name} factor=… value=…, got it as a name.")
    own = ("source", "factor", "value", "seed", "baseline")
    if name is not None and (given := [key for key in own if getattr(options, key)]):
        raise ConfigError(f"{given[0]}= must come without a name, which is of other records; leave out {name}.")
    if options.blocks and name is None and options.seed is None:
        raise ConfigError(
            "blocks=true needs seed=COLUMN, which tells the runs that share split, subset and data order."
        )
    if margin is not None and not (math.isfinite(margin) and margin > 0):
        raise ConfigError(f"margin must be above 0, in the unit of the values, got {margin}; leave it out for none.")


def _put(text: str, out: str | None, source: str | None = None) -> None:
    if out is None:
        print(text)
        return
    with _writable(out, source) as path:
        path.write_text(text + "\n", "utf-8")


@contextmanager
def _writable(out: str, source: str | None = None) -> Iterator[Path]:
    """The file that ``out`` names, its folder made.

    Raises:
        ConfigError: It is no file's name, the file that is read, or cannot be written.
    """
    check_path("out", out or None)
    path = Path(out)
    if not out or path.is_dir():
        raise ConfigError(f"out must name a file, got {f'{out}, which is a folder' if out else 'nothing'}.")
    if source is not None and path.exists() and Path(source).exists() and path.samefile(source):
        raise ConfigError(f"out must name another file than {source}, which is read and would be lost.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield path
    except OSError as error:
        raise ConfigError(f"out must name a file that can be written, but {out}: {error.strerror}.") from None


def tables(words: list[str]) -> int:
    """Makes all tables from the records in the repository, or with ``check=true`` says which are stale.

    Returns:
        Exit code: 1 where a table is stale.

    Raises:
        ConfigError: An option that there is not, or of another kind.
        TablesError: There are no records.
    """
    from ablate import registry
    from ablate.report import tables as made

    given = {override.key_or_group: override.value() for override in parse_overrides(words)}
    for key, value in given.items():
        if key not in ("check", "records", "out"):
            raise ConfigError(registry.unknown("a key of tables", key, ("check", "records", "out")))
        if not isinstance(value, bool if key == "check" else str) or value == "":
            raise ConfigError(f"{key} must be {'true or false' if key == 'check' else 'a folder'}, got {value!r}.")
        check_path(key, value if isinstance(value, str) else None)
    pages, folder = made.pages(Path(given.get("records", made.RECORDS))), Path(given.get("out", made.TABLES))
    if given.get("check", False):
        old = made.stale(pages, folder)
        show(f"stale, make them with python -m ablate tables: {', '.join(old)}" if old else "all tables are current.")
        return int(bool(old))
    changed = made.write(pages, folder)
    show(f"{len(pages)} pages in {folder}, {len(changed)} changed.")
    return 0


def card(run_id: str, words: list[str]) -> int:
    """Writes the model card of a run in the tracking store, or with ``source=FILE.jsonl`` in a file of records."""
    from ablate.report import card as cards
    from ablate.report import records

    options = compose_report(words)
    if options.source is None:
        text = cards.from_store(options.tracking, run_id, license=options.license)
    else:
        text = cards.from_records(records.read(Path(options.source)), run_id, license=options.license)
    _put(text, options.out, options.source)
    return 0


def export(name: str, words: list[str]) -> int:
    """Writes a study's records as one text file.

    Raises:
        ConfigError: No point of the study is finished, or ``out`` cannot be written.
    """
    from ablate.report import records, stored, studies

    options = compose_report(words)
    chosen, others = stored.choose(options.tracking, name)
    if not chosen.finished:
        raise ConfigError(f"export needs a study with a finished point, got {chosen.study}, which has none.")
    found = studies.from_store(options.tracking, name, study=chosen.study)
    found = studies.with_test_images(found, options.tracking)
    out = f"{name}{studies.SUFFIX}" if options.out is None else options.out
    with _writable(out) as path:
        records.write(found, path)
    show(f"{len(found.frame)} runs of study {found.study} are in {path} ({path.stat().st_size:,} bytes).")
    show(*map(stored.beside, others))
    return 0


def bring(name: str, words: list[str]) -> int:
    """Reads such a file into the tracking store."""
    from ablate.report import records, studies

    options = compose_report(words)
    found = records.read(Path(name))
    studies.to_store(found, options.tracking, tell=print)
    return 0


def plan(words: list[str]) -> int:
    """Prints what a sweep would do: its points, what each model costs, what is left out and why. Trains nothing."""
    check_backend()
    planned = make_plan(words)
    show(*summary(planned), f"  {_finished_already(planned)}", f"  {_visible(planned)}")
    axes = list(planned.points[0].point.levels)
    show(f"\n{'':<2}{'  '.join(f'{axis:<20}' for axis in axes)}{'params':>14}{'MACs':>18}{'tokens':>8}")
    first = planned.points[0].point
    for each in planned.points:
        if (each.point.seed, each.point.repeat, each.point.trial) != (first.seed, first.repeat, first.trial):
            break  # seeds turn slowest: the other seeds repeat these rows
        levels = "  ".join(f"{each.point.levels[axis]!s:<20}" for axis in axes)
        costs = f"{each.cost.params:>14,}{each.cost.macs:>18,}{each.cost.tokens:>8,}" if each.cost else ""
        show(f"  {levels}{costs}")
    for out in planned.left_out:
        show(f"  left out: {', '.join(map(str, out.levels.values()))}: {out.reason}")
    if planned.config.calibrate:
        _calibrate(planned)
    return 0


def _calibrate(planned: Plan) -> None:
    import_keras()
    from ablate.sweep.calibrate import calibrate

    show(f"\n  {'graph of':<36}{'points':>8}{'start':>10}{'a step':>12}{'all its runs':>16}{'memory':>12}")
    total = 0.0
    for each in calibrate(planned.points):
        total += each.run_seconds
        show(
            f"  {each.label:<36}{each.points:>8}{each.start_seconds:>8.1f} s{1000 * each.step_seconds:>9.1f} ms"
            f"{each.run_seconds / 60:>12.1f} min{each.peak_mib:>8.0f} MiB"
        )
    show(f"  about {total / 60:.1f} minutes in all, with every core at one run; memory is one process's")


def _finished_already(planned: Plan) -> str:
    """How many points need no training, as far as that can be told without reading the data."""
    from ablate.tracking import TrackingError, finished_settings

    if planned.config.fresh:
        return "fresh=true: every point is trained anew, whatever is finished"
    try:
        found = already_finished(planned, finished_settings(planned.config.tracking))
    except TrackingError as error:
        return f"already finished: not known, since {error}"
    return f"already finished: {found} of {len(planned.points)} points, if the data is what it was"


def sheet(words: list[str]) -> int:
    """Writes a contact sheet of augmented training images to ``out=PATH``, a PNG file.

    Raises:
        ConfigError: ``out`` is missing, or cannot be written.
        DataError: The data or the augmentation cannot be used.
    """
    given = {override.key_or_group: override.value() for override in parse_overrides(words)}
    if not isinstance(given.get("out"), str):
        raise ConfigError("sheet needs out=PATH, a PNG file: python -m ablate sheet augment=paper out=sheet.png")
    if Path(given["out"]).suffix.lower() != ".png":
        raise ConfigError(f"out of sheet must name a PNG file, which ends in .png, got {given['out']}.")
    rest = [word for word in words if parse_overrides([word])[0].key_or_group != "out"]
    config = to_config(compose(expand(rest)))
    from ablate.data import load
    from ablate.data.augment.sheet import contact_sheet

    content = contact_sheet(load(config.data), config.augment, config.seeds.augment)
    with _writable(given["out"]) as path:
        path.write_bytes(content)
    show(f"each row: a training image, then the same in 8 epochs: {given['out']}")
    return 0


def lr_range(words: list[str]) -> int:
    """Trains once at rising rates; writes a CSV file and a picture to ``out=FOLDER``, or into Hydra's run folder.

    Raises:
        RangeError: ``steps``, ``low`` or ``high`` make no sense, or ``out`` cannot be written to.
    """
    from ablate.lr_range import Ramp, RangeError, make

    own = ("steps", "low", "high", "out")
    overrides = {word: parse_overrides([word])[0] for word in words}
    given = {override.key_or_group: override.value() for override in overrides.values()}
    rest = [word for word, override in overrides.items() if override.key_or_group not in own]
    ramp = Ramp.of({name: given[name] for name in own[:3] if name in given})
    config = to_config(compose(expand(rest)))
    _check(config)
    if "out" not in given:
        return _as_hydra_job(expand(rest), [], lambda cfg: _ramp(config, ramp, HydraConfig.get().runtime.output_dir))
    if not isinstance(given["out"], str):
        raise RangeError(f"out must name a folder, got {given['out']}.")
    check_path("out", given["out"])
    make(Path(given["out"]))
    return _ramp(config, ramp, given["out"])


def _ramp(config: Config, ramp: "Ramp", folder: str) -> int:
    import_keras()
    from ablate import lr_range

    curve = lr_range.measure_run(config.point(), ramp)
    show(*lr_range.told(curve))
    show(" and ".join(map(str, lr_range.write(curve, Path(folder)))))
    return 0


def sync(words: list[str]) -> int:
    """Delivers what was logged while the tracking store was away.

    Returns:
        Exit code: 1 where something still waits, or can never be delivered.

    Raises:
        TrackingError: The store is still away.
    """
    from ablate.tracking import Store

    tracking = compose_report(words).tracking
    delivered = Store(tracking).deliver()
    show(f"delivered {delivered.told} runs to the tracking store; {delivered.waiting} wait in {tracking.spool}.")
    for said in (*delivered.aside, *filter(None, [delivered.reason]), *delivered.elsewhere):
        show(said)
    return int(delivered.waiting > 0 or bool(delivered.aside))


def _visible(planned: Plan) -> str:
    """The smallest difference that the planned seeds can show, from the noise of like runs in the store."""
    from ablate.sweep.power import pooled_std, smallest_difference
    from ablate.tracking import TrackingError, cells, finished_settings, param_text

    seeds = len({each.point.seed for each in planned.points if each.point.trial is None})
    like = ("data.source", "data.root", "train.epochs")
    leaves = planned.points[0].leaves
    try:
        where = planned.config.tracking
        known = cells(where, {key: param_text(leaves[key]) for key in like}) if finished_settings(where) else {}
    except TrackingError as error:
        return f"smallest difference that shows: not known, since {error}"
    noise = pooled_std(known.values())
    if noise is None:
        return "smallest difference that shows: not known before like runs of several seeds (+sweep=noise_floor)"
    std, runs, groups = noise
    told = f"standard deviation {std:.2f} points, from {runs} like runs in {groups} cells"
    shown = smallest_difference(std, seeds)
    if shown is None:
        return f"smallest difference that shows: none with one seed a level ({told})"
    return f"smallest difference that {seeds} seeds a level show in 4 of 5 cases: {shown:.2f} points ({told})"


def models(pattern: str) -> int:
    """Lists the models that have a name, with what they cost.

    Raises:
        ConfigError: It is a file of settings, which model= takes.
        ValueError: No name matches.
    """
    if pattern in group_choices("model") and not is_preset(pattern):
        raise ConfigError(
            f"a model's name must be official, but {pattern} is a file of settings, which model={pattern} takes; plan "
            "shows what the models of a sweep cost."
        )
    names = zoo.matching(pattern)
    head = ("model", "tokens", "params", "MACs", "modules only", "fvcore")
    show(f"{head[0]:<28}{head[1]:>8}{head[2]:>14}{head[3]:>18}{head[4]:>18}{head[5]:>18}")
    for name in names:
        named = zoo.parse(name)
        if named.image_size is None or named.num_classes is None:
            continue  # never for a listed name
        shape, classes = (*named.image_size, 3), named.num_classes
        counts = [named.spec.tokens(shape), named.spec.params(shape, classes)]
        counts += [named.spec.macs(shape, classes, convention=c) for c in ("macs", "macs_modules", "macs_fvcore")]
        show(f"{name:<28}{counts[0]:>8,}{counts[1]:>14,}" + "".join(f"{count:>18,}" for count in counts[2:]))
    return 0


def verify(part: str | None) -> int:
    """Prints what of the published figures and of the official code's numbers comes out on this machine.

    Args:
        part: ``published``, ``variants``, ``golden`` or ``training``; None goes through all.

    Returns:
        Exit code: 0, or 1 where anything differs from what is recorded as expected.

    Raises:
        VerifyError: There is no such part.
    """
    from ablate import verify as proof

    sections = []
    for name in proof.choose(part):
        if name in proof.WITH_KERAS:
            import_keras()
        section = proof.PARTS[name]()
        print("\n".join([section.title, "", *section.lines, ""]), flush=True)
        sections.append(section)
    print("\n".join(proof.summary(sections)))
    return int(any(section.differences for section in sections))
