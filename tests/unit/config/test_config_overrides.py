"""Words of the command line: text that Hydra's grammar cannot take bare is quoted, or the exact line is shown."""

import os
import pickle
from collections import Counter

import pytest

from ablate.cli import main as cli
from ablate.config import overrides
from ablate.config.compose import compose, compose_report, to_config
from ablate.config.overrides import ConfigError, override_of, parse_overrides, quoted
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


def test_parts_of_a_list_or_mapping_are_quoted_where_they_must_be():
    assert to_config(compose(["model.options={tokenizer:{name:jürgen}}"])).model.options == {
        "tokenizer": {"name": "jürgen"}
    }
    assert parse_overrides(["plugins=[a (b),c=d,e]"])[0].value == ["a (b)", "c=d", "e"]


def test_what_hydra_understands_keeps_its_meaning():
    config = to_config(compose(["data.root=null", "train.lr=1e3", "seed=3", "data.mean=[0.5]", "model.qkv_bias=true"]))
    assert (config.data.root, config.train.lr, config.seed, config.data.mean) == (None, 1000.0, 3, [0.5])


@pytest.mark.parametrize(
    "word", ["größe=3", "model=" + "[" * 3000, "model.options=" + "{a:" * 3000, "data.root='" + "x" * 9999]
)
def test_a_word_of_no_grammar_is_one_short_sentence(word):
    with pytest.raises(ConfigError) as told:
        parse_overrides([word])
    assert len(str(told.value)) < 700 and "\n" not in str(told.value)


def test_a_report_reads_and_writes_files_with_odd_names(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs (1).csv").write_text("model,acc\na,1\na,2\nb,3\nb,4\n")
    with pytest.raises(SystemExit) as stop:
        cli.main(["report", "source=runs (1).csv", "factor=model", "value=acc", "out=tables/für (1)=2.md", "format=md"])
    assert stop.value.code == 0, capsys.readouterr().err
    assert os.listdir(tmp_path / "tables") == ["für (1)=2.md"]


@pytest.mark.parametrize(
    "word", ["+sweep=pe_type", "data.root=runs (1).csv", "~model.options.x", "seed=0,1", "a={b:[1]}"]
)
def test_an_override_travels_to_another_process_as_it_is(word):
    (override,) = parse_overrides([word])
    assert pickle.loads(pickle.dumps(override)) == override
    assert parse_overrides([override]) == parse_overrides([override.line]) == [override]


@pytest.mark.parametrize(
    ("word", "key", "value", "removes"),
    [
        ("train.lr=1e-3", "train.lr", 1e-3, False),
        ("++tracking={uri:x}", "tracking", {"uri": "x"}, False),
        ("data@hydra.run=digits", "data", "digits", False),
        ("~model.options.x", "model.options.x", None, True),
    ],
)
def test_an_override_knows_its_key_and_value(word, key, value, removes):
    (override,) = parse_overrides([word])
    assert (override.key, override.value, override.removes, override.several) == (key, value, removes, False)


@pytest.mark.parametrize(
    ("text", "count", "choices"),
    [
        ("cct_7_3x1,'a b'", 2, ["cct_7_3x1", "a b"]),
        ("choice(1)", 1, ["1"]),
        ("range(0,10,3)", 4, []),
        ("range(5,0)", 0, []),
        ("glob(*)", 1, []),
    ],
)
def test_an_override_of_several_values_counts_and_lists_them(text, count, choices):
    (override,) = parse_overrides([f"model={text}"])
    assert override.several and (override.count, override.choices) == (count, choices)


@pytest.mark.parametrize("value", [None, True, 3, 1e-5, "a b", "${seed}", [1, "x,y"], {"a": {"b": [None]}}])
def test_an_override_of_a_files_value_has_that_value(value):
    override = override_of("train.lr", value)
    assert (override.key, override.value) == ("train.lr", value)


def test_a_plan_parses_each_word_once(write_sweep, monkeypatch):
    parsed = Counter()

    def counted(parser, word):
        parsed[word] += 1
        return parse(parser, word)

    parse = overrides._parsed
    monkeypatch.setattr(overrides, "_parsed", counted)
    write_sweep("base: {model: tiny, data: digits}\nmethod: optuna\naxes: {train.lr: {low: 1.0e-3, high: 2.0e-3}}\n")
    words = ["+sweep=mine", "train.weight_decay=0.1", "study.storage=sqlite:///q.db"]
    plan = pickle.loads(pickle.dumps(make_plan(words)))
    assert plan.at(plan.points[0].point, {"train.lr": 1.5e-3}).spec.train.weight_decay == 0.1
    assert {word: parsed[word] for word in words} == dict.fromkeys(words, 1)
