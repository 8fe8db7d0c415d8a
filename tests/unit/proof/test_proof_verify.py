"""What verify finds, what it holds against the record, and that a wrong number is never passed over."""

import csv
import subprocess
import sys

import pytest

from ablate.cli import facts as verbs
from ablate.proof import reference, verify
from ablate.proof.verify import PublishedFigure
from ablate.tasks.classify import paper

ROW = {"name": "cct_7_3x1_32", "params_M": "3.76", "MACs_G": "1.19", "source": "a table", "verified": "yes"}
EXPECTED = [
    {"name": "cct_7_3x1_32", "quantity": "params", "published": "3.76", "matches": "params", "note": ""},
    {"name": "cct_7_3x1_32", "quantity": "macs", "published": "1.19", "matches": "macs_fvcore", "note": "as said"},
]


@pytest.mark.parametrize(
    ("claim", "ways"),
    [
        (("cct_7_3x1_32", "macs", "1.19"), ["macs_fvcore"]),  # 1.1865; without LayerNorm 1.1816
        (("cct_7_3x2_32", "macs", "0.275"), ["macs_ptflops06"]),  # 0.27469; modules alone 0.2744
        (("cct_14_7x2_384", "macs", "15.02"), ["macs_ptflops06"]),
        (("cct_14_7x2_224", "macs", "5.11"), ["macs_modules", "macs_ptflops06"]),
        (("vit_7_16_32", "macs", "0.02"), list(verify.CONVENTIONS)),
        (("cct_6_3x1_32", "macs", "0.94"), ["nothing"]),
        (("cct_6_3x1_32", "params", "3.17"), ["params_without_pe"]),
        (("cct_14_7x2_224", "params", "22.36"), ["params (cut)"]),
        (("cct_7_3x1_32", "params", "3.760"), ["params"]),
        (("cct_7_3x1_32", "params", "3.761"), ["nothing"]),
    ],
)
def test_find_names_the_counts_at_the_printed_digits(claim, ways):
    assert verify.find(PublishedFigure(*claim)) == ways


def test_published_and_variants_are_as_recorded():
    published, variants = verify.published(), verify.variants()
    assert published.differences == variants.differences == []
    assert published.held == len(paper.rows("expected"))
    assert variants.held == 122 * 7
    assert "all as recorded" in verify.summary([published, variants])[-1]


@pytest.mark.parametrize(
    ("row", "difference"),
    [
        ({"MACs_G": "1.18"}, "1.18 G macs is published, but expected.csv has no row"),
        ({"params_M": ""}, "3.76 M params is recorded as expected, but no table has it"),
        ({"name": "", "params_M": "3.76"}, "no table has it"),
        ({"verified": "no"}, "no table has it"),
    ],
)
def test_published_row_that_is_not_the_recorded_one_differs(row, difference):
    assert not verify.published([ROW], EXPECTED).differences
    assert difference in " ".join(verify.published([ROW | row], EXPECTED).differences)


@pytest.mark.parametrize("wrong", ["macs", "nothing", "macs; macs_fvcore"])
def test_published_figure_that_another_count_gives_differs(wrong):
    expected = [EXPECTED[0], EXPECTED[1] | {"matches": wrong}]
    (difference,) = verify.published([ROW], expected).differences
    assert f"must be given by {wrong}, as recorded, but macs_fvcore gives it" in difference
    assert "macs_fvcore 1,186,531,840" in difference


def test_published_lines_say_figure_ours_convention_and_source():
    (line,) = [line for line in verify.published([ROW], EXPECTED).lines if "1.19 G" in line]
    assert line.split() == ["cct_7_3x1_32", "1.19", "G", "1,186,531,840", "macs_fvcore", "a", "table", "[as", "said]"]


def test_published_unverified_row_is_shown_and_never_held():
    unverified = ROW | {"params_M": "9.99", "MACs_G": "", "verified": "no"}
    section = verify.published([ROW, unverified], EXPECTED)
    assert section.differences == [] and section.held == 2
    (line,) = [line for line in section.lines if "9.99 M" in line]
    assert "NOTHING" in line and "unverified, not held" in line


@pytest.mark.parametrize("column", ["total_params", "seq_len", "macs_ptflops06_modules"])
def test_variants_one_off_differs(column):
    rows = reference.variant_rows()[:2]
    rows[1][column] = str(int(rows[1][column]) + 1)
    section = verify.variants(rows)
    assert section.held == 13
    assert len(section.differences) == 1 and column in section.differences[0]


def test_verify_exit_code_is_1_for_a_planted_wrong_number_and_0_without(monkeypatch, capsys):
    assert verbs.verify("published") == 0
    assert "all as recorded" in capsys.readouterr().out
    rows = paper.rows
    monkeypatch.setattr(paper, "rows", lambda table: _plant(rows(table)) if table == "table1" else rows(table))
    assert verbs.verify("published") == 1
    shown = capsys.readouterr().out
    assert "DIFFERS  cct_7_3x1_32: 1.20 G macs" in shown
    assert "1 not as recorded" in shown


def _plant(rows):
    return [row | {"MACs_G": "1.20"} if row["MACs_G"] == "1.19" else row for row in rows]


