#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The contract of the HTTP endpoints, with a forwarder in a process of its own."""
import os
import re
import signal
import unittest

import dead_region
import harness
from harness import Case, http, wait_until

HEALTHS = ["healthy", "degraded", "starting", "stopping", "stopped", "failed"]
REASONS = ["all_components_healthy", "components_degraded_but_operational", "components_starting",
           "components_stopping", "components_stopped", "components_failed"]
IMPACTS = ["ready", "non_blocking", "gating", "gating", "gating", "gating"]
NOT_FOUND = [f"/admin/v1/{name}" for name in ("stats", "traces", "logs", "history")] + \
    ["/health", "/metrics"] + \
    [f"/api/{name}" for name in ("pipelines", "stats", "config", "logs", "history", "traces")] + \
    ["/live/", "//live", "/LIVE", "/admin/v1/status/", "/%6cive", "/../live", "/favicon.ico"]
ENDPOINTS = ["/", "/live", "/ready", "/forwarder/live", "/admin/v1/status", "/admin/v1/config"]
TOKEN = "0123456789abcdef0123456789abcdef"
TIME = re.compile("[0-9]{19}")


class WorkedExample(Case):
    """The origin's own test: the values of the contract, written by another process."""

    def write(self, patient):
        patient.do("pipeline", "default")
        patient.do("input", "pod_logs", "file")
        patient.do("transform", "SELECT * FROM logs WHERE level = 'error'")
        patient.do("output", "collector", "otlp")
        patient.do("health", "pod_logs", 0)
        patient.do("progress", "pod_logs", 1000, 50000)
        patient.do("add", "pod_logs", 3, 1)
        patient.do("progress", "transform", 1000, 0)
        patient.do("add", "transform", 2, 3)
        patient.do("progress", "collector", 900, 30000)
        patient.do("add", "collector", 2, 2)
        patient.do("batch", "batches", 50, "rows", 4500, "flush_by_size", 30,
                   "flush_by_timeout", 20, "dropped_batches", 5, "scan_errors", 2,
                   "parse_errors", 4, "scan_ns", 100_000_000, "transform_ns", 500_000_000,
                   "output_ns", 200_000_000, "queue_wait_ns", 50_000_000, "send_ns", 150_000_000,
                   "latency_ns", 500_000_000, "inflight", 3, "backpressure_stalls", 7)

    def test_exact_values(self):
        patient = self.patient("--service", "logfwd", "--service-version", "0.9.1")
        sidecar = self.sidecar()
        self.write(patient)
        sidecar.await_tick()
        answer = sidecar.get("/admin/v1/status")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.assertEqual(answer.headers["cache-control"], "no-store")
        body = answer.body.decode()
        start = body.index('"pipelines":')
        bottleneck = body.index(',"bottleneck":')
        self.assertEqual(
            body[start:bottleneck],
            '"pipelines":[{"name":"default",'
            '"inputs":[{"name":"pod_logs","type":"file","health":"healthy","lines_total":1000,'
            '"bytes_total":50000,"errors":0,"rotations":1,"parse_errors":0}],'
            '"transform":{"sql":"SELECT * FROM logs WHERE level = \'error\'","health":"healthy",'
            '"lines_in":1000,"lines_out":900,"errors":3,"filter_drop_rate":0.100},'
            '"outputs":[{"name":"collector","type":"otlp","health":"healthy","lines_total":900,'
            '"bytes_total":30000,"errors":2}],'
            '"batches":{"total":50,"avg_rows":90.0,"flush_by_size":30,"flush_by_timeout":20,'
            '"dropped_batches_total":5,"scan_errors_total":2,"parse_errors_total":4,'
            '"last_batch_time_ns":"0","batch_latency_avg_ns":10000000,"inflight":3,'
            '"rows_total":4500},'
            '"stage_seconds":{"scan":0.100000,"transform":0.500000,"output":0.200000,'
            '"queue_wait":0.050000,"send":0.150000},'
            '"backpressure_stalls":7')

    def test_the_rest_of_the_status(self):
        patient = self.patient("--service", "logfwd", "--service-version", "0.9.1")
        sidecar = self.sidecar()
        self.write(patient)
        sidecar.await_tick()
        status = sidecar.status()
        self.assertEqual(list(status), ["contract_version", "live", "ready", "component_health",
                                        "pipelines", "system", "writer", "region", "sampler"])
        self.assertEqual(status["contract_version"], "v1")
        self.assertEqual({**status["live"], "observed_at_unix_ns": None},
                         {"status": "live", "reason": "process_running",
                          "observed_at_unix_ns": None})
        observed = status["ready"]["observed_at_unix_ns"]
        self.assertRegex(observed, TIME)
        self.assertEqual(status["ready"], {"status": "ready", "reason": "all_components_healthy",
                                           "observed_at_unix_ns": observed})
        self.assertEqual(status["component_health"],
                         {"status": "healthy", "reason": "all_components_healthy",
                          "readiness_impact": "ready", "observed_at_unix_ns": observed})
        self.assertEqual(list(status["pipelines"][0]["bottleneck"]), ["stage", "reason"])
        self.assertEqual(status["system"]["version"], "0.9.1")
        writer = status["writer"]
        self.assertEqual((writer["state"], writer["pid"], writer["generation"]),
                         ("alive", patient.pid, 1))
        self.assertRegex(writer["started_unix_ns"], TIME)
        region = status["region"]
        self.assertEqual((region["path"], region["layout"]), (patient.path, "1.0"))
        self.assertEqual(region["size_bytes"], os.path.getsize(patient.path))
        self.assertEqual((region["lost"]["spans"], region["lost"]["logs"]), (0, 0))
        sampler = status["sampler"]
        self.assertEqual(sampler["interval_ms"], 100)
        self.assertEqual(list(sampler), ["interval_ms", "ticks", "last_tick_us", "retries", "stale",
                                         "torn", "stream_clients", "ticks_skipped"])


