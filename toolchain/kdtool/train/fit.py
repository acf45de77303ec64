"""The training loop: one, for teacher, student and baseline."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from kdtool.core.errors import GateError, Interrupted
from kdtool.core.preprocess import Preprocess
from kdtool.core.recipe import NetworkSettings
from kdtool.core.screen import Bar, Screen
from kdtool.data.reader import Split
from kdtool.train.checkpoint import Checkpoints, Progress
from kdtool.train.order import Indices, batches, reseed
from kdtool.train.signals import graceful_stop

CHECKPOINT_SECONDS = 60.0
EVALUATION_BATCH = 64

FINAL = 1 << 30  # the epoch of an objective that no longer warms up, as validation wants it

# (logits (B, K), target (B,), indices of the batch in its split, epoch from 0) → loss, mean over B
Objective = Callable[[Tensor, Tensor, Indices, int], Tensor]


@dataclass(frozen=True)
class Task:
    """One split with the objective on it; `preprocess` is the one of the network that sees it."""

    split: Split
    objective: Objective
    preprocess: Preprocess

    def images(self, indices: Indices | slice, device: torch.device) -> Tensor:
        """The normalized input of some images: (B, 3, S, S) float32, channels last in memory."""
        return to_input(self.split.images[indices], self.preprocess, device)


@dataclass(frozen=True)
class Evaluation:
    """Mean loss, top-1 (0 to 1) and the logits (N, K) of a network over a split."""

    loss: float
    accuracy: float
    logits: npt.NDArray[np.float32]


def to_input(pixels: npt.NDArray[np.uint8], preprocess: Preprocess, device: torch.device) -> Tensor:
    """`Preprocess.normalize` on the device: (B, S, S, 3) uint8 → (B, 3, S, S), the same float32 values."""
    images = torch.from_numpy(np.array(pixels)).to(device).float().div_(255)
    mean, std = (torch.tensor(values, device=device) for values in (preprocess.mean, preprocess.std))
    return images.sub_(mean).div_(std).permute(0, 3, 1, 2)  # NHWC in memory is channels last


@torch.no_grad()
def evaluate(network: nn.Module, task: Task, device: torch.device) -> Evaluation:
    """Run `network` in eval mode over the split, in order; its mode is put back afterwards."""
    training = network.training
    network.eval()
    labels = torch.from_numpy(np.array(task.split.labels))
    logits, loss_sum = [], 0.0
    for start in range(0, len(labels), EVALUATION_BATCH):
        indices = np.arange(start, min(start + EVALUATION_BATCH, len(labels)))
        output = network(task.images(indices, device))
        loss_sum += task.objective(output, labels[indices].to(device), indices, FINAL).item() * len(indices)
        logits.append(output.float().cpu())
    network.train(training)
    answers = torch.cat(logits)
    accuracy = (answers.argmax(1) == labels).double().mean().item()
    return Evaluation(loss_sum / len(labels), accuracy, answers.numpy())


def fit(
    title: str,
    network: nn.Module,
    train: Task,
    validation: Task,
    settings: NetworkSettings,
    seed: int,
    checkpoints: Checkpoints,
    screen: Screen,
) -> tuple[Mapping[str, Tensor], Progress]:
    """Train with Adam; keep the weights of the best validation accuracy (the earliest of equals).

    Stops after `settings.epochs`, or when `settings.patience` epochs brought no better validation
    accuracy. Goes on from the newest checkpoint: the result is the same, to the bit, as without
    the interruption.

    Returns:
        The best weights, and the progress with one row an epoch.

    Raises:
        GateError: loss or gradients are not finite; nothing of that step was applied.
        Interrupted: SIGTERM or Ctrl-C; a checkpoint holds everything up to the last step.
    """
    accelerator = Accelerator()
    network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    network, optimizer = accelerator.prepare(network, optimizer)
    progress, best = checkpoints.load(network, optimizer) or (Progress(), {})
    if progress.rows or progress.step:
        screen.say(f"{title}: resuming in epoch {progress.epoch + 1}, step {progress.step + 1}.")
    samples = len(train.split.labels)
    steps_per_epoch = len(batches(samples, settings.batch_size, seed, 0))
    saved = time.monotonic()

    with graceful_stop() as stop, screen.bar(title, settings.epochs * steps_per_epoch) as bar:
        bar.advance(progress.epoch * steps_per_epoch + progress.step)
        while progress.epoch < settings.epochs and not _patience_is_over(progress, settings):
            order = batches(samples, settings.batch_size, seed, progress.epoch)
            network.train()
            while progress.step < len(order):
                started = time.perf_counter()
                indices = order[progress.step]
                reseed(seed, progress.epoch, progress.step)
                target = torch.from_numpy(train.split.labels[indices]).to(accelerator.device)
                logits = network(train.images(indices, accelerator.device))
                loss = train.objective(logits, target, indices, progress.epoch)
                optimizer.zero_grad()
                accelerator.backward(loss)
                _require_finite(title, settings, loss, network, progress, train.split, indices)
                optimizer.step()
                _count(progress, loss, logits, target, time.perf_counter() - started)
                _show(bar, progress, settings)
                asked = stop.signal_number  # read once: what is raised below has been saved
                if asked or time.monotonic() - saved > CHECKPOINT_SECONDS:
                    checkpoints.save(progress, network, optimizer, best)
                    saved = time.monotonic()
                _leave_if(asked, title, progress)
            result = evaluate(network, validation, accelerator.device)
            if not math.isfinite(result.loss):
                raise GateError(
                    f"{title}: validation loss {result.loss} after epoch {progress.epoch + 1}.",
                    _calmer(title, settings),
                )
            _close_epoch(progress, result, settings)
            if progress.best_epoch == len(progress.rows) - 1:
                best = {name: value.detach().clone() for name, value in network.state_dict().items()}
            screen.say(epoch_line(title, progress, settings.epochs))
            if stop.signal_number:
                break
        asked = stop.signal_number
        checkpoints.save(progress, network, optimizer, best)  # from here the run can be extended
        _leave_if(asked, title, progress)
    return best, progress


def objective_ce(label_smoothing: float) -> Objective:
    """Cross-entropy with targets (1 − ε)·onehot + ε/K (Szegedy et al. 2016, arXiv:1512.00567)."""

    def objective(
        logits: Tensor,
        target: Tensor,
        indices: Indices,  # noqa: ARG001 (an Objective's arguments)
        epoch: int,  # noqa: ARG001
    ) -> Tensor:
        return F.cross_entropy(logits.float(), target, label_smoothing=label_smoothing)

    return objective


def epoch_line(title: str, progress: Progress, epochs: int) -> str:
    """One line on the epoch just closed."""
    row = progress.rows[-1]
    seconds_left = (epochs - progress.epoch) * row["seconds"]
    star = " *" if progress.best_epoch == len(progress.rows) - 1 else ""
    return (
        f"{title} epoch {progress.epoch}/{epochs}  "
        f"loss {row['train_loss']:.4f}  accuracy {row['train_accuracy']:6.2%}  "
        f"validation loss {row['validation_loss']:.4f}  accuracy {row['validation_accuracy']:6.2%}  "
        f"{row['images_per_second']:.0f} images/s  {clock(seconds_left)} left{star}"
    )


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _patience_is_over(progress: Progress, settings: NetworkSettings) -> bool:
    return 0 < settings.patience <= len(progress.rows) - 1 - progress.best_epoch


def _require_finite(
    title: str,
    settings: NetworkSettings,
    loss: Tensor,
    network: nn.Module,
    progress: Progress,
    split: Split,
    indices: Indices,
) -> None:
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    if math.isfinite(loss.item()) and math.isfinite(norm.item()):
        return
    shown = ", ".join(split.paths[index] for index in indices[:5])
    raise GateError(
        f"{title}: loss {loss.item()}, gradient norm {norm.item()} in epoch {progress.epoch + 1}, step "
        f"{progress.step + 1}; the step was not applied. Its images: {shown}, … ({len(indices)} in all).",
        _calmer(title, settings),
    )


def _count(progress: Progress, loss: Tensor, logits: Tensor, target: Tensor, seconds: float) -> None:
    progress.step += 1
    progress.loss_sum += loss.item() * len(target)
    progress.correct += int((logits.detach().argmax(1) == target).sum().item())
    progress.seen += len(target)
    progress.seconds += seconds


def _close_epoch(progress: Progress, result: Evaluation, settings: NetworkSettings) -> None:
    """Turn the counts into a row of the history and start the next epoch."""
    progress.rows.append(
        {
            "epoch": progress.epoch + 1,
            "train_loss": progress.loss_sum / progress.seen,
            "train_accuracy": progress.correct / progress.seen,
            "validation_loss": result.loss,
            "validation_accuracy": result.accuracy,
            "lr": settings.lr,
            "images_per_second": progress.seen / progress.seconds,
            "seconds": progress.seconds,
        }
    )
    before = progress.rows[progress.best_epoch]["validation_accuracy"] if progress.best_epoch >= 0 else -1.0
    if result.accuracy > before:
        progress.best_epoch = len(progress.rows) - 1
    progress.epoch += 1
    progress.step, progress.seen, progress.correct = 0, 0, 0
    progress.loss_sum, progress.seconds = 0.0, 0.0


def _show(bar: Bar, progress: Progress, settings: NetworkSettings) -> None:
    bar.advance(
        note=f"epoch {progress.epoch + 1}/{settings.epochs}  loss {progress.loss_sum / progress.seen:.3f}  "
        f"accuracy {progress.correct / progress.seen:.1%}  {progress.seen / progress.seconds:.0f} images/s"
    )


def _calmer(title: str, settings: NetworkSettings) -> str:
    """What to do about a training that diverged; teacher and student have their own section."""
    section = "teacher" if title == "teacher" else "student"
    return (
        f"Lower the learning rate, such as --set {section}.lr={settings.lr / 10:g}, in a new --out; if it is "
        "not that, look at these images and at the weights it started from."
    )


def _leave_if(asked: int, title: str, progress: Progress) -> None:
    if asked:
        raise Interrupted(
            asked,
            f"{title}: stopped in epoch {progress.epoch + 1} after step {progress.step}; the state is saved.",
            "The same command goes on from here.",
        )