def test_verify_golden_weight_or_number_that_moved_gives_exit_code_1(monkeypatch, capsys):
    parity = pytest.importorskip("ablate.proof.parity")
    monkeypatch.setattr(reference, "MODELS", ("vit_lite_2_4_32_none",))
    packaged = parity.packaged

    def moved(name):
        golden = packaged(name)
        golden.arrays["features_f64"][0, 0] += 1e-3
        golden.facts["grads"]["classifier.fc.bias"]["norm"] *= 1.01
        return golden

    monkeypatch.setattr(parity, "packaged", moved)
    assert verbs.verify("golden") == 1
    shown = capsys.readouterr().out
    for precision, tolerance in (("float32", "5e-05"), ("float64", "1e-12")):
        differs = f"DIFFERS  vit_lite_2_4_32_none, forward, {precision}: features must be within {tolerance}"
        assert differs in shown
        assert f"gradients, {precision}: norm of the gradient of classifier.fc.bias" in shown
    assert "4 not as recorded" in shown


def test_verify_unknown_part_is_refused():
    with pytest.raises(verify.VerifyError, match="Did you mean golden"):
        verify.choose("goldn")


# --------------------------------------------------------------------------------------------------- the tables


@pytest.mark.parametrize("table", paper.TABLES)
def test_paper_rows_say_where_they_are_from_and_whether_verified(table):
    rows = paper.rows(table)
    assert rows
    for row in rows:
        assert row["source"] and row["verified"] in ("yes", "no", "contradicted", "differs"), row


def test_paper_keeps_what_nobody_verified_apart():
    confirmed = [row for row in paper.rows("pe_ablation") if row["verified"] == "yes"]
    table = {(row["CIFAR-10_top1_pct"], row["CIFAR-100_top1_pct"]) for row in paper.rows("table1")}
    assert len(confirmed) == 2
    assert {(row["CIFAR-10_top1_pct"], row["CIFAR-100_top1_pct"]) for row in confirmed} <= table


def test_paper_figures_are_the_collected_ones(shared):
    """Against the tables beside the checkout: none lost, none invented."""
    import csv

    def collected(name):
        return list(csv.DictReader((shared / "reference" / name).read_text("utf-8").splitlines()))

    def figures(rows):
        return sorted(value for row in rows for column, value in row.items() if value and "top1" in column)

    for table in ("table1", "imagenet", "longer_training", "flowers102", "pe_ablation", "vit_to_cct_steps"):
        theirs = collected(f"paper/{table}.csv")
        assert figures(paper.rows(table)) == figures(theirs), table
        for column in {"params_M", "MACs_G"} & set(theirs[0]):
            assert [row[column] for row in paper.rows(table)] == [row[column] for row in theirs], table
    history = [row for row in collected("paper/official_readme_history.csv") if row["model"] != "6/3x1"]
    for ours, theirs in zip(paper.rows("readme_history"), history, strict=True):
        assert (ours["params_M"], ours["MACs_G"]) == (theirs["# Params"].rstrip("M"), theirs["MACs"].rstrip("G"))


@pytest.mark.parametrize("verified", ["no", "contradicted", "differs"])
def test_published_costs_of_an_unsure_row_are_held_where_a_second_source_prints_them(verified):
    unsure = ROW | {"params_M": "9.99", "MACs_G": "", "verified": verified}
    assert verify.published([ROW, unsure], EXPECTED).differences == []
    (difference,) = verify.published([ROW, unsure | {"costs_second": "a table"}], EXPECTED).differences
    assert "9.99 M params is published" in difference


def test_verify_of_figures_needs_no_keras():
    code = "import sys, ablate.cli.facts; ablate.cli.facts.verify('published'); print('keras' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "False"


# -------------------------------------------------------------------------------------------------------------- a fork


def test_manifold_counts_are_all_as_measured():
    section = verify.manifold()
    assert section.differences == [] and section.held == 339 * 6


@pytest.mark.parametrize("column", ["total_params", "seq_len", "macs_fvcore_incl_layernorm"])
def test_manifold_count_one_off_differs(column):
    rows = reference.manifold_rows()[:2]
    rows[1][column] = str(int(rows[1][column]) + 1)
    section = verify.manifold(rows)
    assert section.held == 11
    (difference,) = section.differences
    assert column in difference and "attention_type='gm'" in difference


def test_manifold_table_marks_what_no_count_gives_and_what_is_confounded():
    nothing = {row["name"] for row in paper.rows("expected") if row["matches"] == "nothing"}
    rows = paper.rows("manifold")
    assert len(rows) == 15
    for row in rows:
        marks = row["marks"]
        nameless = "MACs do not count out" if row["maps"] == "euclid+grassmann" else ""  # 0.2255 and 0.2276, not 0.24
        assert ("do not count out" in marks) == (row["name"] in nothing or nameless == marks != "")
        assert ("another recipe" in marks) == (row["maps"] == "euclid")
        assert ("no dropout" in marks) == row["model"].startswith("manifold_cct")
        assert ("no factory" in marks) == (row["maps"] == "spd+grassmann")


def test_manifold_table_is_the_collected_one(shared):
    with (shared / "reference" / "manifold" / "published.csv").open(newline="") as file:
        collected = list(csv.DictReader(file))
    columns = {
        "CIFAR10": "CIFAR-10_top1_pct",
        "CIFAR100": "CIFAR-100_top1_pct",
        "MNIST": "MNIST_top1_pct",
        "TinyImageNet": "TinyImageNet_top1_pct",
        "params_M_published": "params_M",
        "FLOPS_G_published": "MACs_G",
        "note": "note",
    }
    for theirs, ours in zip(collected, paper.rows("manifold"), strict=True):
        assert {key: theirs[key] for key in columns} == {key: ours[name] for key, name in columns.items()}
