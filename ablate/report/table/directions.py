"""The field's names for results, and which way each is better."""

import re

_QUALITY = """
acc accs accuracy accuracies correct exact em match f1 f2 fscore fbeta fmeasure auc aucs auroc aurocs auprc aupr aucpr
rocauc roc ap map miou iou jaccard dice dsc bleu sacrebleu rouge rougel meteor cider chrf bertscore clipscore comet
psnr ssim msssim snr sdr sisdr pesq stoi vmaf mos r2 rsquared precision recall sensitivity specificity tpr tnr ppv npv
mcc kappa ndcg mrr hit hits throughput fps qps rps ips bandwidth reward rewards return returns elo win wins winrate
success successes solved likelihood loglikelihood elbo spearman pearson kendall correlation corr concordance
similarity silhouette ari nmi ami purity speedup gain improvement profit revenue sharpe mfu agreement robustness
quality speed goodput
"""
_LOSSES = """
err errs mistakes drop degradation forgetting gap regret perplexity perplexities ppl wer cer ber mae mse rmse rmsle mape
smape msle mase nll bce xent crossentropy
"""
_COSTS = """
time times latency latencies duration delay runtime walltime elapsed ms us ns sec secs second seconds minute minutes
hour hours memory mem ram vram rss kb mb gb tb kib mib gib byte bytes bit bits flop flops kflops mflops gflops tflops
mac macs kmacs mmacs gmacs madds param params parameter parameters fpr fnr fdr far frr eer alarm alarms miss misses
fid kid fvd lpips niqe brisque ter ece brier kl kld divergence bpb bpc bpd rank ranks cost costs price energy joule
joules wh kwh watt watts co2 emissions carbon footprint violation violations failure failures crashes hallucination
hallucinations toxicity distance distortion chamfer hausdorff hd assd wasserstein mmd deviation std stddev variance
jitter overhead epe ade fde residual residuals risk hinge usd dollar dollars lag makespan ttft tpot fail fails crash
collision collisions failed
"""
HIGHER = frozenset(_QUALITY.split())
"""More of it is better."""
LOSSES = frozenset(_LOSSES.split())
"""Less of it is better, whatever stands before it: the drop in accuracy, as the Dice loss."""
LOWER = frozenset(_COSTS.split())
"""Less of it is better, where nothing else in the name says otherwise."""
WEAK = frozenset({"top", "pass", "score", "scores"})
"""More of it is better, where no other word says anything: a top-1 error is an error."""
TURNED = frozenset(
    {"reduction", "delta", "difference", "diff", "change", "minus", "inverse", "neg", "negative", "reciprocal"}
)
"""Words that may turn the meaning of those beside them round."""
BUDGET = frozenset({"at", "after", "within"})
"""What follows says where it was read off: recall at 5, accuracy after 60 seconds."""
REACHED = frozenset(
    {"time", "seconds", "minutes", "hours", "steps", "epochs", "iterations", "iters", "episodes", "samples"}
)
"""What it took to come to a goal, where ``to`` follows: seconds to 95 % accuracy."""
_UNITS = """
s sec secs second seconds min minute minutes hour hours h day joule joules watt watts kwh
"""
UNITS = frozenset(_UNITS.split())
"""A count of anything per unit of time or energy is a rate, of which more is better."""
_COUNTED = """
it its iter iters iteration iterations step steps epoch epochs batch batches sample samples example examples image
images img imgs token tokens tok toks frame frames request requests query queries game games item items
"""
COUNTED = frozenset(_COUNTED.split())
"""What runs work through, one after another."""


def words_of(name: str) -> list[str]:
    """The words of a metric's name, in lower case and without numbers, but for names such as F1, R2 and CO2.

    They are parted by marks, by capitals (``peakMemoryMB``) and by digits (``fpr95``), unless the part as a whole is
    one (``mAP``, ``GFLOPs``).
    """
    found: list[str] = []
    for part in re.findall(r"[A-Za-z0-9]+|@", name):
        whole = _word(part)
        pieces = re.findall(r"(?:[A-Z]+(?![a-z])|[A-Z]?[a-z]+)\d*", part)
        found += ["at"] if part == "@" else [whole] if _is_known(whole) else map(_word, pieces)
    return found


def _word(part: str) -> str:
    """In lower case, and without numbers at its end unless they belong to it."""
    low = part.lower()
    return low if _is_known(low) else low.rstrip("0123456789")


def _is_known(word: str) -> bool:
    return word in HIGHER | LOSSES | LOWER | WEAK


def is_loss(word: str) -> bool:
    """Whether a word is a loss or an error, also as the end of a longer one: logloss."""
    return word in LOSSES or word.endswith(("loss", "losses", "error", "errors"))
