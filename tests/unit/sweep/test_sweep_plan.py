"""A plan: points composed once per combination, checked, costed, and held against what is finished. Nothing trains."""

import contextlib
import json

import pytest

from ablate import identity
from ablate.cli.training import plan as show_plan
from ablate.cli.training import train
from ablate.config.compose import compose, composer, to_config, with_leaves
from ablate.config.files import read_sweep, sweep_files
from ablate.config.overrides import ConfigError
from ablate.data import DataError
from ablate.design.sweep import SweepError
from ablate.stats.power import smallest_difference
from ablate.sweep.plan import already_finished, make_plan, redeclared, summary
from ablate.tasks.classify.spec import RunSpec
from ablate.tracking import Store
from ablate.tracking.names import DEFINITION
from tests.unit.sweep.conftest import BASE


def test_plan_sets_leaves_as_composing_them_one_by_one_would(sweep):
    axes = {"train.lr": [1, 2e-3], "model.positional": ["sine", "none"], "data.image_size": [[16, 16]]}
    plan = make_plan(sweep(f"axes: {axes}\nseeds: [3]\nrepeats: 2"))
    assert len(plan.points) == 8
    for planned in plan.points:
        words = [f"{axis}={level}" for axis, level in planned.point.levels.items()]
        words += [f"seed={planned.point.seed}", f"repeat={planned.point.repeat}"]
        alone = to_config(compose(["model=tiny", "data=digits", "train.epochs=2", *words])).point()
        assert alone == planned.spec and alone.leaves() == planned.leaves
        assert type(planned.spec.train.lr) is float


def test_plan_takes_each_level_by_itself_whatever_came_before(sweep):
    axes = {
        "train.seconds": ["null", 60, "7.5"],
        "model.qkv_bias": ["true", "false"],
        "train.select": ["last", "best"],
        "data.image_size": ["null", 16],
    }
    text = ", ".join(f"{axis}: [{', '.join(map(str, levels))}]" for axis, levels in axes.items())
    for planned in make_plan(sweep(f"axes: {{{text}}}")).points:
        words = [f"{axis}={'null' if level is None else level}" for axis, level in planned.point.levels.items()]
        alone = to_config(compose(["model=tiny", "data=digits", "train.epochs=2", *words])).point()
        assert alone == planned.spec and repr(alone) == repr(planned.spec)
    for wrong in ("'???'", "[1]", "yes"):
        with pytest.raises((SweepError, ConfigError), match=r"train\.lr"):
            make_plan(sweep(f"axes: {{train.lr: [1.0, {wrong}, 2.0]}}"))


def test_plan_of_many_levels_composes_once(sweep, monkeypatch):
    """The whole configuration is copied and checked as often for 100 levels as for two: it takes 8 ms each time."""
    copied = []

    def counted(cfg, leaves):
        copied.append(leaves)
        return with_leaves(cfg, leaves)

    monkeypatch.setattr("ablate.sweep.levels.with_leaves", counted)
    counts = []
    for number in (2, 100):
        copied.clear()
        levels = ", ".join(f"{level}.5e-5" for level in range(2, 2 + number))
        assert len(make_plan(sweep(f"axes: {{train.lr: [{levels}]}}")).points) == number
        counts.append(len(copied))
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("records", "queue"),
    [
        ("sqlite:///one.db", "sqlite:///one.db"),
        ("sqlite:///one.db", "sqlite:///./sweeps/../one.db"),
        ("postgresql+psycopg://me:pw@h/db", "postgresql+psycopg://you@H:5432/db"),
        ("postgresql+psycopg://127.0.0.1:5433/db", "postgresql+psycopg://localhost:5433/db"),
    ],
)
def test_plan_refuses_one_database_for_records_and_queue(sweep, records, queue):
    with pytest.raises(ConfigError, match=r"tracking\.uri and study\.storage must name two databases") as told:
        make_plan(_with_databases(sweep, records, queue))
    assert "pw" not in str(told.value)