class Readiness(Case):
    def assert_state(self, sidecar, code, reason, writer, live=200):
        """/ready, /admin/v1/status and /forwarder/live tell one story, /live is not moved by it."""
        sidecar.await_ready(code, reason)
        answer = sidecar.get("/ready").json()
        self.assertEqual(list(answer), ["status", "reason", "observed_at_unix_ns"])
        self.assertEqual(answer["status"], "ready" if code == 200 else "not_ready")
        self.assertRegex(answer["observed_at_unix_ns"], TIME)
        status = sidecar.status()
        self.assertEqual(status["ready"]["reason"], reason)
        self.assertEqual(status["writer"]["state"], writer)
        self.assertTrue(status["writer"]["reason"])
        forwarder = sidecar.get("/forwarder/live")
        self.assertEqual(forwarder.status, live)
        story = forwarder.json()
        self.assertEqual(list(story), ["state", "reason"])
        self.assertEqual(story["state"], writer if status["writer"].get("pid") else "not_attached")
        self.assertEqual(sidecar.get("/live").status, 200)

    def test_six_healths(self):
        patient = self.patient()
        sidecar = self.sidecar()
        patient.pipeline(healthy=False)
        # A new input is starting until it says otherwise, a new output healthy.
        self.assert_state(sidecar, 503, "components_starting", "alive")
        component = sidecar.status()["pipelines"][0]
        self.assertEqual((component["inputs"][0]["health"], component["outputs"][0]["health"]),
                         ("starting", "healthy"))
        for health, (name, reason, impact) in enumerate(zip(HEALTHS, REASONS, IMPACTS)):
            with self.subTest(health=name):
                patient.do("health", "in", health)
                self.assert_state(sidecar, 200 if health < 2 else 503, reason, "alive")
                told = sidecar.status()["component_health"]
                self.assertEqual((told["status"], told["reason"], told["readiness_impact"]),
                                 (name, reason, impact))
        patient.do("health", "in", 77)  # one that no version knows
        self.assert_state(sidecar, 503, "components_failed", "alive")

    def test_the_worst_component_decides(self):
        patient = self.patient()
        sidecar = self.sidecar()
        patient.pipeline()
        patient.do("health", "in", 1)
        patient.do("health", "out", 4)
        self.assert_state(sidecar, 503, "components_stopped", "alive")

    def test_an_output_that_delivers_nothing(self):
        """Work waiting and nothing delivered for 10 s is degraded, whatever it says of itself; one
        that counts bytes and no lines does deliver."""
        patient = self.patient()
        sidecar = self.sidecar()
        patient.pipeline()
        patient.do("output", "bytes", "tcp")
        patient.do("queue", "out", 7, 8)
        patient.do("queue", "bytes", 3, 8)

        def stuck():
            patient.do("progress", "bytes", 0, 100)
            return sidecar.ready()[1] == "components_degraded_but_operational"
        harness.wait_until(stuck)
        patient.do("progress", "bytes", 0, 100)
        sidecar.await_tick()
        pipeline, = sidecar.status()["pipelines"]
        self.assertEqual([output["health"] for output in pipeline["outputs"]],
                         ["degraded", "healthy"])
        self.assertEqual(pipeline["bottleneck"]["stage"], "output")
        self.assertIn("output out: queue 7/8, nothing delivered for 1",
                      pipeline["bottleneck"]["reason"])

    def test_no_pipeline(self):
        self.patient()
        sidecar = self.sidecar()
        self.assert_state(sidecar, 503, "no_pipelines_registered", "alive")

    def test_no_region(self):
        sidecar = self.sidecar()
        self.assert_state(sidecar, 503, "region_not_found", "unknown")

    def test_no_directory(self):
        sidecar = self.sidecar(directory=os.path.join(self.scratch, "later"))
        self.assert_state(sidecar, 503, "region_not_found", "unknown")

    def test_incompatible(self):
        dead_region.write(self, os.path.join(self.dir, "other.1.00000000.fwdscope"), major=2)
        sidecar = self.sidecar()
        self.assert_state(sidecar, 503, "region_incompatible", "unknown")
        self.assertIn("2.0", sidecar.status()["writer"]["reason"])

    def test_corrupt(self):
        dead_region.write(self, os.path.join(self.dir, "broken.1.00000000.fwdscope"),
                          fix_checksum=False, pid=1)
        sidecar = self.sidecar()
        self.assert_state(sidecar, 503, "region_corrupt", "unknown")
        self.assertIn("checksum", sidecar.status()["writer"]["reason"])

    def test_stalled_and_back(self):
        patient = self.patient("--heartbeat", "100")
        idle = self.patient("--service", "idle", directory=self.other_directory())
        sidecar = self.sidecar()
        patient.pipeline()
        self.assert_state(sidecar, 200, "all_components_healthy", "alive")
        second = self.sidecar(directory=self.other)
        idle.pipeline()
        patient.signal(signal.SIGSTOP)
        idle.signal(signal.SIGSTOP)
        # Three intervals or 10 s, whichever is more.
        self.assert_state(sidecar, 503, "writer_stalled", "stalled", live=503)
        self.assertGreaterEqual(sidecar.status()["writer"]["heartbeat_age_ms"], 10_000)
        # Who declared no heartbeat is never called stalled, whatever its age.
        wait_until(lambda: second.status()["writer"]["heartbeat_age_ms"] >= 10_000)
        self.assert_state(second, 200, "all_components_healthy", "alive")
        patient.signal(signal.SIGCONT)
        idle.signal(signal.SIGCONT)
        self.assert_state(sidecar, 200, "all_components_healthy", "alive")

    def other_directory(self):
        self.other = os.path.join(self.scratch, "other")
        os.mkdir(self.other)
        return self.other

    def test_exited(self):
        patient = self.patient()
        sidecar = self.sidecar()
        patient.pipeline()
        self.assert_state(sidecar, 200, "all_components_healthy", "alive")
        patient.do("close", "closed", "shut down for the night")
        self.assert_state(sidecar, 503, "writer_exited", "exited")
        self.assertIn("shut down for the night", sidecar.status()["writer"]["reason"])
        patient.quit()
        self.assert_state(sidecar, 503, "writer_exited", "exited")

    def test_crashed_by_signal(self):
        patient = self.patient()
        sidecar = self.sidecar()
        patient.pipeline()
        self.assert_state(sidecar, 200, "all_components_healthy", "alive")
        patient.send("abort")
        patient.wait(-signal.SIGABRT)
        self.assert_state(sidecar, 503, "writer_crashed", "crashed")

    def test_crash_told_by_an_adapter(self):
        patient = self.patient()
        sidecar = self.sidecar()
        patient.pipeline()
        patient.do("close", "crashed", "rsyslogd was killed")
        self.assert_state(sidecar, 503, "writer_crashed", "crashed")
        self.assertIn("rsyslogd was killed", sidecar.status()["writer"]["reason"])


