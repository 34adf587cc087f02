"""Export a model to files for other runtimes, and show in ULP what each runtime makes of them."""
