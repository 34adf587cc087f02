"""docs/gallery: real models through the pipeline, with their reports; `make gallery` writes it."""
