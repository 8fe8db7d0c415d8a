"""The interval over test images: what a run keeps of them, what is reported where they are kept, and where not."""

import csv
import io
import itertools
import json
import time

import numpy as np
import pandas as pd
import pytest

from ablate.report import Reading, records_table, render, report_study, report_table
from ablate.report.pages.html import page
from ablate.report.sources import records, studies
from ablate.report.table import analysis
from ablate.stats import contrasts
from ablate.stats.crossed import Scope, sampling
from ablate.stats.estimates import example_interval
from ablate.tracking import Store, TrackingError, TrackingSpec
from ablate.tracking.correctness import packed, unpacked, unpacked_clusters

LEVELS, SEEDS, IMAGES = ("none", "sine", "learnable"), (0, 1, 2), 403
DEFINITION = {
    "name": "pe",
    "question": "?",
    "method": "grid",
    "axes": {"model.positional": list(LEVELS)},
    "baseline": {"model.positional": "none"},
    "seeds": list(SEEDS),
    "points": 9,
}
LABEL = np.arange(IMAGES) % 10


def _point(level, seed):
    return json.dumps([["model.positional", level], ["seed", seed]], separators=(",", ":"))


def _right(level, seed, images=IMAGES):
    top1 = 0.7 + 0.08 * LEVELS.index(level)
    return np.random.default_rng([LEVELS.index(level), seed]).random(images) < top1


def _runs(levels=LEVELS, seeds=SEEDS):
    return [
        {
            "run_id": f"{level}{seed}",
            "status": "FINISHED",
            "tags.ablate.point": _point(level, seed),
            "tags.ablate.status": "finished",
            "metrics.final.test_top1_percent": 100 * _right(level, seed).mean(),
            "params.data.source": "digits",
            "params.train.epochs": "2",
            **{f"tags.{key}": text for key, text in packed(_right(level, seed), LABEL).items()},
        }
        for level, seed in itertools.product(levels, seeds)
    ]


def _study(runs, **changes):
    definition = {**DEFINITION, **changes}
    return records.Records("pe-1", definition, "", pd.DataFrame(runs), {}, "a test")


@pytest.mark.parametrize("images", [1, 8, 403, 50_000])
def test_packed_images_read_back_and_fit_any_tag(images):
    right = np.random.default_rng(0).random(images) < 0.8
    tags = packed(right, np.zeros(images, np.int64))
    assert max(map(len, tags.values())) <= 5000
    told, bits = unpacked({f"tags.{key}": text for key, text in tags.items()})
    assert told.startswith(f"{images}:") and (bits == right).all()


def test_packed_images_name_their_test_set():
    right = np.ones(20, bool)
    same, other = packed(right, np.arange(20)), packed(right, np.arange(20)[::-1])
    assert same == packed(right, np.arange(20, dtype=np.int32))
    assert same["ablate.tested"] != other["ablate.tested"] and same["ablate.right"] == other["ablate.right"]


@pytest.mark.parametrize("wrong", ["AAAA", "?" * 68, ""])
def test_unpacked_refuses_bits_that_are_none(wrong):
    row = {"run_id": "x", "tags.ablate.tested": f"{IMAGES}:ab", "tags.ablate.right": wrong}
    with pytest.raises(TrackingError, match=r"ablate\.right of run x must hold a bit for each of 403 images"):
        unpacked(row)
    assert unpacked({"run_id": "x"}) is None


def test_each_contrast_has_the_interval_over_images_of_its_own_runs():
    table, _ = records_table(_study(_runs()))
    for contrast in table.analysis.contrasts:
        sides = [[_right(level, seed) for seed in SEEDS] for level in (contrast.level, contrast.baseline)]
        got = contrast.over_images
        assert (got.low, got.high) == example_interval(*sides) and got.images == IMAGES
        assert got.low < contrast.verdict.effect < got.high
    (note,) = [note for note in table.analysis.notes if note.startswith("intervals are")]
    assert note.startswith("intervals are over seeds and test images together (")
    assert "and then over test images (" in note


