"""Which stages of student and teacher a feature loss compares."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt

from kdtool.core.featurestage import FeatureStage
from kdtool.losses.arguments import ArgumentError

Pairs = list[tuple[FeatureStage, FeatureStage]]  # (student's, teacher's), in the order of the forward
Shapes = Sequence[tuple[int, ...]]  # one a stage: (C, H, W) or (N, D)

FIRST_REDUCTION = 4  # the stem before it sees little but edges


def common_maps(student: Sequence[FeatureStage], teacher: Sequence[FeatureStage]) -> Pairs:
    """The stages whose maps have equal sides, from a quarter of the input on.

    Raises:
        ArgumentError: there is none, or a network has no feature maps.
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
            ": after the stem, student and teacher have no feature maps of one size; the student's: "
            f"{_listed(student)}; the teacher's: {_listed(teacher)}.",
            "Name the stages to pair, in student_stages and teacher_stages:",
            'student_stages=["…"]',
        )
    return pairs


def require_maps(student_shapes: Shapes, teacher_shapes: Shapes) -> None:
    """Raise ArgumentError where a stage is no feature map."""
    for role, shapes in (("student", student_shapes), ("teacher", teacher_shapes)):
        if any(len(shape) != 3 for shape in shapes):
            raise ArgumentError(
                "",
                f": this loss compares feature maps; the {role} is a vision transformer.",
                "For two vision transformers:",
                "name=vitkd",
            )


def require_patches(student_shapes: Shapes, teacher_shapes: Shapes) -> None:
    """Raise ArgumentError unless all stages are patch tokens of one square grid."""
    for role, shapes in (("student", student_shapes), ("teacher", teacher_shapes)):
        if any(len(shape) != 2 for shape in shapes):
            raise ArgumentError(
                "",
                f": this loss compares patch tokens; the {role} is no vision transformer.",
                "For CNNs:",
                "name=reviewkd",
            )
    patches = {shape[0] for shape in (*student_shapes, *teacher_shapes)}
    if len(patches) > 1 or isqrt(min(patches)) ** 2 != min(patches):
        raise ArgumentError(
            "",
            ": this loss compares patch by patch; the student has "
            f"{student_shapes[0][0]} patches, the teacher {teacher_shapes[0][0]}; allowed: as many, n × n.",
            "Choose two networks with patches of one size, such as …_patch16_… for both.",
        )


def select(stages: Sequence[FeatureStage], names: Sequence[str], field: str) -> list[FeatureStage]:
    """The stages of these names.

    Raises:
        ArgumentError: a name is none of them; `field` is the argument's name, such as "student_stages".
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
