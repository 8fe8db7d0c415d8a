"""An epoch as a record, a screen and a pruner hear of it."""

from ablate.training.history import EpochMetrics

EPOCH = EpochMetrics(
    epoch=3, train_loss=1.2041, train_top1_percent=71.23, val_loss=0.9, val_top1_percent=80.52, lr=8.1e-4, seconds=2.06
)
BLIND = EpochMetrics(3, 1.2041, 71.23, None, None, 8.1e-4, 2.06)


def test_an_epoch_is_told_in_one_line_and_in_a_few_words():
    told = EPOCH.told(10)
    assert told.line == "epoch  3/10  loss 1.204  train  71.2 %  val  80.5 %  lr 8.1e-04  2.1 s"
    assert (told.number, told.note) == (3, "epoch 3/10 val 80.5 %")


def test_an_epoch_of_a_run_that_time_ends_names_no_last_one():
    told = BLIND.told(None)
    assert told.line == "epoch   3  loss 1.204  train  71.2 %  lr 8.1e-04  2.1 s" and told.note == "epoch 3"


def test_an_epoch_records_what_was_measured_and_nothing_else():
    assert EPOCH.told(10).metrics == {
        "train/loss": 1.2041,
        "train/top1_percent": 71.23,
        "val/loss": 0.9,
        "val/top1_percent": 80.52,
        "train/lr": 8.1e-4,
        "train/seconds_per_epoch": 2.06,
    }
    assert not any(name.startswith(("val/", "test/")) for name in BLIND.recorded())
