"""Reports: the record, its file formats, its table. Nothing here runs a model."""