def test_every_format_says_which_interval_is_over_what():
    study = _study(_runs())
    table, notes = records_table(study)
    sine, _ = table.analysis.contrasts
    low, high = sine.over_images.low, sine.over_images.high
    shown = f"[{low:+.2f}, {high:+.2f}]"
    text, md = (render(table, format, notes, full=True) for format in ("text", "md"))
    assert (
        "minus baseline [95 % interval over seeds and test images, simultaneous], then [over seeds, on the same test "
        "data], then [over test images" in text
    )
    assert shown in next(line for line in text.splitlines() if line.startswith("    sine"))
    assert (
        "images, simultaneous] | 95 % over seeds, on the same test data | 95 % over test images, of the same trained "
        "models |" in md
    )
    assert f" | {shown} | " in md and "95 \\% over test images" in render(table, "latex", full=True)
    assert shown not in render(table, "text", notes)
    row = next(row for row in csv.DictReader(io.StringIO(render(table, "csv"))) if row["positional"] == "sine")
    assert (float(row["positional_images_low"]), float(row["positional_images_high"])) == (low, high)
    assert (float(row["positional_low"]), float(row["positional_seeds_low"])) == (
        sine.verdict.low,
        sine.over_seeds.low,
    )
    told = json.loads(render(table, "json"))["analysis"]["contrasts"][0]["over_images"]
    assert told == {"low": pytest.approx(low), "high": pytest.approx(high), "images": IMAGES}
    signed = [f"{value:+.2f}".replace("-", "\N{MINUS SIGN}") for value in (low, high)]
    html = page(study)
    assert (
        "interval over seeds and test images, " in html and f", over 403 test images {signed[0]} to {signed[1]}" in html
    )


def test_without_a_sides_images_the_interval_is_blank_and_a_sentence_says_so():
    runs = _runs()
    del runs[4]["tags.ablate.right"], runs[4]["tags.ablate.tested"]  # one of sine's
    runs[7] |= {f"tags.{key}": text for key, text in packed(_right("learnable", 1), LABEL[::-1]).items()}
    table, notes = records_table(_study(runs))
    assert [each.over_images for each in table.analysis.contrasts] == [None, None]
    said = render(table, "md", notes, full=True)
    why = "since 1 of 9 runs do not keep which test images they got right and 1 row has runs of different test images"
    assert why in said and ": none over test images" in said
    assert "over test images |" not in said
    table, _ = records_table(_study([*runs[:7], _runs()[7], runs[8]]))
    assert [each.over_images is None for each in table.analysis.contrasts] == [True, False]
    assert "blank for some over test images" in render(table, "md", full=True)


def test_what_is_no_top1_on_the_test_set_has_no_interval_over_its_images():
    runs = [{**run, "metrics.final.val_top1_percent": run["metrics.final.test_top1_percent"]} for run in _runs()]
    table, _ = records_table(_study(runs), Reading(metric="final.val_top1_percent"))
    assert all(each.over_images is None for each in table.analysis.contrasts)
    assert _on_scope(table) == [f"{THESE}, since only top-1 on the test set is known image by image"]
    assert table.analysis.scope is Scope.these_images
    assert "none over test images" in render(table, "text", full=True)


def test_a_single_seed_has_an_interval_over_images_alone():
    table, _ = records_table(_study(_runs(seeds=(0,)), seeds=[0], points=3))
    assert all(each.over_images and each.verdict.low is None for each in table.analysis.contrasts)
    assert "baseline [over test images, of the same trained models]" in render(table, "text")


def test_axes_that_move_together_have_their_effects_in_the_csv():
    runs = [{**run, "tags.ablate.point": run["tags.ablate.point"].replace('["seed"', '["model","m"],["seed"')}
            for run in _runs()]  # fmt: skip
    axes = {"axes": {**DEFINITION["axes"], "model": ["m"]}, "baseline": {**DEFINITION["baseline"], "model": "m"}}
    changes = {**axes, "method": "zip", "combinations": [[level, "m"] for level in LEVELS]}
    table, _ = records_table(_study(runs, **changes))
    first, second, _ = csv.DictReader(io.StringIO(render(table, "csv")))
    name = "positional + model_images_low"
    assert first[name] == "" and float(second[name]) == table.analysis.contrasts[0].over_images.low


THESE = "verdicts hold for other seeds on these test images alone, and may be otherwise on others"


def _on_scope(table):
    return [note for note in table.analysis.notes if note.startswith("verdicts hold for")]


def _sampled(monkeypatch):
    """What the analysis was given of other test images."""
    given = []

    def analyse(*words, **options):
        given.append(options["sampling"])
        return contrasts.analyse(*words, **options)

    monkeypatch.setattr(analysis, "analyse", analyse)
    return given