@pytest.mark.parametrize(
    ("records", "queue"),
    [
        ("sqlite:///one.db", "sqlite:///two.db"),
        ("http://one:5000", "sqlite:///one.db"),
        ("postgresql+psycopg://h/a", "postgresql+psycopg://h/b"),
        ("postgresql+psycopg://h:1/a", "postgresql+psycopg://h:2/a"),
        ("postgresql+psycopg://h/a?options=-csearch_path%3Dm", "postgresql+psycopg://h/a"),
    ],
)
def test_plan_takes_two_databases(sweep, records, queue):
    assert make_plan(_with_databases(sweep, records, queue)).points


def _with_databases(sweep, records, queue):
    return sweep("axes: {train.lr: [1.0e-3, 2.0e-3]}", f"tracking.uri='{records}'", f"study.storage='{queue}'")


def test_plan_keeps_a_leaf_that_follows_another_one(sweep):
    plan = make_plan(sweep("axes: {train.lr: [1.0e-3, 2.0e-3]}\nseeds: 2", "train.min_lr=${train.lr}", "seeds.init=7"))
    assert [p.spec.train.min_lr for p in plan.points] == [p.spec.train.lr for p in plan.points]
    assert {p.spec.seeds.init for p in plan.points} == {7} and [p.spec.seeds.order for p in plan.points] == [0, 0, 1, 1]


def test_plan_names_the_point_whose_level_is_of_the_wrong_type(sweep):
    with pytest.raises(SweepError, match=r"high s0: train.lr must be of type float, got 'high'"):
        make_plan(sweep("axes: {train.lr: [1.0e-3, high]}"))


def test_plan_names_the_point_whose_data_have_another_number_of_channels_than_its_moments(sweep):
    with pytest.raises(SweepError, match=r"but 3 s0: data\.std must have 3 values, one a channel, got 1"):
        make_plan(sweep("axes: {data.channels: [1, 3]}", "data.std=[0.25]"))


def test_plan_refuses_a_point_with_fewer_training_images_than_a_batch_takes(sweep):
    with pytest.raises(SweepError, match=r"0.05 s0: train.batch_size must be .* got 128 for 66 images; lower"):
        make_plan(sweep("axes: {data.fraction: [1.0, 0.05]}"))
    with pytest.raises(SweepError, match=r"2000 s0: train.batch_size must be .* got 2000 for 1294 images"):
        make_plan(sweep("axes: {train.batch_size: [64, 2000]}"))
    with pytest.raises(SweepError, match=r"500 s0: data.per_class must be at most 12\d"):
        make_plan(sweep("axes: {data.per_class: [20, 500]}", "train.batch_size=32"))
    with pytest.raises(SweepError, match=r"1e-06 s0: data.val_fraction must hold out at least one image"):
        make_plan(sweep("axes: {data.val_fraction: [0.1, 0.000001]}"))
    with pytest.raises(SweepError, match=r"train.batch_size must be .* got 4096 for 1294 images"):
        make_plan(sweep("method: optuna\nn_trials: 2\naxes: {train.batch_size: {low: 16, high: 4096}}"))
    assert len(make_plan(sweep("axes: {data.fraction: [1.0, 0.05]}", "train.batch_size=66")).points) == 2


def test_run_refuses_a_batch_larger_than_its_training_images_before_it_makes_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="got 128 for 66 images"):
        train(["model=tiny", "data=digits", "data.fraction=0.05"], [])
    assert not list(tmp_path.iterdir())


DEFAULTS = RunSpec().leaves()


def identified(leaves, backend):
    return identity.settings(leaves, DEFAULTS, code=RunSpec().code(backend), backend=backend)


