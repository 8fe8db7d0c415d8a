"""What verbs do with files that are there and options that contradict: nothing is lost, one sentence each."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ablate.cli import main as cli
from ablate.design.sweep import SCOPES
from ablate.report.sources import records, studies
from ablate.stats import crossed
from ablate.tracking import Store, TrackingSpec


@pytest.fixture
def where(store_uri, tmp_path, monkeypatch):
    """A store with a finished study, and one of the same name that came later and failed altogether."""
    monkeypatch.chdir(tmp_path)
    spec = TrackingSpec(uri=store_uri)
    _study(spec, "mine-good", "finished")
    _study(spec, "mine-bad", "failed")
    return spec


def _study(spec, study, outcome):
    store = Store(spec)
    definition = {
        "name": "mine",
        "axes": {"model": ["a", "b"]},
        "baseline": {"model": "a"},
        "seeds": [0, 1],
        "points": 4,
    }
    parent = store.sweep_run(study, {"ablate.sweep": json.dumps(definition)})
    for model, seed in ((model, seed) for model in "ab" for seed in (0, 1)):
        point = json.dumps([["model", model], ["seed", seed]])
        writer = store.start_run(model, {}, {"ablate.study": study, "ablate.point": point}, parent=parent)
        if outcome == "finished":
            writer.log({"final.test_top1_percent": 80.0 + seed})
        writer.finish(outcome)


@pytest.fixture
def run(capsys):
    """Runs a command line: its exit code, its output, and what it said of an error."""

    def main(*words):
        with pytest.raises(SystemExit) as stop:
            cli.main(words)
        out, err = capsys.readouterr()
        return stop.value.code, out, err

    return main


def _refused(told, sentence):
    code, _, err = told
    assert code == 2
    assert sentence in err and len(err.splitlines()) == 1
    return True


@pytest.fixture
def file(where, tmp_path):
    path = tmp_path / "mine.jsonl"
    records.write(studies.from_store(where, "mine"), path)
    return path


def test_a_study_with_results_stands_before_one_that_failed_later(where, run):
    uri = f"tracking.uri={where.uri}"
    code, out, _ = run("report", "mine", uri)
    assert code == 0 and "study mine-good, started" in out and "also of this name: mine-bad" in out
    code, out, _ = run("export", "mine", uri, "out=kept/mine.jsonl")
    assert code == 0 and "4 runs of study mine-good" in out and "also of this name: mine-bad" in out
    assert _refused(run("export", "mine-bad", uri, "out=kept/mine.jsonl"), "needs a study with a finished point")
    assert records.read(Path("kept/mine.jsonl")).study == "mine-good"


def test_out_is_never_the_file_that_is_read(file, run, tmp_path):
    before = file.read_bytes()
    (tmp_path / "link.md").symlink_to(file)
    for out in (file, "./mine.jsonl", "link.md"):
        assert _refused(run("report", "mine.jsonl", f"out={out}"), "would be lost")
    run_id = records.read(file).frame["run_id"][0]
    assert _refused(run("card", run_id, "source=mine.jsonl", f"out={file}"), "would be lost")
    rows = tmp_path / "runs.csv"
    rows.write_text("model,acc\na,1\na,2\nb,3\nb,4\n")
    assert _refused(run("report", f"source={rows}", "factor=model", "value=acc", f"out={rows}"), "would be lost")
    assert file.read_bytes() == before and rows.read_text().startswith("model,acc")


@pytest.mark.parametrize("name", ["mine.yaml", "mine.csv", "mine"])
def test_sheet_writes_pictures_alone(name, tmp_path, run):
    (tmp_path / name).write_text("axes: {}")
    assert _refused(run("sheet", "data=digits", f"out={tmp_path / name}"), "which ends in .png")
    assert (tmp_path / name).read_text() == "axes: {}"


def test_out_that_cannot_be_written_is_one_sentence(where, file, run, tmp_path):
    run_id, uri = records.read(file).frame["run_id"][0], f"tracking.uri={where.uri}"
    (tmp_path / "folder").mkdir()
    for words in (["report", "mine.jsonl"], ["report", "mine", uri], ["card", run_id, "source=mine.jsonl"],
                  ["export", "mine", uri]):  # fmt: skip
        assert _refused(run(*words, "out=folder"), "out must name a file, got folder, which is a folder")
        assert _refused(run(*words, "out="), "out must name a file, got nothing")
        assert _refused(run(*words, "out=mine.jsonl/x.md"), "a file that can be written, but mine.jsonl/x.md")


def test_report_compares_by_no_axis_that_there_is_not(where, file, run):
    for words in (["mine.jsonl"], ["mine", f"tracking.uri={where.uri}"]):
        assert _refused(
            run("report", *words, "compare=pooling"), "an axis in compare must be one of model; got 'pooling'."
        )
        assert run("report", *words, "compare=model")[0] == 0


def test_out_makes_its_folders(file, run, tmp_path):
    run_id = records.read(file).frame["run_id"][0]
    assert run("report", "mine.jsonl", "out=a/b/report.md", "format=md")[0] == 0
    assert run("card", run_id, "source=mine.jsonl", "out=c/d/card.md")[0] == 0
    assert run("sheet", "data=digits", "out=e/f/sheet.png")[0] == 0
    assert all((tmp_path / name).is_file() for name in ("a/b/report.md", "c/d/card.md", "e/f/sheet.png"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["mine", "source=good.csv", "factor=a", "value=b"], "source= must come without a name"),
        (["mine", "factor=a", "value=b"], "factor= must come without a name"),
        (["mine", "baseline.model=b"], "baseline= must come without a name"),
        (["good.csv"], "must come as source=good.csv factor=… value=…"),
        (["source=mine.jsonl"], "say report mine.jsonl"),
        (["mine.jsonl", "margin=-1"], "margin must be above 0, in the unit of the values, got -1"),
        (["none.jsonl", "margin=0"], "margin must be above 0"),
        (["none.jsonl", "scope=nobody"], "scope must be one of population, these_images; got 'nobody'"),
        (["none.jsonl", "margin=nan"], "margin must be above 0"),
        (["none.jsonl", "scope=these_image"], "scope must be one of population, these_images; got 'these_image'."),
        (["none.jsonl", "compare=[]"], "compare must be an axis or a list of axes, got []."),
        (["none.jsonl", "compare=[3]"], "compare must be an axis or a list of axes, got [3]."),
    ],
)
def test_report_says_which_of_its_options_go_together(run, words, sentence):
    assert _refused(run("report", *words), sentence)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "on these test images alone, and may be otherwise on others, since 4 of 4 runs do not keep which"),
        (["scope=population"], "on these test images alone, and may be otherwise on others, since 4 of 4 runs do not"),
        (["scope=these_images"], "on these test images alone, and may be otherwise on others: scope=these_images asks"),
    ],
)
def test_report_says_whom_its_verdicts_hold_for(file, run, words, said):
    code, out, _ = run("report", "mine.jsonl", *words)
    assert code == 0 and f"verdicts hold for other seeds {said}" in out


def test_report_says_of_runs_of_others_whom_its_verdicts_hold_for(tmp_path, run):
    (tmp_path / "runs.csv").write_text("model,acc\na,1\na,2\nb,3\nb,4\n")
    _, out, _ = run("report", f"source={tmp_path / 'runs.csv'}", "factor=model", "value=acc")
    assert "verdicts hold for other runs on the same test data, and may be otherwise on other data, since these" in out
    assert "intervals are" not in out


def test_words_of_a_scope_are_those_of_the_analysis():
    assert tuple(crossed.Scope) == SCOPES


def test_a_run_that_selects_by_validation_needs_images_for_it_before_anything_is_made(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert _refused(run("model=tiny", "data=digits", "data.val_fraction=0"), "train.select=best needs validation")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def mine(write_sweep):
    """A working directory with sweeps of its own."""
    text = "base: {model: tiny, data: digits, train.epochs: 2}\naxes: {model.pooling: [seqpool, mean]}\n"
    write_sweep(text).with_name("short.yml").write_text(text)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["report", "mine", "--format=html"], "there is no flag --format=html; write format=html."),
        (["plan", "+sweep=mine", "--cfg", "job"], "plan takes no flags such as --cfg; leave it out."),
        (["train", "--epochs=5"], "no flag --epochs=5; write train.epochs=5."),
        (["--lr", "0.1"], "no flag --lr; write train.lr=…"),
        (["train", "--colour=red"], "no flag --colour=red; --help lists what there is."),
        (["-V"], "there is no flag -V; --help lists what there is."),
        (["lr_range", "--steps=3"], "write steps=3."),
        (["--study.storage=x"], "write study.storage=x."),
        (["plan", "~sweep"], "sweep must be chosen by +sweep=NAME, got ~sweep"),
        (["--cfg"], "--cfg must be followed by one of job, hydra, all, got nothing."),
        (["--cfg", "wrong"], "--cfg must be followed by one of job, hydra, all, got 'wrong'."),
        (["-c=wrong"], "-c must be followed by one of job, hydra, all, got 'wrong'."),
        (["--cfg", "train.lr=1"], "--cfg must be followed by one of job, hydra, all, got nothing."),
        (["--info", "wrong"], "--info must be followed by one of all, config"),
        (["-p"], "-p must be followed by its value, got nothing."),
        (["+sweep=mine", "seeds=3"], "write sweep.seeds=3, or seed=3 to pin."),
        (["study=x"], "study must be set by its keys, study.storage, study.heartbeat_seconds; got 'x'."),
        (["~train.lr"], "train.lr must have a value"),
        (["train=5"], "train must be one of default"),
        (["data=[digits]"], "data must be one of cifar10"),
        (["model.options=3"], "model.options must say of which it is, got 3; write model.options.NAME=3."),
        (["report", "mine", "baseline=b"], "write baseline.model=b."),
        (["plan", "+sweep=mine", "sweep.axes.model.pooling=[mean]"], "write 'sweep.axes={model.pooling:[mean]}'."),
        (["plan", "+sweep=mine", "sweep.baseline.model.pooling=mean"], "write 'sweep.baseline={model.pooling:mean}'."),
        (["plan", "+sweep=mine,pe_type"], "sweep must be one value, got '+sweep=mine,pe_type'; write a sweep"),
        (["plan", "+sweep=sweeps/mine.yaml"], "write +sweep=mine."),
        (["plan", "+sweep=short"], "must end in .yaml, got sweeps/short.yml; rename it."),
    ],
)  # fmt: skip
def test_words_that_would_go_unheard_are_told_how_to_be_written(mine, run, words, sentence):
    assert _refused(run(*words), sentence)


def test_dotted_axes_can_be_set_as_the_sentence_says(mine, run):
    code, out, err = run("plan", "+sweep=mine", "sweep.axes={model.pooling:[mean]}")
    assert code == 0 and "model.pooling: mean" in out, err


def test_help_lists_a_sweep_that_asks_nothing(mine):
    line = next(line for line in cli.help_text().splitlines() if line.split() == ["mine"])
    assert "not readable" not in line


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "it is empty."),
        ("\n", "Expecting value"),
        ('{"a": 1}\n', "its first line is of another kind."),
        ("[1]\n{}\n", "its first line is of another kind."),
        ('{"format": "ablate-records", "version": 9}\n', "ablate-records version 9."),
    ],
)
def test_a_file_of_no_records_says_what_it_is(run, tmp_path, content, said):
    (tmp_path / "some.jsonl").write_text(content)
    assert _refused(run("report", str(tmp_path / "some.jsonl")), said)


def test_a_misspelt_axes_is_told_from_a_missing_one(mine, run):
    Path("sweeps/mine.yaml").write_text("axis: {model: [vit_2_4]}\n")
    assert _refused(run("plan", "+sweep=mine"), "Did you mean axes?")
    Path("sweeps/mine.yaml").write_text("question: none\n")
    assert _refused(run("plan", "+sweep=mine"), "must hold a mapping with the key axes")


def test_models_says_what_a_file_of_settings_is(run):
    assert _refused(run("models", "tiny"), "tiny is a file of settings")


LONG = "a" * 300


@pytest.mark.parametrize(
    "words",
    [
        ["report", "x", f"out={LONG}"],
        ["report", f"{LONG}.jsonl"],
        ["report", f"source={LONG}.csv", "factor=a", "value=b"],
        ["card", "x", f"out={LONG}"],
        ["export", "x", f"out={LONG}"],
        ["sheet", "data=digits", f"out={LONG}.png"],
        ["tables", f"records={LONG}"],
        ["tables", f"out=some/{LONG}/folder"],
        ["sync", f"tracking.spool={LONG}"],
        ["lr_range", "model=tiny", "data=digits", f"out={LONG}"],
        ["plan", "+sweep=mine", f"train.checkpoint_dir={LONG}"],
        ["train", "model=tiny", "data=digits", f"data.cache={LONG}"],
    ],
)
def test_a_name_that_no_file_can_have_is_refused_at_once(mine, run, words):
    assert _refused(run(*words), "must be a path of at most 255 bytes a name")


def test_a_results_folder_that_cannot_be_written_is_told_before_the_range_test_trains(mine, run):
    assert _refused(run("lr_range", "model=tiny", "data=digits", "out=sweeps/mine.yaml/x"), "out must name a folder")


@pytest.mark.parametrize("verb", [["report", "x"], ["export", "x"], ["import", "x"], ["card", "x"], ["sync"]])
@pytest.mark.parametrize("word", ["blocks=???", "out=???", "margin=${nope}", "tracking.uri=???", "alpha=???"])
def test_a_value_that_is_missing_is_told_by_its_key(run, verb, word):
    code, _, err = run(*verb, word)
    assert code == 2 and word.partition("=")[0] in err and len(err.splitlines()) == 1


@pytest.mark.parametrize("word", ["sweep.seeds=3", "sweep.axes={model:[tiny]}", "++sweep.name=x"])
@pytest.mark.parametrize("verb", ["train", "plan", "lr_range"])
def test_what_is_said_of_a_sweep_needs_one(run, verb, word):
    assert _refused(run(verb, "model=tiny", "data=digits", word), "must come with a sweep whose file it changes")


def test_true_and_false_are_what_a_switch_takes(mine, run):
    for value in ("7", "1", "yes", "on", "null", "1.0"):
        assert _refused(run("plan", "+sweep=mine", f"model.qkv_bias={value}"), "model.qkv_bias must be true or false")
    assert _refused(run("plan", "+sweep=mine", "model={qkv_bias:7}"), "model.qkv_bias must be true or false, got 7")
    Path("sweeps/mine.yaml").write_text("base: {model: tiny, data: digits}\naxes: {model.qkv_bias: [7, false]}\n")
    assert _refused(run("plan", "+sweep=mine"), "model.qkv_bias must be true or false, got 7")


def test_a_factor_is_a_column_or_several(run):
    assert _refused(run("report", "source=good.csv", "factor=7", "value=b"), "factor must be a column or a list")


@pytest.mark.parametrize("flags", [[], ["-m"]])
def test_a_working_folder_whose_name_hydra_would_resolve_is_refused_before_anything_is_made(
    tmp_path, monkeypatch, run, flags
):
    folder = tmp_path / "a${oc.env:HOME}"
    folder.mkdir()
    monkeypatch.chdir(folder)
    told = run("model=tiny", "data=digits", *flags)
    assert _refused(told, "must be one without ${ in its name") and str(folder) in told[2]
    assert not list(folder.iterdir())


@pytest.mark.parametrize("words", ["data=digits --cfg job", "-c hydra", "--info plugins", "--hydra-help"])
def test_a_flag_that_only_prints_makes_nothing(tmp_path, words):
    """In a process of its own: Hydra sets up logging for all that comes after."""
    folder = tmp_path / "a${b}"
    folder.mkdir()
    command = [sys.executable, "-m", "ablate", *words.split()]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout, done.stderr
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("axes: {model: [tiny, null]}", "axis model must have names of its group for levels, got null"),
        ("axes: {model.positional: [no, yes, on, off]}", "got True twice; YAML reads true, yes or on as that: quote"),
        ("axes: {model.positional: [no, off]}", "got False twice; YAML reads false, no or off as that: quote"),
        (
            "base: {train.lr: '${model}'}\naxes: {data.fraction: [1.0]}",
            "…' of type 'DictConfig' could not be converted",
        ),
        ("base: {data.root: '${ablate.weights:}'}\naxes: {train.lr: [1.0]}", "ablate.weights must name one file"),
        ("axes: {train.lr: [1.0e-4, 1.0e-3], train.min_lr: ['${train.lr}', 0]}", "which differs with train.lr; write"),
        (
            "axes: {train: [default], train.min_lr: ['${train.lr}', 0]}",
            "got ${train.lr}, which differs with train; write",
        ),
        ("axes: {train.lr: [1.0], model.options: [{x: ['${train}']}]}", "got ${train}, which differs with train.lr"),
        ("axes: {data.split_seed: ['${seed}', 1]}", "got ${seed}, which differs with seed;"),
        (
            "method: optuna\naxes: {train.lr: {low: 0.1, high: 1.0}, train.min_lr: {levels: ['${train.lr}']}}",
            "train.lr;",
        ),
    ],
)
def test_what_yaml_or_hydra_would_say_of_a_level_is_one_short_sentence(mine, run, text, sentence, monkeypatch):
    monkeypatch.delenv("WEIGHTS", raising=False)
    Path("sweeps/mine.yaml").write_text(text + "\n")
    told = run("plan", "+sweep=mine", "data=digits")
    assert _refused(told, sentence) and len(told[2]) < 400


@pytest.mark.parametrize(
    "words",
    [["train", "model=tiny", "data=digits"], ["+sweep=mine"], ["plan", "+sweep=mine"], ["sync"], ["report", "mine"],
     ["import", "mine.jsonl"], ["export", "mine"], ["card", "1"]],
)  # fmt: skip
def test_a_working_folder_that_is_no_utf8_is_named_where_it_is_to_hold_records(file, tmp_path, monkeypatch, run, words):
    folder = _no_utf8(tmp_path)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    told = run(*words)
    assert _refused(told, "its file must be a path in UTF-8, as records keep it, got ")
    assert r"caf\xe9/mlflow.db; rename what it names" in told[2]
    assert sorted(path.name for path in folder.iterdir()) == ["mine.jsonl", "sweeps"]


def _no_utf8(tmp_path):
    """A working folder with a sweep and records, whose name Latin-1 wrote."""
    folder = tmp_path / "caf\udce9"
    try:
        (folder / "sweeps").mkdir(parents=True)
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    (folder / "sweeps" / "mine.yaml").write_text("base: {model: tiny, data: digits}\naxes: {train.lr: [1.0e-3]}\n")
    (tmp_path / "mine.jsonl").rename(folder / "mine.jsonl")
    return folder


def test_what_needs_no_records_there_works_in_a_folder_that_is_no_utf8(file, where, tmp_path, monkeypatch, run):
    run_id = str(studies.from_store(where, "mine").frame["run_id"].iloc[0])
    monkeypatch.chdir(_no_utf8(tmp_path))
    shutil.copy("mine.jsonl", "x\udce9.jsonl")
    for words in (
        ["report", "mine.jsonl", "out=x.txt"], ["report", "mine.jsonl", "format=html", "out=x.html"],
        ["card", run_id, "source=mine.jsonl", "out=x.md"], ["sheet", "data=digits", "model=tiny", "out=x.png"],
        ["report", "mine", f"tracking.uri={where.uri}"], ["export", "mine", f"tracking.uri={where.uri}", "out=x.jsonl"],
        ["import", "x\udce9.jsonl", f"tracking.uri={where.uri}"], ["models", "cct_2*"],
    ):  # fmt: skip
        assert run(*words)[0] == 0, words
    assert {"x.txt", "x.html", "x.md", "x.png", "x.jsonl"} <= {path.name for path in Path.cwd().iterdir()}


_NAME = "caf\udce9"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["report", f"{_NAME}.jsonl"], "a file of records must be a path in UTF-8"),
        (["report", f"source={_NAME}.csv", "factor=a", "value=b"], "source must be a path in UTF-8"),
        (["report", "mine", f"out={_NAME}"], "out must be a path in UTF-8"),
        (["export", "mine", f"out={_NAME}"], "out must be a path in UTF-8"),
        (["card", "1", f"source={_NAME}.jsonl"], "source must be a path in UTF-8"),
        (["tables", f"records={_NAME}"], "records must be a path in UTF-8"),
        (["sheet", "data=digits", f"out={_NAME}.png"], "out must be a path in UTF-8"),
        (["sheet", "data=folder", f"data.root={_NAME}", "out=x.png"], "data.root must be a path in UTF-8"),
        (["lr_range", "data=digits", f"out={_NAME}"], "out must be a path in UTF-8"),
        (["plan", "+sweep=mine", f"tracking.uri=sqlite:///{_NAME}.db"], "its file must be a path in UTF-8"),
        (["plan", "+sweep=mine", f"study.storage=sqlite:///{_NAME}.db"], "its file must be a path in UTF-8"),
        (["sync", f"tracking.uri=sqlite:///{_NAME}.db"], "its file must be a path in UTF-8"),
        (["plan", "+sweep=mine", f"train.checkpoint_dir={_NAME}"], "train.checkpoint_dir must be a path in UTF-8"),
    ],
)
def test_a_name_that_is_no_utf8_is_refused_by_each_verb_in_one_sentence(mine, run, words, sentence):
    assert _refused(run(*words), sentence)
    assert not [path for path in Path.cwd().rglob("*") if _NAME in path.name]


@pytest.mark.parametrize(
    "words", [["plan", "+sweep=pe_type"], ["model=tiny", "data=digits"], ["report", "x"], ["sync"]]
)
def test_a_working_folder_that_was_deleted_is_one_sentence(tmp_path, monkeypatch, run, words):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert _refused(
        run(*words), "the working directory must be one that is there, but: No such file or directory; change"
    )
