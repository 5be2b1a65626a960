"""A teacher of any family: its float graph on onnxruntime. It gives answers and hidden states, and is not trained."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from bertedge.checkpoint import Checkpoint
from bertedge.encoders import BERT, names
from bertedge.encoders.names import Shapes
from bertedge.engines.onnxruntime.session import open_session
from bertedge.engines.threads import usable_cpus
from bertedge.graph.encoder_graph import build_graph
from bertedge.heads import HEADS, TASKS
from bertedge.layers import block_layers
from bertedge.scratch import temporary_folder
from bertedge.train.model import PretrainingOutput

STATES = HEADS["embedding"].outputs["masked"]


class GraphTeacher(nn.Module):
    """The model of a checkpoint, called as :class:`bertedge.train.model.BertForPreTraining`.

    The hidden states are what the attention of each block reads, and the output of the last block.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        self.config, self.checkpoint = checkpoint.config, checkpoint
        self.tasks = tuple(task for task in TASKS if task in checkpoint.parts.heads)
        graph = build_graph(checkpoint, {})
        blocks = [block_layers(self.config, index) for index in range(self.config.num_hidden_layers)]
        self._states = [graph.linear_inputs[block.qkv.name] for block in blocks]
        for value in self._states:
            graph.builder.expose(value)
        with temporary_folder() as folder:
            graph.builder.write(folder / "teacher.onnx")
            self._session = open_session(folder / "teacher.onnx", threads=usable_cpus())

    @torch.no_grad()
    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None, token_type_ids: Tensor, masked_index: Tensor
    ) -> PretrainingOutput:
        """Arguments and result as in :meth:`bertedge.train.model.BertForPreTraining.forward`."""
        rows, length = input_ids.shape
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        positions, row, column = _positions(masked_index.cpu().numpy(), rows, length)
        given = {
            "input_ids": input_ids.cpu().numpy(),
            "attention_mask": mask.cpu().numpy().astype(np.int64),
            "token_type_ids": token_type_ids.cpu().numpy(),
        }
        feed = {name: given[name] for name in self.config.text_inputs}
        feed |= {"masked_positions": positions, "hidden_positions": np.arange(length)}
        outputs = {task: HEADS[task].outputs["masked"] for task in self.tasks}
        wanted = [*self._states, STATES, *outputs.values()]
        found = [torch.from_numpy(array).to(input_ids.device) for array in self._session.run(wanted, feed)]
        logits = dict(zip(outputs, found[len(self._states) + 1 :], strict=True))
        masked = {task: logits[task][row, column] for task in logits if HEADS[task].reads == "masked"}
        return PretrainingOutput({**logits, **masked}, found[: len(self._states) + 1])

    def streams(self, last: Tensor | None = None) -> list[Tensor]:
        """As :meth:`bertedge.train.model.BertForPreTraining.streams`, without the MLM transform."""
        words = self.float_tensors().get(names.WORD_EMBEDDINGS)
        return [] if last is not None or words is None else [words]

    def train_only(self, tasks: Collection[str]) -> None:
        """Run the heads of these tasks only."""
        self.tasks = tuple(task for task in self.tasks if task in tasks)

    def float_tensors(self) -> dict[str, Tensor]:
        """The weights that a BERT of these sizes has too, under its names."""
        known = _bert_shapes(self.checkpoint)
        stored = {name: torch.from_numpy(tensor) for name, tensor in self.checkpoint.tensors()}
        found = dict(stored)
        for index in range(self.config.num_hidden_layers if self.config.layer_groups else 0):
            shared = f"{names.layer(self.config.stored_block(index))}."
            own = {name: tensor for name, tensor in stored.items() if name.startswith(shared)}
            found |= {name.replace(shared, f"{names.layer(index)}.", 1): tensor for name, tensor in own.items()}
        if self.config.position_offset:
            found[names.POSITION_EMBEDDINGS] = found[names.POSITION_EMBEDDINGS][self.config.position_offset :]
        if self.config.embedding_projection:
            projection = found[f"{names.PROJECTION}.weight"]
            tables = (names.WORD_EMBEDDINGS, names.POSITION_EMBEDDINGS, names.TOKEN_TYPE_EMBEDDINGS)
            found |= {table: found[table] @ projection.T for table in tables if table in found}
        return {name: tensor for name, tensor in found.items() if tuple(known.get(name, ())) == tuple(tensor.shape)}


def _bert_shapes(checkpoint: Checkpoint) -> Shapes:
    """The tensors of a BERT of a checkpoint's sizes."""
    config = checkpoint.config
    sizes = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    bert = BERT.config(
        **{name: getattr(config, name) for name in sizes},
        max_position_embeddings=config.max_length,
        type_vocab_size=max(config.type_vocab_size, BERT.segments),
    )
    return replace(checkpoint.parts.learned_from_text, tied=True).shapes(bert)  # those of a student


def _positions(index: np.ndarray, rows: int, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masked positions by row (B, K), filled up with 0; and the row and the column of each of them, (M,)."""
    row = index // length
    counts = np.bincount(row, minlength=rows)
    column = np.arange(len(index)) - np.repeat(np.cumsum(counts) - counts, counts)
    positions = np.zeros((rows, int(counts.max(initial=0))), dtype=np.int64)
    positions[row, column] = index % length
    return positions, row, column