def test_repeat_is_part_of_the_identity_and_of_no_cell():
    one, other = (to_config(compose(["model=tiny", f"repeat={n}"])).point() for n in (0, 1))
    told = [identified(spec.leaves(), "tensorflow") for spec in (one, other)]
    assert told[0] != told[1] and identity.cell(one.leaves(), DEFAULTS) == identity.cell(other.leaves(), DEFAULTS)
    assert identity.identity(told[0], "a") != identity.identity(told[0], "b")


def test_identity_leaves_out_paths_threads_and_a_seed_that_drives_nothing():
    leaves = to_config(compose(["model=tiny"])).point().leaves()
    moved = leaves | {"data.root": "/elsewhere", "data.cache": "/tmp", "hardware.threads": 3, "seed": 5}
    assert identified(leaves, "jax") == identified(moved, "jax")
    assert identified(leaves, "jax") != identified(leaves, "tensorflow")


def test_identity_moves_with_the_source_of_a_plugin(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "a_plugin_of_mine.py").write_text("x = 1\n")
    code = identity.Code(("a_plugin_of_mine",))
    before = identity.settings({}, {}, code=code, backend="tensorflow")
    (tmp_path / "a_plugin_of_mine.py").write_text("x = 2\n")
    assert before != identity.settings({}, {}, code=code, backend="tensorflow")


def test_plan_counts_finished_points_once_each(sweep):
    plan = make_plan(sweep("axes: {train.lr: [1.0e-3, 2.0e-3]}\nseeds: 2"))
    backend = identity.backend()
    told = [
        identity.settings(p.leaves, p.spec.defaults(), code=p.spec.code(backend), backend=backend) for p in plan.points
    ]
    assert already_finished(plan, {}) == 0
    assert already_finished(plan, {told[0]: 3, told[2]: 1, "other": 5}) == 2


def test_plan_of_a_thousand_points_composes_each_combination_of_groups_once(sweep, monkeypatch):
    axes = {"model": ["tiny", "cct_2_3x1"], "model.positional": ["sine", "none"]}
    axes |= {"train.lr": [n / 1000 for n in range(1, 6)], "train.weight_decay": [n / 10 for n in range(10)]}
    words = sweep(f"axes: {axes}\nseeds: 5")
    composed = []

    @contextlib.contextmanager
    def counted():
        with composer() as compose:
            yield lambda words: composed.append(words) or compose(words)

    monkeypatch.setattr("ablate.sweep.levels.composer", counted)
    assert len(make_plan(words).points) == 1000
    assert len(composed) == 3  # of 200 combinations: tiny, whose variants are groups, twice; the rest is set in leaves


def test_plan_says_time_where_time_ends_the_runs(sweep):
    lines = summary(make_plan(sweep("axes: {model.layers: [1, 2]}\nbudget: seconds", "train.seconds=5")))
    assert any("2 runs of 5 seconds of training on digits" in line for line in lines)


SEARCH = "method: optuna\nn_trials: 2\n"


def test_search_refuses_a_budget_that_it_draws_and_a_metric_that_nothing_is_held_out_for(sweep):
    with pytest.raises(SweepError, match="an axis that draws it"):
        make_plan(sweep(f"axes: {{train.seconds: {{low: 1.0, high: 5.0}}}}\nbudget: seconds\n{SEARCH}"))
    with pytest.raises(SweepError, match=r"data\.val_fraction above 0"):
        make_plan(sweep(f"axes: {{train.lr: [1.0e-3, 2.0e-3]}}\n{SEARCH}", "data.val_fraction=0", "train.select=last"))


def test_search_of_epochs_tells_its_pruner_of_the_longest(sweep):
    assert make_plan(sweep(f"axes: {{train.epochs: [2, 20]}}\npruner: hyperband\n{SEARCH}")).search.epochs == 20