class Requests(Case):
    def test_not_found(self):
        sidecar = self.sidecar()
        for path in NOT_FOUND:
            with self.subTest(path=path):
                answer = sidecar.get(path)
                self.assertEqual((answer.status, answer.body.strip()), (404, b"not found"))

    def test_found(self):
        sidecar = self.sidecar()
        expected = {"/": 200, "/live": 200, "/ready": 503, "/forwarder/live": 200,
                    "/admin/v1/status": 200, "/admin/v1/config": 403, "/admin/v1/telemetry": 426}
        self.assertEqual({path: sidecar.get(path).status for path in expected}, expected)
        self.assertTrue(sidecar.get("/").headers["content-type"].startswith("text/html"))
        self.assertEqual(sidecar.get("/admin/v1/telemetry").headers["upgrade"], "websocket")
        live = sidecar.get("/live").json()
        self.assertEqual(list(live), ["status", "uptime_seconds", "version"])
        self.assertEqual(live["status"], "live")

    def test_methods(self):
        sidecar = self.sidecar()
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
            for path in (*ENDPOINTS, "/admin/v1/telemetry"):
                with self.subTest(method=method, path=path):
                    answer = sidecar.get(path, method=method)
                    self.assertEqual((answer.status, answer.headers["allow"]), (405, "GET, HEAD"))

    def test_head(self):
        sidecar = self.sidecar()
        for path in ENDPOINTS:
            with self.subTest(path=path):
                self.assert_head(sidecar, path)

    def assert_head(self, sidecar, path):
        """Same status and type as GET and its length, which changes with the numbers in it."""
        head, get = sidecar.get(path, method="HEAD"), sidecar.get(path)
        self.assertEqual((head.status, head.body), (get.status, b""))
        self.assertEqual(head.headers["content-type"], get.headers["content-type"])
        self.assertEqual(int(get.headers["content-length"]), len(get.body))
        fixed = path in ("/", "/forwarder/live", "/admin/v1/config", "/ready")
        self.assertLessEqual(abs(int(head.headers["content-length"]) - len(get.body)),
                             0 if fixed else 64)

    def test_queries_are_ignored(self):
        sidecar = self.sidecar()
        for path in ENDPOINTS:
            with self.subTest(path=path):
                self.assertEqual(sidecar.get(path + "?a=b&c=%00../x?y").status,
                                 sidecar.get(path).status)

    def test_hosts(self):
        sidecar = self.sidecar("--allow-host", "logs.example")
        for host, status in (("localhost", 200), (f"127.0.0.1:{sidecar.port}", 200),
                             ("logs.example", 200), ("evil.example", 403)):
            with self.subTest(host=host):
                with harness.socket.create_connection(("127.0.0.1", sidecar.port)) as connection:
                    connection.sendall(f"GET /live HTTP/1.1\r\nHost: {host}\r\n"
                                       "Connection: close\r\n\r\n".encode())
                    raw = b"".join(iter(lambda: connection.recv(4096), b""))
                self.assertEqual(harness.Response(raw).status, status)

    def test_probe_port(self):
        sidecar = self.sidecar("--probe-listen", "127.0.0.1:0")
        self.assertEqual([http(sidecar.probe_port, path).status for path in
                          ("/live", "/ready", "/forwarder/live", "/", "/admin/v1/status",
                           "/admin/v1/config", "/admin/v1/telemetry")],
                         [200, 503, 200, 404, 404, 404, 404])


