"""All measurements, one after the other: ``make bench``."""

from . import engine, overhead

for measurement in (engine, overhead):
    measurement.main()
    print()