def test_search_draws_what_hangs_on_a_pinned_level(sweep):
    axes = "{model.pooling: [seqpool, mean], train.lr: {low: 1.0e-3, high: 2.0e-3, when: {model.pooling: mean}}}"
    plan = make_plan(sweep(f"axes: {axes}\n{SEARCH}", "model.pooling=mean"))
    assert [each.axis for each in plan.search.axes] == ["train.lr"]
    with pytest.raises(SweepError, match="at least one axis"):
        make_plan(sweep(f"axes: {axes}\n{SEARCH}", "model.pooling=seqpool"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *((f"{key}: {value}\n", f"{key} of sweep mine must be") for key in ("question", "baseline", "where", "n_trials")
          for value in ("null", "3.5", "[[1]]") if (key, value) != ("where", "[[1]]")),
        *((f"{key}: gird\n", f"{key} of sweep mine must be one of")
          for key in ("method", "sampler", "pruner", "budget")),
        ("where: [[1]]\n", "must list entries"),
        ("where: [{when: {train.lr: 1.0e-3}, reason: ''}]\n", "each with its reason"),
        ("where: [{when: {train.lr: 5}, reason: typo}]\n", "train.lr in where in sweep mine must be one of"),
        ("baseline: {train.lr: 5}\n", "train.lr in baseline of sweep mine must be one of"),
        ("table: pe_ablatoin\n", "Did you mean pe_ablation"),
        ("trials: 3\n", "Did you mean n_trials"),
        ("name: other\n", "a key of sweep mine must be one of"),
        ("n_trials: 3\n", "must come with method optuna or tuned"),
        ("objective: val/loss\n", "must come with method optuna or tuned"),
        ("method: optuna\nrepeats: 2\n", "must come with method grid"),
        ("method: optuna\nbaseline: {train.lr: 1.0e-3}\n", "must come with method grid"),
        ("repeats: {7: 2}\n", "must name seeds of it, got 7"),
        *((f"margin: {value}\n", "margin of sweep mine must be a number above 0")
          for value in ("0", "-1", "x", "null", ".nan", ".inf", "true", "[1]")),
        *((f"alpha: {value}\n", "alpha of sweep mine must be a number between 0 and 0.5")
          for value in ("0", "0.5", "5", "x", "null", "true")),
        *((f"scope: {value}\n", "scope of sweep mine must be one of population, these_images")
          for value in ("images", "null", "3", "[population]")),
        *((f"compare: {value}\n", "compare of sweep mine must be a list of axes")
          for value in ("train.lr", "[]", "null", "[1]", "{train.lr: 1}")),
        ("compare: [lr]\n", "an axis in compare of sweep mine must be one of train.lr; got 'lr'"),
        ("compare: [train.lr, train.lr]\n", "must name each axis once, got train.lr, train.lr"),
        ("method: zip\ncompare: [train.lr]\n", "compare of sweep mine must come with method grid"),
        *((f"method: optuna\n{text}\n", f"{text.partition(':')[0]} of sweep mine must come with method grid")
          for text in ("margin: 1", "alpha: 0.1", "scope: population", "compare: [train.lr]")),
        ("marign: 1\n", "Did you mean margin"),
    ],
)  # fmt: skip
def test_a_sweeps_file_is_told_in_one_sentence_what_is_wrong(sweep, text, message):
    with pytest.raises(SweepError, match=message) as told:
        make_plan(sweep(f"axes: {{train.lr: [1.0e-3, 2.0e-3]}}\n{text}"))
    assert "\n" not in str(told.value)


def test_compare_names_no_axis_that_is_tuned(sweep):
    text = "method: tuned\nn_trials: 2\naxes: {model.pooling: [seqpool, mean], train.lr: {low: 1.0e-4, high: 1.0e-2}}\n"
    with pytest.raises(SweepError, match=r"must be a list of levels, got train\.lr, a range"):
        make_plan(sweep(f"{text}compare: [train.lr]\n"))
    make_plan(_again(f"{text}compare: [model.pooling]\nmargin: 1\n"))


RULE = "margin: 2\nalpha: 0.01\nscope: these_images\ncompare: [model.pooling]\n"
POOLINGS = "axes: {model.pooling: [seqpool, mean], model.positional: [learnable, none]}\nseeds: 10\n"


