#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The manifests of sidecar/deploy by their rules; each rule is shown to notice its breach."""
import copy
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import yaml

import harness
import manifests
from manifests import DEPLOY, container, load, pod_of

FILES = ("native-sidecar.yaml", "sidecar.yaml", "daemonset.yaml")


def say(*words):
    return subprocess.run([harness.FWDSCOPE, *words], check=True, text=True,
                          stdout=subprocess.PIPE).stdout


HELP = say("serve", "--help")
VERSION = say("--version").split()[1]


class Shipped(unittest.TestCase):
    def test_rules(self):
        for name in FILES:
            with self.subTest(name):
                kind, spec = pod_of(load(name))
                self.assertEqual(manifests.faults(kind, spec, HELP, VERSION), [])

    def test_the_same_sidecar_everywhere(self):
        """What runs under podman as a plain sidecar is what the native one ships."""
        native, plain = (pod_of(load(name))[1] for name in FILES[:2])
        first, = native["initContainers"]
        self.assertEqual(first.pop("restartPolicy"), "Always")
        self.assertEqual(first, container(plain, "fwdscope"))
        self.assertEqual(container(native, "forwarder"), container(plain, "forwarder"))
        for field in ("volumes", "securityContext", "automountServiceAccountToken"):
            self.assertEqual(native[field], plain[field])
        host = container(pod_of(load("daemonset.yaml"))[1], "fwdscope")
        for field in ("image", "args", "securityContext", "volumeMounts", "livenessProbe"):
            self.assertEqual(host[field], first[field])

    def test_namespaces_enforce_what_holds(self):
        enforce = "pod-security.kubernetes.io/enforce"
        namespace, = load("namespace.yaml")
        self.assertEqual(namespace["metadata"]["labels"][enforce], "restricted")
        host, _ = load("daemonset.yaml")
        self.assertEqual(host["metadata"]["labels"][enforce], "privileged")

    def test_debug_profile(self):
        """An ephemeral container must be admitted to the pod and see its region."""
        profile, = load("debug.yaml")
        _, spec = pod_of(load("native-sidecar.yaml"))
        forwarder = container(spec, "forwarder")
        self.assertEqual(list(manifests.pod_security("Pod", {
            "containers": [{"name": "debug", **profile}]})), [])
        self.assertEqual(profile["securityContext"]["runAsUser"],
                         forwarder["securityContext"]["runAsUser"])
        self.assertEqual(profile["securityContext"]["runAsGroup"],
                         spec["securityContext"]["runAsGroup"])
        self.assertEqual(profile["volumeMounts"], container(spec, "fwdscope")["volumeMounts"])
        self.assertEqual(profile["env"], forwarder["env"])

    def test_kustomization(self):
        """What kubectl makes of the kustomization is the default and passes the same rules."""
        if shutil.which("kubectl") is None:
            self.skipTest("no kubectl on this machine")
        built = subprocess.run(["kubectl", "kustomize", DEPLOY], check=True,
                               stdout=subprocess.PIPE).stdout
        documents = list(yaml.safe_load_all(built))
        self.assertEqual(sorted(document["kind"] for document in documents), ["Namespace", "Pod"])
        kind, spec = pod_of(documents)
        self.assertEqual(manifests.faults(kind, spec, HELP, VERSION), [])
        self.assertEqual(spec, pod_of(load("native-sidecar.yaml"))[1])
        pod, = [document for document in documents if document["kind"] == "Pod"]
        namespace, = [document for document in documents if document["kind"] == "Namespace"]
        self.assertEqual(pod["metadata"]["namespace"], namespace["metadata"]["name"])

    def test_commands_of_the_readme(self):
        """Every fwdscope command that the page tells to type is one that there is."""
        text = (DEPLOY / "README.md").read_text()
        commands = re.findall(r"(?:-- /usr/bin/fwdscope|^fwdscope) ([a-z]+)([^\n`]*)", text, re.M)
        self.assertGreaterEqual(len(commands), 3)
        for command, rest in commands:
            known = say(command, "--help")
            for flag in re.findall(r"(--[a-z-]+)", rest):
                self.assertRegex(known, rf"{flag}\b", f"{command} {rest}")
        for name in re.findall(r"sidecar/deploy/([A-Za-z.-]+)", text):
            self.assertTrue((DEPLOY / name).exists(), name)


def at(spec, *path):
    """The thing at a path, where a container is named by its name."""
    for step in path:
        spec = container(spec, step) if step in ("fwdscope", "forwarder") else spec[step]
    return spec


