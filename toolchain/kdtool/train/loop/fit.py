"""The training loop for teacher, student and baseline."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

import torch
from accelerate import Accelerator
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from kdtool.core.errors import GateError, Interrupted
from kdtool.core.screen import Bar, Screen
from kdtool.train.loop.checkpoint import Checkpoints, Progress, TrainingState
from kdtool.train.loop.compiling import compiled
from kdtool.train.loop.criterion import Criterion, combined, whole_output
from kdtool.train.loop.evaluate import Evaluation, evaluate
from kdtool.train.loop.freezing import has_moving_statistics, training_mode
from kdtool.train.loop.optimizer import Optimization, build_optimizer
from kdtool.train.loop.signals import StopAsked, graceful_stop
from kdtool.train.loop.statistics import SHORT, raise_momentum, with_new_statistics
from kdtool.train.together.processes import Processes, processes
from kdtool.train.views.batches import Batches
from kdtool.train.views.order import reseed

CHECKPOINT_SECONDS = 60.0
DURABILITY_SHARE = 0.01  # largest share of the time that checkpoints may take


def fit(
    title: str,
    network: nn.Module,
    data: Mapping[str, Batches],
    criteria: Mapping[str, Criterion],
    optimization: Optimization,
    seed: int,
    checkpoints: Checkpoints,
    screen: Screen,
) -> tuple[Mapping[str, Tensor], Progress]:
    """Train a network and keep the weights of its best epoch.

    The best epoch is the one with the highest validation figure `optimization.selection` (the earliest of
    equal ones), or the last one. An epoch whose network is not sound (`kdtool.train.loop.evaluate`) is kept
    only if no epoch is sound.

    The training stops after `optimization.epochs`, or after `optimization.patience` epochs without a better
    validation accuracy. It resumes from the newest checkpoint; the result is equal, to the bit, to a training
    without interruption, if `data` gives the same batches again. With `optimization.ema` d, the average a of
    the weights w is validated and kept: after step n, a ← d_n a + (1 − d_n) w with
    d_n = min(d, 1 − n^(−2/3)). This is timm's `ModelEmaV3`; since d_n rises, even a short training forgets
    its initial weights. Statistics of batch normalization: see `kdtool.train.loop.statistics`.

    Several processes share each batch; loss and gradients are those of the whole batch in all of them.

    Args:
        title: name of the network in messages.
        network: images (B, 3, S, S) → logits (B, K); it is moved to the device and trained in place.
        data, criteria: batches and criterion of the splits train and validation. Parameters of the training
            criterion train together with the network and are not returned.
        seed: seed of the random numbers of the network in a step, such as dropout.

    Returns:
        The best weights, and the progress with one row for each epoch.

    Raises:
        GateError: loss or gradients are not finite; this step was not applied.
        Interrupted: SIGTERM or Ctrl-C; a checkpoint contains everything up to the last step.
    """
    team, accelerator = processes(), Accelerator(cpu=processes().device.type == "cpu")
    device, criterion = accelerator.device, criteria["train"].to(accelerator.device)
    network = network.to(device)
    ema = optimization.ema
    average = ModelEmaV3(network, decay=ema, use_warmup=True).to(device) if ema else None
    method = optimization.optimizer, optimization.lr, optimization.weight_decay
    optimizer = accelerator.prepare(build_optimizer(*method, network, criterion))
    state = TrainingState(network, criterion, average, optimizer)
    team.broadcast(value for module in state.modules().values() for value in module.state_dict().values())
    checkpoints.load(state)
    progress = state.progress
    if progress.rows or progress.step:
        screen.say(f"{title}: resuming in epoch {progress.epoch + 1}, step {progress.step + 1}.")
    steps, epochs = len(data["train"]), optimization.epochs
    saved, interval = time.monotonic(), CHECKPOINT_SECONDS
    moves = has_moving_statistics(network, optimization.freeze_norm)
    raise_momentum(network)
    half = optimization.precision == "bfloat16"
    forward = compiled(network) if optimization.compile else network

    with graceful_stop() as stop, screen.bar(title, epochs * steps) as bar:
        bar.advance(progress.epoch * steps + progress.step)
        while progress.epoch < epochs and not _patience_is_over(progress, optimization.patience):
            batches = data["train"].epoch(progress.epoch, progress.step, device, team)
            training_mode(network, optimization.freeze_norm)
            criterion.train()
            while progress.step < steps:
                started = time.perf_counter()
                batch = next(batches)
                reseed(seed, progress.epoch, progress.step, team.rank)
                with team.as_one_batch(), torch.autocast(device.type, torch.bfloat16, enabled=half):
                    output = forward(batch.images)
                output = whole_output(output, batch)
                with team.as_one_batch():
                    loss = criterion(output, batch)
                optimizer.zero_grad()
                accelerator.backward(loss)
                team.sum_gradients(value for module in (network, criterion) for value in module.parameters())
                hits = (combined(output).detach().argmax(1) == batch.target).sum()
                labelled = (batch.target >= 0).sum()
                value, norm, *counts = _read(loss, gradient_norm(optimizer), hits, labelled)
                if not (math.isfinite(value) and math.isfinite(norm)):
                    shown = ", ".join(data["train"].name(index) for index in batch.indices[:5])
                    problem = (
                        f"loss {value}, gradient norm {norm} in epoch {progress.epoch + 1}, step "
                        f"{progress.step + 1}; the step was not applied. The images of the step: {shown}, … "
                        f"({len(batch.indices)} in all)."
                    )
                    raise team.alike(_diverged(title, optimization.lr, problem))
                for group in optimizer.param_groups:
                    group["lr"] = optimization.learning_rate(progress.epoch + (progress.step + 0.5) / steps)
                optimizer.step()
                _count(progress, value, counts, len(batch.target), time.perf_counter() - started)
                if average is not None:
                    average.update(network, progress.epoch * steps + progress.step)
                _show(bar, progress, epochs)
                waited = time.monotonic() - saved > interval
                asked, due = team.largest(stop.signal_number, waited)  # read once, so that each stop is saved
                if asked or due:
                    started_saving = time.monotonic()
                    team.once(lambda: checkpoints.save(state))
                    saved = time.monotonic()
                    interval = checkpoint_interval(saved - started_saving)
                _raise_if(asked, title, progress, team)
            kept = network if average is None else average.module
            if moves and (average is not None or (progress.epoch + 1) * steps < SHORT):
                images = data["train"].epoch(progress.epoch, 0, device, team)
                kept = with_new_statistics(kept, images, team)
            try:
                result = evaluate(kept, data["validation"], criteria["validation"], device, stop)
            except StopAsked:
                break  # all steps are saved; the next start begins with the validation
            if not math.isfinite(result.loss):
                problem = f"validation loss {result.loss} after epoch {progress.epoch + 1}."
                raise team.alike(_diverged(title, optimization.lr, problem))
            lr = optimization.learning_rate(progress.epoch + 0.5)
            _close_epoch(progress, result, lr, optimization.selection)
            if progress.best_epoch == len(progress.rows) - 1:
                state.best = {name: value.detach().clone() for name, value in kept.state_dict().items()}
            screen.say(epoch_line(title, progress, epochs))
            if team.largest(stop.signal_number)[0]:
                break
        team.once(lambda: checkpoints.save(state))  # more epochs can start from here
        (asked,) = team.largest(stop.signal_number)
        _raise_if(asked, title, progress, team)
    return state.best, progress


def checkpoint_interval(seconds: float) -> float:
    """Seconds until the next checkpoint if the last one took `seconds`: a minute, or more on a slow disk."""
    return max(CHECKPOINT_SECONDS, seconds / DURABILITY_SHARE) if CHECKPOINT_SECONDS else 0.0


def gradient_norm(optimizer: torch.optim.Optimizer) -> Tensor:
    """Norm ‖g‖₂ over all gradients; not finite if any gradient is not finite."""
    parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
    return torch.nn.utils.get_total_norm([value.grad for value in parameters if value.grad is not None])


def epoch_line(title: str, progress: Progress, epochs: int) -> str:
    """Line for the screen about the last epoch."""
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
    """Format seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _patience_is_over(progress: Progress, patience: int) -> bool:
    return 0 < patience <= len(progress.rows) - 1 - progress.best_epoch


