"""What is measured of classifiers of whole texts."""

from __future__ import annotations

from bertedge.metric import KL_FLOOR, PROBABILITY_FLOOR, Metric, difference, mean

NAME = "sequence_classification"
#: Observations of classifiers that choose labels, and of those that predict scores; the same of texts with a right
#: answer.
CHOICES, SCORES = f"{NAME}.choices", f"{NAME}.scores"
LABELLED, SCORED = f"{NAME}.labelled", f"{NAME}.scored"

METRICS = {
    f"{NAME}.label_agreement": Metric(
        group=CHOICES,
        estimate=mean("equal"),
        better="higher",
        meaning="share of texts with float's label",
        bounds=(0, 1),
    ),
    f"{NAME}.kl_mean": Metric(
        group=NAME,
        estimate=mean("kl"),
        better="lower",
        meaning="KL(float || candidate) of the labels, mean; of scores, half the squared difference",
        floor=KL_FLOOR,
    ),
    f"{NAME}.prob_mae": Metric(
        group=CHOICES,
        estimate=mean("prob_diff"),
        better="lower",
        meaning="mean difference of the probability of float's label",
        floor=PROBABILITY_FLOOR,
    ),
    f"{NAME}.score_mae": Metric(
        group=SCORES,
        estimate=mean("score_diff"),
        better="lower",
        meaning="mean difference of the score from float's",
        floor=PROBABILITY_FLOOR,
    ),
    f"{NAME}.accuracy": Metric(
        group=LABELLED,
        estimate=mean("hit"),
        better="higher",
        meaning="share of texts that get the right label",
        bounds=(0, 1),
    ),
    f"{NAME}.accuracy_drop": Metric(
        group=LABELLED,
        estimate=difference("reference_hit", "hit"),
        better="lower",
        meaning="accuracy of float minus the candidate's",
        bounds=(-1, 1),
    ),
    f"{NAME}.score_error": Metric(
        group=SCORED,
        estimate=mean("error"),
        better="lower",
        meaning="mean difference of the score from the right one",
    ),
    f"{NAME}.score_error_rise": Metric(
        group=SCORED,
        estimate=difference("error", "reference_error"),
        better="lower",
        meaning="score_error of the candidate minus float's",
    ),
}
