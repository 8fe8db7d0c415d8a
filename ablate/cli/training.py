"""Verbs that train, or tell what would be trained; heavy libraries are imported where they are needed."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ablate.cli.columns import aligned
from ablate.cli.job import as_hydra_job, check_chosen_files, prepare_jobs, run_folder
from ablate.cli.records import writable
from ablate.config.compose import compose, expand, to_config
from ablate.config.overrides import ConfigError, Words, parse_overrides
from ablate.config.schema import check_path
from ablate.design.points import level_text
from ablate.design.sweep import SweepError
from ablate.installation import require
from ablate.sweep.duplicate_levels import same_data
from ablate.sweep.output import show
from ablate.sweep.plan import Plan, already_finished, make_plan, redeclared, summary
from ablate.tasks.classify.rehearsal import rehearse
from ablate.tasks.classify.running import ClassifierPreview
from ablate.tasks.classify.spec import Config, RunSpec
from ablate.training.hardware import check_backend, import_keras, require_keras

if TYPE_CHECKING:
    from ablate.tasks.classify.lr_range import Ramp


def train(words: Words, flags: list[str]) -> int:
    """Trains one model, or with ``+sweep=`` a sweep. Everything is checked before Hydra makes a run folder.

    Returns:
        Exit code: 0, or 1 where a run failed.
    """
    check_backend()
    overrides = expand(words)
    if {"-m", "--multirun"} & set(flags):  # Hydra takes the words apart; each of its jobs is checked by itself
        prepare_jobs(overrides)
        return as_hydra_job(overrides, flags, _train_composed)
    if any(override.key == "sweep" for override in overrides):
        plan = make_plan(overrides)
        return as_hydra_job(overrides, flags, lambda cfg: _sweep(plan))
    config = _config(compose(overrides))
    config.check_places()
    _check(config).check_selection()
    return as_hydra_job(overrides, flags, lambda cfg: _train_one(config))


def _config(cfg: Any) -> Config:
    return cast(Config, to_config(cfg))


def _train_composed(cfg: Any) -> int:
    check_chosen_files()
    return _train_one(_config(cfg))


def _check(config: Config) -> RunSpec:
    spec, preview = config.alone(), ClassifierPreview()
    preview.cost(spec)
    preview.check_size(spec)
    return spec


def _train_one(config: Config) -> int:
    from ablate import tracking

    tracking.ask(config.tracking)  # a wrong address is told before TensorFlow is imported, which may take minutes
    spec = config.alone()
    import_keras()
    rehearse([spec])
    _check_weights({"this run": spec})
    from ablate.tasks.classify.record import train_one

    return train_one(config)


def _check_weights(specs: Mapping[str, RunSpec]) -> None:
    """Says what becomes of the files of weights that runs start from; what does not fit ends the command here."""
    if any(spec.model.weights for spec in specs.values()):
        import_keras()
        from ablate.tasks.classify.run import check_weights

        show(*check_weights(specs))


def _sweep(plan: Plan) -> int:
    show(*summary(plan))
    _ask(plan)
    _check_weights({planned.point.label: planned.spec for planned in plan.points})
    _refuse_duplicates(plan)
    from ablate.sweep.leader import run_sweep

    return run_sweep(plan)


def _ask(plan: Plan) -> None:
    """Asks the records' and the queue's database whether they are there, before TensorFlow is imported.

    Raises:
        SweepError: The queue's cannot be used.
        TrackingError: The records' cannot.
    """
    from ablate import tracking
    from ablate.sweep.queue import ask

    tracking.ask(plan.config.tracking)
    ask(plan.config.study.storage)


def _refuse_duplicates(plan: Plan) -> None:
    """Reads and builds what settings cannot tell apart, and nothing where they can.

    Raises:
        SweepError: Two levels of a factor are one model, or one data set.
    """
    if plan.config.allow_inert:
        return
    if found := same_data(plan.points):
        raise SweepError(found[0].sentence())
    from ablate.tasks.classify.duplicate_models import same_models, suspects

    pairs = suspects(plan.points)
    if not pairs:
        return
    import_keras()
    if found := same_models(pairs):
        raise SweepError(found[0].sentence())


def plan(words: Words) -> int:
    """Prints what a sweep would do: its points, what each model costs, what is left out and why. Trains nothing."""
    check_backend()
    planned = make_plan(words)
    rehearse(each.spec for each in planned.points)
    show(*summary(planned), *(f"  {line}" for line in redeclared(planned)))
    show(f"  {_finished_already(planned)}", *(f"  {line}" for line in _visible(planned)))
    axes = list(planned.points[0].point.levels)
    rows = [[*axes, "params", "MACs", "tokens"]]
    first = planned.points[0].point
    for each in planned.points:
        if (each.point.seed, each.point.repeat, each.point.trial) != (first.seed, first.repeat, first.trial):
            break  # seeds turn slowest: the other seeds repeat these rows
        costs = [f"{each.cost[name]:,}" for name in ("params", "macs", "tokens")] if each.cost else []
        rows.append([*(level_text(each.point.levels[axis]) for axis in axes), *costs])
    show("", *(f"  {line}" for line in aligned(rows, text=len(axes))))
    for out in planned.left_out:
        show(f"  left out: {', '.join(map(level_text, out.levels.values()))}: {out.reason}")
    if planned.config.calibrate:
        _calibrate(planned)
    return 0


def _calibrate(planned: Plan) -> None:
    require_keras("calibrate=true")
    import_keras()
    from ablate.tasks.classify.calibrate import calibrate

    wide = max(len("graph of"), *(len(each.point.label) for each in planned.points))
    show(f"\n  {'graph of':<{wide}}{'points':>8}{'start':>10}{'a step':>12}{'all its runs':>16}{'memory':>12}")
    total = 0.0
    for each in calibrate(planned.points):
        total += each.run_seconds
        show(
            f"  {each.label:<{wide}}{each.points:>8}{each.start_seconds:>8.1f} s{1000 * each.step_seconds:>9.1f} ms"
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


def sheet(words: Words) -> int:
    """Writes a contact sheet of augmented training images to ``out=PATH``, a PNG file.

    Raises:
        ConfigError: ``out`` is missing, or cannot be written.
        DataError: The data or the augmentation cannot be used.
    """
    overrides = parse_overrides(words)
    given = {override.key: override.value for override in overrides}
    if not isinstance(given.get("out"), str):
        raise ConfigError("sheet needs out=PATH, a PNG file: python -m ablate sheet augment=paper out=sheet.png")
    if Path(given["out"]).suffix.lower() != ".png":
        raise ConfigError(f"out of sheet must name a PNG file, which ends in .png, got {given['out']}.")
    config = _config(compose(expand(override for override in overrides if override.key != "out")))
    from ablate.data import load
    from ablate.data.augment.sheet import contact_sheet

    content = contact_sheet(load(config.data), config.augment, config.seeds.augment)
    with writable(given["out"]) as path:
        path.write_bytes(content)
    show(f"each row: a training image, then the same in 8 epochs: {given['out']}")
    return 0


def lr_range(words: Words) -> int:
    """Trains once at rising rates; writes a CSV file and a picture to ``out=FOLDER``, or into Hydra's run folder.

    Raises:
        RangeError: ``steps``, ``low`` or ``high`` make no sense, or ``out`` cannot be written to.
    """
    from ablate.tasks.classify.lr_range import Ramp, RangeError, make

    own = ("steps", "low", "high", "out")
    overrides = parse_overrides(words)
    given = {override.key: override.value for override in overrides}
    rest = expand(override for override in overrides if override.key not in own)
    ramp = Ramp.of({name: given[name] for name in own[:3] if name in given})
    config = _config(compose(rest))
    _check(config)
    require_keras("lr_range")
    require("lr_range", "matplotlib", "seaborn")
    if "out" not in given:
        return as_hydra_job(rest, [], lambda cfg: _ramp(config, ramp, run_folder()))
    if not isinstance(given["out"], str):
        raise RangeError(f"out must name a folder, got {given['out']}.")
    check_path("out", given["out"])
    make(Path(given["out"]))
    return _ramp(config, ramp, given["out"])


def _ramp(config: Config, ramp: "Ramp", folder: str) -> int:
    import_keras()
    from ablate.tasks.classify import lr_range

    curve = lr_range.measure_run(config.point(), ramp)
    show(*lr_range.told(curve))
    show(" and ".join(map(str, lr_range.write(curve, Path(folder)))))
    return 0


def _visible(planned: Plan) -> list[str]:
    """The smallest difference that the planned seeds can show, from the noise of like runs in the store.

    Returns:
        A line, and where seeds are few another; of a search, whose points are chosen by their results, none.
    """
    from ablate.report.table.analysis import comparisons
    from ablate.report.table.table import ALPHA
    from ablate.stats.power import pooled_std, smallest_difference
    from ablate.tracking import TrackingError, cells, finished_settings, param_text

    definition = planned.definition()
    if planned.search is not None:
        return []
    seeds, rows = len(definition["seeds"]), len(definition["combinations"])
    like = ("data.source", "data.root", "train.epochs")
    leaves = planned.points[0].leaves
    try:
        where = planned.config.tracking
        known = cells(where, {key: param_text(leaves[key]) for key in like}) if finished_settings(where) else {}
    except TrackingError as error:
        return [f"smallest difference that shows: not known, since {error}"]
    noise = pooled_std(known.values())
    if noise is None:
        return ["smallest difference that shows: not known before like runs of several seeds (+sweep=noise_floor)"]
    std, runs, groups = noise
    told = f"standard deviation {std:.2f} points, from {runs} like runs in {groups} cells"
    alpha, family = definition.get("alpha", ALPHA), comparisons(definition)
    shared = f", where {family} comparisons share alpha {alpha:g}" if family > 1 else ""
    df = rows * (seeds - 1) if family else None
    shown = smallest_difference(std, seeds, alpha=alpha, groups=max(1, family), df=df)
    if shown is None:
        return [f"smallest difference that shows: none with one seed a level ({told})"]
    line = f"smallest difference that {seeds} seeds a level show in 4 of 5 cases{shared}: {shown:.2f} points ({told})"
    own = smallest_difference(std, seeds, alpha=alpha, groups=max(1, family))
    return [line, *_with_few_seeds(seeds, shown, own)]


def _with_few_seeds(seeds: int, shown: float, own: float | None) -> list[str]:
    """What the table asks for beyond ``shown``, where seeds are too few for cells to share their spread.

    Args:
        seeds: Of each level.
        shown: Smallest difference by the variance of all cells.
        own: The same by the variance of the two cells alone.
    """
    if seeds == 2:
        return ["two seeds a level: each is judged by its own spread alone, which takes a far larger one; take three"]
    if own is None or own < 1.2 * shown:
        return []
    return [f"so few seeds let cells share little of their spread, and the table may ask for up to {own:.2f} points"]