class Config(Case):
    ENABLED = {"FWDSCOPE_UNSAFE_EXPOSE_CONFIG": "1"}

    def publish(self, text):
        path = os.path.join(self.scratch, "config.yaml")
        with open(path, "wb") as file:
            file.write(text)
        patient = self.patient()
        patient.do("config", "/etc/patient.yaml", path)
        return patient

    def shown(self, text):
        patient = self.publish(text)
        sidecar = self.sidecar(environment=self.ENABLED)
        sidecar.await_tick()
        answer = sidecar.get("/admin/v1/config")
        self.assertEqual(answer.status, 200)
        body = answer.json()
        self.assertEqual(list(body), ["path", "raw_yaml"])
        self.assertEqual(body["path"], "/etc/patient.yaml")
        with open(patient.path, "rb") as region:
            return body["raw_yaml"], region.read()

    def test_disabled(self):
        self.publish(b"a: 1\n")
        for environment in ({}, {"FWDSCOPE_UNSAFE_EXPOSE_CONFIG": "0"}):
            sidecar = self.sidecar(environment=environment)
            answer = sidecar.get("/admin/v1/config")
            self.assertEqual(answer.status, 403)
            self.assertEqual(answer.body.strip(),
                             b'{"error":"config_endpoint_disabled","message":"set '
                             b'FWDSCOPE_UNSAFE_EXPOSE_CONFIG=1 to enable /admin/v1/config"}')

    def test_enabled(self):
        text, _ = self.shown(b"inputs:\n  - type: file\n    path: /var/log/syslog\n")
        self.assertIn("/var/log/syslog", text)
        self.assertNotIn("redacted", text)

    def test_secrets_reach_neither_the_region_nor_the_answer(self):
        text, region = self.shown(b"""\
output:
  type: s3
  region: eu-west-1
  aws_access_key_id: AKIAIOSFODNN7EXAMPLE
  aws_secret_access_key: wJalrXUtnFEMI-K7MDENG
  endpoint: https://user7:hunter2@logs.example:4318/v1/logs
  auth:
    bearer_token: nested-bearer
    headers:
      x-scope: nested-header
      deep: [nested-one, {deeper: nested-two}]
other:
  - auth: {enabled: true, level: 4711, ratio: 0.815}
    password: !secret tagged-value
  - api_key: 12345678
    token: false
    url: "postgres://admin:s3cr3t@db.example/logs"
    host: "who:cares@x@y:z"
harmless: kept
""")
        for leak in ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI", "user7", "hunter2", "nested-bearer",
                     "nested-header", "nested-one", "nested-two", "4711", "0.815", "tagged-value",
                     "12345678", "admin", "s3cr3t", "who:cares"):
            with self.subTest(leak=leak):
                self.assertNotIn(leak, text)
                self.assertNotIn(leak.encode(), region)
        self.assertNotRegex(text, r"enabled: true|token: false")
        for kept in ("eu-west-1", "logs.example:4318/v1/logs", "db.example/logs", "harmless: kept",
                     "***redacted***"):
            self.assertIn(kept, text)

    def test_not_yaml_fails_closed(self):
        text, region = self.shown(b"password: [hunter2\n\tunclosed: {")
        self.assertEqual(text, "<redacted config unavailable>")
        self.assertNotIn(b"hunter2", region)

    def test_none_published(self):
        self.patient()
        sidecar = self.sidecar(environment=self.ENABLED)
        sidecar.await_tick()
        self.assertEqual(sidecar.get("/admin/v1/config").json()["raw_yaml"],
                         "<redacted config unavailable>")


