# SPDX-License-Identifier: Apache-2.0
"""The Prometheus client of Python. prometheus.py --list | OPERATION: ns per call of one round."""
import sys
import time

import prometheus_client

COUNTER = prometheus_client.Counter("lines", "lines")
GAUGE = prometheus_client.Gauge("depth", "depth")
HISTOGRAM = prometheus_client.Histogram("latency", "latency")
OPERATIONS = {"counter_inc": COUNTER.inc, "gauge_set": lambda: GAUGE.set(7),
              "histogram_observe": lambda: HISTOGRAM.observe(0.0075)}
WARM_UP, CALLS = 10000, 100000


def timed(call, calls):
    begin = time.perf_counter_ns()
    for _ in range(calls):
        call()
    return time.perf_counter_ns() - begin


def main():
    if sys.argv[1:] == ["--list"]:
        print("\n".join(OPERATIONS))
        return
    call = OPERATIONS[sys.argv[1]]
    timed(call, WARM_UP)
    # The empty loop is not the client's.
    print((timed(call, CALLS) - timed(lambda: None, CALLS)) / CALLS)


main()
