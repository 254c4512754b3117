"""`skillway serve` whose deliveries are tried again within a second, whose leases are short, and that is soon missed."""

from __future__ import annotations

import sys

from gateway.cli.main import main
from gateway.core import replicas
from gateway.core.messages import deliveries, delivering
from gateway.core.runs import later
from gateway.store import deliveries as queue
from gateway.store import runs
from gateway.wiring import housekeeping

# The whole schedule of a delivery takes 75 hours.
#: Seconds that a claim lasts and an attempt may take, in the same order as the real ones.
LEASE, TIMEOUT = 3.0, 1.5

#: For `gateway_process`: nobody waits long for what died.
PROGRAM = ("-m", "tests.crash.process", "serve", "--port", "0")

if __name__ == "__main__":
    for module in (deliveries, delivering):
        setattr(module, "PAUSES", (0.2,) * 40)  # noqa: B010 - both have the name, one of them by import
    deliveries._LONGEST_REST = 1.0
    queue.LEASE, delivering.TIMEOUT = LEASE, TIMEOUT
    later.LEASE = LEASE
    replicas.EVERY, housekeeping._SETTLE_EVERY, replicas._LASTS, runs._FIRST_SIGN = 0.5, 1.0, 4.0, 2000
    sys.argv = ["skillway", *sys.argv[1:]]
    main()
