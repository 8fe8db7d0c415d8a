"""Which way a metric is better, by its name."""

from ablate.report.table.table import more_is_better


def test_a_table_goes_the_way_of_its_metrics_name_or_what_was_said():
    for name in ("val/loss", "valLoss", "logloss", "top1_error", "err", "top1err", "RMSE", "test_ppl", "final.seconds",
                 "cross_entropy", "cost.macs", "train_time"):  # fmt: skip
        assert not more_is_better(name), name
    for name in (
        "acc",
        "final.test_top1_percent",
        "lossless_acc",
        "F1",
        "mAP",
        "errata",
        "top1_after_60_seconds_percent",
    ):
        assert more_is_better(name), name