class Token(Case):
    def setUp(self):
        super().setUp()
        self.file = os.path.join(self.scratch, "token")
        with open(self.file, "w", encoding="ascii") as file:
            file.write(TOKEN + "\n")

    def test_http(self):
        sidecar = self.sidecar("--token-file", self.file)
        right = [f"Authorization: Bearer {TOKEN}"]
        for path in ("/", "/admin/v1/status", "/admin/v1/config", "/admin/v1/telemetry"):
            with self.subTest(path=path):
                self.assertEqual(sidecar.get(path).status, 401)
                wrong = sidecar.get(path, headers=[f"Authorization: Bearer {TOKEN[:-1]}0"])
                self.assertEqual(wrong.status, 401)
                self.assertNotIn(sidecar.get(path, headers=right).status, (401, 404))
        self.assertEqual(sidecar.get("/admin/v1/status", headers=right).status, 200)
        self.assertEqual(sidecar.get("/live").status, 200)

    def test_cookie(self):
        sidecar = self.sidecar("--token-file", self.file)
        self.assertEqual(sidecar.get("/?token=" + TOKEN[:-1] + "0").status, 401)
        answer = sidecar.get("/?token=" + TOKEN)
        self.assertEqual((answer.status, answer.headers["location"]), (303, "/"))
        cookie = answer.headers["set-cookie"]
        self.assertIn("HttpOnly", cookie)
        self.assertIn("SameSite=Strict", cookie)
        pair = cookie.split(";")[0]
        for path in ("/", "/admin/v1/status"):
            self.assertEqual(sidecar.get(path, headers=[f"Cookie: {pair}"]).status, 200)

    def test_stream(self):
        sidecar = self.sidecar("--token-file", self.file)
        refused = harness.Subscriber(sidecar.port)
        self.subscribers.append(refused)
        self.assertEqual(refused.response.status_code, 401)
        for header in (("Authorization", f"Bearer {TOKEN}"), ("Cookie", f"fwdscope_token={TOKEN}")):
            self.subscriber(sidecar, headers=[header]).await_documents(1, "metrics")

    def test_open_address_needs_it(self):
        _, errors = self.run_command("serve", "--dir", self.dir, "--listen", "0.0.0.0:0",
                                     expected=1)
        self.assert_one_line(errors, "0.0.0.0:0", "--token-file")
        for options in (["--token-file", self.file], ["--insecure-bind"]):
            sidecar = self.sidecar(*options, listen="0.0.0.0:0")
            self.assertEqual(sidecar.get("/live").status, 200)


