"""Vectors of the texts in Parquet files, made on a Ray cluster.

    python examples/ray_embed.py texts/*.parquet --bundle e.int8 --output vectors --column body
    python examples/ray_embed.py s3://bucket/texts/ --bundle /models/e.int8 --output s3://bucket/vectors/ \\
        --column body --workers 64 --cpus-per-worker 2

Reads files and folders, also on s3, and writes Parquet files with all columns and one more, ``embedding``: a list of
float32 of fixed size. Rows may come in another order. If a worker dies, Ray starts another one and repeats its batch; a
file that was half written is written again. Nothing is lost or doubled.

It runs on the cluster that ``RAY_ADDRESS`` names (``auto`` for one that this machine belongs to), otherwise on this
machine alone. The bundle must be at the same path on every machine of the cluster, and bertedge and pyarrow must be
installed there. Needs: pip install 'ray[data]' aiohttp
(without aiohttp, Ray may fail when it lists several files)
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # before ray is imported: it sends nothing to its makers

import ray
from ray.data import ActorPoolStrategy

from bertedge import BundleMapper
from bertedge.engines.threads import usable_cpus


def main(words: Sequence[str] | None = None) -> None:
    """Read, embed and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="Parquet files or folders, local or s3://...")
    parser.add_argument("--bundle", required=True, help="folder of the bundle, on every machine")
    parser.add_argument("--output", required=True, help="folder for Parquet files; it must not exist")
    parser.add_argument("--column", required=True, help="the column with the texts")
    parser.add_argument("--workers", type=int, help="default: as many as there are CPUs for")
    parser.add_argument("--cpus-per-worker", type=int, default=1, help="also its threads (default: 1)")
    parser.add_argument("--batch-size", type=int, default=1024, help="texts of one call (default: 1024)")
    parser.add_argument("--rows-per-file", type=int, default=100_000, help="of the output, at least (default: 100000)")
    options = parser.parse_args(words)

    # made here once as well: what is wrong with the bundle is told before any worker starts
    mapper = BundleMapper(options.bundle, "embed", column=options.column)
    # Ray lists files on one CPU. On this machine it gets one that need not exist, so that workers may take all others.
    # Reading and writing mostly wait, so they take none.
    if not ray.is_initialized():
        local = "RAY_ADDRESS" not in os.environ
        ray.init("local" if local else None, num_cpus=usable_cpus() + 1 if local else None)
    spare = int(ray.cluster_resources()["CPU"]) - 1
    workers = options.workers or max(1, spare // options.cpus_per_worker)
    if workers * options.cpus_per_worker > spare:
        print(f"warning: the job waits until the cluster has more than {spare + 1} CPUs", file=sys.stderr)
    texts = ray.data.read_parquet(options.inputs, num_cpus=0)
    if options.column not in texts.columns():
        parser.error(f"no column {options.column!r}; there are: {', '.join(texts.columns())}")
    # small blocks, so that all workers end at about the same time, and little is repeated when one dies
    blocks = texts.repartition(target_num_rows_per_block=options.batch_size)
    vectors = blocks.map_batches(
        BundleMapper,
        fn_constructor_kwargs={
            "bundle": mapper.bundle,
            "model_sha256": mapper.model_sha256,
            "verb": "embed",
            "column": options.column,
        },
        batch_format="pyarrow",
        batch_size=options.batch_size,
        compute=ActorPoolStrategy(size=workers),
        num_cpus=options.cpus_per_worker,
        udf_modifying_row_count=False,
    )
    vectors.write_parquet(
        options.output, mode="error", min_rows_per_file=options.rows_per_file, ray_remote_args={"num_cpus": 0}
    )


if __name__ == "__main__":
    main()
