"""All measurements, one after the other: ``make bench``."""

from . import analysis, crew_reuse, engine, monitor, overhead, probes

for measurement in (analysis, engine, overhead, crew_reuse, probes, monitor):
    measurement.main()
    print()
