"""Sections and fields of a recipe: one TOML file that describes a whole teacher–student system.

Sections and keys are a contract. The defaults are the values of the paper; `models/paper.toml` marks the
values that the paper leaves open (temperature, weights, learning rates, batch size).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from kdtool.core.errors import UsageError
from kdtool.core.spelling import assigned
from kdtool.recipe.choices import (
    IMAGENET,
    MOST_SAMPLES,
    MOST_SESSIONS,
    MOST_THREADS,
    SCRATCH,
    Balance,
    Cache,
    Calibration,
    Int8Target,
    Precision,
    Selection,
    Trained,
)
from kdtool.recipe.terms import FeatureSettings, LossSettings
from kdtool.results.claim import Bound, parse_claim, usual_claim

Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Rate = Annotated[float, Field(gt=0, le=1e6)]
Count = Annotated[int, Field(ge=1)]
NAME_BYTES = 100  # the name of a recipe is the name of a folder, which may have 255 bytes
OF_TRAINING = ("cache", "unlabelled", "balance")  # fields of [data] that change no prepared pixel
VIEWS = 16  # default number of views of each image (decision 0021)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataSettings(_Section):
    """Settings of the input pixels, and of the split of a folder without splits."""

    size: int = Field(224, ge=8, le=2048, description="side of the square input, pixels")
    resize: int = Field(0, ge=0, le=4096, description="shortest side before the centre crop; 0 means `size`")
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    validation_fraction: Share = 0.15
    test_fraction: Share = 0.15
    skip_bad: bool = Field(False, description="leave unreadable images out instead of stopping")
    allow_leaks: bool = Field(False, description="accept the same image in two splits")
    cache: Cache = Field(
        Cache.AUTO, description="place where decoded training images are kept; auto: on disk if they fit"
    )

    unlabelled: str = Field(
        "", description="folder of photographs without labels, for the student; the teacher labels them"
    )
    balance: Balance = Field(
        Balance.NONE,
        description="remedy for classes of unequal size: draw all alike, or adjust logits",
    )

    @field_validator("unlabelled")
    @classmethod
    def _absolute(cls, value: str) -> str:
        """Make the path absolute, so that the run can continue from any folder."""
        return str(Path(value).resolve()) if value else value

    @field_validator("resize")
    @classmethod
    def _at_least_size(cls, value: int, info: ValidationInfo) -> int:
        size = info.data.get("size", 0)
        if value and value < size:
            raise ValueError(f"allowed is {size} (size) or more, or 0")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> DataSettings:
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction + test_fraction leave no images for training")
        return self


class AugmentSettings(_Section):
    """Augmentation of training images. Teacher and student see the same views.

    The defaults change nothing: every epoch shows the prepared images.
    """

    crop: float = Field(1.0, gt=0, le=1, description="smallest share of the area that a crop keeps; 1: none")
    flip: bool = Field(False, description="mirror every second image, left to right")
    randaugment: int = Field(0, ge=0, le=10, description="operations of RandAugment for each image; 0: none")
    magnitude: int = Field(9, ge=0, le=30, description="strength of RandAugment")
    mixup: float = Field(0.0, ge=0, le=10, description="α of the Beta(α, α) of mixup; 0: none")
    cutmix: float = Field(0.0, ge=0, le=10, description="α of the Beta(α, α) of cutmix; 0: none")

    @property
    def active(self) -> bool:
        """True if epochs differ in their pixels."""
        return self.crop < 1 or self.flip or self.mixes or self.randaugment > 0

    @property
    def mixes(self) -> bool:
        """True if two images become one image with two labels."""
        return self.mixup > 0 or self.cutmix > 0


class NetworkSettings(_Section):
    """Architecture and training of one network."""

    arch: str
    weights: str = Field(SCRATCH, description="initial weights: imagenet, none (from scratch) or a file")
    epochs: Count
    patience: int = Field(
        0, ge=0, description="epochs without a better validation accuracy before training stops; 0: never"
    )
    lr: Rate
    batch_size: int = Field(32, ge=2, description="images in a step; batch normalization needs at least 2")
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    schedule: Literal["constant", "cosine"] = Field("constant", description="cosine falls to 0 over `epochs`")
    warmup_epochs: int = Field(0, ge=0, description="epochs over which the learning rate rises to `lr`")
    ema: float = Field(0.0, ge=0, lt=1, description="decay of the average of the weights; 0: no average")
    precision: Precision = Field(
        Precision.FLOAT32,
        description="arithmetic in training; if not given, bfloat16 on a processor that has it",
    )
    compile: bool = Field(False, description="compile the network with torch.compile before training")
    train: Trained = Field(
        Trained.ALL, description="all layers, or the head (the classifier) on frozen features"
    )
    freeze_norm: bool | Literal["auto"] = Field(
        False,
        description="keep the statistics of batch normalization as the initial weights have them; "
        "auto: if the network starts from weights",
    )
    selection: Selection = Field(
        Selection.ACCURACY, description="validation figure whose best epoch is kept; last: the last epoch"
    )
    augment: AugmentSettings = AugmentSettings()

    @property
    def freezes_norm(self) -> bool:
        """True if batch normalization keeps the statistics of the initial weights."""
        return self.weights != SCRATCH if self.freeze_norm == "auto" else self.freeze_norm

    @property
    def seen_views(self) -> int:
        """Number of views of each image in training: epoch e sees view e modulo this number."""
        return self.epochs if self.augment.active else 1

    @field_validator("weights", "trained", check_fields=False)
    @classmethod
    def _absolute(cls, value: str, info: ValidationInfo) -> str:
        """Make the path of a file absolute, so that the run can continue from any folder."""
        is_word = info.field_name == "weights" and value in (IMAGENET, SCRATCH)
        return str(Path(value).resolve()) if value and not is_word and Path(value).is_file() else value


class TeacherSettings(NetworkSettings):
    """Architecture and training of the teacher, or the file of a trained teacher."""

    arch: str = "resnet34"
    weights: str = IMAGENET
    epochs: Count = 20
    lr: Rate = 1e-4
    trained: str = Field("", description="model.safetensors of a trained teacher; no teacher is trained then")
    size: int = Field(0, ge=0, le=2048, description="side of the teacher's input, pixels; 0: data.size")


class StudentSettings(NetworkSettings):
    """Architecture, training and losses of the student."""

    arch: str = "resnet18"
    epochs: Count = 60
    patience: int = Field(10, ge=0)
    lr: Rate = 1e-3
    views: int = Field(
        0, ge=0, description=f"augmented views of each image; 0: {VIEWS}, or with features one for each epoch"
    )
    answers: Literal["float32", "float16"] = Field(
        "float32", description="type of the stored soft labels; float16 has half the size"
    )
    loss: LossSettings = LossSettings()
    features: FeatureSettings = FeatureSettings()

    @property
    def seen_views(self) -> int:
        """Number of views of each image in training, at most `views`.

        The teacher computes soft labels once for each view. The default does not depend on the number of
        epochs, so that a longer training begins like a shorter one. A feature loss runs the teacher in every
        epoch, so there the default is one view for each epoch.
        """
        most = self.views or (self.epochs if self.features.name else VIEWS)
        return min(most, super().seen_views)


class ExportSettings(_Section):
    """Settings of the ONNX files."""

    opset: int = Field(
        18, ge=17, le=23, description="version of the standard operators; old runtimes load 17"
    )
    fixed_batch: bool = Field(False, description="fix the batch size of the graph at 1")
    uint8: bool = Field(False, description="also write a model that takes pixels and normalizes them itself")
    ort: bool = Field(False, description="also write the format of ONNX Runtime for phones")
    tolerance: Positive = Field(1e-4, description="largest |Δlogit| between torch and ONNX Runtime")


class QuantizeSettings(_Section):
    """Settings of the INT8 files."""

    target: Int8Target = Field(Int8Target.AUTO, description="the processor that will run the model")
    calibration: Calibration = Field(
        Calibration.MINMAX, description="the method that chooses the range of an activation"
    )
    calibration_images: Count = 256
    reduce_range: bool | Literal["auto"] = "auto"
    max_drop: float = Field(
        1.0, ge=0, le=100, description="largest loss of validation accuracy, percentage points"
    )
    float_layers: int = Field(
        3, ge=0, le=16, description="largest number of FP32 layers, if the loss is over max_drop without them"
    )
    finetune: int = Field(
        0, ge=0, le=100, description="epochs of fine-tuning for INT8, if the loss is over max_drop without it"
    )
    finetune_lr: Rate = 1e-4
    search: bool = Field(
        False, description="try all calibrations and variants of the scheme; keep the fastest within max_drop"
    )

    @model_validator(mode="after")
    def _search_chooses_the_calibration(self) -> QuantizeSettings:
        if self.search and self.calibration != Calibration.MINMAX:
            hint = (
                f"Without a search: {assigned({'quantize.search': False})}; "
                f"with it: {assigned({'quantize.calibration': 'minmax'})}"
            )
            raise PydanticCustomError(
                "conflict",
                "the search tries every calibration, so calibration {calibration} would be ignored: "
                "leave it at minmax, or do not search",
                {"calibration": self.calibration, "hint": hint},
            )
        return self


class BenchSettings(_Section):
    """Settings of the measurements and of the claim."""

    threads: int = Field(
        0, ge=0, le=MOST_THREADS, description="number of threads; 0: all processors that kdtool may use"
    )
    runtimes: tuple[str, ...] = Field(
        ("onnxruntime",), min_length=1, description="runtimes that run the models"
    )
    single_thread: bool = Field(True, description="measure with one thread as well")
    sessions: int = Field(
        5, ge=1, le=MOST_SESSIONS, description="processes that measure; their differences give the intervals"
    )
    # The next values are totals over all sessions.
    warmup: Count = 10  # minimum: the warm-up ends when the times are steady
    runs: Annotated[int, Field(ge=64, le=MOST_SAMPLES)] = 75  # a p90 needs at least 64, a p99 662
    seconds: float = Field(1.0, ge=0, le=3600, description="shortest duration of each series of samples")
    batch: int = Field(8, ge=0, le=1024, description="images in a batch for throughput; 0: not measured")
    batches: Annotated[int, Field(ge=6, le=MOST_SAMPLES)] = 15
    cold_starts: int = Field(2, ge=0, le=100, description="processes per model for cold start and memory")
    max_compute: Positive = Field(0.50, description="limit of student MACs / teacher MACs, at most")
    min_retention: Positive = Field(0.94, description="limit of student / teacher accuracy, at least")
    claim: str = Field("", description="bounds such as 'size<=0.3,drop<=1', instead of the two limits above")
    judged: str = Field("student", description="name of the model that the claim is about")
    reference: str = Field("teacher", description="name of the model that it is compared with")
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
        """Bounds of the claim."""
        return parse_claim(self.claim) if self.claim else usual_claim(self.min_retention, self.max_compute)


class Recipe(_Section):
    """Whole recipe; its name is the name of the file."""

    name: str = Field(pattern=r"^\w[\w .-]*$", description="name of the recipe and of the folder of a run")
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
            raise ValueError(f"the name has {len(value.encode())} bytes, allowed are {NAME_BYTES}")
        return value

    @property
    def cuts_views(self) -> bool:
        """True if a network that is trained cuts its views out of photographs."""
        trained = [self.student] if self.teacher.trained else [self.student, self.teacher]
        return any(network.augment.crop < 1 for network in trained)

    @property
    def teacher_data(self) -> DataSettings:
        """Settings of the data at the size of the teacher, with the same share of each photograph."""
        size = self.teacher.size
        if not size or size == self.data.size:
            return self.data
        resize = round(self.data.resize * size / self.data.size)
        return self.data.model_copy(update={"size": size, "resize": resize})

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    def without_precision(self) -> list[str]:
        """Networks whose precision the recipe does not give, so that the machine decides."""
        networks = {"teacher": self.teacher, "student": self.student}
        return [name for name, settings in networks.items() if "precision" not in settings.model_fields_set]


def section_of(role: str) -> str:
    """Section of a recipe that describes a network; the baseline has the section of the student."""
    return "teacher" if role == "teacher" else "student"