class TwoForwarders(Case):
    def test_sorted_by_instance_each_its_own_resource(self):
        second = self.patient("--service", "zebra", "--instance", "b")
        first = self.patient("--service", "alpha", "--instance", "a")
        for patient, name in ((second, "pz"), (first, "pa")):
            patient.pipeline(name)
            patient.do("counter", "own.count", 5 if patient is first else 7)
        sidecar = self.sidecar()
        subscriber = self.subscriber(sidecar, backlog=0)
        status = sidecar.status()
        self.assertEqual([(f["instance"], f["service"], f["writer"]["pid"], f["region"]["path"])
                          for f in status["forwarders"]],
                         [("a", "alpha", first.pid, first.path),
                          ("b", "zebra", second.pid, second.path)])
        self.assertEqual(status["writer"]["pid"], first.pid)
        self.assertEqual([(p["instance"], p["name"]) for p in status["pipelines"]],
                         [("a", "pa"), ("b", "pz")])
        document = subscriber.await_documents(1, "metrics")[-1]
        found = {resource["service.name"]: (int(point["asInt"]), resource["process.pid"])
                 for resource, _, metric in harness.otlp_rules.metrics([document])
                 if metric["name"] == "own.count" for point in metric["sum"]["dataPoints"]}
        self.assertEqual(found, {"alpha": (5, first.pid), "zebra": (7, second.pid)})
        ids = {resource["service.name"]: resource.get("service.instance.id")
               for resource, _, _ in harness.otlp_rules.metrics([document])}
        self.assertNotEqual(ids["alpha"], ids["zebra"])

    def test_the_worst_current_one_decides(self):
        good, bad = self.patient("--instance", "a"), self.patient("--instance", "b")
        good.pipeline()
        bad.pipeline()
        sidecar = self.sidecar()
        sidecar.await_ready(200, "all_components_healthy")
        bad.do("health", "out", 5)
        sidecar.await_ready(503, "components_failed")
        bad.kill()
        sidecar.await_ready(503, "writer_crashed")


if __name__ == "__main__":
    unittest.main(verbosity=2)
