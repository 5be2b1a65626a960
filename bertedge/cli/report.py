"""``bertedge report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bertedge.cli.console import note, stdout
from bertedge.cli.judging import HtmlOption, MarkdownOption, html_writer
from bertedge.cli.options import require_different_files


def report(
    report_file: Annotated[
        Path,
        typer.Argument(metavar="REPORT.json", help="Written by 'bertedge bench --json'.", show_default=False),
    ],
    html_file: HtmlOption = None,
    markdown_file: MarkdownOption = None,
) -> None:
    """Show a report as tables, or write it as a page. Nothing is measured."""
    from bertedge.files import require_writable, write_text
    from bertedge.report.render import markdown_report, rich_report
    from bertedge.report.schema import read_report

    require_different_files({"the report": report_file}, {"--markdown": markdown_file, "--html": html_file})
    html_report = html_writer(html_file)
    for path in filter(None, (html_file, markdown_file)):
        require_writable(path)
    kept = read_report(report_file)
    if not (html_file or markdown_file):
        stdout.print(rich_report(kept, width=stdout.width))
    if markdown_file:
        write_text(markdown_file, markdown_report(kept))
        note(f"tables: {markdown_file}")
    if html_file:
        write_text(html_file, html_report(kept))
        note(f"page: {html_file}")
