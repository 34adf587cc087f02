"""What the schemas say of fields whose names say it in the code, and the units of numbers."""

from __future__ import annotations

from collections.abc import Mapping

EAGER = "eager_"  # in front of a figure: the same of eager PyTorch


def described(name: str, comments: Mapping[str, str]) -> str:
    """The description of a field among its class's comments, or "" where there is none."""
    said = comments.get(name) or DESCRIPTIONS.get(name, "")
    if not said and name.startswith(EAGER):
        own = described(name.removeprefix(EAGER), comments)
        return f"the same of eager PyTorch itself: {own}" if own else ""
    return said


# Of fields whose names say it in the code, for readers of the schema alone.
DESCRIPTIONS = {
    "bands": "errors by stretches of the input axis, from -inf to inf",
    "batch": "rows in the batch",
    "cases": "the whole model on each batch of stored inputs; empty where it was not measured",
    "consequences": "the demo: what each lowering does to decisions on real rows",
    "dataset": "what the model was trained on",
    "differing": "results whose bits are not those of the correctly rounded truth",
    "dtype": "of the sigmoid's input and output",
    "eager": "eager PyTorch's probability",
    "elements": "elements of all outputs",
    "expected": "what must come out",
    "failures": "every way in which the runtime is outside the gate; empty where it is within",
    "features": "the measurements of a row",
    "files": "every file of the bundle but the manifest, with its sha256",
    "formats": "what was exported",
    "gate": "what a runtime must keep to, as on the command line",
    "got": "what came out",
    "high": "the end of the band",
    "input": "x",
    "inputs": "each argument of the model's forward",
    "ladder": "what becomes of 1000 sorted logits",
    "largest_drop_ulp": "the largest fall between neighbours of the sorted sweep",
    "largest_result": "the largest result of a finite input",
    "logit": "the sigmoid's input",
    "low": "the start of the band",
    "lowering": "what the sigmoid became in ONNX, as on the command line",
    "max_abs_error": "the largest |got - truth|",
    "max_ulp": "the largest |got - truth| in spacings of the output dtype at the truth",
    "nan_mismatches": "elements that are NaN in one of runtime and truth, a number in the other",
    "notes": "what the user must know besides",
    "ok": "whether what came out is what must come out",
    "operator": "the sigmoid alone; null where it was not measured",
    "opset": "of the ONNX file; null where there is none",
    "output": "which output of the model",
    "outputs": "the model's outputs, by name",
    "points": "inputs",
    "premature_zeros": "results that are 0 where the correctly rounded truth is not",
    "rows": "rows that were held out",
    "runtimes": "what each runtime made of the files; empty where nothing was verified",
    "rungs": "logits in the ladder",
    "seconds": "how long it took, its process and its imports included",
    "special_values": "infinities, NaN, zeros and the smallest subnormals",
    "test_rows": "rows held out",
    "train_rows": "rows trained on",
    "training": "the demo: how its model came about",
    "ulp": "|got - truth| in spacings of the output dtype at the truth",
    "version": "the runtime's own; empty where it is not known",
    "versions": "what made the files: name to version",
    "worst": "the element furthest from the truth; null where all are exact",
}

# Of numbers; those whose names end in ulp are in ULP, and whole numbers count something.
UNITS = {
    **dict.fromkeys(("accuracy", "roc_auc", "roc_curve"), "a share of 1"),
    **dict.fromkeys(("input", "low", "high", "logit", "zero_band"), "1, the sigmoid's input"),
    **dict.fromkeys(
        ("expected", "got", "eager", "largest_result", "results", "threshold"), "1, an output"
    ),
    **dict.fromkeys(("log_loss", "losses", "true_log_loss", "worst_surprise"), "nat"),
    "curve": "the sigmoid's input and ULP",
    "features": "as the data set has it",
    "format_version": "1, a version",
    "max_abs_error": "1, an output",
    "opset": "1, a version",
    "row": "1, a place in the data set",
    "seconds": "s",
}
UNITS_OF_ONE_CLASS = {("Consequences", "points"): "the sigmoid's input and ULP"}
