"""Goals as options; what they mean is in :mod:`bertedge.evaluate.goals`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from bertedge.evaluate.goals import GOALS


def _option(name: str) -> Any:
    return typer.Option(help=GOALS[name].help, show_default=False, rich_help_panel="Goals", metavar="NUMBER")


MaxMlmDropOption = Annotated[float | None, _option("max_mlm_drop")]
MaxNspDropOption = Annotated[float | None, _option("max_nsp_drop")]
MaxKlOption = Annotated[float | None, _option("max_kl")]
MinAgreementOption = Annotated[float | None, _option("min_agreement")]
MaxNspFlipsOption = Annotated[float | None, _option("max_nsp_flips")]
MinCosineOption = Annotated[float | None, _option("min_cosine")]
MaxP95Option = Annotated[float | None, _option("max_p95_ms")]
MaxSizeOption = Annotated[float | None, _option("max_size_mb")]
