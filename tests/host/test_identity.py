# SPDX-License-Identifier: Apache-2.0
"""Who a forwarder is: the resource in the stream and in a dump, from its own words, from its
environment, from the sidecar's environment (a pod's downward API), from the kernel."""
import json
import os
import socket
import unittest

from host import harness
import otlp_rules

POD = {"K8S_NAMESPACE_NAME": "logs", "K8S_POD_NAME": "forwarder-7f", "K8S_POD_UID": "0b7c-11",
       "K8S_NODE_NAME": "node-3", "K8S_CONTAINER_NAME": "forwarder"}


def resources(documents):
    """The attributes of each resource, by service name."""
    found = {}
    for document in documents:
        for part in document["resourceMetrics"]:
            attributes = otlp_rules.attributes(part["resource"])
            found[attributes["service.name"]] = attributes
    return found


def metric(documents, service, name):
    """The newest point of a metric of a service, or None."""
    points = [point for document in documents for part in document["resourceMetrics"]
              if otlp_rules.attributes(part["resource"])["service.name"] == service
              for scope in part["scopeMetrics"] for one in scope["metrics"] if one["name"] == name
              for point in one.get("gauge", one.get("sum", {})).get("dataPoints", [])]
    return points[-1] if points else None


class Identity(harness.Case):
    def streamed(self, environment, **more):
        sidecar = self.sidecar(environment=environment, **more)
        subscriber = self.subscriber(sidecar)
        return subscriber.await_documents(4, "metrics")

    def test_names_of_the_pod(self):
        patient = self.patient("--service", "pod-logs")
        patient.pipeline()
        found = resources(self.streamed(POD))
        for service in ("pod-logs", "fwdscope"):
            for key, value in (("k8s.namespace.name", "logs"), ("k8s.pod.name", "forwarder-7f"),
                               ("k8s.pod.uid", "0b7c-11"), ("k8s.node.name", "node-3"),
                               ("k8s.container.name", "forwarder"),
                               ("host.name", socket.gethostname())):
                self.assertEqual(found[service].get(key), value, (service, key))

    def test_no_pod_no_names(self):
        patient = self.patient("--service", "pod-logs")
        patient.pipeline()
        for attributes in resources(self.streamed({"K8S_POD_NAME": ""})).values():
            self.assertEqual([key for key in attributes if key.startswith("k8s.")], [])

    def test_standard_list_of_attributes(self):
        patient = self.patient("--service", "pod-logs")
        patient.pipeline()
        found = resources(self.streamed(
            {**POD, "OTEL_RESOURCE_ATTRIBUTES":
             "deployment.environment.name=prod%20eu,k8s.pod.name=said,service.name=other"}))
        attributes = found["pod-logs"]
        self.assertEqual(attributes["deployment.environment.name"], "prod eu")
        self.assertEqual(attributes["k8s.pod.name"], "said", "the list is said by hand, so it wins")
        self.assertEqual(attributes["service.name"], "pod-logs", "the forwarder's own word wins")

    def test_service_name_from_the_environment_of_the_forwarder(self):
        patient = self.patient("--service", "", environment={"OTEL_SERVICE_NAME": "from-outside"})
        patient.pipeline()
        self.assertIn("from-outside", resources(self.streamed({})))

    def test_process(self):
        patient = self.patient("--service", "pod-logs")
        patient.pipeline()
        documents = self.streamed({})
        attributes = resources(documents)["pod-logs"]
        self.assertEqual(attributes["process.pid"], patient.pid)
        self.assertEqual(attributes["process.executable.name"], "patient")
        memory = int(metric(documents, "pod-logs", "process.memory.rss")["asInt"])
        self.assertLess(abs(memory - harness.memory_bytes(patient.pid)), 8 << 20)
        self.assertIsNotNone(metric(documents, "pod-logs", "process.cpu.user_ms"))

    @unittest.skipIf(os.geteuid() != 0, "skipped: another pid namespace needs root")
    def test_process_of_another_pid_namespace_has_no_figures_of_ours(self):
        patient = self.patient("--service", "pod-logs",
                               before=["unshare", "--pid", "--fork", "--mount-proc"])
        patient.pipeline()
        documents = self.streamed({})
        attributes = resources(documents)["pod-logs"]
        self.assertEqual(attributes["process.pid"], 1)
        self.assertEqual(attributes["process.executable.name"], "patient", "as published")
        self.assertIsNone(metric(documents, "pod-logs", "process.memory.rss"), "pid 1 is another's")
        patient.quit()

    def test_dump_says_the_same(self):
        patient = self.patient("--service", "pod-logs")
        patient.pipeline()
        patient.kill()
        out, _ = self.run_command("dump", "-o", "otlp", patient.path, environment=POD)
        documents = [json.loads(line) for line in out.splitlines()]
        metrics = [document for document in documents if "resourceMetrics" in document]
        attributes = resources(metrics)["pod-logs"]
        self.assertEqual(attributes["process.executable.name"], "patient")
        self.assertEqual(attributes["process.pid"], patient.pid)


if __name__ == "__main__":
    unittest.main(verbosity=2)
