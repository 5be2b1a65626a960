"""``bertedge serve``: bundles behind a port."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from bertedge.cli.console import note
from bertedge.cli.options import AnyCpuOption, EngineOption, NoVerifyOption, ThreadsOption, folders, library
from bertedge.engines import AUTO
from bertedge.errors import FileError, UsageError
from bertedge.files import FILE_HINT

#: The environment variable that holds the API key.
KEY = "BERTEDGE_API_KEY"
BundlesArgument = Annotated[
    list[str],
    typer.Argument(
        help="Folders of bundles, or OWNER/NAME on the hub. Clients use the name of the folder, or OWNER/NAME.",
        show_default=False,
        autocompletion=folders,
    ),
]
KeyOption = Annotated[
    Path | None,
    typer.Option(
        help=f"File with the key that clients must send; default: the environment variable {KEY}, or none.",
        show_default=False,
    ),
]


def serve(
    bundles: BundlesArgument,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for all networks.", metavar="ADDRESS")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any that is free.")] = 8080,
    api_key_file: KeyOption = None,
    engine: EngineOption = AUTO,
    threads: ThreadsOption = None,
    batch_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Tokens that run at once; default: 1024 for each thread.", show_default=False),
    ] = None,
    queue_tokens: Annotated[
        int, typer.Option(min=1, help="Tokens that wait for a bundle at most; also the most of one request.")
    ] = 131_072,
    max_requests: Annotated[
        int, typer.Option(min=1, help="Requests at once; more are refused with the status 429.")
    ] = 64,
    max_texts: Annotated[int, typer.Option(min=1, help="Texts of a request.")] = 2048,
    max_body_bytes: Annotated[int, typer.Option(min=1, help="Bytes of a request's body.")] = 4 * 2**20,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds that a request may take.")] = 30.0,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds that requests get to finish when the server stops.")
    ] = 30.0,
    allow_any_cpu: AnyCpuOption = False,
    no_verify: NoVerifyOption = False,
    no_request_log: Annotated[
        bool, typer.Option("--no-request-log", help="Do not write a line on stderr for each request.")
    ] = False,
) -> None:
    """Serve bundles over HTTP: OpenAI's embeddings, the routes of text-embeddings-inference, one for each command.

    Requests that come at the same time run together. SIGTERM and Ctrl-C finish what is there and end; SIGHUP loads the
    bundles again without dropping a request.
    """
    lifecycle = library("bertedge.serve.lifecycle", "serve")
    settings = library("bertedge.serve", "serve").ServeSettings(
        bundles=tuple(bundles),
        engine=engine,
        threads=threads,
        allow_any_cpu=allow_any_cpu,
        check=not no_verify,
        batch_tokens=batch_tokens,
        queue_tokens=queue_tokens,
        max_requests=max_requests,
        max_texts=max_texts,
        max_body_bytes=max_body_bytes,
        timeout_s=timeout,
        grace_s=grace,
        api_key=_key(api_key_file),
        log_requests=not no_request_log,
    )
    if settings.api_key is None and lifecycle.is_open_to_others(host):
        note(f"warning: whoever reaches {host} can use this server; give --api-key-file, or listen on 127.0.0.1")
    lifecycle.serve(settings, host, port)


def _key(file: Path | None) -> str | None:
    """The API key from a file or the environment.

    Raises:
        FileError: the file cannot be read.
        UsageError: the key is empty, or no header could carry it.
    """
    if file is None:
        key, where = os.environ.get(KEY), KEY
    else:
        where = str(file)
        try:
            key = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text in UTF-8"
            raise FileError(f"{file}: {reason}", FILE_HINT) from None
    if key is None:
        return None
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError(f"{where}: is no key", "write one line of letters and digits, without spaces")
    return key
