"""The charts of a training, from its log: loss, the discriminator, validation beside bicubic, learning rate."""

from __future__ import annotations

from collections.abc import Sequence

from snpe_srgan.report.charts import Chart, Level, Line, draw
from snpe_srgan.report.results import LogLine

Points = list[tuple[float, float]]


def training_charts(log: Sequence[LogLine]) -> list[Chart]:
    """The charts for which the log has points; stages stand one behind the other on the axis of steps."""
    rows = list(zip(log, _total_steps(log), strict=True))

    def by_stage(kind: str, key: str) -> list[Line]:
        found: dict[str, Points] = {}
        for row, x in rows:
            value = row.values.get(key)
            if row.kind == kind and value is not None:
                found.setdefault(row.stage, []).append((x, value))
        return [Line(stage, points) for stage, points in found.items()]

    def over_all(name: str, kind: str, key: str) -> Line:
        points = [p for line in by_stage(kind, key) for p in line.points]
        return Line(name, points)

    bicubic = [v for row in log if (v := row.values.get("bicubic_psnr")) is not None]
    charts = [
        draw("Validation", by_stage("validation", "psnr"), y_label="PSNR, dB",
             level=Level("bicubic", bicubic[-1]) if bicubic else None),
        draw("Loss", by_stage("train", "loss"), y_label="loss"),
        draw("Discriminator", [over_all("D(real)", "train", "d_real"), over_all("D(fake)", "train", "d_fake")],
             y_label="how real"),
        draw("Learning rate", by_stage("train", "learning_rate"), y_label="step size"),
    ]  # fmt: skip
    return [chart for chart in charts if chart is not None]


def _total_steps(log: Sequence[LogLine]) -> list[int]:
    """Each stage counts its own steps: the step of each line over all stages."""
    steps: list[int] = []
    starts: dict[str, int] = {}
    last = 0
    for row in log:
        last = starts.setdefault(row.stage, last) + row.step
        steps.append(last)
    return steps
