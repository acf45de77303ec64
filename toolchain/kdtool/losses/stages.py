"""Pairs of stages of student and teacher that a feature loss compares."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt

from kdtool.core.featurestage import FeatureStage
from kdtool.losses.arguments import ArgumentError

Pairs = list[tuple[FeatureStage, FeatureStage]]  # (student, teacher), in the order of the forward pass
Shapes = Sequence[tuple[int, ...]]  # one for each stage: (C, H, W) or (N, D)

FIRST_REDUCTION = 4  # the stem before this stage sees little more than edges


def common_maps(student: Sequence[FeatureStage], teacher: Sequence[FeatureStage]) -> Pairs:
    """Pair the stages whose maps have equal sides, at most a quarter of the input's side.

    Raises:
        ArgumentError: there is no such pair, or a network has no feature maps.
    """
    require_maps([stage.shape for stage in student], [stage.shape for stage in teacher])
    sides = {stage.shape[1:]: stage for stage in teacher}
    pairs = [
        (stage, sides[stage.shape[1:]])
        for stage in student
        if stage.shape[1:] in sides and stage.reduction >= FIRST_REDUCTION
    ]
    if not pairs:
        raise ArgumentError(
            "",
            ": after the stem, student and teacher have no feature maps of the same size; the student has "
            f"{_listed(student)}; the teacher has {_listed(teacher)}.",
            "Name the stages to pair, in student_stages and teacher_stages:",
            'student_stages=["…"]',
        )
    return pairs


def require_maps(student_shapes: Shapes, teacher_shapes: Shapes) -> None:
    """Raise ArgumentError if a stage is not a feature map."""
    for role, shapes in (("student", student_shapes), ("teacher", teacher_shapes)):
        if any(len(shape) != 3 for shape in shapes):
            raise ArgumentError(
                "",
                f": this loss compares feature maps; the {role} is a vision transformer.",
                "For two vision transformers:",
                "name=vitkd",
            )


def require_patches(student_shapes: Shapes, teacher_shapes: Shapes) -> None:
    """Raise ArgumentError unless all stages are patch tokens on the same square grid."""
    for role, shapes in (("student", student_shapes), ("teacher", teacher_shapes)):
        if any(len(shape) != 2 for shape in shapes):
            raise ArgumentError(
                "",
                f": this loss compares patch tokens; the {role} is not a vision transformer.",
                "For CNNs:",
                "name=reviewkd",
            )
    patches = {shape[0] for shape in (*student_shapes, *teacher_shapes)}
    if len(patches) > 1 or isqrt(min(patches)) ** 2 != min(patches):
        raise ArgumentError(
            "",
            ": this loss compares patch by patch; the student has "
            f"{student_shapes[0][0]} patches, the teacher {teacher_shapes[0][0]}; "
            "allowed: the same number, n × n.",
            "Choose two networks with patches of the same size, such as …_patch16_… for both.",
        )


def select(stages: Sequence[FeatureStage], names: Sequence[str], field: str) -> list[FeatureStage]:
    """Return the stages with these names, in this order.

    Args:
        field: name of the argument for the message, such as "student_stages".

    Raises:
        ArgumentError: no stage has one of the names.
    """
    known = {stage.name: stage for stage in stages}
    for name in names:
        if name not in known:
            raise ArgumentError(
                field,
                f": no stage is called {name!r}; allowed: {', '.join(known)}.",
                "Example:",
                f'{field}=["{stages[-1].name}"]',
            )
    return [known[name] for name in names]


def _listed(stages: Sequence[FeatureStage]) -> str:
    return ", ".join(f"{stage.name} {'×'.join(map(str, stage.shape[1:]))}" for stage in stages)