def test_plan_records_what_a_sweep_declares_and_its_study_and_points_keep_their_names(sweep):
    plain, ruled = make_plan(sweep(POOLINGS)), make_plan(_again(f"{POOLINGS}{RULE}"))
    rule = {"margin": 2.0, "alpha": 0.01, "scope": "these_images", "compare": ["model.pooling"]}
    assert ruled.definition() == plain.definition() | rule and not rule.keys() & plain.definition().keys()
    assert ruled.study == plain.study
    (more,) = set(summary(ruled)) - set(summary(plain))
    assert more == "  verdicts by margin 2, alpha 0.01, scope these_images, compare model.pooling"
    assert [each.point.key for each in ruled.points] == [each.point.key for each in plain.points]
    assert [each.spec for each in ruled.points] == [each.spec for each in plain.points]


def _again(text):
    with open("sweeps/mine.yaml", "w") as file:
        file.write(f"{BASE}{text}")
    return ["+sweep=mine"]


def test_rule_may_be_said_on_the_command_line_and_is_checked_there(sweep):
    words = sweep(POOLINGS)
    assert make_plan([*words, "sweep.margin=3"]).definition()["margin"] == 3.0
    wrong = {"margin=-1": "margin of", "alpha=0.5": "alpha of", "compare=[pooling]": "an axis in", "scope=all": "scope"}
    for word, said in wrong.items():
        with pytest.raises(SweepError, match=said):
            make_plan([*words, f"sweep.{word}"])


def test_sweep_whose_rule_was_changed_after_its_study_began_says_so(sweep, store_uri):
    where = f"tracking.uri={store_uri}"
    begun = make_plan(sweep(f"{POOLINGS}margin: 1\nalpha: 0.01\n", where))
    assert redeclared(begun) == []
    Store(begun.config.tracking).sweep_run(begun.study, {DEFINITION: json.dumps(begun.definition())})
    assert redeclared(begun) == []
    later = make_plan([*_again(f"{POOLINGS}margin: 2\ncompare: [model.pooling]\n"), where])
    assert later.study == begun.study
    ask = f"python -m ablate report {begun.study}"
    assert [line.partition(f", and study {begun.study} was begun with ")[::2] for line in redeclared(later)] == [
        ("margin is 2", f"1, which its tables go by; {ask} margin=2 goes by this one"),
        ("alpha is none", "0.01, which its tables go by"),
        ("compare is model.pooling", f"none, which its tables go by; {ask} compare=model.pooling goes by this one"),
    ]


@pytest.mark.parametrize(
    ("text", "shared", "groups", "df", "alpha"),
    [
        ("", ", where 4 comparisons share alpha 0.05", 4, 36, 0.05),
        ("compare: [model.pooling]\nalpha: 0.01\n", ", where 2 comparisons share alpha 0.01", 2, 36, 0.01),
        ("method: one_factor\n", ", where 2 comparisons share alpha 0.05", 2, 27, 0.05),
        ("method: zip\n", "", 1, 18, 0.05),
    ],
)
def test_plan_tells_the_difference_that_its_family_of_comparisons_shows(
    sweep, monkeypatch, capsys, text, shared, groups, df, alpha
):
    monkeypatch.setattr("ablate.tracking.finished_settings", lambda where: {"one": 1})
    monkeypatch.setattr("ablate.tracking.cells", lambda where, alike: {"a": [1.0, 3.0], "b": [4.0, 6.0]})
    assert show_plan(sweep(f"{POOLINGS}{text}")) == 0
    size = smallest_difference(2**0.5, 10, alpha=alpha, groups=groups, df=df)
    told = f"smallest difference that 10 seeds a level show in 4 of 5 cases{shared}: {size:.2f} points (standard"
    assert told in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        (2, "  two seeds a level: each is judged by its own spread alone, which takes a far larger one; take three\n"),
        (3, "  so few seeds let cells share little of their spread, and the table may ask for up to 6.40 points\n"),
        (10, None),
    ],
)
def test_plan_tells_what_few_seeds_cannot_share(sweep, monkeypatch, capsys, seeds, said):
    monkeypatch.setattr("ablate.tracking.finished_settings", lambda where: {"one": 1})
    monkeypatch.setattr("ablate.tracking.cells", lambda where, alike: {"a": [1.0, 3.0], "b": [4.0, 6.0]})
    assert show_plan(sweep(POOLINGS.replace("seeds: 10", f"seeds: {seeds}"))) == 0
    told = capsys.readouterr().out
    assert said in told if said else "so few seeds" not in told and "two seeds" not in told