def _read(*figures: Tensor) -> tuple[float, ...]:
    """Read scalars from the device in one transfer; float32 is exact for counts below 2²⁴."""
    return tuple(torch.stack([figure.detach().float() for figure in figures]).tolist())


def _count(progress: Progress, loss: float, counts: Sequence[float], images: int, seconds: float) -> None:
    """Add a step; `counts` are the images that are right, and those with a label."""
    progress.step += 1
    progress.loss_sum += loss * images
    progress.correct += int(counts[0])
    progress.labelled += int(counts[1])
    progress.seen += images
    progress.seconds += seconds


def _close_epoch(progress: Progress, result: Evaluation, lr: float, selection: str) -> None:
    """Turn the counts into a row of the history and start the next epoch."""
    before = progress.rows[progress.best_epoch] if progress.best_epoch >= 0 else None
    progress.rows.append(
        {
            "epoch": progress.epoch + 1,
            "train_loss": progress.loss_sum / progress.seen,
            "train_accuracy": progress.correct / max(1, progress.labelled),
            "validation_loss": result.loss,
            "validation_accuracy": result.accuracy,
            "validation_balanced_accuracy": result.tally.balanced_accuracy,
            "validation_macro_f1": result.tally.macro_f1,
            "lr": lr,
            "images_per_second": progress.seen / progress.seconds,
            "seconds": progress.seconds,
        }
    )
    if before is None or _is_better(result, progress.sound, before, selection):
        progress.best_epoch, progress.sound = len(progress.rows) - 1, result.sound
    progress.epoch += 1
    progress.step, progress.seen, progress.correct, progress.labelled = 0, 0, 0, 0
    progress.loss_sum, progress.seconds = 0.0, 0.0


def _is_better(result: Evaluation, sound: bool, before: Mapping[str, float], selection: str) -> bool:
    """True if an epoch is better than the best one before; no epoch that is not sound beats one that is."""
    if result.sound != sound:
        return result.sound
    if selection == "last":
        return True
    figure: float = getattr(result.tally, selection)
    return figure > before[f"validation_{selection}"]


def _show(bar: Bar, progress: Progress, epochs: int) -> None:
    accuracy = progress.correct / max(1, progress.labelled)
    bar.advance(
        note=f"epoch {progress.epoch + 1}/{epochs}  loss {progress.loss_sum / progress.seen:.3f}  "
        f"accuracy {accuracy:.1%}  {progress.seen / progress.seconds:.0f} images/s"
    )


def _diverged(title: str, lr: float, problem: str) -> GateError:
    return GateError(
        f"{title}: {problem}",
        f"Lower the learning rate, such as from {lr:g} to {lr / 10:g}; if this does not help, check the "
        "images and the initial weights.",
    )


def _raise_if(asked: int, title: str, progress: Progress, team: Processes) -> None:
    if asked:
        where = f"in epoch {progress.epoch + 1} after step {progress.step}"
        message = f"{title}: stopped {where}; the state is saved."
        raise team.alike(Interrupted(asked, message, "Run the same command again to continue from here."))
