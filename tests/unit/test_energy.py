"""The processor's counter of energy."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.hosts import write
from kdtool.machine.energy import open_meter


def test_energy_is_counted_across_packages_and_the_end_of_the_counter(tmp_path: Path) -> None:
    zones = {
        f"class/powercap/intel-rapl:{number}/{name}": text
        for number, zone in enumerate(("package-0", "package-1", "psys"))
        for name, text in (("name", zone), ("energy_uj", "900000"), ("max_energy_range_uj", "1000000"))
    }
    root = write(tmp_path, zones)
    meter = open_meter(root)
    start = meter.joules()
    write(root, {"class/powercap/intel-rapl:0/energy_uj": "100000"})  # 0.2 J later, it began again
    assert meter.joules() - start == pytest.approx(0.2)
    write(root, {"class/powercap/intel-rapl:1/energy_uj": "950000"})
    assert meter.joules() - start == pytest.approx(0.25)
    (root / "class/powercap/intel-rapl:1/energy_uj").unlink()
    assert open_meter(root) is None
    assert open_meter(tmp_path / "absent") is None
