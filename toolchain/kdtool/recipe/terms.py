"""Terms of the student's loss in a recipe: the sections student.loss and student.features."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class _TermSettings(BaseModel):
    """One term of the student's loss, which may warm up; further keys are parameters of the loss."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    name: str
    weight: float
    warmup_epochs: int = Field(0, ge=0)

    @property
    def params(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class LossSettings(_TermSettings):
    """Loss on labels and logits: `ce_weight · CE(s, y) + weight · warm(epoch) · loss(s, t, y)`."""

    name: str = "kd"
    weight: float = Field(0.5, ge=0)
    ce_weight: float = Field(0.5, ge=0)


class FeatureSettings(_TermSettings):
    """Feature loss, added to `student.loss`.

    `student_stages` and `teacher_stages` are names of modules, such as "layer3" or "blocks.11", which form
    pairs in this order. If they are empty, the loss chooses.
    """

    name: str = Field("", description="name of the feature loss; empty: none")
    weight: float = Field(1.0, ge=0)
    student_stages: tuple[str, ...] = ()
    teacher_stages: tuple[str, ...] = ()
