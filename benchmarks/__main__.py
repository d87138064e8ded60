"""All measurements, one after the other: ``make bench``."""

from . import analysis, engine, monitor, overhead, probes

for measurement in (analysis, engine, overhead, probes, monitor):
    measurement.main()
    print()
