"""Which way a metric is better, by its name."""

import pytest

from ablate.design.search import LESS_IS_BETTER, METRICS
from ablate.report.table.table import more_is_better

HIGHER = """
  acc accuracy val/acc valAcc eval_accuracy metrics.eval/accuracy balanced_accuracy top1 top5 Top-1
final.test_top1_percent f1 F1 macroF1 f1_score auc auroc ROC-AUC mAP mAP@0.5 map50 AP75 mIoU iou dice bleu rouge
rougeL rouge1 psnr SSIM r2 R2 precision recall recall@5 hits@10 pass@1 specificity true_negative_rate success_rate
win_rate throughput tok/s it/s images/second samples/s images_per_second tokens_per_sec imagesPerSecond
flops_per_second tokens_per_joule fps speedup reward episode_return score test_score cosine_similarity log_likelihood
neg_mean_squared_error neg_log_loss lossless_acc top1_after_60_seconds_percent image_to_text_recall@5 inception_score
speed accuracy_at_60_seconds explained_variance variance_explained
"""
LOWER = """
  loss val/loss valLoss metrics.val-loss logloss dice_loss iou_loss loss_per_token lossPerToken error err top1_error
top1err error_rate RMSE mae mse wer cer nll perplexity test_ppl cross_entropy cross-entropy negative_log_likelihood
brier ece time time_s train_time inference_time_ms latency latency_p99 ms seconds final.seconds seconds_per_epoch
ms/step s/it duration time_to_accuracy seconds_to_95_acc epochs_to_target text_to_image_fid forward_pass_ms crash_rate
fid_score memory_mb peakMemoryMB mb bytes vram_gb flops GFLOPs macs cost.macs params n_params cost.tokens fpr fpr95
FPR@95 fpr_at_95_tpr false_positive_rate fid FID50k lpips hd95 kl_divergence rank mean_rank cost cost_per_hour regret
energy energy_kwh energy_per_image joules_per_token CO2 bits_per_byte accuracy_drop forgetting neg_log_likelihood
neg_loglikelihood unexplained_variance
"""
NOTHING = """
  value result y x metric rate lr train/lr step output temperature errata papers experts 1-acc accuracy_time
memory_accuracy error_reduction delta_loss mean_reciprocal_rank loss_acc spearman_rank_correlation negative_loss
100-accuracy neg_accuracy neg_elbo
"""


@pytest.mark.parametrize(
    ("names", "better"), [(HIGHER, True), (LOWER, False), (NOTHING, None)], ids=["higher", "lower", "nothing"]
)
def test_a_metrics_name_says_which_way_it_is_better_or_nothing(names, better):
    assert {name: more_is_better(name) for name in names.split()} == dict.fromkeys(names.split(), better)


def test_what_a_search_selects_by_goes_the_same_way_in_its_report():
    said = {name: better for name in METRICS if (better := more_is_better(name)) is not None}
    assert all(better == (name not in LESS_IS_BETTER) for name, better in said.items())
    assert METRICS and set(METRICS) - set(said) == {"final.epoch", "train/lr"}