def test_verdicts_go_by_seeds_and_images_where_runs_keep_them(monkeypatch):
    given = _sampled(monkeypatch)
    table, _ = records_table(_study(_runs()))
    right = {(level,): [_right(level, seed) for seed in SEEDS] for level in LEVELS}
    want = sampling(right)
    assert given[0].places.keys() == right.keys() and given[0].images == IMAGES
    order = [given[0].places[cell] for cell in right]
    np.testing.assert_allclose(given[0].covariance[np.ix_(order, order)], want.covariance)
    assert _on_scope(table) == ["verdicts hold for other seeds and for other test images like these"]
    assert table.analysis.scope is Scope.population


def test_verdicts_go_by_seeds_alone_where_that_is_asked(monkeypatch):
    given = _sampled(monkeypatch)
    table, _ = records_table(_study(_runs()), Reading(scope=Scope.these_images))
    assert given == [None] and table.analysis.scope is Scope.these_images
    assert _on_scope(table) == [f"{THESE}: scope=these_images asks for that"]
    assert all(each.over_images is not None for each in table.analysis.contrasts)


def test_one_run_that_keeps_no_images_makes_all_verdicts_go_by_seeds(monkeypatch):
    given, runs = _sampled(monkeypatch), _runs()
    del runs[8]["tags.ablate.tested"]
    table, _ = records_table(_study(runs))
    assert given == [None]
    assert _on_scope(table) == [f"{THESE}, since 1 of 9 runs do not keep which test images they got right"]
    runs[8]["tags.ablate.status"] = "diverged"
    records_table(_study(runs))
    assert given[1] is not None, "a run without a result is in no mean"


def test_repeats_of_a_seed_are_one_run_of_it(monkeypatch):
    given, again = _sampled(monkeypatch), _runs()
    point = lambda run, repeat: run["tags.ablate.point"].replace("]]", f'],["repeat",{repeat}]]')  # noqa: E731
    runs = [
        {**run, "run_id": f"{run['run_id']}-{n}", "tags.ablate.point": point(run, n)} for run in again for n in (0, 1)
    ]
    records_table(_study(again))
    records_table(_study(runs, repeats=[0, 1]))
    np.testing.assert_allclose(given[0].covariance, given[1].covariance)


def test_levels_with_test_images_of_their_own_share_none_of_their_choice(monkeypatch):
    given, runs = _sampled(monkeypatch), _runs(seeds=(0,))
    runs[2] |= {f"tags.{key}": text for key, text in packed(_right("learnable", 0), LABEL[::-1]).items()}
    table, _ = records_table(_study(runs, seeds=[0], points=3))
    places, covariance = given[0].places, given[0].covariance
    assert covariance[places["learnable",], places["none",]] == 0 != covariance[places["sine",], places["none",]]
    assert [each.over_images is None for each in table.analysis.contrasts] == [False, True]


