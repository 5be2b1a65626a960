"""The metrics and the goals of the classifier of tokens."""

from __future__ import annotations

from bertedge.metric import (
    ANY,
    KL_FLOOR,
    PROBABILITY_FLOOR,
    SHARE,
    GoalKind,
    Metric,
    difference,
    f1,
    mean,
    minus,
    quantile,
)

NAME = "token_classification"
#: Groups of observations: tokens, tokens with a right label, and the spans of texts with and without right ones.
LABELLED, SPANS, LABELLED_SPANS = f"{NAME}.labelled", f"{NAME}.spans", f"{NAME}.labelled_spans"
SHARE_OF_EVENTS, DIFFERENCE_OF_SHARES = (0.0, 1.0), (-1.0, 1.0)

METRICS = {
    f"{NAME}.token_agreement": Metric(
        group=NAME,
        estimate=mean("equal"),
        better="higher",
        meaning="share of words with float's label",
        bounds=SHARE_OF_EVENTS,
    ),
    f"{NAME}.span_f1": Metric(
        group=SPANS,
        estimate=f1("shared", "found", "expected"),
        better="higher",
        meaning="F1 of the spans against float's",
        bounds=SHARE_OF_EVENTS,
    ),
    f"{NAME}.kl_mean": Metric(
        group=NAME,
        estimate=mean("kl"),
        better="lower",
        meaning="KL(float || candidate) of the labels of words, mean",
        floor=KL_FLOOR,
    ),
    f"{NAME}.kl_p99": Metric(
        group=NAME,
        estimate=quantile("kl", 0.99),
        better="lower",
        meaning="KL(float || candidate) of the labels of words, 99th percentile",
        floor=KL_FLOOR,
    ),
    f"{NAME}.prob_mae": Metric(
        group=NAME,
        estimate=mean("prob_diff"),
        better="lower",
        meaning="mean difference of the probability of float's label",
        floor=PROBABILITY_FLOOR,
    ),
    f"{NAME}.accuracy": Metric(
        group=LABELLED,
        estimate=mean("hit"),
        better="higher",
        meaning="share of words that get the right label",
        bounds=SHARE_OF_EVENTS,
    ),
    f"{NAME}.accuracy_drop": Metric(
        group=LABELLED,
        estimate=difference("reference_hit", "hit"),
        better="lower",
        meaning="accuracy of float minus the candidate's",
        bounds=DIFFERENCE_OF_SHARES,
    ),
    f"{NAME}.f1": Metric(
        group=LABELLED_SPANS,
        estimate=f1("found_right", "found", "right"),
        better="higher",
        meaning="F1 of the spans against the right ones",
        bounds=SHARE_OF_EVENTS,
    ),
    f"{NAME}.f1_drop": Metric(
        group=LABELLED_SPANS,
        estimate=minus(f1("reference_right", "reference_found", "right"), f1("found_right", "found", "right")),
        better="lower",
        meaning="F1 of float minus the candidate's",
        bounds=DIFFERENCE_OF_SHARES,
    ),
}

GOALS = (
    GoalKind(
        option="min_token_agreement",
        metric=f"{NAME}.token_agreement",
        head=NAME,
        limits=SHARE,
        scale=0.005,
        help="Smallest share of words with the same tag as float.",
    ),
    GoalKind(
        option="min_span_f1",
        metric=f"{NAME}.span_f1",
        head=NAME,
        limits=SHARE,
        scale=0.01,
        help="Smallest F1 of tagged spans against float's.",
    ),
    GoalKind(
        option="max_tag_kl",
        metric=f"{NAME}.kl_mean",
        head=NAME,
        limits=ANY,
        scale=0.001,
        help="Largest mean KL divergence of the tags from float's, in nats.",
    ),
    GoalKind(
        option="max_f1_drop",
        metric=f"{NAME}.f1_drop",
        head=NAME,
        limits=SHARE,
        scale=0.005,
        help="Largest drop of the F1 of tagged spans on labelled texts, against float.",
    ),
)
