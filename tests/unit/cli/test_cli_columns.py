"""Tables on a terminal: columns stand below each other, however long their cells are."""

import pytest

from ablate.cli import main as cli
from ablate.cli.columns import aligned
from ablate.models import manifold_names, zoo


def test_aligned_makes_columns_as_wide_as_their_widest_cell():
    rows = [["axis", "params", "MACs"], ["manifold_euclid_grassmann", "7", "1,234,567"], ["a"]]
    assert aligned(rows, text=1) == [
        "axis                       params       MACs",
        "manifold_euclid_grassmann       7  1,234,567",
        "a",
    ]


def _ran(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    out, err = capsys.readouterr()
    assert stop.value.code == 0, err
    return out


def test_plan_keeps_its_columns_for_the_longest_variant(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").mkdir()
    axes = "{model.attention: [softmax, manifold_euclid_grassmann], model.pooling: [seqpool]}"
    (tmp_path / "sweeps" / "mine.yaml").write_text(f"base: {{model: tiny, data: digits}}\naxes: {axes}\nseeds: 1\n")
    lines = _ran(capsys, "plan", "+sweep=mine").splitlines()
    head = next(n for n, line in enumerate(lines) if line.split()[:1] == ["model.attention"])
    table = lines[head : head + 3]
    assert (
        len({line.index(word) for line, word in zip(table, ("model.pooling", "seqpool", "seqpool"), strict=True)}) == 1
    )
    assert len({len(line) for line in table}) == 1


def test_models_keeps_its_columns_for_the_longest_name(capsys):
    lines = _ran(capsys, "models", "*manifold_cct_14*").splitlines()
    assert len(lines) == 7 and len({len(line) for line in lines}) == 1


def test_help_lists_the_forms_of_a_fork_s_names(capsys):
    told = " ".join(_ran(capsys, "models", "--help").split())
    for form in ("cct_L_PxC", "cct_keras_L_PxC", "[seed_]manifold_vit_L_P", "[seed_]grassmanian_cct_L_PxC"):
        assert f", {form}" in told
    for name in ("cct_7_3x1_32_sine_c100", "manifold_vit_6_4_32", "grassmanian_cct_7_3x1_32"):
        assert name in told and zoo.parse(name).image_size == (32, 32)


def test_forms_of_the_fork_s_names_are_names():
    for form in manifold_names.forms():
        name = form.replace("L_PxC", "3_5x2").replace("L_P", "3_8").replace("[seed_]", "")
        assert zoo.parse(name).spec.layers == 3
        if form.startswith("[seed_]"):
            assert zoo.parse(f"seed_{name}").spec.layers == 3
