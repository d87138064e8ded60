"""All measurements, one after the other: ``make bench``."""

from . import analysis, engine, overhead

for measurement in (analysis, engine, overhead):
    measurement.main()
    print()
