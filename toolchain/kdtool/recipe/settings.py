"""A recipe: one TOML file that says everything about a teacher–student system.

Sections and keys are a contract; the defaults here are the paper's figures, and what the paper
leaves open (temperature, weights, learning rates, batch size) is marked in `models/paper.toml`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from kdtool.core.errors import UsageError
from kdtool.recipe.choices import (
    IMAGENET,
    MOST_SAMPLES,
    MOST_THREADS,
    SCRATCH,
    Cache,
    Calibration,
    Int8Target,
    Precision,
)
from kdtool.results.claim import Bound, parse_claim, usual_claim

Fraction = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Rate = Annotated[float, Field(gt=0, le=1e6)]
Count = Annotated[int, Field(ge=1)]
NAME_BYTES = 100  # folders are called by a recipe's name, and file systems take 255 bytes
VIEWS = 16  # of each picture, where nothing else is said (decision 0021)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataSettings(_Section):
    """Which pixels the networks see, and how a folder without splits is split."""

    size: int = Field(224, ge=8, le=2048, description="side of the square input, pixels")
    resize: int = Field(0, ge=0, le=4096, description="shortest side before the centre crop; 0 means `size`")
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    validation_fraction: Fraction = 0.15
    test_fraction: Fraction = 0.15
    skip_bad: bool = Field(False, description="leave unreadable images out instead of stopping")
    allow_leaks: bool = Field(False, description="accept the same picture in two splits")
    cache: Cache = Field(
        Cache.AUTO, description="where decoded training pictures are kept; auto: on disk if they fit there"
    )

    @model_validator(mode="after")
    def _consistent(self) -> DataSettings:
        if self.resize and self.resize < self.size:
            raise ValueError(f"resize is {self.resize}, allowed is {self.size} (size) or more")
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction + test_fraction leave nothing to train on")
        return self


class AugmentSettings(_Section):
    """What training changes in a picture; the defaults change nothing. Teacher and student see the same.

    Without any of it every epoch shows the picture as prepared.
    """

    crop: float = Field(1.0, gt=0, le=1, description="share of the area that a crop keeps, at least; 1: none")
    flip: bool = Field(False, description="mirror every second picture, left to right")
    randaugment: int = Field(0, ge=0, le=10, description="RandAugment's operations a picture; 0: none")
    magnitude: int = Field(9, ge=0, le=30, description="RandAugment's strength")
    mixup: float = Field(0.0, ge=0, le=10, description="α of mixup's Beta(α, α); 0: none")
    cutmix: float = Field(0.0, ge=0, le=10, description="α of cutmix's Beta(α, α); 0: none")

    @property
    def active(self) -> bool:
        """Whether epochs differ in their pixels."""
        return self.crop < 1 or self.flip or self.mixes or self.randaugment > 0

    @property
    def mixes(self) -> bool:
        """Whether two pictures become one, with two labels."""
        return self.mixup > 0 or self.cutmix > 0


class NetworkSettings(_Section):
    """How one network is built and trained. `patience` 0 never stops early."""

    arch: str
    weights: str = Field(SCRATCH, description="imagenet, none (from scratch) or a file")
    epochs: Count
    patience: int = Field(0, ge=0, description="epochs without a better validation accuracy, at most")
    lr: Rate
    batch_size: int = Field(32, ge=2, description="batch normalization is undefined on one image")
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    schedule: Literal["constant", "cosine"] = Field("constant", description="cosine falls to 0 over `epochs`")
    warmup_epochs: int = Field(0, ge=0, description="epochs over which the learning rate rises to `lr`")
    ema: float = Field(0.0, ge=0, lt=1, description="decay of the averaged weights that are kept; 0: none")
    precision: Precision = Field(
        Precision.FLOAT32, description="in training; where it is left open, bfloat16 if the processor has it"
    )
    compile: bool = Field(False, description="translate the network by torch.compile before training")
    augment: AugmentSettings = AugmentSettings()

    @property
    def seen_views(self) -> int:
        """How many views of a picture training sees: epoch e sees view e modulo this."""
        return self.epochs if self.augment.active else 1

    @field_validator("weights", "trained", check_fields=False)
    @classmethod
    def _absolute(cls, value: str, info: ValidationInfo) -> str:
        """A file is recorded by its absolute path, so that the same run goes on from any folder."""
        is_word = info.field_name == "weights" and value in (IMAGENET, SCRATCH)
        return str(Path(value).resolve()) if value and not is_word and Path(value).is_file() else value


class TeacherSettings(NetworkSettings):
    arch: str = "resnet34"
    weights: str = IMAGENET
    epochs: Count = 20
    lr: Rate = 1e-4
    trained: str = Field("", description="a trained teacher's model.safetensors, instead of training one")


class _TermSettings(BaseModel):
    """One term of the student's loss, which may warm up; further keys are the parameters of its loss."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    name: str
    weight: float
    warmup_epochs: int = Field(0, ge=0)

    @property
    def params(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class LossSettings(_TermSettings):
    """`ce_weight · CE(s, y) + weight · warm(epoch) · loss(s, t, y)`."""

    name: str = "kd"
    weight: float = Field(0.5, ge=0)
    ce_weight: float = Field(0.5, ge=0)


class FeatureSettings(_TermSettings):
    """A loss on what lies between input and logits, added to `student.loss`.

    `stages` are names of modules, such as "layer3" or "blocks.11", paired in order; empty: the loss's
    choice.
    """

    name: str = Field("", description="none where empty")
    weight: float = Field(1.0, ge=0)
    student_stages: tuple[str, ...] = ()
    teacher_stages: tuple[str, ...] = ()


class StudentSettings(NetworkSettings):
    arch: str = "resnet18"
    epochs: Count = 60
    patience: int = Field(10, ge=0)
    lr: Rate = 1e-3
    views: int = Field(
        0, ge=0, description=f"augmented views of each picture; 0: {VIEWS}, or with features one an epoch"
    )
    answers: Literal["float32", "float16"] = Field(
        "float32", description="how the teacher's answers are stored; float16 is half the size"
    )
    loss: LossSettings = LossSettings()
    features: FeatureSettings = FeatureSettings()

    @property
    def seen_views(self) -> int:
        """No more than `views`, each of which the teacher answers once.

        By default their number does not depend on that of the epochs, so that a longer training begins
        as a shorter one. A loss on features asks the teacher in each epoch all the same.
        """
        most = self.views or (self.epochs if self.features.name else VIEWS)
        return min(most, super().seen_views)


class ExportSettings(_Section):
    opset: int = Field(18, ge=17, le=23, description="of the standard operators; 17 loads in old runtimes")
    fixed_batch: bool = Field(False, description="a batch of one, written into the graph")
    uint8: bool = Field(False, description="also write a model that takes pixels and normalizes them itself")
    ort: bool = Field(False, description="also write ONNX Runtime's format for phones")
    tolerance: Positive = Field(1e-4, description="largest |Δlogit| between torch and ONNX Runtime")


class QuantizeSettings(_Section):
    target: Int8Target = Field(Int8Target.AUTO, description="the processor that will run the model")
    calibration: Calibration = Field(
        Calibration.MINMAX, description="the method that chooses the range of an activation"
    )
    calibration_images: Count = 256
    reduce_range: bool | Literal["auto"] = "auto"
    max_drop: float = Field(1.0, ge=0, le=100, description="largest loss of validation accuracy, points")
    float_layers: int = Field(
        3, ge=0, le=16, description="layers that may stay float, at most, where the loss is too large else"
    )
    finetune: int = Field(
        0, ge=0, le=100, description="epochs of fine-tuning for INT8, where the loss is too large else"
    )
    finetune_lr: Rate = 1e-4
    search: bool = Field(False, description="try the sensible models and keep the fastest within max_drop")

    @model_validator(mode="after")
    def _search_chooses_the_calibration(self) -> QuantizeSettings:
        if self.search and self.calibration != Calibration.MINMAX:
            hint = (
                "Without a search: kdtool quantize --no-search (or --set quantize.search=false); "
                "with it: --calibration minmax"
            )
            raise PydanticCustomError(
                "conflict",
                "search tries every calibration, so calibration {calibration} would be ignored: "
                "leave it at minmax, or do not search",
                {"calibration": self.calibration, "hint": hint},
            )
        return self


class BenchSettings(_Section):
    threads: int = Field(0, ge=0, le=MOST_THREADS, description="0: every processor this process may use")
    runtimes: tuple[str, ...] = Field(("onnxruntime",), min_length=1, description="what runs the models")
    single_thread: bool = Field(True, description="measure with one thread as well")
    warmup: Count = 10  # at least; it goes on until times are steady
    runs: Annotated[int, Field(ge=64, le=MOST_SAMPLES)] = 100  # a p90 wants at least 64, a p99 662
    seconds: float = Field(2.0, ge=0, le=3600, description="each series of samples takes at least this long")
    batch: int = Field(8, ge=0, le=1024, description="images at a time for throughput; 0: not measured")
    batches: Annotated[int, Field(ge=6, le=MOST_SAMPLES)] = 20  # the median of fewer has no interval
    cold_starts: int = Field(3, ge=0, le=100, description="processes a model for cold start and memory")
    max_compute: Positive = Field(0.50, description="student MACs / teacher MACs, at most")
    min_retention: Positive = Field(0.94, description="student accuracy / teacher accuracy, at least")
    claim: str = Field("", description="bounds such as 'size<=0.3,drop<=1', instead of the two above")
    judged: str = Field("student", description="the model that the claim is about")
    reference: str = Field("teacher", description="the model that it is held against")
    resamples: Annotated[int, Field(ge=1000)] = 10_000

    @field_validator("claim")
    @classmethod
    def _has_bounds(cls, value: str) -> str:
        try:
            return ",".join(map(str, parse_claim(value))) if value else value
        except UsageError as error:
            raise ValueError(error.message) from error

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """What is claimed."""
        return parse_claim(self.claim) if self.claim else usual_claim(self.min_retention, self.max_compute)


class Recipe(_Section):
    """A whole recipe; `name` is that of its file."""

    name: str = Field(pattern=r"^\w[\w .-]*$", description="also that of the run's folder")
    title: str = ""
    data: DataSettings = DataSettings()
    teacher: TeacherSettings = TeacherSettings()
    student: StudentSettings = StudentSettings()
    export: ExportSettings = ExportSettings()
    quantize: QuantizeSettings = QuantizeSettings()
    bench: BenchSettings = BenchSettings()

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, value: str) -> str:
        if len(value.encode()) > NAME_BYTES:
            raise ValueError(f"{len(value.encode())} bytes long, allowed are {NAME_BYTES}")
        return value

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    def without_precision(self) -> list[str]:
        """The networks whose precision the recipe leaves to the machine."""
        networks = {"teacher": self.teacher, "student": self.student}
        return [name for name, settings in networks.items() if "precision" not in settings.model_fields_set]


def section_of(role: str) -> str:
    """The section that a network is described in; a baseline has the student's."""
    return "teacher" if role == "teacher" else "student"