def test_plan_of_a_search_tells_no_difference_that_seeds_show(sweep, capsys):
    show_plan(sweep("method: optuna\nn_trials: 2\naxes: {train.lr: {low: 1.0e-4, high: 1.0e-2}}\n"))
    assert "smallest difference" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("3", "must be a mapping of settings"),
        ("[1]", "must be a mapping of settings"),
        ("{seed: 3}", "must leave seed to its seeds"),
        ("{repeat: 3}", "must leave repeat to its repeats"),
        ("{train.lr: 0.5}", "which is an axis"),
        ("{sweep: pe_type}", "the sweep's own"),
    ],
)
def test_a_base_that_no_point_would_hear_is_refused(sweep, tmp_path, base, message):
    words = sweep("")
    (tmp_path / "sweeps" / "mine.yaml").write_text(f"base: {base}\naxes: {{train.lr: [1.0e-3, 2.0e-3]}}\n")
    with pytest.raises(SweepError, match=message):
        make_plan(words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["workers=0"], "workers must be at least 1"),
        (["retries=-1"], "retries must be at least 0"),
        (["engine_options={a:1}"], "must come with engine=ray or slurm"),
        (["train={lr:0.5}"], r"to pin it, say train.lr=…"),
        (["sweep.base={train.epochs:3}"], "must stand in the sweep's file"),
        (["sweep.axes.workers=[1,2]"], "axis workers must vary a run"),
    ],
)
def test_a_command_that_no_point_would_hear_is_refused(sweep, words, message):
    with pytest.raises(ValueError, match=message):
        make_plan(sweep("axes: {train.lr: [1.0e-3, 2.0e-3]}", *words))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data.val_fraction=0"], r"before the first one trains, but 0.001 s0: train.select=best needs validation"),
        (["data.val_fraction=0", "train.select=last", "train.patience=2"], "train.patience waits for validation"),
    ],
)
def test_plan_refuses_a_rule_that_needs_validation_images_where_none_are_held_out(sweep, words, message):
    with pytest.raises(SweepError, match=message):
        make_plan(sweep("axes: {train.lr: [1.0e-3, 2.0e-3]}", *words))
    with pytest.raises(SweepError, match="needs validation images"):
        make_plan(sweep("axes: {data.val_fraction: [0.1, 0]}"))
    make_plan(sweep("axes: {train.lr: [1.0e-3, 2.0e-3]}", "data.val_fraction=0", "train.select=last"))


def test_a_name_that_no_store_can_be_asked_for_is_refused(sweep, tmp_path):
    sweep("axes: {train.lr: [1.0e-3]}")
    (tmp_path / "sweeps" / "mine.yaml").rename(tmp_path / "sweeps" / "it's.yaml")
    with pytest.raises(SweepError, match="a sweep's name must be of letters"):
        make_plan(['+sweep="it\'s"'])


def test_an_interpolation_that_leads_nowhere_is_one_sentence(sweep):
    with pytest.raises(ValueError, match="nope") as told:
        make_plan(sweep("axes: {train.lr: ['${nope}', 0.1]}"))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", list(sweep_files()))
def test_each_sweep_of_ours_is_written_as_it_must_be(name):
    assert read_sweep(name)["axes"]
