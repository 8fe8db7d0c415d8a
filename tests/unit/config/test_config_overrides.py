"""Words of the command line: text that Hydra's grammar cannot take bare is quoted, or the exact line is shown."""

import os

import pytest

from ablate.cli import main as cli
from ablate.config.compose import compose, compose_report, to_config
from ablate.config.overrides import ConfigError, exactly, parse_overrides, quoted
from ablate.sweep.plan import make_plan

TEXTS = [
    "/x/jürgen", "runs (1).csv", "epoch=12-step=999.ckpt", "1e3", "true", "010", "1_000", "C:\\Users\\me", "C:\\(x)\\y",
    "~/x", "it's", 'say "x"', "#x", "a#b", "a b", "x{y}z", "(a", "a[0].csv", "a&b;c", "<x>", "日本", "a?b=c",
    "100%", "$x", "x\\",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_text_reaches_its_leaf_as_it_was_typed(text):
    assert to_config(compose([f"data.root={text}"])).data.root == text


@pytest.mark.parametrize("text", ["runs (1).csv", "1e3", "a=b"])
def test_text_reaches_the_options_of_a_report(text):
    options = compose_report([f"source={text}", f"out={text}", f"value={text}"])
    assert (options.source, options.out, options.value) == (text, text, text)


@pytest.mark.parametrize("text", [*TEXTS, "a,b", "[x]", "{x}", "'quoted'", "a\\'b", "null", " x "])
def test_quoted_text_is_the_same_text_in_hydras_grammar(text):
    assert parse_overrides([f"key={quoted(text)}"])[0].value == text


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("data.root=a,b", """'data.root="a,b"'"""),
        ("data.root=[x]", """'data.root="[x]"'"""),
        ("data.root={x}", """'data.root="{x}"'"""),
        ("data.root=[1] runs (1).csv", """'data.root="[1] runs (1).csv"'"""),
        ("data.root='it", """'data.root="'"'"'it"'"""),
    ],
)
def test_what_may_mean_something_else_is_shown_as_it_would_be_typed(word, line):
    with pytest.raises(ConfigError) as told:
        compose([word])
    assert line in str(told.value) and "\n" not in str(told.value)
    assert exactly("data.root", word.partition("=")[2]) == line


def test_parts_of_a_list_or_mapping_are_quoted_where_they_must_be():
    assert to_config(compose(["model.options={tokenizer:{name:jürgen}}"])).model.options == {
        "tokenizer": {"name": "jürgen"}
    }
    assert parse_overrides(["plugins=[a (b),c=d,e]"])[0].value == ["a (b)", "c=d", "e"]


def test_what_hydra_understands_keeps_its_meaning():
    config = to_config(compose(["data.root=null", "train.lr=1e3", "seed=3", "data.mean=[0.5]", "model.qkv_bias=true"]))
    assert (config.data.root, config.train.lr, config.seed, config.data.mean) == (None, 1000.0, 3, [0.5])


def test_a_list_with_a_word_among_its_numbers_says_which():
    with pytest.raises(ConfigError, match=r"Value 'ü' of type 'str' could not be converted to Float"):
        compose(["data.mean=[0.5,ü]"])


@pytest.mark.parametrize(
    "word", ["größe=3", "model=" + "[" * 3000, "model.options=" + "{a:" * 3000, "data.root='" + "x" * 9999]
)
def test_a_word_of_no_grammar_is_one_short_sentence(word):
    with pytest.raises(ConfigError) as told:
        parse_overrides([word])
    assert len(str(told.value)) < 700 and "\n" not in str(told.value)


def test_a_sentence_about_a_word_shows_no_password():
    with pytest.raises(ConfigError) as told:
        compose(["study.storage=postgresql://me:SECRET@a,b/q"])
    assert "SECRET" not in str(told.value) and "me:***@" in str(told.value)


SWEEP = "base: {model: tiny, data: digits, train.epochs: 1}\naxes: {train.lr: [1.0e-3]}\n"


@pytest.mark.parametrize("name", ["10", "true", "null", "1e3", "0x10", "v1.2", "über", "x.yaml", "-1"])
def test_a_sweep_may_be_called_what_reads_as_a_value(write_sweep, name):
    write_sweep(SWEEP, name)
    assert make_plan([f"+sweep={name}"]).study.startswith(f"{name}-")
    with pytest.raises(ConfigError, match="sweep must be one of"):
        make_plan(["+sweep=11"])


@pytest.fixture
def conf(tmp_path, monkeypatch):
    """Makes a working folder of this name, with a file of settings of its own."""

    def make(folder, text, name="mine"):
        path = tmp_path / folder / "conf" / "model"
        path.mkdir(parents=True)
        (path / f"{name}.yaml").write_text(text)
        monkeypatch.chdir(tmp_path / folder)
        return path / f"{name}.yaml"

    return make


@pytest.mark.parametrize(
    "folder", ["it's", 'say "x"', "a b", "jürgen", "x${y}", "a,b", "a=b", "[x]", "{x}", "p%20", "a\\"]
)
def test_a_working_folder_of_any_name_may_have_settings_of_its_own(conf, folder):
    conf(folder, "dim: 64\n")
    assert to_config(compose(["model=mine"])).model.dim == 64


def test_options_of_a_group_may_be_called_what_reads_as_a_number(conf):
    conf("here", "dim: 64\n", name="1e3")
    assert to_config(compose(["model=1e3"])).model.dim == 64


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dimm: 3\n", "model.dimm: Key 'dimm' not in 'ModelSpec'"),
        ("dim: abc\n", "model.dim: Value 'abc' of type 'str' could not be converted to Integer"),
        ("dim: [\n", "line 2, column 1"),
    ],
)
def test_a_file_of_settings_that_is_wrong_is_named_with_its_key(conf, text, said):
    path = conf("here", text, name="cct_9_3x1")
    with pytest.raises(ConfigError) as told:
        compose(["model=cct_9_3x1"])
    assert str(path) in str(told.value) and said in str(told.value) and "\n" not in str(told.value)


def test_a_report_reads_and_writes_files_with_odd_names(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs (1).csv").write_text("model,acc\na,1\na,2\nb,3\nb,4\n")
    with pytest.raises(SystemExit) as stop:
        cli.main(["report", "source=runs (1).csv", "factor=model", "value=acc", "out=tables/für (1)=2.md", "format=md"])
    assert stop.value.code == 0, capsys.readouterr().err
    assert os.listdir(tmp_path / "tables") == ["für (1)=2.md"]
