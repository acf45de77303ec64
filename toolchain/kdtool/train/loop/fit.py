"""The training loop: one, for teacher, student and baseline."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

import torch
from accelerate import Accelerator
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from kdtool.core.errors import GateError, Interrupted
from kdtool.core.screen import Bar, Screen
from kdtool.recipe.settings import NetworkSettings, section_of
from kdtool.train.loop.checkpoint import Checkpoints, Progress, TrainingState
from kdtool.train.loop.compiling import compiled
from kdtool.train.loop.evaluate import Evaluation, evaluate
from kdtool.train.loop.objective import Objective, combined, whole_output
from kdtool.train.loop.optimizer import build_optimizer, learning_rate
from kdtool.train.loop.signals import StopAsked, graceful_stop
from kdtool.train.loop.smallmaps import speed_up_small_maps
from kdtool.train.together.processes import Processes, processes
from kdtool.train.views.batch import Task
from kdtool.train.views.order import batches, reseed

CHECKPOINT_SECONDS = 60.0
DURABILITY_SHARE = 0.01  # of the time, that checkpoints may take


def fit(
    title: str,
    network: nn.Module,
    tasks: Mapping[str, Task],
    objectives: Mapping[str, Objective],
    settings: NetworkSettings,
    seed: int,
    checkpoints: Checkpoints,
    screen: Screen,
) -> tuple[Mapping[str, Tensor], Progress]:
    """Train; keep the weights of the best validation accuracy (the earliest of equals).

    Stops after `settings.epochs`, or when `settings.patience` epochs brought no better validation
    accuracy. Goes on from the newest checkpoint: the result is the same, to the bit, as without
    the interruption. With `settings.ema` d, what is validated and kept is the average a of the weights w,
    a ← d_n a + (1 − d_n) w after step n with d_n = min(d, 1 − n^(−2/3)): timm's `ModelEmaV3`, whose rise
    lets a short training forget where it began.

    Several processes share each batch; loss and gradients are those of the whole batch in all of them.

    Args:
        tasks, objectives: of the splits train and validation. What the training objective has of
            parameters trains along, and is not returned.

    Returns:
        The best weights, and the progress with one row an epoch.

    Raises:
        GateError: loss or gradients are not finite; nothing of that step was applied.
        Interrupted: SIGTERM or Ctrl-C; a checkpoint holds everything up to the last step.
    """
    team, accelerator = processes(), Accelerator(cpu=processes().device.type == "cpu")
    device, objective = accelerator.device, objectives["train"].to(accelerator.device)
    network = network.to(device).to(memory_format=torch.channels_last)
    speed_up_small_maps(network)
    average = ModelEmaV3(network, decay=settings.ema, use_warmup=True).to(device) if settings.ema else None
    optimizer = build_optimizer(settings, network, objective)
    optimizer = accelerator.prepare(optimizer)
    state = TrainingState(network, objective, average, optimizer)
    team.begin_alike(value for module in state.modules().values() for value in module.state_dict().values())
    checkpoints.load(state)
    progress = state.progress
    if progress.rows or progress.step:
        screen.say(f"{title}: resuming in epoch {progress.epoch + 1}, step {progress.step + 1}.")
    samples = len(tasks["train"].split.labels)
    steps_per_epoch = len(batches(samples, settings.batch_size, seed, 0))
    saved, interval = time.monotonic(), CHECKPOINT_SECONDS
    half = settings.precision == "bfloat16"
    forward = compiled(network) if settings.compile else network

    with graceful_stop() as stop, screen.bar(title, settings.epochs * steps_per_epoch) as bar:
        bar.advance(progress.epoch * steps_per_epoch + progress.step)
        while progress.epoch < settings.epochs and not _patience_is_over(progress, settings):
            order = batches(samples, settings.batch_size, seed, progress.epoch)
            network.train()
            objective.train()
            while progress.step < len(order):
                started = time.perf_counter()
                batch = tasks["train"].shared_batch(order[progress.step], progress.epoch, device, team)
                for following in order[progress.step + 1 : progress.step + 2]:
                    tasks["train"].expect(following, progress.epoch, team)
                reseed(seed, progress.epoch, progress.step, team.rank)
                with team.as_one_batch(), torch.autocast(device.type, torch.bfloat16, enabled=half):
                    output = forward(batch.images)
                output = whole_output(output, batch)
                with team.as_one_batch():
                    loss = objective(output, batch)
                optimizer.zero_grad()
                accelerator.backward(loss)
                team.add_gradients(value for owner in (network, objective) for value in owner.parameters())
                norm = gradient_norm(optimizer)
                if not (math.isfinite(loss.item()) and math.isfinite(norm)):
                    shown = ", ".join(tasks["train"].split.paths[index] for index in batch.indices[:5])
                    what = (
                        f"loss {loss.item()}, gradient norm {norm} in epoch {progress.epoch + 1}, step "
                        f"{progress.step + 1}; the step was not applied. Its images: {shown}, … "
                        f"({len(batch.indices)} in all)."
                    )
                    raise team.alike(_diverged(title, settings, what))
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(settings, progress.epoch + (progress.step + 0.5) / len(order))
                optimizer.step()
                _count(progress, loss, combined(output), batch.target, time.perf_counter() - started)
                if average is not None:
                    average.update(network, progress.epoch * steps_per_epoch + progress.step)
                _show(bar, progress, settings)
                waited = time.monotonic() - saved > interval
                asked, due = team.any(stop.signal_number, waited)  # read once: what is raised is saved
                if asked or due:
                    begun = time.monotonic()
                    team.once(lambda: checkpoints.save(state))
                    saved = time.monotonic()
                    interval = checkpoint_interval(saved - begun)
                _leave_if(asked, title, progress, team)
            kept = network if average is None else average.module
            try:
                result = evaluate(kept, tasks["validation"], objectives["validation"], device, stop)
            except StopAsked:
                break  # every step is done; validation is the first that the next process does
            if not math.isfinite(result.loss):
                what = f"validation loss {result.loss} after epoch {progress.epoch + 1}."
                raise team.alike(_diverged(title, settings, what))
            _close_epoch(progress, result, settings)
            if progress.best_epoch == len(progress.rows) - 1:
                state.best = {name: value.detach().clone() for name, value in kept.state_dict().items()}
            screen.say(epoch_line(title, progress, settings.epochs))
            if team.any(stop.signal_number)[0]:
                break
        team.once(lambda: checkpoints.save(state))  # from here the run can be extended
        (asked,) = team.any(stop.signal_number)
        _leave_if(asked, title, progress, team)
    return state.best, progress


def checkpoint_interval(seconds: float) -> float:
    """Seconds until the next checkpoint, one having taken `seconds`: a minute, or more on a slow disk."""
    return max(CHECKPOINT_SECONDS, seconds / DURABILITY_SHARE) if CHECKPOINT_SECONDS else 0.0


def gradient_norm(optimizer: torch.optim.Optimizer) -> float:
    """‖g‖₂ over all gradients; not finite where any of them is not."""
    parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
    return torch.nn.utils.get_total_norm([one.grad for one in parameters if one.grad is not None]).item()


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
            "lr": learning_rate(settings, progress.epoch + 0.5),
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


def _diverged(title: str, settings: NetworkSettings, what: str) -> GateError:
    return GateError(
        f"{title}: {what}",
        f"Lower the learning rate, such as --set {section_of(title)}.lr={settings.lr / 10:g}, in a new "
        "--out; if it is not that, look at these images and at the weights it started from.",
    )


def _leave_if(asked: int, title: str, progress: Progress, team: Processes) -> None:
    if asked:
        where = f"in epoch {progress.epoch + 1} after step {progress.step}"
        message = f"{title}: stopped {where}; the state is saved."
        raise team.alike(Interrupted(asked, message, "The same command goes on from here."))
