"""docs/tutorial.md: its commands in its order, on small photographs and small networks."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from kdtool.arch.network import build
from kdtool.cli import main

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # to this machine, never a proxy
PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
# What a test can afford; weights from ImageNet would need the network.
SMALL = {
    r'arch = "timm/tf_efficientnet_lite[02]"': 'arch = "timm/test_resnet"',
    r'weights = "imagenet".*': 'weights = "test_resnet.safetensors"',
    r"\nepochs = \d+": "\nepochs = 1",
    r"warmup_epochs = \d+": "warmup_epochs = 0",
}


def commands() -> list[list[str]]:
    lines = [line for block in BLOCK.findall(PAGE.read_text("utf-8")) for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line.startswith("kdtool ")]


def run(words: list[str]) -> int:
    with pytest.raises(SystemExit) as stop:
        main(words)
    return int(stop.value.code or 0)


def serve(words: list[str]) -> str:
    """Start the server, fetch its page, stop it as Ctrl-C does."""
    # A job in the background of a script ignores Ctrl-C, and so would what it starts.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heed}; from kdtool.cli import main; main()"
    command = [sys.executable, "-u", "-c", code, *words, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            with DIRECT.open(server.stdout.readline().strip(), timeout=30) as answer:
                page = answer.read().decode()
            server.send_signal(signal.SIGINT)
            server.communicate(timeout=30)
            assert server.returncode == 0
        finally:
            server.kill()
    return str(page)


def test_the_tutorial_leads_from_photographs_to_a_page(
    photos: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(per_class=20, side=32, name="photographs")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    save_file(build("timm/test_resnet", 1000, 64).state_dict(), tmp_path / "test_resnet.safetensors")
    done = []
    for _, *words in commands():
        if words[0] == "serve":
            assert "<title>Image classifier</title>" in serve(words)
        else:
            extra = ["--set", "quantize.max_drop=100"] if words[0] == "run" else []
            assert run([*words, *extra]) == 0, words
        if words[0] == "init":
            recipe = tmp_path / "photographs.toml"
            text = recipe.read_text()
            for pattern, small in SMALL.items():
                text, count = re.subn(pattern, small, text)
                assert count, pattern
            recipe.write_text(f"{text}\n[bench]\nruns = 64\nresamples = 1000\n")
        done.append(words[0])
    assert done == ["data", "init", "run", "run", "bundle", "verify", "serve"]
    assert "The INT8 step" in (tmp_path / "artifacts" / "photographs" / "report.html").read_text()
    bundle = tmp_path / "artifacts" / "photographs" / "bundle"
    models = {path.name for path in bundle.glob("model*") if path.suffix != ".config"}
    assert models == {"model.onnx", "model.int8.onnx", "model.uint8.onnx", "model.ort"}
    card = (bundle / "MODEL_CARD.md").read_text()
    assert "- **Model**: CC-BY-4.0" in card
    assert re.search(r"\| model\.onnx \| \d", card)  # the measured accuracy of this very file


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_as_documented(shell: str) -> None:
    assert f"{shell}_source" in PAGE.read_text("utf-8")
    code = "import sys; sys.argv = ['kdtool']; from kdtool.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, timeout=60, env={**os.environ, "_KDTOOL_COMPLETE": f"{shell}_source"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "_kdtool_completion" in done.stdout
