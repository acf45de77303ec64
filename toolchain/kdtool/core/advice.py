"""What is known to go wrong together, in words; said in training and by doctor."""

from __future__ import annotations

LOW_TEMPERATURE = 2.0


def smoothed_teacher(label_smoothing: float, temperature: float) -> str | None:
    """Advice where a teacher trained with label smoothing meets a temperature above 2, else None.

    Smoothing erases the relations between classes that a high temperature brings out (Müller et al.
    2019, arXiv:1906.02629; Chandrasegaran et al. 2022, arXiv:2206.14532).
    """
    if not label_smoothing or temperature <= LOW_TEMPERATURE:
        return None
    return (
        f"The teacher was trained with label smoothing {label_smoothing:g} and the temperature is "
        f"{temperature:g}: a smoothed teacher has lost the relations between classes that a high temperature "
        "looks for. "
        "Try --set student.loss.temperature=1."
    )
