"""What is wrong with a word or a file of settings is one sentence, with what to type instead."""

import pytest

from ablate.config.compose import compose
from ablate.config.overrides import ConfigError, exactly


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


def test_a_list_with_a_word_among_its_numbers_says_which():
    with pytest.raises(ConfigError, match=r"Value 'ü' of type 'str' could not be converted to Float"):
        compose(["data.mean=[0.5,ü]"])


def test_a_sentence_about_a_word_shows_no_password():
    with pytest.raises(ConfigError) as told:
        compose(["study.storage=postgresql://me:SECRET@a,b/q"])
    assert "SECRET" not in str(told.value) and "me:***@" in str(told.value)