# What is broken, and the words of the complaint.
BREACHES = [
    (lambda s: s.update(hostPID=True), "hostPID"),
    (lambda s: s["securityContext"].pop("runAsNonRoot"), "runAsNonRoot"),
    (lambda s: s["securityContext"].pop("seccompProfile"), "seccompProfile"),
    (lambda s: s["securityContext"].pop("fsGroup"), "no group in common"),
    (lambda s: s["volumes"][1].update(hostPath={"path": "/"}), "of type"),
    (lambda s: s["volumes"][0]["emptyDir"].pop("medium"), "not memory"),
    (lambda s: s["volumes"][0]["emptyDir"].update(sizeLimit="16Mi"), "too small"),
    (lambda s: at(s, "fwdscope", "securityContext").pop("capabilities"), "capabilities"),
    (lambda s: at(s, "forwarder", "securityContext").update(runAsUser=0), "runAsUser is 0"),
    (lambda s: at(s, "forwarder", "securityContext").update(runAsUser=65532), "one uid"),
    (lambda s: at(s, "forwarder", "securityContext").update(privileged=True), "privileged"),
    (lambda s: at(s, "forwarder", "securityContext").update(allowPrivilegeEscalation=True),
     "allowPrivilegeEscalation"),
    (lambda s: at(s, "fwdscope", "securityContext").pop("readOnlyRootFilesystem"),
     "readOnlyRootFilesystem"),
    (lambda s: at(s, "fwdscope", "volumeMounts")[0].pop("readOnly"), "not mounted read-only"),
    (lambda s: at(s, "forwarder", "volumeMounts")[0].update(readOnly=True), "cannot write"),
    (lambda s: at(s, "forwarder", "env").clear(), "the forwarder's FWDSCOPE_DIR"),
    (lambda s: at(s, "fwdscope", "env")[0].update(value="/run"), "the sidecar's FWDSCOPE_DIR"),
    (lambda s: at(s, "fwdscope", "env").append({"name": "FWDSCOPE_DRI", "value": "x"}),
     "FWDSCOPE_DRI"),
    (lambda s: at(s, "fwdscope", "env").reverse(), "does not stand before"),
    (lambda s: at(s, "fwdscope", "args").remove("--probe-listen"), "no probe listener"),
    (lambda s: at(s, "fwdscope", "args").append("--listn"), "no option of serve"),
    (lambda s: at(s, "fwdscope", "args").append("--insecure-bind"), "leaves loopback"),
    (lambda s: at(s, "fwdscope", "livenessProbe", "httpGet").update(path="/ready"), "asks /ready"),
    (lambda s: at(s, "fwdscope", "livenessProbe", "httpGet").update(port=9090), "dials 9090"),
    (lambda s: at(s, "fwdscope").pop("livenessProbe"), "no livenessProbe"),
    (lambda s: at(s, "fwdscope").update(startupProbe={}), "a startupProbe"),
    (lambda s: at(s, "fwdscope").update(image="localhost/fwdscope:0"), "image of version"),
    (lambda s: at(s, "forwarder").update(image="docker.io/other:" + VERSION), "image docker.io"),
    (lambda s: at(s, "fwdscope").pop("resources"), "requests are"),
    (lambda s: s.pop("automountServiceAccountToken"), "API token"),
]


class Rules(unittest.TestCase):
    def test_each_notices_its_breach(self):
        kind, spec = pod_of(load("sidecar.yaml"))
        for breach, complaint in BREACHES:
            with self.subTest(complaint):
                broken = copy.deepcopy(spec)
                breach(broken)
                found = manifests.faults(kind, broken, HELP, VERSION)
                self.assertTrue(any(complaint in fault for fault in found), found)


class Image(unittest.TestCase):
    """What the script refuses; that it builds is shown by the pods."""

    def refusal(self, *arguments):
        done = subprocess.run([DEPLOY / "image", *arguments], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        return done.returncode, done.stderr

    def test_usage(self):
        for arguments in (["--nonsense"], ["--tool"], ["--build", ""]):
            self.assertEqual(self.refusal(*arguments)[0], 2, arguments)

    @unittest.skipUnless(harness.SANITIZER, "this build has no sanitizers")
    def test_build_with_sanitizers(self):
        code, said = self.refusal("--build", harness.BUILD, "--tool", "true")
        self.assertEqual(code, 1)
        self.assertIn("is built with sanitizers", said)


if __name__ == "__main__":
    unittest.main(verbosity=2)
