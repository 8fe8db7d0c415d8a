"""What notebooks draw beside the paper's numbers: frames of its tables, and titles that say the budget."""

from ablate.report.sources.records import Records
from ablate.tasks.classify.published import layout
from ablate.tasks.classify.published_figures import beside, figure_title, printed
from tests.unit.report.pages.test_report_frames import chain


def test_beside_has_every_published_number_and_ours_where_there_is_one():
    blank = beside(layout("table1", []))
    assert blank["ours"].isna().all() and blank["verified"].all()
    assert blank[(blank["row"] == "CCT-7/3x1") & (blank["data"] == "CIFAR-10")]["published"].item() == 96.53


def test_printed_takes_a_tables_costs_and_families():
    told = printed("CIFAR-10_top1_pct").set_index("cell")
    assert told.loc["CCT-2/3x2"].to_dict() == {"family": "CCT", "value": 89.75, "params": 0.28e6, "macs": 0.04e9}
    assert set(told["family"]) == {"ResNet", "MobileNet", "ViT", "CVT", "CCT"}
    assert "Proxyless-G" not in told.index  # its MACs were not printed


def test_figure_title_says_that_training_was_short_and_how_many_seeds_there_are():
    study = chain({"2": [50, 52], "1": [70.0]}, question="Which?")
    asked, said = figure_title(study).splitlines()
    assert asked == "Which?"
    trained = "early training, 4 epochs of 100 images (published: 300 epochs)"
    assert said == f"made on mnist5k: {trained}, n = 1 to 2 seeds a cell"
    assert figure_title(study, asked=False) == said
    whole = study.frame.assign(**{"params.train.epochs": "300"})
    long = Records(study.study, study.definition, "", whole, {}, "")
    said = figure_title(long, asked=False)
    assert said == "made on mnist5k: 300 epochs of 100 images, n = 1 to 2 seeds a cell"
