"""What is measured of classifiers of whole texts."""

from __future__ import annotations

from bertedge.metric import Metric, difference, mean

NAME = "sequence_classification"
#: Observations of texts that have a label.
LABELLED = f"{NAME}.labelled"
KL_FLOOR, PROBABILITY_FLOOR = 1e-7, 1e-5

METRICS = {
    f"{NAME}.label_agreement": Metric(
        group=NAME,
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
        group=NAME,
        estimate=mean("prob_diff"),
        better="lower",
        meaning="mean difference of the probability of float's label, or of the score",
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
        group=LABELLED,
        estimate=mean("error"),
        better="lower",
        meaning="mean difference of the score from the right one",
    ),
}
