"""Child process of `simplify`: reads a model on standard input, writes the simplified one."""

from __future__ import annotations

import os
import sys

import onnx
import onnxsim


def main() -> None:
    """Simplify the model on standard input and write it to standard output."""
    with os.fdopen(os.dup(1), "wb") as output:
        os.dup2(2, 1)  # text that the library prints goes to standard error
        simplified, _ = onnxsim.simplify(onnx.load_model_from_string(sys.stdin.buffer.read()))
        output.write(simplified.SerializeToString())


if __name__ == "__main__":
    main()