def test_images_of_one_folder_count_as_one(monkeypatch):
    given, runs, clusters = _sampled(monkeypatch), _runs(), np.arange(IMAGES) // 13
    for run in runs[1:]:  # one of before they were recorded
        level, seed = run["run_id"][:-1], int(run["run_id"][-1])
        run |= {f"tags.{key}": text for key, text in packed(_right(level, seed), LABEL, clusters).items()}
    table, _ = records_table(_study(runs))
    assert (given[0].images, given[0].clusters) == (IMAGES, 31)
    assert _on_scope(table) == [
        "verdicts hold for other seeds and for other test images like these, counted by their 31 groups, a folder each"
    ]
    sine = table.analysis.contrasts[0]
    sides = [[_right(level, seed) for seed in SEEDS] for level in ("sine", "none")]
    assert (sine.over_images.low, sine.over_images.high) == example_interval(*sides, clusters=clusters)
    assert "Student's t over 31 groups of images" in render(table, "text", full=True)
    level, seed = "learnable", 1
    runs[7] |= {f"tags.{key}": text for key, text in packed(_right(level, seed), LABEL, clusters // 2).items()}
    table, _ = records_table(_study(runs))
    assert given[1] is None and "1 row has runs of different test images" in _on_scope(table)[0]


def test_clusters_travel_with_the_record(store_uri, tmp_path):
    spec, clusters = TrackingSpec(uri=store_uri), np.arange(IMAGES) // 13
    store = Store(spec)
    parent = store.sweep_run("pe-1", {"ablate.sweep": json.dumps(DEFINITION)})
    run = store.start_run("r", {}, {"ablate.study": "pe-1", "ablate.point": _point("sine", 0)}, parent=parent)
    run.tag(packed(_right("sine", 0), LABEL, clusters))
    run.finish("finished")
    records.write(studies.from_store(spec, "pe"), tmp_path / "pe.jsonl")
    (row,) = records.read(tmp_path / "pe.jsonl").frame.to_dict("records")
    assert (unpacked_clusters(row) == clusters + 1).all() and (unpacked(row)[1] == _right("sine", 0)).all()


def test_unpacked_clusters_refuses_bits_that_are_none():
    tags = packed(_right("sine", 0), LABEL, np.arange(IMAGES) // 13)
    row = {"run_id": "x", **{f"tags.{key}": text for key, text in tags.items()}}
    with pytest.raises(TrackingError, match=r"ablate\.clusters of run x .* remove its tag ablate\.clusters to go"):
        unpacked_clusters({**row, "tags.ablate.clusters": "AAAA"})
    assert unpacked_clusters({key: text for key, text in row.items() if not key.endswith("clusters")}) is None
    assert "ablate.clusters" not in packed(_right("sine", 0), LABEL)


@pytest.fixture
def where(store_uri):
    """A store with two levels, whose runs keep their predictions as an artifact and nothing else of them."""
    spec = TrackingSpec(uri=store_uri)
    store = Store(spec)
    parent = store.sweep_run("pe-1", {"ablate.sweep": json.dumps(DEFINITION)})
    for level, seed in itertools.product(LEVELS[:2], SEEDS[:2]):
        run = store.start_run("r", {}, {"ablate.study": "pe-1", "ablate.point": _point(level, seed)}, parent=parent)
        right, content = _right(level, seed), io.BytesIO()
        np.savez_compressed(content, label=LABEL, predicted=np.where(right, LABEL, (LABEL + 1) % 10))
        if (level, seed) != ("sine", 1):
            run.artifact("test_predictions.npz", content.getvalue())
        else:
            run.tag(packed(right, LABEL))
        run.log({"final.test_top1_percent": 100 * right.mean()})
        run.finish("finished")
    return spec


def test_an_export_takes_the_images_of_older_runs_from_their_artifacts(where, tmp_path):
    assert "since 3 of 4 runs do not keep which test images they got right" in report_study(where, "pe")
    found = studies.with_test_images(studies.from_store(where, "pe"), where)
    records.write(found, tmp_path / "pe.jsonl")
    table, _ = records_table(records.read(tmp_path / "pe.jsonl"))
    sides = [[_right(level, seed) for seed in SEEDS[:2]] for level in ("sine", "none")]
    (contrast,) = table.analysis.contrasts
    assert (contrast.over_images.low, contrast.over_images.high) == example_interval(*sides)
    head, *_ = (json.loads(line) for line in (tmp_path / "pe.jsonl").read_text().splitlines())
    assert head["shared"]["tags.ablate.tested"].startswith("403:")


def test_an_export_says_which_artifact_holds_no_predictions(where):
    run_id = studies.from_store(where, "pe").frame["run_id"][0]
    Store(where).resume(run_id).artifact("test_predictions.npz", b"nothing")
    with pytest.raises(records.RecordsError, match=rf"test_predictions\.npz of run {run_id} must hold predicted"):
        studies.with_test_images(studies.from_store(where, "pe"), where)


@pytest.mark.full
def test_images_of_ten_thousand_runs_cost_a_report_seconds():
    levels = [str(level) for level in range(2000)]
    rng, label = np.random.default_rng(0), np.arange(10_000) % 10
    kept = [packed(rng.random(10_000) < 0.8, label) for _ in range(50)]
    runs = [
        {
            **_runs(LEVELS[:1], (0,))[0],
            "run_id": f"{level}{seed}",
            "tags.ablate.point": _point(level, seed),
            **{f"tags.{key}": text for key, text in kept[(5 * n + seed) % 50].items()},
        }
        for n, level in enumerate(levels)
        for seed in range(5)
    ]
    definition = {**DEFINITION, "axes": {"model.positional": levels}, "baseline": {"model.positional": "0"}}
    frame, told = pd.DataFrame(runs), {**definition, "seeds": list(range(5)), "points": 10_000}
    seconds = {}
    for name, shown in (("with", frame), ("without", frame.drop(columns="tags.ablate.tested"))):
        frame_of = shown.assign(**{"metrics.final.test_top1_percent": rng.normal(80, 1, len(shown))})
        start = time.process_time()
        table = report_table(frame_of, told)
        seconds[name] = time.process_time() - start
        assert all((each.over_images is None) == (name == "without") for each in table.analysis.contrasts)
    assert seconds["with"] - seconds["without"] < 30, seconds  # 2 s on a quiet machine; drawing would take an hour
