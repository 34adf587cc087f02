"""onnxruntime-web, ONNX Runtime in WebAssembly, by Node: what a browser computes."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cached_property
from pathlib import Path

from ..trust.text import parse_json
from .apart import printable
from .piped import Piped
from .runtime import Run, Runtime

PACKAGE = "onnxruntime-web"
FOLDER = "TORCH_SIGMOID_EXT_NODE_MODULES"  # the environment variable that names its folder
MOST_BYTES = 1 << 20  # of package.json


class OnnxRuntimeWeb(Runtime):
    """ort.InferenceSession with the execution provider wasm.

    The package is looked for in the folder that the environment variable names, else in
    node_modules of the current folder and of those above it, as Node itself does. There it may be
    anybody's, as what lies beside a bundle is: then it is run on request alone.
    """

    name = "onnxruntime-web"
    format = "onnx"
    confined = True

    @property
    def install(self) -> str:  # type: ignore[override]
        npm = f"npm install {PACKAGE} (here, or anywhere with {FOLDER}=.../node_modules)"
        return npm if shutil.which("node") else f"apt-get install nodejs npm, then {npm}"

    @property
    def on_request(self) -> bool:  # type: ignore[override]
        return not os.environ.get(FOLDER)

    @cached_property
    def folder(self) -> Path | None:
        """The node_modules that holds the package."""
        named = os.environ.get(FOLDER)
        here = Path.cwd()
        beside = [parent / "node_modules" for parent in (here, *here.parents)]
        for folder in [Path(named)] if named else beside:
            if (folder / PACKAGE / "package.json").is_file():
                return folder.resolve()
        return None

    def version(self) -> str:
        if self.folder is None or shutil.which("node") is None:
            return ""
        try:
            with (self.folder / PACKAGE / "package.json").open("rb") as file:
                package = parse_json(file.read(MOST_BYTES))
            return printable(str(package["version"]))
        except (OSError, ValueError, KeyError, TypeError):
            return "unknown version"

    def environment(self) -> dict[str, str]:
        return {FOLDER: str(self.folder)}

    def load(self, path: Path) -> Run:
        server = Path(__file__).with_name("server") / "serve.mjs"
        return Piped(["node", str(server), str(self.folder), str(path)])

    def features(self) -> str:
        shown = subprocess.run(["node", "--version"], capture_output=True, text=True)
        return f"node {shown.stdout.strip()}, WebAssembly SIMD"
