"""From a text corpus to batches: documents, next-sentence pairs, masking."""
